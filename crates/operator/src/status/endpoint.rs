//! The conditions and the status of an endpoint.

use crate::status::{
    Blocker,
    addresses::client_addresses_known,
    confined::{exec_confined, writes_confined},
    exposed::{ExposedBy, Notes, enforcer_name, exposed},
    finding, reason,
    rollout::Rollout,
};
use crate::{servers::Report, verify::VerifyError};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use portcullis_api::{
    McpEndpoint, McpEndpointStatus,
    condition::{
        AVAILABLE, CONSOLE_SERVED, CREDENTIALS_LOADED, Finding, LIMITS_FIT, LOGINS_READY, READY, RECONCILING, STALLED,
        TOOLS_KNOWN, VERIFIED, conditions,
    },
    tools::UnknownTool,
};
use portcullis_config::Revision;
use portcullis_core::PublicUrl;
use portcullis_plan::{ClientPlan, LoginProblem, PolicyProblem};
use serde_json::Value;

/// The maximum number of login problems in a message.
const SHOWN_PROBLEMS: usize = 5;

/// The observations of an endpoint whose objects are applied.
#[derive(Clone, Debug)]
pub struct EndpointObservation<'a> {
    /// The endpoint's public URL.
    pub url: &'a PublicUrl,
    /// The planned revision.
    pub revision: &'a Revision,
    /// The endpoint's namespace.
    pub namespace: &'a str,
    /// The live Deployment, without metadata.
    pub deployment: Option<&'a Value>,
    /// The rollout of the servers.
    pub rollout: &'a Rollout,
    /// How the endpoint is exposed.
    pub exposed_by: ExposedBy<'a>,
    /// Notes on the exposure.
    pub notes: Notes<'a>,
    /// Every running server's name and report.
    pub servers: &'a [(String, Report)],
    /// The MCP revisions that all ready servers support, or what went wrong; `None`: no server is ready.
    pub verified: Option<&'a Result<Vec<String>, VerifyError>>,
    /// The number of active grants.
    pub active_grants: i32,
    /// The number of logins in the manifest, and their problems.
    pub logins: (usize, &'a [LoginProblem]),
    /// Why the servers may not exec, if they may not.
    pub exec_problem: Option<&'a PolicyProblem>,
    /// Why the servers may write objects of other endpoints, if they may.
    pub writes_problem: Option<&'a PolicyProblem>,
    /// The request to rotate the keys that was acted on last.
    pub rotated_for: Option<&'a str>,
    /// Why the limits do not fit the memory limit.
    pub limits_problem: Option<&'a str>,
    /// The entries of `spec.tools` that match no tool.
    pub unknown_tools: &'a [UnknownTool<'a>],
    /// Whether the path of the landing page is free.
    pub console_served: bool,
    /// Why a part of the plan was not applied.
    pub blocker: Option<&'a Blocker>,
    /// The problem with the custom resource definitions.
    pub definitions: Option<&'a Blocker>,
}

/// The conditions of an endpoint, `Ready` first.
#[must_use]
pub fn endpoint_findings(observed: &EndpointObservation<'_>) -> Vec<Finding> {
    let exposed = exposed(observed.exposed_by, observed.notes, observed.namespace);
    let mut parts = vec![available(observed), exposed, credentials_loaded(observed), verified(observed)];
    parts.extend(logins_ready(observed));
    parts.push(exec_confined(observed.exec_problem));
    let failing = parts.iter().find(|part| part.holds != Some(true) && part.reason != reason::ADDRESS_NOT_ALLOWED);
    // It depends on headers that clients can forge.
    let beside = client_addresses_known(observed.servers);
    let ready = match (observed.blocker, failing) {
        (Some(blocker), _) => blocked(blocker),
        (None, Some(part)) => Finding { kind: READY, holds: Some(false), ..part.clone() },
        (None, None) => {
            finding(READY, Some(true), reason::READY, format!("agents connect at {}", observed.url.resource()))
        }
    };
    // Servers continue with the valid part, so this does not affect Ready.
    let limits = observed
        .limits_problem
        .map(|problem| finding(LIMITS_FIT, Some(false), reason::MEMORY_LIMIT_TOO_LOW, problem.to_owned()));
    let tools = tools_known(observed.unknown_tools).into_iter().chain(console_served(observed));
    // Servers need their writes, so the missing policy does not affect Ready.
    let writes = writes_confined(observed.writes_problem);
    let progress = observed.rollout.finding(observed.blocker.or(observed.definitions));
    [ready].into_iter().chain(parts).chain([writes]).chain(limits).chain(tools).chain(beside).chain(progress).collect()
}

/// The conditions of an endpoint that cannot be planned.
#[must_use]
pub fn blocked_findings(blocker: &Blocker) -> [Finding; 2] {
    [blocked(blocker), finding(STALLED, Some(true), blocker.reason, blocker.message.clone())]
}

