//! Error pages for users: a title, what happened, what to do, and the id of the request, which the log contains too.

use crate::forms::CsrfError;
use http::StatusCode;
use portcullis_core::{grant::GrantUser, report::chain};
use portcullis_identity::SignInError;
use portcullis_oauth::{grant::GrantsError, user_rules::Ended};
use std::{borrow::Cow, time::Duration};

/// A link to continue.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    /// The target.
    pub href: String,
    /// The text.
    pub label: Cow<'static, str>,
}

/// An error page.
#[derive(Debug)]
pub(crate) struct ErrorPage {
    /// The status of the response.
    pub status: StatusCode,
    /// One word, for the log.
    pub reason: &'static str,
    /// The title.
    pub title: &'static str,
    /// What happened.
    pub happened: Cow<'static, str>,
    /// What to do.
    pub todo: Option<Cow<'static, str>>,
    /// A link to continue.
    pub link: Option<Box<Link>>,
    /// When to try again, in seconds.
    pub retry_after: Option<u16>,
    /// For the log only; never a secret.
    pub cause: Option<Box<str>>,
    /// Why the form failed the CSRF check.
    pub csrf_error: Option<CsrfError>,
    /// The user of an ended session, for the audit.
    pub ended_session: Option<Box<GrantUser>>,
}

