//! The users of an endpoint, as the authorization server sees them: whether the reason for which one was let in still
//! holds, and what the user's identity provider says of it now. `identity` implements it.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use portcullis_core::grant::{LoginEvidence, RevocationReason};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a user's evidence compares with the present rules of the login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The rules still match.
    Valid,
    /// The rules no longer match.
    Ended(RevocationReason),
    /// The evidence does not tell: it is from an older version, or from before there was a rule.
    Unproven,
    /// The login is configured, but its Secret is missing or cannot be used.
    Unavailable,
    /// There is no such login or no such local user.
    Gone,
}

/// How often a provider is asked again about a user, in the words of `spec.login`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecheckPolicy {
    /// `recheckAfter`.
    pub after: SignedDuration,
    /// `maxGrantAge`.
    pub oldest: SignedDuration,
}

/// What a provider gave at a sign-in for asking it again: a refresh token of OpenID Connect, an access token of GitHub.
/// Secret: it is stored sealed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderToken {
    /// The provider. The token is sent to no other.
    pub provider: String,
    /// What this endpoint is called there.
    pub client_id: String,
    /// The token.
    pub token: String,
}

impl fmt::Debug for ProviderToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderToken").field("provider", &self.provider).finish_non_exhaustive()
    }
}

/// What a provider answered about a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rechecked {
    /// Whether the user may still come in.
    pub verdict: Verdict,
    /// The token that replaces the one that was used, if the provider gave one. It must be stored whatever the verdict is.
    pub token: Option<ProviderToken>,
}

/// Whether a user may still come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// For this reason.
    Allowed(LoginEvidence),
    /// No.
    Refused(RevocationReason),
    /// The provider cannot say at the moment.
    Unavailable,
    /// The provider does not take tokens of this kind: there is nothing to ask it with.
    Unsupported,
}

impl From<Verdict> for Rechecked {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, token: None }
    }
}

/// Who signs in here. `user_id` is as in [`GrantUser::id`](portcullis_core::grant::GrantUser).
#[async_trait]
pub trait Users: Send + Sync {
    /// Whether a user who was let in for the reason in `evidence` would still be let in. In memory.
    fn standing(&self, user_id: &str, evidence: Option<&LoginEvidence>) -> Standing;

    /// The evidence that the present rules give for a user whose evidence is not known; `None` for unknown users.
    fn assumed_evidence(&self, user_id: &str) -> Option<LoginEvidence>;

    /// How often the user's provider is asked again; `None` where there is no provider, so that `standing` knows all.
    fn recheck_policy(&self, user_id: &str) -> Option<RecheckPolicy>;

    /// Whether the token is of the user's present provider.
    fn accepts(&self, user_id: &str, token: &ProviderToken) -> bool;

    /// Asks the provider whether the user may still come in.
    async fn recheck(&self, user_id: &str, token: &ProviderToken, now: Timestamp) -> Rechecked;
}
