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

/// A sealed token. It is never displayed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct SealedToken(pub String);

impl fmt::Debug for SealedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedToken")
    }
}

/// A short exclusive right to use the token.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckLease {
    /// A random value, known only to the server that holds the lease.
    #[schemars(length(min = 1, max = 64))]
    pub holder: String,
    /// The expiry of the lease, unless it is released earlier.
    #[schemars(with = "Time")]
    pub until: Timestamp,
}

/// The provider's refusal to let the user in.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderRefusal {
    /// The time of the refusal.
    #[schemars(with = "Time")]
    pub at: Timestamp,
    /// The reason with which the user's grants are revoked.
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
    /// The last sign-in or logout message of the session.
    #[schemars(with = "Time")]
    pub at: Timestamp,
    /// Whether the session has ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ended: bool,
}
