//! The parts of a user's consent that custom resources and the authorization server share.

use crate::schema::Time;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A user.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrantUser {
    /// A stable id: the name of the login and the user's id there, such as `github:583231`. The `sub` of access tokens.
    #[schemars(length(min = 1, max = 512))]
    pub id: String,
    /// The user's display name.
    #[schemars(length(max = 256))]
    pub name: String,
}

/// Why a user was let in: what a login's rules matched when the user signed in. A grant or a session ends when the
/// login's present rules no longer match it.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoginEvidence {
    /// A fingerprint of the password's hash, under a key of the endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub password_fingerprint: Option<String>,
    /// The groups of `allowedGroups` that the user was in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 256)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub groups: Vec<String>,
    /// The organizations of `allowedOrganizations` that the user was in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 39)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub organizations: Vec<String>,
    /// The teams of `allowedTeams` that the user was in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 140)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub teams: Vec<String>,
    /// The groups, organizations and teams of `console.administrators` that the user was in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 256)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub administrator_groups: Vec<String>,
}

/// The state against which a presented refresh token is verified.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefreshState {
    /// The number of rotations; the first token has generation 0.
    #[schemars(range(min = 0))]
    pub generation: i64,
    /// The hash of the token of this generation.
    #[schemars(length(max = 128))]
    pub hash: String,
    /// The time at which this generation was issued.
    #[schemars(with = "Time")]
    pub rotated_at: Timestamp,
}

/// Why a grant was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RevocationReason {
    /// The user revoked it, on the page of connected agents.
    ByUser,
    /// The client revoked it (RFC 7009).
    ByClient,
    /// Its authorization code was presented again, so it may have leaked (RFC 6749 §4.1.2).
    CodeReplayed,
    /// An old refresh token was presented again, so it may have leaked (RFC 9700 §4.14.2).
    RefreshTokenReplayed,
    /// An `OAuthUser` disabled the user.
    UserDisabled,
    /// An administrator ended the user's sessions and grants from before a time: by an `OAuthUser`, or in the console.
    UserEnded,
    /// The user exceeded the maximum number of grants with this client, and this was the oldest.
    Superseded,
    /// The user's password changed.
    PasswordChanged,
    /// The login's rules no longer allow the user.
    NotAllowed,
    /// The identity provider no longer lets the user in.
    ProviderRefused,
    /// The provider cannot be rechecked, and the user's last sign-in is older than `maxGrantAge`.
    SignInTooOld,
}
