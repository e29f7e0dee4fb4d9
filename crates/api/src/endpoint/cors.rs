//! `spec.cors`: cross-origin rules.

use crate::rules;
use kube::KubeSchema;
use portcullis_core::quantity::Span;
use serde::{Deserialize, Serialize};

/// Cross-origin rules (the CORS protocol of the Fetch standard), and the origins that the server accepts.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cors {
    /// Origins such as `https://claude.ai` or `https://*.example.com` (one or more labels). A request from any other
    /// origin is rejected; a request without `Origin`, as programs other than browsers send, is not affected.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(max = 253)))]
    #[x_kube(merge_strategy = ListMerge::Set, validation = Rule::new(format!("self.all(o, o.matches('^https://([*][.])?[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{{1,5}})?$') || o.matches('^http://{}(:[0-9]{{1,5}})?$'))", portcullis_core::loopback::pattern()))
        .message("each must be scheme and host in lower case, without path or slash, such as https://claude.ai or https://*.example.com; http for loopback only; a lone * is refused since any page could then drive the endpoint"))]
    pub allowed_origins: Vec<String>,
    /// How long a browser may cache the response to a preflight request: at most 24 hours.
    #[serde(default = "Cors::default_max_age")]
    #[x_kube(validation = rules::span("0s", "24h"))]
    pub max_age: Span,
    /// The component that answers preflight requests and adds the headers.
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

/// The component that enforces CORS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum CorsEnforcement {
    /// The ingress controller if it is known to implement CORS correctly, otherwise the server. See
    /// `status.corsEnforcedBy`.
    #[default]
    Auto,
    /// The server.
    Server,
    /// The gateway of `exposure.gateway`, by the `CORS` filter of its HTTPRoute. A gateway that does not support the
    /// filter answers every request with 500.
    Gateway,
}