fn blocked(blocker: &Blocker) -> Finding {
    finding(READY, Some(false), blocker.reason, blocker.message.clone())
}

fn available(observed: &EndpointObservation<'_>) -> Finding {
    let number = |path: &str| observed.deployment.and_then(|live| live.pointer(path)).and_then(Value::as_i64);
    let wanted = number("/spec/replicas").unwrap_or(1);
    let ready = number("/status/readyReplicas").unwrap_or(0);
    let holds = |name: &str| {
        let all = observed.deployment.and_then(|live| live.pointer("/status/conditions")).and_then(Value::as_array);
        all.into_iter().flatten().any(|condition| condition["type"] == name && condition["status"] == "True")
    };
    if wanted == 0 {
        let message = "spec.deployment.replicas is 0, so there are no servers; raise it".to_owned();
        return finding(AVAILABLE, Some(false), reason::SCALED_TO_ZERO, message);
    }
    let count = format!("{ready} of {wanted} servers are ready");
    match (observed.rollout.stuck(), &observed.rollout.killed) {
        (_, Some(killed)) if holds("Available") && ready > 0 => {
            finding(AVAILABLE, Some(true), reason::OUT_OF_MEMORY, format!("{count}; {killed}"))
        }
        (_, None) if holds("Available") && ready > 0 => finding(AVAILABLE, Some(true), reason::SERVERS_READY, count),
        (Some(stuck), _) => finding(AVAILABLE, Some(false), stuck.reason, format!("{count}: {}", stuck.message)),
        (None, _) => finding(AVAILABLE, Some(false), reason::SERVERS_STARTING, count),
    }
}

fn credentials_loaded(observed: &EndpointObservation<'_>) -> Finding {
    let total = observed.servers.len();
    if total == 0 {
        return finding(CREDENTIALS_LOADED, Some(false), reason::NO_SERVERS, "no server runs".to_owned());
    }
    let lagging: Vec<&(String, Report)> =
        observed.servers.iter().filter(|(_, report)| !is_current(report, observed.revision)).collect();
    let Some((name, report)) = lagging.first() else {
        let message = format!("every server has loaded revision {}", observed.revision);
        return finding(CREDENTIALS_LOADED, Some(true), reason::LOADED, message);
    };
    let loaded = observed.servers.iter().filter(|(_, report)| has_loaded(report, observed.revision)).count();
    let done = format!("{loaded} of {total} servers have loaded revision {}", observed.revision);
    let rejected = lagging.iter().find_map(|(name, report)| Some((name, report.as_ref().ok()?.rejected.as_ref()?)));
    match (rejected, report) {
        (Some((name, why)), _) => {
            let message = format!("{done}; pod {name} refused the newest files and keeps the previous ones: {why}");
            finding(CREDENTIALS_LOADED, Some(false), reason::REJECTED, message)
        }
        (None, Ok(_)) => finding(CREDENTIALS_LOADED, Some(false), reason::LOADING, done),
        (None, Err(why)) => finding(
            CREDENTIALS_LOADED,
            Some(false),
            reason::LOADING,
            format!("{done}; pod {name} does not report its revision: {why}"),
        ),
    }
}

/// Whether a server has loaded this revision, and refused nothing since: a certificate is not part of the revision.
#[must_use]
pub fn is_current(report: &Report, revision: &Revision) -> bool {
    has_loaded(report, revision) && report.as_ref().is_ok_and(|report| report.rejected.is_none())
}

/// Whether a server has loaded this revision.
#[must_use]
pub fn has_loaded(report: &Report, revision: &Revision) -> bool {
    report.as_ref().is_ok_and(|report| report.revision == *revision)
}

fn verified(observed: &EndpointObservation<'_>) -> Finding {
    match observed.verified {
        None => finding(VERIFIED, None, reason::NO_READY_SERVER, "no server is ready".to_owned()),
        Some(Ok(_)) => {
            let message =
                "every ready server passed the checks of a client: metadata, keys, challenge, token, server/discover"
                    .to_owned();
            finding(VERIFIED, Some(true), reason::STEPS_SUCCEEDED, message)
        }
        Some(Err(error @ VerifyError::AddressNotAllowed { .. })) => {
            finding(VERIFIED, None, reason::ADDRESS_NOT_ALLOWED, error.to_string())
        }
        Some(Err(error @ (VerifyError::Step { .. } | VerifyError::Token(_)))) => {
            finding(VERIFIED, Some(false), reason::STEP_FAILED, error.to_string())
        }
    }
}

