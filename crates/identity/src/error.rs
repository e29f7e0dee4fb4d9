//! Why somebody could not sign in, in words for the page that says so.
//!
//! A message says what happened and what to do. It names the account that was used, and never a password, a code, a
//! token, or what a provider's answer held.

use portcullis_outbound::{AnswerError, RequestError};
use std::{error::Error, time::Duration};

/// Whatever led to it; for the log.
pub(super) type Cause = Box<dyn Error + Send + Sync>;

/// Why somebody could not sign in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// Does not say which of the two.
    #[error("The user name or the password is wrong. Try again, or ask whoever runs this endpoint for a new password.")]
    WrongPassword,
    /// For this account, or from this address.
    #[error("There were too many wrong passwords. Try again in {}.", spoken(*.wait))]
    TooManyAttempts {
        /// How long to wait.
        wait: Duration,
    },
    /// More people sign in than the server has room for.
    #[error("Many people are signing in at the moment. Try again in {}.", spoken(*.wait))]
    Busy {
        /// How long to wait.
        wait: Duration,
    },
    /// The manifest has no such login, or its Secret is missing.
    #[error("There is no such way to sign in here, or no longer. Go back and choose another one.")]
    UnknownLogin,
    /// The provider knows the account, but the endpoint does not let it in.
    #[error(
        "You are signed in at {provider} as {account}, but that account is in no {membership} that may use this endpoint. Sign out at {provider} and use another account, or ask whoever runs the endpoint to let yours in."
    )]
    NotAllowed {
        /// What the page calls the provider.
        provider: String,
        /// The account that was used.
        account: String,
        /// What it should be in: `group`, or `organization or team`.
        membership: &'static str,
    },
    /// The organization's single sign-on stands before its membership.
    #[error(
        "{provider} hides organizations whose single sign-on you have not passed, so that nobody can tell whether {account} may use this endpoint. Sign in to your organization at {provider}, then here again."
    )]
    SingleSignOn {
        /// What the page calls the provider.
        provider: String,
        /// The account that was used.
        account: String,
    },
    /// The provider signs nobody in elsewhere whose email address it has not verified.
    #[error(
        "{provider} signs you in elsewhere only once your email address is verified. Verify it there, then sign in again."
    )]
    EmailUnverified {
        /// What the page calls the provider.
        provider: String,
    },
    /// The user said no at the provider.
    #[error("Signing in was cancelled at {provider}. To go on, sign in again.")]
    Cancelled {
        /// What the page calls the provider.
        provider: String,
    },
    /// What the provider sent back is too old, or was used before.
    #[error("Signing in took too long, or its page was loaded twice. Start again; it takes a moment only.")]
    Expired,
    /// What came back belongs to another sign-in: somebody may have tried to mix them up (RFC 9207).
    #[error("What came back from {provider} does not belong to this sign-in. Start again from the agent.")]
    Mismatch {
        /// What the page calls the provider.
        provider: String,
        /// What does not match; for the log.
        source: Cause,
    },
    /// The provider is down, slow, or cannot be reached from here.
    #[error(
        "{provider} cannot be reached at the moment. Agents that are connected already go on working; to sign in, try again in a few minutes."
    )]
    Unreachable {
        /// What the page calls the provider.
        provider: String,
        /// What went wrong; for the log.
        source: Cause,
    },
    /// The provider does not accept this endpoint: a wrong secret, or an unregistered callback.
    #[error(
        "Signing in at {provider} is not set up correctly: {what}. Whoever runs the endpoint has to correct this; agents that are connected already go on working."
    )]
    Misconfigured {
        /// What the page calls the provider.
        provider: String,
        /// What is wrong, and where to look.
        what: String,
    },
    /// The provider answered with something that cannot be used.
    #[error(
        "{provider} answered in a way that cannot be used, so you are not signed in. Try again; if it stays so, tell whoever runs the endpoint."
    )]
    Unexpected {
        /// What the page calls the provider.
        provider: String,
        /// What is wrong with it; for the log.
        source: Cause,
    },
    /// A thread died.
    #[error("Something went wrong here, so you are not signed in. Try again in a moment.")]
    Internal(#[source] Cause),
}

