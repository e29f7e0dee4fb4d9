//! Request bodies with a size limit, and streamed response bodies with a deadline.

use crate::problem::HttpProblem;
use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use portcullis_budget::{Holders, Pool, Taken};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::time::{Instant, Sleep, sleep_until};

/// The length in bytes of a form that the permit covers; longer forms take memory from the budget.
const SHORT: u64 = 8 << 10;
/// The memory in bytes for a longer form, which is also the maximum length of a form.
const LONG: u64 = 64 << 10;

/// Reads a whole request body of at most `limit` bytes.
pub(crate) async fn collect(body: Body, limit: usize) -> Result<Bytes, HttpProblem> {
    let too_large = || {
        let message = format!("the request is larger than {limit} bytes; send it in smaller parts");
        HttpProblem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    };
    // Refuse by Content-Length, before the body is read.
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => Err(HttpProblem::new(
            StatusCode::BAD_REQUEST,
            "unreadable",
            "the request ended before its body was complete",
        )),
    }
}

/// The body of a request that has not been charged to the memory budget. Reading fails if the body is longer than a
/// short form and the budget has no memory for it.
pub(crate) struct MeteredBody {
    body: Body,
    read: u64,
    memory: Arc<Pool>,
    holders: Holders,
    taken: Option<Taken>,
}

impl MeteredBody {
    /// Wraps `body`, and charges it to these holders if it is long.
    pub(crate) fn body(body: Body, memory: Arc<Pool>, holders: Holders) -> Body {
        Body::new(Self { body, read: 0, memory, holders, taken: None })
    }
}

impl HttpBody for MeteredBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else { return Poll::Pending };
        if let Some(Ok(frame)) = &frame {
            self.read += frame.data_ref().map_or(0, |data| data.len() as u64);
            if self.read > SHORT && self.taken.is_none() {
                match self.memory.try_take(LONG, self.holders) {
                    Ok(taken) => self.taken = Some(taken),
                    Err(_) => return Poll::Ready(Some(Err(axum::Error::new(io::Error::other("no memory"))))),
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A streamed response body that ends at the request's deadline.
pub(crate) struct DeadlineBody {
    body: Body,
    deadline: Pin<Box<Sleep>>,
}

impl DeadlineBody {
    /// Ends a stream at its deadline. A complete body stays as it is: the connection enforces its deadline.
    pub(crate) fn until(response: Response, deadline: Instant) -> Response {
        if response.body().size_hint().exact().is_some() {
            return response;
        }
        response.map(|body| Body::new(Self { body, deadline: Box::pin(sleep_until(deadline)) }))
    }
}

impl HttpBody for DeadlineBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        // Return an error rather than the end of the body: the client must not mistake a truncated stream for a
        // complete one.
        self.deadline
            .as_mut()
            .poll(context)
            .map(|()| Some(Err(axum::Error::new(io::Error::from(io::ErrorKind::TimedOut)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;
    use std::{convert::Infallible, time::Duration};

    fn streamed(parts: &[&'static str]) -> Body {
        let parts: Vec<_> = parts.iter().map(|part| Ok::<_, Infallible>(Bytes::from_static(part.as_bytes()))).collect();
        Body::from_stream(stream::iter(parts))
    }

    #[tokio::test]
    async fn bodies_are_read_up_to_the_limit_and_no_further() {
        for (body, expected) in [
            (Body::from("12345"), Ok("12345")),
            (Body::from("123456"), Err("too_large")),
            (streamed(&["123", "45"]), Ok("12345")),
            (streamed(&["123", "456"]), Err("too_large")),
            (Body::empty(), Ok("")),
        ] {
            let read = collect(body, 5).await;
            let read = read.as_ref().map(|bytes| std::str::from_utf8(bytes).unwrap()).map_err(HttpProblem::reason);
            assert_eq!(read, expected);
        }
        let broken =
            Body::from_stream(stream::iter([Err::<Bytes, _>(io::Error::from(io::ErrorKind::ConnectionReset))]));
        assert_eq!(collect(broken, 5).await.unwrap_err().reason(), "unreadable");
    }

    #[tokio::test]
    async fn long_forms_take_memory_where_there_is_any() {
        let memory = Pool::new(LONG);
        let long = || MeteredBody::body(Body::from(vec![0; 9 << 10]), Arc::clone(&memory), Holders::default());
        let held = memory.try_take(1, Holders::default()).unwrap();
        assert_eq!(collect(long(), 64 << 10).await.unwrap_err().reason(), "unreadable");
        collect(MeteredBody::body(Body::from("short"), Arc::clone(&memory), Holders::default()), 9).await.unwrap();
        drop(held);
        assert_eq!(collect(long(), 64 << 10).await.unwrap().len(), 9 << 10);
        assert_eq!(memory.free(), LONG);
    }

    #[tokio::test]
    async fn a_streamed_answer_ends_when_its_time_is_over() {
        let hold =
            |body| DeadlineBody::until(Response::new(body), Instant::now() + Duration::from_millis(50)).into_body();
        assert_eq!(hold(streamed(&["a", "b"])).collect().await.unwrap().to_bytes(), "ab");
        let begin = Instant::now();
        let stalls = hold(Body::from_stream(stream::pending::<Result<Bytes, Infallible>>()));
        stalls.collect().await.unwrap_err();
        assert!(begin.elapsed() >= Duration::from_millis(40), "not before its time");
    }
}
