//! The requests and answers of the workspace agent's routes: JSON bodies, and every error as a [`Failure`]
//! (`protocol`).

use crate::protocol::{Failure, FailureKind};
use axum::{
    Json,
    body::Bytes,
    extract::{FromRequest, Request},
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::de::DeserializeOwned;

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

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let body = Bytes::from_request(request, state).await.map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
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