impl SignInError {
    /// The heading of the page.
    #[must_use]
    pub const fn title(&self) -> &'static str {
        match self {
            Self::WrongPassword => "Wrong user name or password",
            Self::TooManyAttempts { .. } => "Too many attempts",
            Self::Busy { .. } => "One moment, please",
            Self::UnknownLogin => "No such way to sign in",
            Self::NotAllowed { .. } => "This account has no access",
            Self::SingleSignOn { .. } => "Single sign-on comes first",
            Self::EmailUnverified { .. } => "Your email address is not verified",
            Self::Cancelled { .. } => "Sign-in was cancelled",
            Self::Expired => "Please sign in again",
            Self::Mismatch { .. } => "This sign-in cannot be trusted",
            Self::Unreachable { .. } => "The sign-in provider cannot be reached",
            Self::Misconfigured { .. } => "Sign-in is not set up correctly",
            Self::Unexpected { .. } | Self::Internal(_) => "Sign-in did not work",
        }
    }

    /// How long to wait before another try makes sense: what `Retry-After` says.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyAttempts { wait } | Self::Busy { wait } => Some(*wait),
            _ => None,
        }
    }

    /// One word, for metrics and for the audit.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::WrongPassword => "wrong_password",
            Self::TooManyAttempts { .. } => "too_many_attempts",
            Self::Busy { .. } => "busy",
            Self::UnknownLogin => "unknown_login",
            Self::NotAllowed { .. } => "not_allowed",
            Self::SingleSignOn { .. } => "single_sign_on",
            Self::EmailUnverified { .. } => "email_unverified",
            Self::Cancelled { .. } => "cancelled",
            Self::Expired => "expired",
            Self::Mismatch { .. } => "mismatch",
            Self::Unreachable { .. } => "provider_unreachable",
            Self::Misconfigured { .. } => "provider_misconfigured",
            Self::Unexpected { .. } => "provider_unexpected",
            Self::Internal(_) => "internal",
        }
    }

    /// Whether the provider cannot be reached at the moment.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    pub(super) fn unexpected(provider: &str, cause: impl Into<Cause>) -> Self {
        Self::Unexpected { provider: provider.to_owned(), source: cause.into() }
    }

    pub(super) fn mismatch(provider: &str, cause: impl Into<Cause>) -> Self {
        Self::Mismatch { provider: provider.to_owned(), source: cause.into() }
    }

    pub(super) fn unreachable(provider: &str, cause: impl Into<Cause>) -> Self {
        Self::Unreachable { provider: provider.to_owned(), source: cause.into() }
    }

    /// A request that got no answer.
    pub(super) fn unanswered(provider: &str, error: RequestError) -> Self {
        match error {
            RequestError::Timeout { .. } | RequestError::Unreachable { .. } => Self::unreachable(provider, error),
            RequestError::TooLarge { .. } | RequestError::Request(_) => Self::unexpected(provider, error),
        }
    }

    /// An answer that is of no use.
    pub(super) fn unusable(provider: &str, error: AnswerError) -> Self {
        match error {
            AnswerError::Status { status, .. } if status.is_server_error() || status.as_u16() == 429 => {
                Self::unreachable(provider, error)
            }
            AnswerError::Status { .. } | AnswerError::Json { .. } => Self::unexpected(provider, error),
        }
    }
}

/// A wait as people say it, rounded up.
fn spoken(wait: Duration) -> String {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    match seconds {
        0 | 1 => "a second".to_owned(),
        2..=90 => format!("{seconds} seconds"),
        _ => format!("{} minutes", seconds.div_ceil(60)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_said_as_people_say_them() {
        for (wait, said) in [
            (Duration::from_millis(200), "a second"),
            (Duration::from_secs(30), "30 seconds"),
            (Duration::from_millis(1500), "2 seconds"),
            (Duration::from_secs(91), "2 minutes"),
            (Duration::from_mins(15), "15 minutes"),
        ] {
            assert_eq!(spoken(wait), said);
        }
    }
}
