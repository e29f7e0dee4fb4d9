//! `spec.cors`: cross-origin rules.

use crate::rules;
use kube::KubeSchema;
use portcullis_core::quantity::Span;
use serde::{Deserialize, Serialize};

/// Cross-origin rules (the Fetch standard's CORS protocol), and the origins that the server accepts at all.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cors {
    /// Origins such as `https://claude.ai` or `https://*.example.com` (any one or more labels). A request from any
    /// other origin is refused; a request without an `Origin`, as from anything but a browser, is not concerned.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(max = 253)))]
    #[x_kube(merge_strategy = ListMerge::Set, validation = Rule::new(format!("self.all(o, o.matches('^https://([*][.])?[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{{1,5}})?$') || o.matches('^http://{}(:[0-9]{{1,5}})?$'))", portcullis_core::loopback::pattern()))
        .message("each must be scheme and host in lower case, without path or slash, such as https://claude.ai or https://*.example.com; http for loopback only; a lone * is refused since any page could then drive the endpoint"))]
    pub allowed_origins: Vec<String>,
    /// How long a browser may remember a preflight's answer: at most 24 hours.
    #[serde(default = "Cors::default_max_age")]
    #[x_kube(validation = rules::span("0s", "24h"))]
    pub max_age: Span,
    /// Who answers preflights and adds the headers.
    #[serde(default)]
    pub enforced_by: CorsEnforcement,
}

impl Cors {
    fn default_max_age() -> Span {
        Span::from_secs(2 * 3600)
    }
}

impl Default for Cors {
    fn default() -> Self {
        Self { allowed_origins: Vec::new(), max_age: Self::default_max_age(), enforced_by: CorsEnforcement::Auto }
    }
}

/// Who enforces CORS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum CorsEnforcement {
    /// The ingress controller, where it is known to do it right; else the server. The status says who.
    #[default]
    Auto,
    /// Always the server.
    Server,
    /// The gateway of `exposure.gateway`, by the `CORS` filter of its HTTPRoute. Only where the gateway knows that
    /// filter: others answer every request with 500.
    Gateway,
}
