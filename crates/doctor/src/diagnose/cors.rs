//! Requests of web pages: the Fetch standard's CORS protocol, for each origin.

use super::not_examined;
use crate::{
    Check, Code, Finding,
    observation::{HttpReply, Observations, PageRequests},
};

const CHECK: Check = Check::Cors;
const ALLOW_ORIGIN: &str = "access-control-allow-origin";
/// The headers that agents in web pages send, and for which browsers ask.
const NEEDED_HEADERS: [&str; 3] = ["authorization", "content-type", "mcp-protocol-version"];

pub(super) fn pages(observed: &Observations) -> Vec<Finding> {
    if observed.pages.is_empty() {
        return vec![not_examined(CHECK)];
    }
    observed.pages.iter().map(|page| examine(page).about(&page.origin)).collect()
}

fn examine(page: &PageRequests) -> Finding {
    let (preflight, answer) = match (&page.preflight, &page.answer) {
        (Ok(preflight), Ok(answer)) => (preflight, answer),
        (Err(none), _) | (_, Err(none)) => {
            return Finding::problem(CHECK, super::response::no_reply(none), none.text());
        }
    };
    if preflight.status == 429 || answer.status == 429 {
        return Finding::problem(CHECK, Code::RateLimitReached, "429");
    }
    for reply in [preflight, answer] {
        let values = reply.all(ALLOW_ORIGIN);
        if values.len() > 1 || values.iter().any(|value| value.contains(',')) {
            return Finding::problem(CHECK, Code::CorsDuplicate, format!("{ALLOW_ORIGIN}: {}", values.join(" and ")));
        }
    }
    let refused = answer.status == 403 && answer.refusal().as_deref() == Some("origin_not_allowed");
    let (before, after) = (allows(preflight, &page.origin), allows(answer, &page.origin));
    if !page.required && !before && !after {
        return Finding::ok(
            CHECK,
            "not allowed, which is fine: this agent connects from its own servers, without CORS",
        );
    }
    if refused {
        return Finding::problem(CHECK, Code::OriginNotAllowed, answer.summary());
    }
    if !before {
        let header = preflight.header(ALLOW_ORIGIN).unwrap_or("none");
        let seen = format!("preflight: {}, {ALLOW_ORIGIN}: {header}", preflight.status);
        return Finding::problem(CHECK, Code::CorsPreflightRefused, seen);
    }
    if let Some(seen) = incomplete(preflight) {
        return Finding::problem(CHECK, Code::CorsPreflightIncomplete, seen);
    }
    if !after {
        let header = answer.header(ALLOW_ORIGIN).unwrap_or("none");
        let seen = format!("{} with {ALLOW_ORIGIN}: {header}", answer.status);
        return Finding::problem(CHECK, Code::CorsAnswerMissing, seen);
    }
    if !lists(answer, "access-control-expose-headers", "www-authenticate") {
        return Finding::problem(CHECK, Code::CorsNotExposed, "WWW-Authenticate is not exposed");
    }
    Finding::ok(CHECK, "allowed")
}

/// Whether a response allows the origin. A preflight response must also have a successful status.
fn allows(reply: &HttpReply, origin: &str) -> bool {
    let allowed = reply.header(ALLOW_ORIGIN).is_some_and(|value| value == origin || value == "*");
    let is_preflight = reply.headers.contains_key("access-control-allow-methods");
    allowed && (!is_preflight || (200..300).contains(&reply.status))
}

/// The part of a request that the preflight response does not allow.
fn incomplete(preflight: &HttpReply) -> Option<String> {
    // POST needs no permission (Fetch standard, CORS-safelisted method).
    let missing: Vec<&str> =
        NEEDED_HEADERS.into_iter().filter(|name| !lists(preflight, "access-control-allow-headers", name)).collect();
    (!missing.is_empty()).then(|| format!("not allowed: {}", missing.join(", ")))
}

/// Whether a header with a list of names has this one. A `*` stands for every name but `Authorization`.
fn lists(reply: &HttpReply, header: &str, name: &str) -> bool {
    let mut names = reply.all(header).iter().flat_map(|value| value.split(',')).map(str::trim);
    names.any(|listed| listed.eq_ignore_ascii_case(name) || (listed == "*" && name != "authorization"))
}