impl ErrorPage {
    /// A page with a title and a message.
    pub(crate) fn new(
        status: StatusCode,
        reason: &'static str,
        title: &'static str,
        happened: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            reason,
            title,
            happened: happened.into(),
            todo: None,
            link: None,
            retry_after: None,
            cause: None,
            csrf_error: None,
            ended_session: None,
        }
    }

    /// Adds what to do.
    pub(crate) fn todo(self, todo: impl Into<Cow<'static, str>>) -> Self {
        Self { todo: Some(todo.into()), ..self }
    }

    /// Adds a link.
    pub(crate) fn link(self, href: impl Into<String>, label: impl Into<Cow<'static, str>>) -> Self {
        Self { link: Some(Box::new(Link { href: href.into(), label: label.into() })), ..self }
    }

    /// There is no usable login.
    pub(crate) fn no_usable_login(endpoint: &str, happened: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "no_login", "Users cannot sign in here yet", happened).todo(format!(
            "The administrator of the endpoint has to set spec.login of the McpEndpoint {endpoint:?}: passwords, github or oidc. If it is set, the conditions have the reason."
        ))
    }

    /// There is no such page.
    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "There is no such page", "There is no page at this address.")
            .todo("Check the address. If an agent sent you, start again there.")
    }

    /// The page does not support the method.
    pub(crate) fn method() -> Self {
        let happened = "This page does not support this kind of request.";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Not supported", happened)
            .todo("If you reloaded a page, go back to where you started. If an agent sent you, start again there.")
    }

    /// A form that cannot be read.
    pub(crate) fn bad_form(status: StatusCode, reason: &'static str) -> Self {
        let happened = match status {
            StatusCode::PAYLOAD_TOO_LARGE => "The request is larger than any form of these pages.",
            StatusCode::REQUEST_TIMEOUT => "The form did not arrive in time. The connection may be slow.",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "The request is not a form.",
            _ => "The form is incomplete.",
        };
        Self::new(status, reason, "The form could not be read", happened)
            .todo("Go back, reload the page, and try again.")
    }

    /// A form that failed the CSRF check.
    pub(crate) fn csrf_error(why: CsrfError, origin: &str) -> Self {
        let error_page = |happened| Self::new(StatusCode::FORBIDDEN, "forged", "This form is not accepted", happened);
        let error_page = match why {
            CsrfError::OtherSite => error_page("It was sent from another site, so nothing was done.")
                .todo(format!("If you meant to do this, open the page at {origin} and try again there.")),
            CsrfError::NoSession => error_page("Your browser sent no cookie with it, so nothing was done.")
                .todo("Allow cookies for this site, reload the page, and try again."),
            CsrfError::NotForThis => error_page("The page had been open for too long, or you signed in or out since.")
                .todo("Go back, reload the page, and try again."),
        };
        Self { cause: Some(why.to_string().into()), csrf_error: Some(why), ..error_page }
    }

    /// An agent's request that has expired.
    pub(crate) fn stale() -> Self {
        let happened = "The agent's request is too old, or was not made here. Nothing was allowed.";
        Self::new(StatusCode::BAD_REQUEST, "stale_request", "This request has expired", happened)
            .todo("Go back to the agent and connect it again.")
    }

    /// A consent page that was answered before.
    pub(crate) fn answered(base: &str) -> Self {
        let happened = "You have already answered this request, and the agent is connected. Nothing else was allowed.";
        Self::new(StatusCode::CONFLICT, "answered_already", "This request has already been answered", happened)
            .todo("Go back to the agent. If it is not connected, connect it again there.")
            .link(format!("{base}/agents"), "Connected agents")
    }

    /// A user without a session.
    pub(crate) fn signed_out(base: &str) -> Self {
        let happened = "You are no longer signed in, so nothing was done.";
        Self::new(StatusCode::UNAUTHORIZED, "signed_out", "Please sign in again", happened)
            .todo("If an agent sent you here, start again there. To see your agents, sign in.")
            .link(format!("{base}/login"), "Sign in")
    }

    /// A user whose access an administrator ended.
    pub(crate) fn user_ended(ended: Ended, name: &str, id: &str, endpoint: &str, base: &str) -> Self {
        let error_page = match ended {
            Ended::Disabled => {
                let happened = format!(
                    "The account {name} is disabled at this endpoint, so it cannot sign in or connect agents here. Nothing was done."
                );
                Self::new(StatusCode::FORBIDDEN, ended.reason(), "This account is disabled", happened).todo(format!(
                    "If you did not expect this, ask the administrator of the endpoint {endpoint:?}. The account is {id} here."
                ))
            }
            Ended::Before => {
                let happened = format!("An administrator ended the sessions of the account {name}. Nothing was done.");
                Self::new(StatusCode::UNAUTHORIZED, ended.reason(), "Please sign in again", happened).todo(
                    "Sign in again. If this page comes again, ask the administrator of the endpoint when the account may be used.",
                )
            }
        };
        error_page.link(format!("{base}/login"), "Sign in")
    }

    /// A sign-in that is too old for approving an agent.
    pub(crate) fn sign_in_again() -> Self {
        let happened = "You signed in too long ago to approve an agent, so nothing was allowed.";
        Self::new(StatusCode::UNAUTHORIZED, "sign_in_too_old", "Please sign in again", happened)
            .todo("Sign in again. Then you are asked again for your consent.")
    }

    /// A failed sign-in.
    pub(crate) fn sign_in(error: &SignInError) -> Self {
        let status = match error {
            SignInError::UnknownLogin => StatusCode::NOT_FOUND,
            SignInError::WrongPassword
            | SignInError::NotAllowed { .. }
            | SignInError::SingleSignOn { .. }
            | SignInError::EmailUnverified { .. } => StatusCode::FORBIDDEN,
            SignInError::TooManyAttempts { .. } => StatusCode::TOO_MANY_REQUESTS,
            SignInError::Cancelled { .. } | SignInError::Expired | SignInError::Mismatch { .. } => {
                StatusCode::BAD_REQUEST
            }
            SignInError::Busy { .. } | SignInError::Unreachable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            SignInError::Misconfigured { .. } | SignInError::Unexpected { .. } => StatusCode::BAD_GATEWAY,
            SignInError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self {
            retry_after: error.retry_after().map(seconds),
            cause: std::error::Error::source(error).map(|source| chain(source).into()),
            ..Self::new(status, error.reason(), error.title(), error.to_string())
        }
    }

    /// The store of grants cannot be reached.
    pub(crate) fn grants(error: &GrantsError) -> Self {
        let happened = "Connected agents cannot be changed at the moment, so nothing was done.";
        Self {
            cause: Some(chain(error).into()),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "grants_unavailable", "The request failed", happened).todo(
                "Try again in a moment. If it is urgent, ask the administrator of this endpoint to delete the OAuthGrant.",
            )
        }
    }

    /// The user's sessions have ended, and some grants could not be revoked.
    pub(crate) fn partly_signed_out(error: &GrantsError, base: &str) -> Self {
        let happened = "You are signed out in every browser, but the access of some agents could not be ended.";
        Self {
            cause: Some(chain(error).into()),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "grants_unavailable", "This was done in part only", happened)
                .todo("Sign in again, and end the access of the agents that are still listed.")
                .link(format!("{base}/login"), "Sign in")
        }
    }

    /// An internal error.
    pub(crate) fn internal(cause: impl Into<Box<str>>) -> Self {
        let happened = "An internal error occurred. Nothing was changed.";
        Self {
            cause: Some(cause.into()),
            ..Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The request failed", happened)
                .todo("Try again in a moment. If this persists, tell the administrator of this endpoint.")
        }
    }
}

/// Whole seconds, rounded up, at least one (RFC 9110 §10.2.3).
fn seconds(wait: Duration) -> u16 {
    let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1);
    u16::try_from(seconds).unwrap_or(u16::MAX)
}
