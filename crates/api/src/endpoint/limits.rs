//! `spec.limits`: what one server admits.

use crate::rules;
use kube::KubeSchema;
use portcullis_core::{
    limits::DEFAULT_MAX_CONNECTIONS,
    quantity::{ByteSize, Span},
};
use serde::{Deserialize, Serialize};

/// The limits of one server. Beyond them, it answers with 429 or 503 and `Retry-After`, or with 413.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// The maximum duration of a request: 1 second to 1 hour.
    #[serde(default = "Limits::default_request_timeout")]
    #[x_kube(validation = rules::span("1s", "1h"))]
    pub request_timeout: Span,
    /// The maximum number of concurrent requests of a server. A client has at most half of them for a user.
    #[serde(default = "Limits::default_max_concurrent_requests")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_concurrent_requests: u32,
    /// The sustained requests per second of a client for each of its users, and of an address without a valid token.
    /// Divided among the servers.
    #[serde(default = "Limits::default_requests_per_second")]
    #[schemars(range(min = 1, max = 100_000))]
    pub requests_per_second: u32,
    /// The burst above `requestsPerSecond`. Divided among the servers.
    #[serde(default = "Limits::default_burst")]
    #[schemars(range(min = 1, max = 100_000))]
    pub burst: u32,
    /// The maximum size of a request body.
    #[serde(default = "Limits::default_max_body_size")]
    pub max_body_size: ByteSize,
    /// The maximum number of open connections of a server. An address has at most three quarters of them, unless it is
    /// a trusted proxy. Beyond, the server closes the connection that has been idle longest.
    #[serde(default = "Limits::default_max_connections")]
    #[schemars(range(min = 10, max = 100_000))]
    pub max_connections: u32,
}

impl Limits {
    fn default_request_timeout() -> Span {
        Span::from_secs(120)
    }
    fn default_max_concurrent_requests() -> u32 {
        100
    }
    fn default_requests_per_second() -> u32 {
        10
    }
    fn default_burst() -> u32 {
        20
    }
    fn default_max_body_size() -> ByteSize {
        ByteSize::from_mebibytes(4)
    }
    fn default_max_connections() -> u32 {
        DEFAULT_MAX_CONNECTIONS
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_timeout: Self::default_request_timeout(),
            max_concurrent_requests: Self::default_max_concurrent_requests(),
            requests_per_second: Self::default_requests_per_second(),
            burst: Self::default_burst(),
            max_body_size: Self::default_max_body_size(),
            max_connections: Self::default_max_connections(),
        }
    }
}
