//! The requests and answers of the workspace agent's routes: JSON bodies, and every error as a [`Failure`]
//! (`protocol`).

use crate::protocol::{Actor, Failure, FailureKind};
use axum::{
    Json, RequestExt as _,
    body::Body,
    extract::{FromRequest, FromRequestParts, Request},
    response::{IntoResponse, Response},
};
use http::{StatusCode, request::Parts};
use http_body_util::{BodyExt as _, LengthLimitError};
use serde::de::DeserializeOwned;
use std::{convert::Infallible, error::Error, iter};

/// The result of a handler.
pub(super) type Answer<A> = Result<Json<A>, Failure>;

impl FailureKind {
    /// The HTTP status of the kind.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Invalid => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Conflict | Self::Interrupted => StatusCode::CONFLICT,
            Self::Denied => StatusCode::FORBIDDEN,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Exhausted => StatusCode::INSUFFICIENT_STORAGE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// A failure of this kind.
    pub(super) fn because(self, message: impl Into<String>) -> Failure {
        Failure { kind: self, message: message.into() }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.kind.status(), Json(self)).into_response()
    }
}

/// The JSON body of a request. A body that is too large or not valid is rejected with a [`Failure`].
pub(super) struct Asked<Q>(pub Q);

impl<Q: DeserializeOwned, S: Send + Sync> FromRequest<S> for Asked<Q> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        let body = whole(request.into_limited_body()).await.map_err(|error| {
            if is_too_long(&error) {
                FailureKind::TooLarge.because("the request is too large: send less at a time")
            } else {
                FailureKind::Invalid.because("the request's body is incomplete")
            }
        })?;
        // serde would also read an array as a struct.
        if body.trim_ascii_start().first() == Some(&b'[') {
            return Err(FailureKind::Invalid.because("the request must be a JSON object, not an array"));
        }
        serde_json::from_slice(&body)
            .map(Self)
            .map_err(|error| FailureKind::Invalid.because(format!("the request cannot be read: {error}")))
    }
}

/// The actor that the headers of a request name, if any.
pub(super) struct By(pub Option<Actor>);

impl<S: Send + Sync> FromRequestParts<S> for By {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self(Actor::of(&parts.headers)))
    }
}

/// Reads a body. Each frame is freed as soon as it is copied. Frames that are kept until the last one arrives would take the
/// memory of the body a second time.
async fn whole(mut body: Body) -> Result<Vec<u8>, axum::Error> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes)
}

/// Whether a body was longer than the limit of its route.
fn is_too_long(error: &(dyn Error + 'static)) -> bool {
    iter::successors(Some(error), |&error| error.source()).any(<dyn Error>::is::<LengthLimitError>)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::extract::DefaultBodyLimit;
    use bytes::Bytes;
    use futures::stream;
    use http_body_util::StreamBody;
    use hyper::body::Frame;
    use serde_json::{Value, json};
    use std::{
        convert::Infallible,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };
    use tower::{Layer as _, ServiceExt as _, service_fn};

    /// The content of a frame. Counts itself while it exists.
    struct Content(Arc<AtomicUsize>);

    impl AsRef<[u8]> for Content {
        fn as_ref(&self) -> &[u8] {
            b"abc"
        }
    }

    impl Drop for Content {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn a_frame_is_freed_before_the_next_one_is_read() {
        let count = Arc::new(AtomicUsize::new(0));
        let frames = (0..100).map(move |_| {
            assert_eq!(count.fetch_add(1, Ordering::Relaxed), 0);
            Ok::<_, Infallible>(Frame::data(Bytes::from_owner(Content(Arc::clone(&count)))))
        });
        let body = whole(Body::new(StreamBody::new(stream::iter(frames)))).await.unwrap();
        assert_eq!(body, b"abc".repeat(100));
    }

    /// The failure of a request with a body of these chunks, at a route with a limit of 16 bytes.
    async fn asked(chunks: &[&'static str], length_is_known: bool) -> Result<Value, FailureKind> {
        let body = if length_is_known {
            Body::from(chunks.concat())
        } else {
            let frames: Vec<_> = chunks
                .iter()
                .map(|chunk| Ok::<_, Infallible>(Frame::data(Bytes::from_static(chunk.as_bytes()))))
                .collect();
            Body::new(StreamBody::new(stream::iter(frames)))
        };
        let extract =
            service_fn(|request| async { Ok::<_, Infallible>(Asked::<Value>::from_request(request, &()).await) });
        let Ok(asked) = DefaultBodyLimit::max(16).layer(extract).oneshot(Request::new(body)).await;
        asked.map(|Asked(value)| value).map_err(|failure| failure.kind)
    }

    #[tokio::test]
    async fn a_body_that_is_too_long_is_rejected_whether_its_length_is_known_or_not() {
        for length_is_known in [true, false] {
            assert_eq!(asked(&["{\"a\": ", "1}"], length_is_known).await, Ok(json!({"a": 1})));
            assert_eq!(asked(&["{\"a\": \"0123", "456789\"}"], length_is_known).await, Err(FailureKind::TooLarge));
            assert_eq!(asked(&["[", "]"], length_is_known).await, Err(FailureKind::Invalid));
        }
    }
}
