//! Inserts results of tools into the responses that rmcp writes.
//!
//! A response contains a result twice, as structured content and as text, and their long parts are the same. rmcp would
//! copy the result several times. Therefore the handler returns marks instead, and leaves the result in the request's
//! [`Slot`]; the edge replaces the marks. The result is in memory only once: its text is escaped piece by piece while
//! it is sent.

use axum::{body::Body, response::Response};
use bytes::{Buf as _, Bytes};
use http::header;
use http_body_util::{BodyExt as _, combinators::BoxBody};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use portcullis_tools::{
    ToolAnswer,
    heartbeat::{WorkStarted, is_event_stream},
};
use rmcp::model::{CallToolResult, ContentBlock};
use serde_json::Value;
use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

/// The maximum size of a frame of the body, in bytes.
const FRAME: usize = 16 << 10;

/// Passes the result of one request from the handler to the edge.
#[derive(Debug)]
pub struct Slot {
    mark: Arc<str>,
    answer: OnceLock<ToolAnswer>,
    /// Notified when the tool is known and may be called: from then on every outcome is a result.
    pub(super) started: WorkStarted,
}

/// The kind of a mark, encoded in the byte after it.
#[derive(Clone, Copy)]
enum Mark {
    Text = b't' as isize,
    Structured = b's' as isize,
    Picture = b'p' as isize,
}

impl Slot {
    /// `mark` is a text that clients cannot guess.
    pub(super) fn new(mark: &Arc<str>) -> Arc<Self> {
        Arc::new(Self { mark: Arc::clone(mark), answer: OnceLock::new(), started: WorkStarted::default() })
    }

    /// Keeps the answer, and returns a result with marks instead.
    pub(super) fn fill(&self, answer: ToolAnswer) -> CallToolResult {
        let marked = |mark: Mark| format!("{}{}", self.mark, char::from(mark as u8));
        let mut result = CallToolResult::structured(Value::String(marked(Mark::Structured)));
        result.content = vec![ContentBlock::text(marked(Mark::Text))];
        if let Some(picture) = &answer.picture {
            result.content.push(ContentBlock::image(marked(Mark::Picture), picture.mime_type.clone()));
        }
        // A request has only one result.
        let _ = self.answer.set(answer);
        result
    }

    /// The response of rmcp, with the answer instead of the marks.
    pub(super) fn splice(&self, written: &Bytes) -> Body {
        let pieces = self.pieces(written);
        let len: usize = pieces.iter().map(Piece::len).sum();
        if len > FRAME {
            return Body::new(Spliced { rmcp: None, pieces });
        }
        let mut whole = Vec::with_capacity(len);
        for piece in &pieces {
            piece.write(&mut whole);
        }
        Body::from(whole)
    }

    /// The pieces of the response of rmcp, with the answer instead of the marks.
    fn pieces(&self, written: &Bytes) -> VecDeque<Piece> {
        let mut pieces = VecDeque::new();
        let mut rest = written.clone();
        let Some(answer) = self.answer.get() else { return VecDeque::from([Piece::Plain(rest)]) };
        while let Some(at) = find(&rest, self.mark.as_bytes()) {
            let end = at + self.mark.len();
            let (before, after, inserted) = match rest.get(end).copied() {
                Some(b't') => (at, end + 1, text(answer)),
                // The quotation marks around the mark are removed too.
                Some(b's') => (at.saturating_sub(1), end + 2, vec![Piece::Plain(answer.json.clone())]),
                Some(b'p') => {
                    let data = answer.picture.as_ref().map(|picture| picture.data.clone());
                    (at, end + 1, vec![Piece::Plain(data.unwrap_or_default())])
                }
                _ => break,
            };
            pieces.push_back(Piece::Plain(rest.split_to(before)));
            rest.advance((after - before).min(rest.len()));
            pieces.extend(inserted);
        }
        pieces.push_back(Piece::Plain(rest));
        pieces
    }
}