/// The other entries are valid, so this does not affect `Ready`.
fn tools_known(unknown: &[UnknownTool<'_>]) -> Option<Finding> {
    if unknown.is_empty() {
        return None;
    }
    let shown: Vec<String> =
        unknown.iter().take(SHOWN_PROBLEMS).map(|entry| format!("{}: {entry}", entry.field())).collect();
    let more = unknown.len().saturating_sub(SHOWN_PROBLEMS);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let message = format!("{}{more}", shown.join("; "));
    Some(finding(TOOLS_KNOWN, Some(false), reason::UNKNOWN_TOOL, message))
}

/// Agents do not need the landing page, so this does not affect `Ready`.
fn console_served(observed: &EndpointObservation<'_>) -> Option<Finding> {
    let message = "spec.url or an alias uses /console, the path of the landing page: the endpoint works without it; to have it, \
                   move the endpoint to another path";
    (!observed.console_served).then(|| finding(CONSOLE_SERVED, Some(false), reason::PATH_IN_USE, message.to_owned()))
}

fn logins_ready(observed: &EndpointObservation<'_>) -> Option<Finding> {
    let (count, problems) = observed.logins;
    if count == 0 {
        return None;
    }
    let Some(first) = problems.first() else {
        let message = format!("all logins of spec.login can be used ({count})");
        return Some(finding(LOGINS_READY, Some(true), reason::LOGINS_USABLE, message));
    };
    let reason = match first {
        LoginProblem::SecretNotFound { .. } => reason::SECRET_NOT_FOUND,
        LoginProblem::KeyMissing { .. } | LoginProblem::GroupsMissing { .. } => reason::SECRET_KEY_MISSING,
        LoginProblem::UserMalformed { .. } => reason::USER_MALFORMED,
        LoginProblem::UserTooCostly { .. } => reason::USER_TOO_COSTLY,
        LoginProblem::GroupMalformed { .. } => reason::GROUP_MALFORMED,
    };
    // A status must not have a line for each of a thousand users.
    let more = problems.len().saturating_sub(SHOWN_PROBLEMS);
    let mut message: Vec<String> = problems.iter().take(SHOWN_PROBLEMS).map(ToString::to_string).collect();
    message.extend((more > 0).then(|| format!("and {more} more")));
    Some(finding(LOGINS_READY, Some(false), reason, message.join("; ")))
}

/// The status of a planned endpoint.
#[must_use]
pub fn endpoint_status(
    endpoint: &McpEndpoint,
    observed: &EndpointObservation<'_>,
    clients: &[ClientPlan],
    now: Timestamp,
) -> McpEndpointStatus {
    let generation = endpoint.metadata.generation;
    let previous = endpoint.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let number = |path: &str| {
        let number = observed.deployment.and_then(|live| live.pointer(path)).and_then(Value::as_i64);
        number.and_then(|number| i32::try_from(number).ok()).unwrap_or_default()
    };
    let usable = clients.iter().filter(|client| client.problem.is_none()).count();
    let reports = || observed.servers.iter().filter_map(|(_, report)| report.as_ref().ok());
    McpEndpointStatus {
        observed_generation: generation,
        url: Some(observed.url.resource()),
        issuer: Some(
            endpoint
                .spec
                .external_issuer
                .as_ref()
                .map_or_else(|| observed.url.issuer(), |external| external.issuer_url.clone()),
        ),
        replicas: number("/status/replicas"),
        ready_replicas: number("/status/readyReplicas"),
        selector: observed.deployment.and_then(selector),
        clients: i32::try_from(usable).unwrap_or(i32::MAX),
        active_grants: observed.active_grants,
        rotated_for: observed.rotated_for.map(ToOwned::to_owned),
        cors_enforced_by: Some(enforcer_name(observed.notes.cors).to_owned()),
        server_version: reports().map(|report| report.version.clone()).min(),
        protocol_versions: observed.verified.and_then(|verified| verified.as_ref().ok()).cloned().unwrap_or_default(),
        conditions: conditions(&endpoint_findings(observed), previous, generation, now),
    }
}

/// The Deployment's selector as text, for the subresource `scale`.
fn selector(deployment: &Value) -> Option<String> {
    let labels = deployment.pointer("/spec/selector/matchLabels")?.as_object()?;
    let labels: Option<Vec<String>> =
        labels.iter().map(|(name, value)| Some(format!("{name}={}", value.as_str()?))).collect();
    labels.map(|labels| labels.join(","))
}

/// The status of an endpoint that cannot be planned: the previous status, and the reason.
#[must_use]
pub fn blocked_status(endpoint: &McpEndpoint, blocker: &Blocker, now: Timestamp) -> McpEndpointStatus {
    let before = endpoint.status.clone().unwrap_or_default();
    let generation = endpoint.metadata.generation;
    let new = conditions(&blocked_findings(blocker), &before.conditions, generation, now);
    let is_old = |condition: &Condition| ![READY, STALLED, RECONCILING].contains(&condition.type_.as_str());
    let conditions = new.into_iter().chain(before.conditions.into_iter().filter(is_old)).collect();
    McpEndpointStatus { observed_generation: generation, conditions, ..before }
}

#[cfg(test)]
mod tests;
