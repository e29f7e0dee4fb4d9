//! The parts of a user's account at an identity provider that custom resources and the authorization server share.

use crate::{
    grant::{LoginEvidence, RevocationReason},
    schema::Time,
};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The maximum lifetime of a browser session. Ended provider sessions must be remembered for this long.
pub const SESSION_LIFETIME: SignedDuration = SignedDuration::from_hours(12);

/// A sealed token. Shown to nobody.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SealedToken(pub String);

impl fmt::Debug for SealedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedToken")
    }
}

/// The right to use the token, for a short time.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckLease {
    /// Random; who knows it holds the lease.
    #[schemars(length(min = 1, max = 64))]
    pub holder: String,
    /// Until when, if it is not given back before.
    #[schemars(with = "Time")]
    pub until: Timestamp,
}

/// That the provider no longer lets the user in.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderRefusal {
    /// Since when.
    #[schemars(with = "Time")]
    pub at: Timestamp,
    /// What the user's grants are revoked with.
    pub reason: RevocationReason,
}

/// What the provider said of the user when it was last asked again and let the user in.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckedEvidence {
    /// When.
    #[schemars(with = "Time")]
    pub at: Timestamp,
    /// What matched the login's rules.
    pub evidence: LoginEvidence,
}

/// A session of the user at the provider.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderSession {
    /// A hash of its `sid`.
    #[schemars(length(min = 1, max = 64))]
    pub id: String,
    /// When it was last heard of.
    #[schemars(with = "Time")]
    pub at: Timestamp,
    /// Whether it has ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
}
