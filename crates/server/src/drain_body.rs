//! Reads and discards unread request bodies. A refusal often needs only the head of a request, but an HTTP/1.1
//! connection can be reused only after the end of the body (RFC 9112 §9.3). Closing it would lose the next request of a
//! client that has already begun to send it, or even the refusal itself.

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

/// The timeout for the rest of a body.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// A handle to the body of a request that is being answered.
pub(crate) struct DrainableBody(Arc<Mutex<Body>>);

/// The same body, for the handler of the request.
struct SharedBody(Arc<Mutex<Body>>);

impl DrainableBody {
    /// Shares the body of a request. `None` if there is nothing to drain.
    pub(crate) fn of(request: &mut Request) -> Option<Self> {
        matters(request).then(|| {
            let body = Arc::new(Mutex::new(std::mem::take(request.body_mut())));
            *request.body_mut() = Body::new(SharedBody(Arc::clone(&body)));
            Self(body)
        })
    }

    /// Reads and discards the rest, at most `limit` bytes. Returns `Connection: close` if there was more.
    pub(crate) async fn drain(self, limit: u64) -> Option<HeaderValue> {
        drain(SharedBody(self.0), limit).await
    }
}

/// Reads and discards the body of a request without a handler; see [`DrainableBody::drain`].
pub(crate) async fn drain_refused(request: Request, limit: u64) -> Option<HeaderValue> {
    if matters(&request) { drain(request.into_body(), limit).await } else { None }
}

/// Whether a body must be drained: not if it is empty, not in HTTP/2, and not if the client waits for `100 Continue`
/// (RFC 9110 §10.1.1).
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
        // After a panic while reading, the body can still be read, or has failed.
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
