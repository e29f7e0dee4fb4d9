//! Problem documents (RFC 9457), and the HTTP status and reason for each failure of a tool.

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use portcullis_agent::protocol::FailureKind;
use portcullis_budget::{NoMemory, ReadError};
use portcullis_telemetry::audit::RequestContext;
use portcullis_tools::ToolError;
use serde_json::json;

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// The problem details of a refusal or failure.
#[derive(Clone, Debug)]
pub struct ProblemDetails {
    status: StatusCode,
    reason: &'static str,
    detail: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl ProblemDetails {
    /// `reason` is one word, for programs; `detail` is for users.
    #[must_use]
    pub fn new(status: StatusCode, reason: &'static str, detail: impl Into<String>) -> Self {
        Self { status, reason, detail: detail.into(), headers: Vec::new() }
    }

    /// An internal error, with status 500.
    #[must_use]
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    /// Adds a response header.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The problem details of a failed call.
    pub(super) fn of(error: &ToolError) -> Self {
        let (status, reason) = kind(error);
        Self::new(status, reason, portcullis_core::report::chain(error)).with_retry()
    }

    /// The problem details of a body that could not be read.
    pub(super) fn unreadable_body(error: &ReadError) -> Self {
        let (status, reason) = match error {
            ReadError::TooLarge(_) | ReadError::NoMemory(NoMemory::TooLarge { .. }) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "too_large")
            }
            ReadError::NoMemory(NoMemory::Busy) => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            ReadError::Stalled => (StatusCode::REQUEST_TIMEOUT, "timeout"),
            ReadError::Broken => (StatusCode::BAD_REQUEST, "unreadable"),
        };
        Self::new(status, reason, error.to_string()).with_retry()
    }

    /// Adds `Retry-After` if a retry may succeed.
    fn with_retry(self) -> Self {
        if self.reason == "busy" { self.with(header::RETRY_AFTER, HeaderValue::from_static("1")) } else { self }
    }

    #[cfg(test)]
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// The response to the request `from`. The type is `about:blank`, so the title is that of the status (RFC 9457
    /// §4.2.1); `reason` distinguishes problems with the same status.
    #[must_use]
    pub fn into_response(self, from: &RequestContext) -> Response {
        let document = json!({
            "type": "about:blank",
            "title": self.status.canonical_reason().unwrap_or_default(),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "reason": self.reason,
            "request_id": from.id.as_str(),
        });
        let mut response = (self.status, Json(document)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, PROBLEM_JSON);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.extend(self.headers);
        response
    }
}

fn kind(error: &ToolError) -> (StatusCode, &'static str) {
    use portcullis_workspaces::Error;
    match error {
        ToolError::Arguments { .. } => (StatusCode::BAD_REQUEST, "invalid_arguments"),
        ToolError::NeedsScope { .. } => (StatusCode::FORBIDDEN, "insufficient_scope"),
        ToolError::NotServed { .. } => (StatusCode::NOT_FOUND, "not_served"),
        ToolError::Output(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        ToolError::Workspaces(error) => match error {
            Error::UnknownWorkspace { .. } | Error::UnknownTemplate { .. } => (StatusCode::NOT_FOUND, "not_found"),
            Error::UnknownParameter { .. }
            | Error::InvalidName { .. }
            | Error::InvalidParameter { .. }
            | Error::InvalidArgument { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_value"),
            Error::NameTaken { .. } => (StatusCode::CONFLICT, "name_taken"),
            Error::BeingDeleted { .. } => (StatusCode::CONFLICT, "being_deleted"),
            Error::Refused { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "refused"),
            Error::QuotaExceeded { .. } => (StatusCode::CONFLICT, "quota_exceeded"),
            Error::NotRunning { .. } | Error::Stopped { .. } => (StatusCode::CONFLICT, "not_running"),
            Error::Interrupted { .. } => (StatusCode::CONFLICT, "interrupted"),
            Error::NotPermitted { .. } => (StatusCode::FORBIDDEN, "not_permitted"),
            Error::Agent(failure) => match failure.kind {
                FailureKind::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "invalid_value"),
                FailureKind::NotFound => (StatusCode::NOT_FOUND, "not_found"),
                FailureKind::Conflict => (StatusCode::CONFLICT, "conflict"),
                FailureKind::Denied => (StatusCode::FORBIDDEN, "not_permitted"),
                FailureKind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
                FailureKind::Exhausted => (StatusCode::INSUFFICIENT_STORAGE, "exhausted"),
                FailureKind::Internal => (StatusCode::BAD_GATEWAY, "agent_failed"),
                FailureKind::Interrupted => (StatusCode::CONFLICT, "interrupted"),
            },
            Error::Unreachable { .. } => (StatusCode::BAD_GATEWAY, "unreachable"),
            Error::AnswerTooLong { .. } => (StatusCode::BAD_GATEWAY, "agent_failed"),
            Error::NoMemory(NoMemory::Busy) => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            Error::NoMemory(NoMemory::TooLarge { .. }) => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Error::Cluster { .. } => (StatusCode::SERVICE_UNAVAILABLE, "cluster_unavailable"),
            Error::Io { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        },
    }
}
