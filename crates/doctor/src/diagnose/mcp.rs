//! MCP messages with a token: revisions, tools, a call; and the time and the rate limits of all requests.

use super::{not_examined, response::no_reply};
use crate::{
    Check, Code, Finding, Outcome, documents,
    observation::{HttpExchange, HttpReply, Observations, RevisionRequest, clipped},
    probe::TOOL,
};
use std::time::Duration;

/// Agents notice responses that take longer.
const SLOW: Duration = Duration::from_secs(2);

pub(super) fn revisions(observed: &Observations) -> Vec<Finding> {
    const CHECK: Check = Check::Revisions;
    if observed.revisions.is_empty() {
        return vec![not_examined(CHECK)];
    }
    let (spoken, missing): (Vec<&RevisionRequest>, Vec<&RevisionRequest>) =
        observed.revisions.iter().partition(|request| is_spoken(request));
    if spoken.is_empty() {
        let seen = missing.first().map(|request| format!("{}: {}", request.revision, text(&request.exchange)));
        return vec![Finding::problem(CHECK, Code::McpFailed, seen.unwrap_or_default())];
    }
    let names = spoken.iter().map(|request| request.revision).collect::<Vec<_>>().join(", ");
    let warnings = missing
        .iter()
        .map(|request| Finding::problem(CHECK, Code::RevisionMissing, text(&request.exchange)).about(request.revision));
    std::iter::once(Finding::ok(CHECK, names)).chain(warnings).collect()
}

/// Whether the response agrees to the revision: to `initialize` by `protocolVersion`, to `server/discover` by the list.
fn is_spoken(request: &RevisionRequest) -> bool {
    let Ok(reply) = &request.exchange else { return false };
    let Some(answer) = reply.json().filter(|_| reply.status == 200) else { return false };
    let result = &answer["result"];
    let listed = result["supportedVersions"].as_array();
    result["protocolVersion"] == request.revision
        || listed.is_some_and(|versions| versions.iter().any(|version| version == request.revision))
}

fn text(exchange: &HttpExchange) -> String {
    match exchange {
        Ok(reply) => reply.summary(),
        Err(none) => none.text(),
    }
}

pub(super) fn tools(observed: &Observations) -> Finding {
    const CHECK: Check = Check::Tools;
    let Some(exchange) = &observed.tools else { return not_examined(CHECK) };
    match documents::tools(exchange) {
        Some(tools) if tools.is_empty() => Finding::problem(CHECK, Code::ToolsEmpty, "the list is empty"),
        Some(tools) => Finding::ok(CHECK, format!("{} tools", tools.len())),
        None => Finding::problem(CHECK, code_or(exchange, Code::ToolsFailed), text(exchange)),
    }
}

pub(super) fn call(observed: &Observations) -> Finding {
    const CHECK: Check = Check::Call;
    let Some(first) = observed.calls.first() else {
        return if observed.tools.is_some() && !observed.serves(TOOL) {
            Finding::skipped(CHECK, Outcome::Skipped("whoami, the tool that would be called, is not served"))
        } else {
            not_examined(CHECK)
        };
    };
    let answer = first.as_ref().ok().and_then(HttpReply::json).unwrap_or_default();
    if answer["result"].is_object() && answer["result"]["isError"] != true {
        return Finding::ok(CHECK, "whoami answered");
    }
    let message = answer["result"]["content"][0]["text"].as_str().map(clipped);
    Finding::problem(CHECK, code_or(first, Code::CallFailed), message.unwrap_or_else(|| text(first)))
}

/// The code of a missing response, or of a rate limit; otherwise this one.
fn code_or(exchange: &HttpExchange, code: Code) -> Code {
    match exchange {
        Err(none) => no_reply(none),
        Ok(reply) if reply.status == 429 => Code::RateLimited,
        Ok(_) => code,
    }
}

pub(super) fn latency(observed: &Observations) -> Finding {
    const CHECK: Check = Check::Latency;
    let mut times: Vec<Duration> = observed.calls.iter().flatten().map(|reply| reply.took).collect();
    if times.is_empty() {
        times = observed.replies().map(|reply| reply.took).collect();
    }
    times.sort_unstable();
    let Some(median) = times.get(times.len() / 2) else { return not_examined(CHECK) };
    let seen = format!("median of {} requests: {} ms", times.len(), median.as_millis());
    if *median > SLOW { Finding::problem(CHECK, Code::Slow, seen) } else { Finding::ok(CHECK, seen) }
}

pub(super) fn rate_limits(observed: &Observations) -> Finding {
    const CHECK: Check = Check::RateLimits;
    let (limited, total) = observed
        .replies()
        .fold((0_u32, 0_u32), |(limited, total), reply| (limited + u32::from(reply.status == 429), total + 1));
    if limited == 0 {
        return Finding::ok(CHECK, format!("none of {total} requests was refused"));
    }
    Finding::problem(CHECK, Code::RateLimitReached, format!("{limited} of {total} requests were refused with 429"))
}
