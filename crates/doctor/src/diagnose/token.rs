//! The token: issued (RFC 6749 §5), for this resource (RFC 8707), and accepted by the endpoint (RFC 6750).

use super::{
    not_examined,
    response::{no_reply, parameter},
};
use crate::{
    Check, Code, Finding, Outcome,
    observation::{HttpReply, Observations, TokenOutcome, UserTokenOutcome, clipped},
};

pub(super) fn token(observed: &Observations) -> Finding {
    const CHECK: Check = Check::Token;
    let Some(request) = &observed.token else { return user_token(observed) };
    let outcome = match (&request.by_header, &request.by_body) {
        (TokenOutcome::Refused { status, .. }, Some(TokenOutcome::Issued { .. })) if observed.accepts_basic() => {
            let seen =
                format!("{status} for credentials in the Authorization header, but 200 for the same in the body");
            return Finding::problem(CHECK, Code::AuthorizationStripped, seen);
        }
        (_, Some(by_body)) if !observed.accepts_basic() => by_body,
        (by_header, _) => by_header,
    };
    match outcome {
        TokenOutcome::NoReply(none) => Finding::problem(CHECK, no_reply(none), none.text()),
        TokenOutcome::Refused { status, error, description } => {
            let code = refusal(*status, error.as_deref());
            Finding::problem(CHECK, code, refused_text(*status, error.as_deref(), description))
        }
        TokenOutcome::Issued { audience } => audience_finding(observed, audience.as_deref()),
    }
}

/// The token of a user's sign-in.
fn user_token(observed: &Observations) -> Finding {
    const CHECK: Check = Check::Token;
    let skipped = |reason| Finding::skipped(CHECK, Outcome::Skipped(reason));
    match &observed.user_token {
        Some(UserTokenOutcome::Issued { audience }) => audience_finding(observed, audience.as_deref()),
        Some(UserTokenOutcome::Failed(why)) => Finding::problem(CHECK, Code::SignInFailed, clipped(why)),
        Some(UserTokenOutcome::Ended) => {
            skipped("the stored sign-in has ended; pass --browser, or run portcullis login")
        }
        Some(UserTokenOutcome::NotSignedIn) | None => {
            skipped("no credentials; pass --client-id and --client-secret-file, or --browser")
        }
    }
}

fn refusal(status: u16, error: Option<&str>) -> Code {
    match (status, error) {
        (_, Some("invalid_client")) => Code::ClientRefused,
        (_, Some("unauthorized_client" | "unsupported_grant_type")) => Code::GrantNotAllowed,
        (_, Some("invalid_target")) => Code::WrongAudience,
        (429, _) => Code::RateLimited,
        (500..=599, _) => Code::ServerError,
        (404 | 405 | 300..=399, None) => Code::TokenNotRouted,
        _ => Code::TokenFailed,
    }
}

fn refused_text(status: u16, error: Option<&str>, description: &str) -> String {
    let texts = [Some(status.to_string()), error.map(str::to_owned), Some(description.to_owned())];
    texts.into_iter().flatten().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(": ")
}

fn audience_finding(observed: &Observations, audience: Option<&[String]>) -> Finding {
    const CHECK: Check = Check::Token;
    let resource = observed.url.as_ref().map(portcullis_core::PublicUrl::resource).unwrap_or_default();
    match audience {
        Some(named) if observed.issuer_is_own() && !named.contains(&resource) => {
            Finding::problem(CHECK, Code::WrongAudience, format!("aud is {}", named.join(", ")))
        }
        _ => Finding::ok(CHECK, "issued"),
    }
}

pub(super) fn authorization(observed: &Observations) -> Finding {
    const CHECK: Check = Check::Authorization;
    let Some(first) = observed.revisions.first() else { return not_examined(CHECK) };
    let reply = match &first.exchange {
        Ok(reply) => reply,
        Err(none) => return Finding::problem(CHECK, no_reply(none), none.text()),
    };
    let code = match (reply.status, reply.refusal().as_deref()) {
        (401, _) => return Finding::problem(CHECK, unauthenticated(reply), refused(reply)),
        (403, None) if reply.body.contains("Host header") => Code::HostRewritten,
        (403, None) => Code::ForbiddenByProxy,
        (429, _) => Code::RateLimited,
        (503, Some(_)) => Code::ServerBusy,
        (502..=504, None) => Code::NoServer,
        (500..=599, _) => Code::ServerError,
        // Whether the message is answered is for the next checks.
        _ => return Finding::ok(CHECK, "the token is accepted"),
    };
    Finding::problem(CHECK, code, reply.summary())
}

/// A 401 response to a request with a token. Without an error in the challenge, no token arrived (RFC 6750 §3.1).
fn unauthenticated(reply: &HttpReply) -> Code {
    let challenge = reply.all("www-authenticate").join(", ");
    match (parameter(&challenge, "error"), parameter(&challenge, "error_description")) {
        (None, _) => Code::AuthorizationStripped,
        (_, Some(text)) if text.contains("another resource") || text.contains("another audience") => {
            Code::WrongAudience
        }
        _ => Code::TokenRefused,
    }
}

fn refused(reply: &HttpReply) -> String {
    let challenge = reply.all("www-authenticate").join(", ");
    let text = parameter(&challenge, "error_description").map(clipped);
    format!("401 with a token: {}", text.unwrap_or_else(|| "the server saw none".to_owned()))
}
