//! Request bodies that nobody read: a refusal often needs the head only, but HTTP/1.1 keeps a connection only past the
//! end of the body (RFC 9112 §9.3). Closing it instead would lose the next request of a client that had already begun
//! to send it, or even the refusal itself.

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http::{HeaderValue, Version, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

/// How long the rest of a body is waited for.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// The body of a request that somebody else is answering.
pub(crate) struct DrainableBody(Arc<Mutex<Body>>);

/// The same body, as whoever answers the request reads it.
struct SharedBody(Arc<Mutex<Body>>);

impl DrainableBody {
    /// Keeps hold of a request's body. `None` where there is nothing to be read later.
    pub(crate) fn of(request: &mut Request) -> Option<Self> {
        matters(request).then(|| {
            let body = Arc::new(Mutex::new(std::mem::take(request.body_mut())));
            *request.body_mut() = Body::new(SharedBody(Arc::clone(&body)));
            Self(body)
        })
    }

    /// Reads what is left, at most `limit` bytes, and throws it away. `Connection: close` if that was not all.
    pub(crate) async fn drain(self, limit: u64) -> Option<HeaderValue> {
        drain(SharedBody(self.0), limit).await
    }
}

/// The same for a request that nobody has taken.
pub(crate) async fn drain_refused(request: Request, limit: u64) -> Option<HeaderValue> {
    if matters(&request) { drain(request.into_body(), limit).await } else { None }
}

/// Not without a body, in a protocol that keeps its connections anyway, or for a client that waits to be told to send
/// the body (RFC 9110 §10.1.1).
fn matters(request: &Request) -> bool {
    request.version() == Version::HTTP_11
        && !request.body().is_end_stream()
        && !request.headers().contains_key(header::EXPECT)
}

async fn drain<B: HttpBody<Data = Bytes> + Unpin>(mut body: B, limit: u64) -> Option<HeaderValue> {
    let rest = async {
        let mut read = 0;
        while !body.is_end_stream() && read <= limit {
            match body.frame().await {
                None => return true,
                Some(Err(_)) => return false,
                Some(Ok(frame)) => read += frame.data_ref().map_or(0, |data| data.len() as u64),
            }
        }
        body.is_end_stream()
    };
    let complete = tokio::time::timeout(DRAIN_TIMEOUT, rest).await.unwrap_or(false);
    (!complete).then_some(HeaderValue::from_static("close"))
}

impl SharedBody {
    fn body(&self) -> std::sync::MutexGuard<'_, Body> {
        // Whoever panicked while reading has left a body that can still be read or has failed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HttpBody for SharedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut *self.body()).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body().size_hint()
    }
}
