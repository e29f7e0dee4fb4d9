//! Why a sign-in failed, with messages for the error page.
//!
//! A message says what happened and what to do. It names the account, but never a password, a code, a token or the
//! content of a provider's response.

use portcullis_outbound::{RequestError, ResponseError};
use std::{error::Error, time::Duration};

/// The underlying error, for the log.
pub(super) type Cause = Box<dyn Error + Send + Sync>;

/// Why a sign-in failed.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// The user name or the password is wrong. The message does not say which.
    #[error(
        "The user name or the password is wrong. Try again, or ask the administrator of this endpoint for a new password."
    )]
    WrongPassword,
    /// There were too many wrong passwords for this account or from this address.
    #[error("There were too many wrong passwords. Try again in {}.", spoken(*.wait))]
    TooManyAttempts {
        /// The time until the next attempt is allowed.
        wait: Duration,
    },
    /// Too many users sign in at once: no permit or memory for a password check became available in time.
    #[error("Many people are signing in at the moment. Try again in {}.", spoken(*.wait))]
    Busy {
        /// The time until another attempt makes sense.
        wait: Duration,
    },
    /// The manifest has no such login, or its Secret is missing.
    #[error("This sign-in method does not exist here, or no longer. Go back and choose another one.")]
    UnknownLogin,
    /// The provider authenticated the account, but the endpoint's rules do not admit it.
    #[error(
        "You are signed in at {provider} as {account}, but that account is not in any {membership} that may use this endpoint. Sign out at {provider} and use another account, or ask the administrator of the endpoint to allow yours."
    )]
    NotAllowed {
        /// The provider's name on the page.
        provider: String,
        /// The account that was used.
        account: String,
        /// The required membership: `group`, `organization`, `team`, or `organization or team`.
        membership: &'static str,
    },
    /// The organization requires single sign-on before it reveals the account's membership.
    #[error(
        "{provider} hides organizations until you have used their single sign-on, so it is unknown whether {account} may use this endpoint. Sign in to your organization at {provider}, then here again."
    )]
    SingleSignOn {
        /// The provider's name on the page.
        provider: String,
        /// The account that was used.
        account: String,
    },
    /// The provider signs users in to other applications only after it has verified their email address.
    #[error(
        "{provider} signs you in at other sites only after your email address is verified. Verify it there, then sign in again."
    )]
    EmailUnverified {
        /// The provider's name on the page.
        provider: String,
    },
    /// The user cancelled the sign-in at the provider.
    #[error("The sign-in was cancelled at {provider}. To continue, sign in again.")]
    Cancelled {
        /// The provider's name on the page.
        provider: String,
    },
    /// The provider's code is expired or already used, or the provider requires a new sign-in.
    #[error("The sign-in took too long, or its page was loaded twice. Start again.")]
    Expired,
    /// The response belongs to another sign-in: possibly a mix-up attack (RFC 9207).
    #[error("The response from {provider} does not belong to this sign-in. Start again from the agent.")]
    Mismatch {
        /// The provider's name on the page.
        provider: String,
        /// The mismatch, for the log.
        source: Cause,
    },
    /// The provider is down, slow or unreachable from this server.
    #[error(
        "{provider} cannot be reached at the moment. Connected agents continue to work. To sign in, try again in a few minutes."
    )]
    Unreachable {
        /// The provider's name on the page.
        provider: String,
        /// The underlying error, for the log.
        source: Cause,
    },
    /// The provider rejects this endpoint's client: for example, the secret is wrong or the callback is not registered.
    #[error(
        "The sign-in at {provider} is not configured correctly: {what}. The administrator of the endpoint must correct this. Connected agents continue to work."
    )]
    Misconfigured {
        /// The provider's name on the page.
        provider: String,
        /// The mistake, and the setting to correct.
        what: String,
    },
    /// The provider's response cannot be used.
    #[error(
        "{provider} sent an invalid response, so you are not signed in. Try again; if this persists, tell the administrator of the endpoint."
    )]
    Unexpected {
        /// The provider's name on the page.
        provider: String,
        /// The underlying error, for the log.
        source: Cause,
    },
    /// A hashing task or the semaphore of the permits failed.
    #[error("An error occurred here, so you are not signed in. Try again in a moment.")]
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
            Self::UnknownLogin => "Unknown sign-in method",
            Self::NotAllowed { .. } => "This account has no access",
            Self::SingleSignOn { .. } => "Single sign-on is required",
            Self::EmailUnverified { .. } => "Your email address is not verified",
            Self::Cancelled { .. } => "Sign-in was cancelled",
            Self::Expired => "Please sign in again",
            Self::Mismatch { .. } => "This sign-in cannot be trusted",
            Self::Unreachable { .. } => "The sign-in provider cannot be reached",
            Self::Misconfigured { .. } => "Sign-in is not configured correctly",
            Self::Unexpected { .. } | Self::Internal(_) => "Sign-in did not work",
        }
    }

    /// The time until another attempt makes sense, for the `Retry-After` header.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::TooManyAttempts { wait } | Self::Busy { wait } => Some(*wait),
            _ => None,
        }
    }

    /// The reason as one word, for metrics and audit events.
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

    /// Whether the error is temporary: the provider is unreachable at the moment.
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

    /// The error for a request without a response.
    pub(super) fn unanswered(provider: &str, error: RequestError) -> Self {
        match error {
            RequestError::Timeout { .. } | RequestError::Unreachable { .. } => Self::unreachable(provider, error),
            RequestError::TooLarge { .. } | RequestError::Request(_) => Self::unexpected(provider, error),
        }
    }

    /// The error for an unusable response.
    pub(super) fn unusable(provider: &str, error: ResponseError) -> Self {
        match error {
            ResponseError::Status { status, .. } if status.is_server_error() || status.as_u16() == 429 => {
                Self::unreachable(provider, error)
            }
            ResponseError::Status { .. } | ResponseError::Json { .. } => Self::unexpected(provider, error),
        }
    }
}

/// A duration in words, rounded up.
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
