//! Bodies: a request's is read up to a limit, a response's keeps its request's place until it is sent.

use super::problem::Problem;
use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, Sleep, sleep_until},
};

/// Reads a whole request body of at most `limit` bytes.
pub async fn collect(body: Body, limit: usize) -> Result<Bytes, Problem> {
    let too_large = || {
        let message = format!("the request is larger than {limit} bytes; send it in smaller parts");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    };
    // What the client says of the size is enough to refuse it.
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(_) => {
            Err(Problem::new(StatusCode::BAD_REQUEST, "unreadable", "the request ended before its body was complete"))
        }
    }
}

/// A streamed response body that holds its request's place, and ends at the request's deadline.
pub struct Held {
    body: Body,
    deadline: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Held {
    /// Holds `place` until the response is sent. One that is complete already gives it back at once.
    pub fn until_sent(response: Response, place: OwnedSemaphorePermit, deadline: Instant) -> Response {
        if response.body().size_hint().exact().is_some() {
            return response;
        }
        response.map(|body| Body::new(Self { body, deadline: Box::pin(sleep_until(deadline)), _place: place }))
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        // Cut off rather than ended: the client must not take half a stream for a whole one.
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
    use std::{convert::Infallible, sync::Arc, time::Duration};
    use tokio::sync::Semaphore;

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
            let read = read.as_ref().map(|bytes| std::str::from_utf8(bytes).unwrap()).map_err(Problem::reason);
            assert_eq!(read, expected);
        }
        let broken =
            Body::from_stream(stream::iter([Err::<Bytes, _>(io::Error::from(io::ErrorKind::ConnectionReset))]));
        assert_eq!(collect(broken, 5).await.unwrap_err().reason(), "unreadable");
    }

    #[tokio::test]
    async fn a_streamed_answer_holds_its_place_until_it_ends_or_its_time_is_over() {
        let places = Arc::new(Semaphore::new(1));
        let hold = |body| {
            let place = Arc::clone(&places).try_acquire_owned().unwrap();
            Held::until_sent(Response::new(body), place, Instant::now() + Duration::from_millis(50)).into_body()
        };
        let complete = hold(Body::from("all"));
        assert_eq!(places.available_permits(), 1, "a complete one needs none");
        drop(complete);

        let ends = hold(streamed(&["a", "b"]));
        assert_eq!(places.available_permits(), 0);
        assert_eq!(ends.collect().await.unwrap().to_bytes(), "ab");
        assert_eq!(places.available_permits(), 1);

        let begin = Instant::now();
        let stalls = hold(Body::from_stream(stream::pending::<Result<Bytes, Infallible>>()));
        stalls.collect().await.unwrap_err();
        assert!(begin.elapsed() >= Duration::from_millis(40), "not before its time");
        assert_eq!(places.available_permits(), 1);
    }
}
