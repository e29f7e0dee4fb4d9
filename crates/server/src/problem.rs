//! Refusals: JSON for programs, a page for users, always with a reason and a remedy.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use portcullis_pages::Pages;
use portcullis_telemetry::{audit::RequestContext, metrics::Route};
use serde_json::{Value, json};
use std::time::Duration;

/// The JSON-RPC error code of refusals before the MCP layer: the first of the implementation-defined server errors.
const JSON_RPC_SERVER_ERROR: i32 = -32000;

/// A refusal.
#[derive(Clone, Debug)]
pub(crate) struct HttpProblem {
    status: StatusCode,
    reason: &'static str,
    message: String,
    headers: Vec<(header::HeaderName, HeaderValue)>,
}

impl HttpProblem {
    /// A refusal without headers. `reason` is one word, for programs and metrics; `message` is for users.
    pub(crate) fn new(status: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { status, reason, message: message.into(), headers: Vec::new() }
    }

    /// Sets `Retry-After`: whole seconds, rounded up, at least one (RFC 9110 §10.2.3).
    pub(crate) fn retry_after(self, wait: Duration) -> Self {
        let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1);
        self.with(header::RETRY_AFTER, seconds.into())
    }

    pub(crate) fn with(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn reason(&self) -> &'static str {
        self.reason
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The refusal as a page for a browser.
    pub(crate) fn into_page(self, pages: &Pages, from: &RequestContext) -> Response {
        let mut response = pages.refused(from, self.status, self.reason, &self.message);
        response.headers_mut().extend(self.headers);
        response
    }

    /// The refusal as a JSON-RPC error for the MCP route, as a problem document for the HTTP interface, and otherwise
    /// as an error in OAuth's format.
    pub(crate) fn into_response(self, route: Route, from: &RequestContext) -> Response {
        if route == Route::Rest {
            let problem = portcullis_rest::ProblemDetails::new(self.status, self.reason, self.message);
            return self
                .headers
                .into_iter()
                .fold(problem, |problem, (name, value)| problem.with(name, value))
                .into_response(from);
        }
        let id = from.id.as_str();
        let body = match route {
            Route::Mcp => json!({
                "jsonrpc": "2.0",
                "id": Value::Null,
                "error": {"code": JSON_RPC_SERVER_ERROR, "message": self.message, "data": {"reason": self.reason, "request_id": id}},
            }),
            _ => json!({"error": self.reason, "error_description": self.message, "request_id": id}),
        };
        let mut response = (self.status, Json(body)).into_response();
        response.headers_mut().extend(self.headers);
        response
    }
}
