//! Batches: arrays of messages, which servers of revision 2025-03-26 must receive (Base Protocol, Batching; JSON-RPC
//! 2.0 §6). Each message is answered like a single message, one after the other. The answers are sent in the same way,
//! so only one answer is in memory at a time.

use crate::message::{Message, RpcError};
use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{HeaderValue, StatusCode, header::CONTENT_TYPE};
use serde_json::value::RawValue;

/// The maximum number of messages in a batch.
const MOST: usize = 50;
/// The revision that has batches. It does not have the header that names the revision.
const REVISION: &str = "2025-03-26";

/// The messages of a batch.
#[derive(Debug)]
pub(super) struct Batch(Vec<Bytes>);

impl Batch {
    /// Reads `body`. `None` if it is not a batch, or if the client uses a revision without batches.
    pub(crate) fn read(revision: Option<&HeaderValue>, body: &Bytes) -> Result<Option<Self>, RpcError> {
        if revision.is_some_and(|revision| revision != REVISION) || !body.trim_ascii_start().starts_with(b"[") {
            return Ok(None);
        }
        // Invalid JSON is rejected like an invalid single message.
        let Ok(messages) = serde_json::from_slice::<Vec<&RawValue>>(body) else { return Ok(None) };
        if messages.is_empty() || messages.len() > MOST {
            return Err(RpcError::invalid_request(None, format!("a batch has 1 to {MOST} messages")));
        }
        let messages: Vec<Bytes> =
            messages.into_iter().map(|message| body.slice_ref(message.get().as_bytes())).collect();
        // A server answers input that it cannot accept with an error status (2025-03-26, Transports).
        if !messages.iter().any(|message| Message::read(message).is_ok()) {
            return Err(RpcError::invalid_request(
                None,
                "the body is an array, but none of its elements is a JSON-RPC 2.0 message",
            ));
        }
        Ok(Some(Self(messages)))
    }

    /// The response to the batch, from the response of `answer` to each message; `answer` also gets whether the message
    /// is the first one. A batch without requests has no answers.
    pub(crate) async fn answer<A>(self, answer: impl Fn(Bytes, bool) -> A + Send + 'static) -> Response
    where
        A: Future<Output = Response> + Send + 'static,
    {
        let asks = |message: &Bytes| !Message::read(message).is_ok_and(|message| message.id.is_none());
        if !self.0.iter().any(asks) {
            for (index, message) in self.0.into_iter().enumerate() {
                drop(answer(message, index == 0).await);
            }
            let mut accepted = Response::default();
            *accepted.status_mut() = StatusCode::ACCEPTED;
            return accepted;
        }
        let answers = stream::iter(self.0.into_iter().enumerate())
            .then(move |(index, message)| answer(message, index == 0))
            .filter(|response| std::future::ready(response.status() != StatusCode::ACCEPTED))
            .enumerate()
            .flat_map(|(index, response)| {
                let separator = Bytes::from_static(if index == 0 { b"[" } else { b"," });
                stream::iter([Ok(separator)]).chain(response.into_body().into_data_stream())
            })
            .chain(stream::iter([Ok(Bytes::from_static(b"]"))]));
        let mut response = Response::new(Body::from_stream(answers));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse as _;
    use http_body_util::BodyExt as _;

    fn read(body: &'static str) -> Result<Option<Vec<String>>, ()> {
        let batch = Batch::read(None, &Bytes::from_static(body.as_bytes())).map_err(|_| ())?;
        Ok(batch.map(|batch| batch.0.iter().map(|one| String::from_utf8(one.to_vec()).unwrap()).collect()))
    }

    #[test]
    fn messages_are_taken_as_they_are_written() {
        let messages = |messages: &[&str]| Ok(Some(messages.iter().map(|&message| message.to_owned()).collect()));
        let ping = r#"{"jsonrpc":"2.0",  "id":1,"method":"ping"}"#;
        let batch: &'static str = format!(r#" [ {{"a": 1, "a": 2}},7 , "x",{ping}]"#).leak();
        assert_eq!(read(batch), messages(&[r#"{"a": 1, "a": 2}"#, "7", "\"x\"", ping]));
        assert_eq!(read(r#"["2.0", "tools/call", 1, {}]"#), Err(()), "members by position");
        assert_eq!(read("{}"), Ok(None));
        assert_eq!(read("[1,"), Ok(None), "no JSON at all");
        assert_eq!(read("[]"), Err(()));
        let newer = HeaderValue::from_static("2025-06-18");
        assert!(Batch::read(Some(&newer), &Bytes::from_static(b"[{}]")).unwrap().is_none());
        for (count, fits) in [(MOST, true), (MOST + 1, false)] {
            let body = Bytes::from(format!("[{}]", vec![ping; count].join(",")));
            assert_eq!(Batch::read(None, &body).is_ok(), fits, "{count}");
        }
    }

    #[tokio::test]
    async fn what_asks_is_answered_in_its_order() {
        let answer = |message: Bytes, first: bool| async move {
            let message = String::from_utf8(message.to_vec()).unwrap();
            if message.contains("\"id\"") || message == "7" {
                format!("{{\"to\":{message},\"first\":{first}}}").into_response()
            } else {
                StatusCode::ACCEPTED.into_response()
            }
        };
        let told = r#"{"jsonrpc":"2.0","method":"m"}"#;
        // Adds the members that every message has.
        let whole =
            |body: &str| body.replace("TOLD", told).replace("{\"id\"", "{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"id\"");
        for (body, expected) in [
            (
                r#"[{"id":1},TOLD,7,{"id":2}]"#,
                r#"[{"to":{"id":1},"first":true},{"to":7,"first":false},{"to":{"id":2},"first":false}]"#,
            ),
            (r#"[TOLD,{"id":1}]"#, r#"[{"to":{"id":1},"first":false}]"#),
            ("[TOLD,TOLD]", ""),
        ] {
            let batch = Batch::read(None, &whole(body).into()).unwrap().unwrap();
            let response = batch.answer(answer).await;
            assert_eq!(response.status(), if expected.is_empty() { StatusCode::ACCEPTED } else { StatusCode::OK });
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), whole(expected), "{body}");
        }
    }
}
