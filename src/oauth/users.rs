//! The users of an endpoint, as the authorization server sees them: whether the reason for which one was let in still
//! holds. `identity` implements it.

use crate::api::grant::{LoginEvidence, RevocationReason};

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

/// Who signs in here. `user_id` is as in [`GrantUser::id`](crate::api::grant::GrantUser).
pub trait Users: Send + Sync {
    /// Whether a user who was let in for the reason in `evidence` would still be let in. In memory.
    fn standing(&self, user_id: &str, evidence: Option<&LoginEvidence>) -> Standing;

    /// The evidence that the present rules give for a user whose evidence is not known; `None` for unknown users.
    fn assumed_evidence(&self, user_id: &str) -> Option<LoginEvidence>;
}
