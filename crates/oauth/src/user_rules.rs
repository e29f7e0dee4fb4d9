//! Users whose access an administrator ended. The same check applies wherever access is given or used: sign-in,
//! sessions, consent, codes, refresh tokens, access tokens, introspection.

use jiff::Timestamp;
use portcullis_core::grant::RevocationReason;
use std::fmt::Debug;

pub use portcullis_core::account::SESSION_LIFETIME;

/// Why the access of a user has ended. The messages are for clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The user is disabled.
    #[error("the user's account is disabled at this endpoint; ask the administrator of the endpoint")]
    Disabled,
    /// An administrator ended the access that the user began before a time.
    #[error("an administrator ended the user's access; let the user sign in and approve again")]
    Before,
}

impl Ended {
    /// The reason as one word, for metrics and audit events.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Disabled => "user_disabled",
            Self::Before => "user_ended",
        }
    }

    /// The reason to revoke the user's grants with, so that they stay ended.
    #[must_use]
    pub const fn revocation(self) -> RevocationReason {
        match self {
            Self::Disabled => RevocationReason::UserDisabled,
            Self::Before => RevocationReason::UserEnded,
        }
    }
}

/// The users whose access has ended, from memory.
pub trait UserRules: Debug + Send + Sync {
    /// Whether access of `user_id` that began at `since` has ended. Called for every request: a lookup, no I/O.
    fn ended(&self, user_id: &str, since: Timestamp) -> Option<Ended>;
}
