//! How requests are read and failures are answered: JSON both ways (RFC 8259).

use super::protocol::{Failure, FailureKind};
use axum::{
    Json,
    extract::{FromRequest, Request},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::StatusCode;
use serde::de::DeserializeOwned;

/// How long a request may be: a file of 16 MiB in base64, and what is around it.
pub const MAX_REQUEST: usize = 24 * 1024 * 1024;

/// The body of a request.
#[derive(Clone, Copy, Debug)]
pub struct Asked<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Asked<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let body = Bytes::from_request(request, state).await.map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                let most = MAX_REQUEST / (1024 * 1024);
                return Failure::new(FailureKind::TooLarge, format!("send at most {most} MiB at once"));
            }
            Failure::new(FailureKind::Invalid, format!("the request did not all arrive: {rejection}"))
        })?;
        let read = serde_json::from_slice(&body);
        read.map(Self)
            .map_err(|error| Failure::new(FailureKind::Invalid, format!("the request cannot be read: {error}")))
    }
}

impl Failure {
    /// A failure; the message says what was wrong and what to do.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl FailureKind {
    /// The HTTP status of its answers.
    #[must_use]
    pub fn status(self) -> StatusCode {
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
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.kind.status(), Json(self)).into_response()
    }
}