/// The text of an answer. Its pieces are already encoded as JSON string content.
fn text(answer: &ToolAnswer) -> Vec<Piece> {
    match &answer.text {
        Some(pieces) => pieces.iter().cloned().map(Piece::Plain).collect(),
        None => vec![Piece::escaped(answer.json.clone())],
    }
}

/// Puts the answer into a response, if the handler left one.
pub(super) async fn splice(response: http::Response<BoxBody<Bytes, Infallible>>, slot: &Arc<Slot>) -> Response {
    let (mut head, body) = response.into_parts();
    if is_event_stream(&head.headers) {
        let body = Spliced { rmcp: Some((body, Arc::clone(slot))), pieces: VecDeque::new() };
        return Response::from_parts(head, Body::new(body));
    }
    let written = match body.collect().await {
        Ok(written) => written.to_bytes(),
        Err(never) => match never {},
    };
    head.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(head, slot.splice(&written))
}

fn find(text: &[u8], mark: &[u8]) -> Option<usize> {
    text.windows(mark.len()).position(|window| window == mark)
}

/// A piece of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Plain(Bytes),
    /// JSON that is sent as the content of a JSON string.
    Escaped {
        json: Bytes,
        /// The length when sent. hyper asks for it before every frame.
        len: usize,
    },
}

impl Piece {
    fn escaped(json: Bytes) -> Self {
        let len = json.len() + json.iter().filter(|byte| needs_escape(**byte)).count();
        Self::Escaped { json, len }
    }

    /// The length when sent, in bytes.
    fn len(&self) -> usize {
        match self {
            Self::Plain(bytes) => bytes.len(),
            Self::Escaped { len, .. } => *len,
        }
    }

    fn write(&self, to: &mut Vec<u8>) {
        match self {
            Self::Plain(bytes) => to.extend_from_slice(bytes),
            Self::Escaped { json, .. } => escape(json, to),
        }
    }

    /// Takes the next frame out of the piece; `None` at its end.
    fn frame(&mut self) -> Option<Bytes> {
        match self {
            Self::Plain(bytes) if !bytes.is_empty() => Some(bytes.split_to(bytes.len().min(FRAME))),
            Self::Escaped { json, len } if !json.is_empty() => {
                let part = json.split_to(json.len().min(FRAME));
                let mut escaped = Vec::with_capacity(part.len() * 2);
                escape(&part, &mut escaped);
                *len -= escaped.len();
                Some(escaped.into())
            }
            _ => None,
        }
    }
}

/// Whether a byte of JSON needs an escape in a JSON string. Control characters are already escaped.
fn needs_escape(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\')
}

fn escape(json: &[u8], to: &mut Vec<u8>) {
    let mut rest = json;
    while let Some(at) = rest.iter().position(|byte| needs_escape(*byte)) {
        let (plain, special) = rest.split_at(at);
        to.extend_from_slice(plain);
        to.push(b'\\');
        to.extend(special.first());
        rest = special.get(1..).unwrap_or_default();
    }
    to.extend_from_slice(rest);
}

/// A body in pieces.
struct Spliced {
    /// The remaining output of rmcp, one event at a time.
    rmcp: Option<(BoxBody<Bytes, Infallible>, Arc<Slot>)>,
    pieces: VecDeque<Piece>,
}

