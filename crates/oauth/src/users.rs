//! The users of an endpoint, as the authorization server sees them: whether a user's evidence still satisfies the
//! login's rules, and what the identity provider says about the user at present. The crate `identity` implements it.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use portcullis_core::grant::{LoginEvidence, RevocationReason};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The result of comparing a user's evidence with the present rules of the login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserStatus {
    /// The evidence satisfies the rules.
    Valid,
    /// The evidence no longer satisfies the rules.
    Ended(RevocationReason),
    /// The evidence is insufficient: it is from an older version, or from before there was a rule.
    Unproven,
    /// The login is configured, but its Secret is missing or cannot be used.
    Unavailable,
    /// The login or the local user does not exist.
    Missing,
}

/// The intervals of rechecks at a provider, from `spec.login`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecheckPolicy {
    /// `recheckAfter`.
    pub after: SignedDuration,
    /// `maxGrantAge`.
    pub oldest: SignedDuration,
}

/// The credential for rechecks that a provider issued at a sign-in: a refresh token of OpenID Connect, or an access
/// token of GitHub. Secret: it is stored sealed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderToken {
    /// The provider. The token is sent to no other provider.
    pub provider: String,
    /// The endpoint's client id at the provider.
    pub client_id: String,
    /// The token.
    pub token: String,
}

impl fmt::Debug for ProviderToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderToken").field("provider", &self.provider).finish_non_exhaustive()
    }
}

/// The result of a recheck.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rechecked {
    /// Whether the provider still lets the user in.
    pub verdict: Verdict,
    /// The replacement for the used token, if the provider issued one. It must be stored whatever the verdict is.
    pub token: Option<ProviderToken>,
}

/// Whether a provider still lets a user in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The user is let in, with this evidence.
    Allowed(LoginEvidence),
    /// The user is refused, for this reason.
    Refused(RevocationReason),
    /// The provider cannot answer at the moment.
    Unavailable,
    /// The provider does not support rechecks with this kind of token.
    Unsupported,
}

impl From<Verdict> for Rechecked {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, token: None }
    }
}

/// The users who can sign in. `user_id` has the format of [`GrantUser::id`](portcullis_core::grant::GrantUser).
#[async_trait]
pub trait Users: Send + Sync {
    /// Whether the login's present rules would let in a user with this evidence. From memory; no I/O.
    fn status_of(&self, user_id: &str, evidence: Option<&LoginEvidence>) -> UserStatus;

    /// The evidence that the present rules imply for a user without recorded evidence; `None` for unknown users.
    fn assumed_evidence(&self, user_id: &str) -> Option<LoginEvidence>;

    /// The policy for rechecks of the user; `None` without a provider, in which case `status_of` alone decides.
    fn recheck_policy(&self, user_id: &str) -> Option<RecheckPolicy>;

    /// Whether the token was issued by the user's present provider.
    fn accepts(&self, user_id: &str, token: &ProviderToken) -> bool;

    /// Asks the provider whether it still lets the user in.
    async fn recheck(&self, user_id: &str, token: &ProviderToken, now: Timestamp) -> Rechecked;
}
