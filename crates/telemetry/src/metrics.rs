//! The metrics of a server, in the OpenMetrics text format. Every label has few values, and none comes from a caller.

use jiff::Timestamp;
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};
use std::{fmt, sync::atomic::AtomicU64, time::Duration};

/// The content type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The purpose of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(missing_docs, reason = "each is the path of the same name")]
pub enum Route {
    Mcp,
    Rest,
    ApiDocument,
    Authorize,
    Consent,
    Login,
    Logout,
    Agents,
    Console,
    Assets,
    Token,
    Revoke,
    Introspect,
    Register,
    Jwks,
    ResourceMetadata,
    IssuerMetadata,
    Unknown,
}

impl Route {
    /// Whether the response is a page in a browser.
    #[must_use]
    pub const fn is_page(self) -> bool {
        matches!(self, Self::Authorize | Self::Consent | Self::Login | Self::Logout | Self::Agents | Self::Console)
    }

    /// Whether the response is a public document or file.
    #[must_use]
    pub const fn is_document(self) -> bool {
        matches!(self, Self::ApiDocument | Self::Assets | Self::Jwks | Self::ResourceMetadata | Self::IssuerMetadata)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResponseLabels {
    route: Route,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: Route,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PeerLabels {
    peer: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ToolOutcomeLabels {
    tool: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ToolLabels {
    tool: &'static str,
}

/// The counters of tool calls, through any protocol. Clones share them.
#[derive(Clone)]
pub struct ToolCalls {
    calls: Family<ToolOutcomeLabels, Counter>,
    durations: Family<ToolLabels, Histogram>,
}

impl Default for ToolCalls {
    fn default() -> Self {
        let buckets = || Histogram::new([0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0]);
        Self { calls: Family::default(), durations: Family::new_with_constructor(buckets as fn() -> Histogram) }
    }
}

impl ToolCalls {
    /// Counts a tool call.
    pub fn called(&self, tool: &'static str, outcome: &'static str, duration: Duration) {
        self.calls.get_or_create(&ToolOutcomeLabels { tool, outcome }).inc();
        self.durations.get_or_create(&ToolLabels { tool }).observe(duration.as_secs_f64());
    }
}

/// The metrics of one server.
pub struct Metrics {
    registry: Registry,
    requests: Family<ResponseLabels, Counter>,
    durations: Family<RouteLabels, Histogram>,
    /// The metrics of most requests, looked up once.
    mcp_answered: Counter,
    mcp_duration: Histogram,
    in_flight: Gauge,
    connections: Gauge,
    tokens: Family<OutcomeLabels, Counter>,
    unauthenticated: Family<ReasonLabels, Counter>,
    refused: Family<ReasonLabels, Counter>,
    untrusted_forwarding: Family<PeerLabels, Counter>,
    tool_calls: ToolCalls,
    reload_successful: Gauge,
    reload_success_time: Gauge<f64, AtomicU64>,
    state_stale: Gauge<f64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("portcullis");
        let requests = Family::<ResponseLabels, Counter>::default();
        registry.register("requests", "Requests answered", requests.clone());
        let buckets = || Histogram::new([0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0]);
        let durations = Family::new_with_constructor(buckets as fn() -> Histogram);
        registry.register_with_unit(
            "request_duration",
            "Time until the response headers were ready",
            Unit::Seconds,
            durations.clone(),
        );
        let in_flight = Gauge::default();
        registry.register("requests_in_flight", "Requests in progress", in_flight.clone());
        let connections = Gauge::default();
        registry.register(
            "connections",
            "Open client connections; at spec.limits.maxConnections others wait",
            connections.clone(),
        );
        let tokens = Family::default();
        registry.register("token_requests", "Responses of the token endpoint, by OAuth error code", tokens.clone());
        let unauthenticated = Family::default();
        registry.register("authentication_failures", "Requests without a valid token", unauthenticated.clone());
        let refused = Family::default();
        registry.register("refused_requests", "Requests beyond a limit or a rule", refused.clone());
        let untrusted_forwarding = Family::default();
        registry.register(
            "untrusted_forwarding",
            "Requests with forwarding headers from peers, private or public, that are not trusted proxies",
            untrusted_forwarding.clone(),
        );
        let tool_calls = ToolCalls::default();
        registry.register("tool_calls", "Tool calls, by outcome", tool_calls.calls.clone());
        registry.register_with_unit(
            "tool_call_duration",
            "Duration of tool calls",
            Unit::Seconds,
            tool_calls.durations.clone(),
        );
        let reload_successful = Gauge::default();
        registry.register(
            "config_last_reload_successful",
            "Whether the mounted files are in use (1), or were rejected and older ones kept (0)",
            reload_successful.clone(),
        );
        let reload_success_time = Gauge::default();
        registry.register_with_unit(
            "config_last_reload_success_timestamp",
            "Time at which the files in use were loaded",
            Unit::Seconds,
            reload_success_time.clone(),
        );
        let state_stale = Gauge::default();
        registry.register_with_unit(
            "state_stale",
            "Time since the last response of the API server; at most about 10 in normal operation",
            Unit::Seconds,
            state_stale.clone(),
        );
        registry.register("build", "The server's version", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        Self {
            registry,
            mcp_answered: requests.get_or_create_owned(&ResponseLabels { route: Route::Mcp, status: 200 }),
            mcp_duration: durations.get_or_create_owned(&RouteLabels { route: Route::Mcp }),
            requests,
            durations,
            in_flight,
            connections,
            tokens,
            unauthenticated,
            refused,
            untrusted_forwarding,
            tool_calls,
            reload_successful,
            reload_success_time,
            state_stale,
        }
    }
}

impl Metrics {
    /// All metrics in the OpenMetrics text format.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// Counts a request as in flight until the guard is dropped.
    #[must_use]
    pub fn request_begins(&self) -> InFlightGuard {
        self.in_flight.inc();
        InFlightGuard(self.in_flight.clone())
    }

    /// Sets the number of open connections.
    pub fn connections(&self, open: usize) {
        self.connections.set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// Counts a response.
    pub fn request_ends(&self, route: Route, status: u16, duration: Duration) {
        match (route, status) {
            (Route::Mcp, 200) => self.mcp_answered.inc(),
            _ => self.requests.get_or_create(&ResponseLabels { route, status }).inc(),
        };
        match route {
            Route::Mcp => self.mcp_duration.observe(duration.as_secs_f64()),
            _ => self.durations.get_or_create(&RouteLabels { route }).observe(duration.as_secs_f64()),
        }
    }

    /// Counts a response of the token endpoint: `issued`, or an OAuth error code.
    pub fn token_answered(&self, outcome: &'static str) {
        self.tokens.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// Counts a request without a valid token.
    pub fn not_authenticated(&self, reason: &'static str) {
        self.unauthenticated.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Counts a request that a limit or a rule refused.
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Counts a request with forwarding headers from a peer that is not a trusted proxy.
    pub fn forwarded_untrusted(&self, private: bool) {
        let peer = if private { "private" } else { "public" };
        self.untrusted_forwarding.get_or_create(&PeerLabels { peer }).inc();
    }

    /// The counters of tool calls.
    #[must_use]
    pub fn tool_calls(&self) -> ToolCalls {
        self.tool_calls.clone()
    }

    /// Records that the mounted files were loaded at `now`.
    #[expect(clippy::cast_precision_loss, reason = "a second in this century fits")]
    pub fn files_loaded(&self, now: Timestamp) {
        self.reload_successful.set(1);
        self.reload_success_time.set(now.as_second() as f64);
    }

    /// Sets the time in seconds since the last message from the API server.
    pub fn state_stale(&self, seconds: f64) {
        self.state_stale.set(seconds);
    }

    /// Records that the mounted files were refused.
    pub fn files_rejected(&self) {
        self.reload_successful.set(0);
    }
}

/// A request in flight; see [`Metrics::request_begins`].
pub struct InFlightGuard(Gauge);

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}