impl HttpBody for Spliced {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        loop {
            while let Some(piece) = self.pieces.front_mut() {
                if let Some(frame) = piece.frame() {
                    return Poll::Ready(Some(Ok(Frame::data(frame))));
                }
                self.pieces.pop_front();
            }
            let Some((body, slot)) = &mut self.rmcp else { return Poll::Ready(None) };
            let Some(Ok(frame)) = ready!(Pin::new(body).poll_frame(context)) else { return Poll::Ready(None) };
            match frame.into_data() {
                Ok(data) => {
                    let pieces = slot.pieces(&data);
                    self.pieces = pieces;
                }
                Err(frame) => return Poll::Ready(Some(Ok(frame))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rmcp.is_none() && self.pieces.iter().all(|piece| piece.len() == 0)
    }

    fn size_hint(&self) -> SizeHint {
        match self.rmcp {
            Some(_) => SizeHint::default(),
            None => SizeHint::with_exact(self.pieces.iter().map(|piece| piece.len() as u64).sum()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;
    use portcullis_tools::Image;
    use serde_json::json;

    fn written(slot: &Slot, answer: ToolAnswer) -> Bytes {
        let result = serde_json::to_value(slot.fill(answer)).unwrap();
        json!({"jsonrpc": "2.0", "id": "structuredContent", "result": result}).to_string().into()
    }

    async fn spliced(content_type: &str, body: Bytes, slot: &Arc<Slot>) -> (SizeHint, String) {
        let response = http::Response::builder().header(header::CONTENT_TYPE, content_type);
        let response = splice(response.body(Full::new(body).boxed()).unwrap(), slot).await;
        let (size, body) = (response.body().size_hint(), response.into_body().collect().await.unwrap().to_bytes());
        (size, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_result_is_in_a_response_as_text_and_as_structure() {
        let mark: Arc<str> = "5c0ffee5".into();
        for length in [1, 100_000] {
            let output = json!({"content": "\u{1}\"\\ü\n".repeat(length), "n": 1, "empty": {}});
            let answer = ToolAnswer { json: output.to_string().into(), text: None, picture: None };
            for kind in ["application/json", "text/event-stream"] {
                let slot = Slot::new(&mark);
                let (size, text) = spliced(kind, written(&slot, answer.clone()), &slot).await;
                if kind == "application/json" {
                    assert_eq!(size.exact(), Some(text.len() as u64));
                }
                let response: Value = serde_json::from_str(&text).unwrap();
                let result = &response["result"];
                assert_eq!(result["structuredContent"], output);
                assert_eq!(result["content"], json!([{"type": "text", "text": output.to_string()}]));
                assert_eq!((&response["id"], &result["isError"]), (&json!("structuredContent"), &json!(false)));
            }
        }
    }

    #[tokio::test]
    async fn text_of_its_own_is_put_in_as_it_is_written() {
        let json = Bytes::from(json!({"content": "\"é\n".repeat(30_000)}).to_string());
        let content = json.slice(12..json.len() - 2);
        let text = Some(vec![Bytes::from_static(b"[a]\\n"), content.clone(), Bytes::from_static(b"\\n[end]")]);
        let answer = ToolAnswer { json, text, picture: None };
        let expected = format!("[a]\n{}\n[end]", "\"é\n".repeat(30_000));
        assert_eq!(answer.text(), expected);
        for kind in ["application/json", "text/event-stream"] {
            let slot = Slot::new(&"5c0ffee5".into());
            let (_, response) = spliced(kind, written(&slot, answer.clone()), &slot).await;
            let response: Value = serde_json::from_str(&response).unwrap();
            assert_eq!(response["result"]["content"], json!([{"type": "text", "text": expected}]));
        }
    }

    #[tokio::test]
    async fn a_picture_is_shown_beside_its_result() {
        let slot = Slot::new(&"5c0ffee5".into());
        let data = Bytes::from("iVBO".repeat(20_000));
        let picture = Some(Image { data: data.clone(), mime_type: "image/png".to_owned() });
        let body = written(&slot, ToolAnswer { json: r#"{"content":""}"#.into(), text: None, picture });
        let (_, text) = spliced("application/json", body, &slot).await;
        let content = &serde_json::from_str::<Value>(&text).unwrap()["result"]["content"];
        assert_eq!(content[0]["text"], r#"{"content":""}"#);
        assert_eq!(
            (&content[1]["mimeType"], content[1]["data"].as_str().unwrap()),
            (&json!("image/png"), str::from_utf8(&data).unwrap())
        );
    }

    #[tokio::test]
    async fn what_has_no_result_is_left_alone() {
        let slot = Slot::new(&"5c0ffee5".into());
        let error = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"5c0ffee5s"}}"#;
        assert_eq!(spliced("application/json", error.into(), &slot).await.1, error);
    }
}
