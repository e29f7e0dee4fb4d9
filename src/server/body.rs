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
