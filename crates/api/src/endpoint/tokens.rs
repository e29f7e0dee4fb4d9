//! `spec.tokens`: lifetimes of tokens and of the keys that sign them.

use crate::rules;
use kube::KubeSchema;
use portcullis_core::quantity::Span;
use serde::{Deserialize, Serialize};

/// Lifetimes of tokens and of the keys that sign them.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = rules::two_spans("refreshIdle", "<=", "refreshLifetime", "1h")
    .field_path(".refreshIdle")
    .message("must not be longer than refreshLifetime"))]
#[serde(rename_all = "camelCase")]
pub struct Tokens {
    /// The lifetime of an access token: 1 minute to 1 hour.
    #[serde(default = "Tokens::default_access_lifetime")]
    #[x_kube(validation = rules::span("1m", "1h"))]
    pub access_lifetime: Span,
    /// The lifetime of a user's consent, regardless of its use: 1 hour to 1 year.
    #[serde(default = "Tokens::default_refresh_lifetime")]
    #[x_kube(validation = rules::span("1h", "8760h"))]
    pub refresh_lifetime: Span,
    /// The lifetime of an unused refresh token: 1 hour to 1 year.
    #[serde(default = "Tokens::default_refresh_idle")]
    #[x_kube(validation = rules::span("1h", "8760h"))]
    pub refresh_idle: Span,
    /// The age at which the signing key of access tokens is replaced: 1 day to 10 years. Issued tokens remain valid.
    #[serde(default = "Tokens::default_key_rotation")]
    #[x_kube(validation = rules::span("24h", "87600h"))]
    pub key_rotation: Span,
}

impl Tokens {
    fn default_access_lifetime() -> Span {
        Span::from_secs(15 * 60)
    }
    fn default_refresh_lifetime() -> Span {
        Span::from_secs(30 * 24 * 3600)
    }
    fn default_refresh_idle() -> Span {
        Span::from_secs(7 * 24 * 3600)
    }
    fn default_key_rotation() -> Span {
        Span::from_secs(90 * 24 * 3600)
    }
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            access_lifetime: Self::default_access_lifetime(),
            refresh_lifetime: Self::default_refresh_lifetime(),
            refresh_idle: Self::default_refresh_idle(),
            key_rotation: Self::default_key_rotation(),
        }
    }
}
