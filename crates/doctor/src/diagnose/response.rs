//! The response to a request without a token: whether it comes from the endpoint, its clock and its challenge
//! (RFC 6750 §3, RFC 9728 §5.1).

use super::not_examined;
use crate::{
    Check, Code, Finding,
    observation::{HttpExchange, HttpReply, NoReply, Observations, clipped},
};
use jiff::{SignedDuration, fmt::rfc2822::DateTimeParser};
use portcullis_core::PublicUrl;
use url::Url;

/// The clock difference that servers accept.
const MAX_SKEW: SignedDuration = SignedDuration::from_mins(1);

/// The parser of the `Date` header, whose format (RFC 9110 §5.6.7) is a subset of RFC 5322's.
const DATE: DateTimeParser = DateTimeParser::new();

pub(super) fn http(observed: &Observations) -> Finding {
    let (Ok(url), Some(exchange)) = (&observed.url, &observed.unauthenticated) else {
        return not_examined(Check::Http);
    };
    match problem(url, exchange) {
        Some((code, seen)) => Finding::problem(Check::Http, code, seen),
        None => Finding::ok(Check::Http, "401 without a token"),
    }
}

/// The problem that prevents a 401 response to a request without a token.
fn problem(url: &PublicUrl, exchange: &HttpExchange) -> Option<(Code, String)> {
    let reply = match exchange {
        Ok(reply) => reply,
        Err(none) => return Some((no_reply(none), none.text())),
    };
    let refusal = reply.refusal();
    let code = match (reply.status, refusal.as_deref()) {
        (401, _) => return None,
        (300..=399, _) => return Some(redirect(url, reply)),
        (200..=299, _) if reply.json().is_some_and(|body| body["jsonrpc"] == "2.0") => Code::NotProtected,
        (403, Some("address_not_allowed")) => Code::AddressNotAllowed,
        (403, Some("https_required")) => Code::HttpsNotForwarded,
        (403 | 407, _) => Code::ForbiddenByProxy,
        (404 | 405, Some(_)) => Code::PathUnknown,
        (404, None) => Code::PathNotRouted,
        (429, _) => Code::RateLimited,
        (502..=504, None) => Code::NoServer,
        (503, Some(_)) => Code::ServerBusy,
        (500..=599, _) => Code::ServerError,
        _ => Code::NotAnMcpEndpoint,
    };
    Some((code, reply.summary()))
}

/// The code of a missing response.
pub(super) fn no_reply(none: &NoReply) -> Code {
    match none {
        NoReply::Timeout => Code::HttpTimeout,
        NoReply::Broken(_) => Code::HttpBroken,
    }
}

fn redirect(url: &PublicUrl, reply: &HttpReply) -> (Code, String) {
    let location = reply.header("location").unwrap_or_default();
    let seen = format!("{} to {}", reply.status, clipped(location));
    let Some(target) = Url::parse(&url.resource()).ok().and_then(|base| base.join(location).ok()) else {
        return (Code::RedirectToOtherPath, seen);
    };
    let code = if target.scheme() == "http" && url.is_https() {
        Code::RedirectToHttp
    } else if target.origin().ascii_serialization() != url.origin() {
        Code::RedirectToOtherHost
    } else {
        Code::RedirectToOtherPath
    };
    (code, seen)
}

pub(super) fn clock(observed: &Observations) -> Finding {
    let Some(Ok(reply)) = &observed.unauthenticated else { return not_examined(Check::Clock) };
    let Some(date) = reply.header("date").and_then(|date| DATE.parse_timestamp(date).ok()) else {
        return Finding::ok(Check::Clock, "the response has no readable Date header");
    };
    // The request took some time, and the header has whole seconds.
    let skew = date.duration_since(observed.time);
    if skew.abs() > MAX_SKEW {
        let direction = if skew.is_positive() { "ahead of" } else { "behind" };
        let seen = format!("the server's clock is {:#} {direction} this machine's", skew.abs());
        return Finding::problem(Check::Clock, Code::ClockSkew, seen);
    }
    Finding::ok(Check::Clock, "the clocks differ by less than a minute")
}

pub(super) fn challenge(observed: &Observations) -> Finding {
    let (Ok(url), Some(Ok(reply))) = (&observed.url, &observed.unauthenticated) else {
        return not_examined(Check::Challenge);
    };
    let challenges = reply.all("www-authenticate");
    if challenges.is_empty() {
        return Finding::problem(Check::Challenge, Code::ChallengeMissing, "401 without WWW-Authenticate");
    }
    let problem = |code| Finding::problem(Check::Challenge, code, clipped(&challenges.join("; ")));
    let Some(bearer) = challenges.iter().find(|challenge| is_bearer(challenge)) else {
        return problem(Code::ChallengeNotBearer);
    };
    match parameter(bearer, "resource_metadata") {
        None => problem(Code::ChallengeWithoutMetadata),
        Some(named) if named == url.resource_metadata_url() => {
            Finding::ok(Check::Challenge, format!("Bearer, {named}"))
        }
        Some(_) => problem(Code::ChallengeOtherUrl),
    }
}

fn is_bearer(challenge: &str) -> bool {
    challenge.split_whitespace().next().is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer"))
}

/// A quoted parameter of a challenge.
pub(super) fn parameter<'a>(challenge: &'a str, name: &str) -> Option<&'a str> {
    let rest = challenge.match_indices(name).find_map(|(start, _)| {
        let before = challenge.get(..start)?.chars().next_back();
        let rest = challenge.get(start + name.len()..)?.strip_prefix("=\"")?;
        before.is_none_or(|character| character == ' ' || character == ',').then_some(rest)
    })?;
    rest.split('"').next()
}
