//! `spec.limits` of an endpoint, and further limits that several crates share.

use crate::quantity::{ByteSize, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The maximum size in bytes of a body or response that is not charged to the budget.
pub const SMALL: u64 = 32 << 10;
/// The number of copies of a body in memory at the same time: as received, as parsed, and as sent to the workspace
/// agent.
pub const BODY_COPIES: u64 = 3;

/// The limits of one server. Beyond them, it answers with 429 or 503 and `Retry-After`, or with 413.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// The maximum duration of a request: 1 second to 1 hour.
    #[schemars(extend("x-kubernetes-validations" = [Span::rule("1s", "1h")]))]
    pub request_timeout: Span,
    /// The maximum number of concurrent requests of a server. A client has at most half of them for a user.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_concurrent_requests: u32,
    /// The sustained requests per second of a client for each of its users, and of an address without a valid token.
    /// Divided among the servers.
    #[schemars(range(min = 1, max = 100_000))]
    pub requests_per_second: u32,
    /// The burst above `requestsPerSecond`. Divided among the servers.
    #[schemars(range(min = 1, max = 100_000))]
    pub burst: u32,
    /// The maximum size of a request body.
    pub max_body_size: ByteSize,
    /// The maximum number of open connections of a server. An address has at most three quarters of them, unless it is
    /// a trusted proxy. Beyond, the server closes the connection that has been idle longest.
    #[schemars(range(min = 10, max = 100_000))]
    pub max_connections: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_timeout: Span::from_secs(120),
            max_concurrent_requests: 100,
            requests_per_second: 10,
            burst: 20,
            max_body_size: ByteSize::from_mebibytes(4),
            max_connections: 1000,
        }
    }
}
