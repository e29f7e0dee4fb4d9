//! What the operator and Kubernetes report: conditions, Warning events, clients and grants.

use super::{Subject, read};
use crate::{
    Check, Code, Finding,
    cluster::value::{condition_is, list, name, number, reason_and_message, text, time},
    observation::clipped,
};
use jiff::SignedDuration;
use serde_json::Value;
use std::collections::BTreeSet;

/// The conditions on which `Ready` does not depend.
const ADVICE: [&str; 5] = ["ClientAddressesKnown", "WritesConfined", "LimitsFit", "ToolsKnown", "ConsoleServed"];
/// The age of the oldest event that is shown.
const RECENT: SignedDuration = SignedDuration::from_hours(1);
/// The most findings about events or clients.
const MAX_SHOWN: usize = 5;

pub(super) fn conditions(subject: &Subject<'_>) -> Vec<Finding> {
    const CHECK: Check = Check::Conditions;
    let conditions = list(subject.endpoint, "/status/conditions");
    // `Stalled` reports a problem when it is true.
    let fails = |condition: &&Value| match text(condition, "/type") {
        Some("Stalled") => condition["status"] == "True",
        Some("Reconciling") => false,
        _ => condition["status"] == "False",
    };
    let failed: Vec<&Value> = conditions.iter().filter(fails).collect();
    let others = failed.iter().any(|condition| condition["type"] != "Ready");
    let findings: Vec<Finding> = failed
        .into_iter()
        // `Ready` repeats another condition.
        .filter(|condition| condition["type"] != "Ready" || !others)
        .map(|condition| {
            let kind = text(condition, "/type").unwrap_or_default();
            // `Ready` does not depend on it: clients may be allowed where the operator is not.
            let advice = ADVICE.contains(&kind) || condition["reason"] == "AddressNotAllowed";
            let code = if advice { Code::ConditionWarning } else { Code::ConditionFalse };
            Finding::problem(CHECK, code, clipped(&reason_and_message(condition))).about(kind)
        })
        .collect();
    if findings.is_empty() {
        return vec![Finding::ok(CHECK, format!("{} conditions, none reports a problem", conditions.len()))];
    }
    findings
}

pub(super) fn events(subject: &Subject<'_>) -> Vec<Finding> {
    const CHECK: Check = Check::Events;
    let events = match read(CHECK, &subject.cluster.events) {
        Ok(events) => events,
        Err(finding) => return vec![finding],
    };
    let own = name(subject.endpoint);
    let is_own = |event: &&Value| {
        let object = text(event, "/involvedObject/name").unwrap_or_default();
        object == own || object.strip_prefix(own).is_some_and(|rest| rest.starts_with('-'))
    };
    let when = |event: &Value| {
        ["/series/lastObservedTime", "/lastTimestamp", "/eventTime", "/metadata/creationTimestamp"]
            .into_iter()
            .find_map(|field| time(event, field))
    };
    let is_recent = |event: &&Value| when(event).is_some_and(|time| subject.cluster.time.duration_since(time) < RECENT);
    let mut recent: Vec<&Value> = events.iter().filter(is_own).filter(is_recent).collect();
    recent.sort_by_key(|event| std::cmp::Reverse(when(event)));
    let mut seen = BTreeSet::new();
    let newest = recent.into_iter().filter(|event| seen.insert(text(event, "/reason").unwrap_or_default()));
    let findings: Vec<Finding> = newest
        .take(MAX_SHOWN)
        .map(|event| {
            let object = &event["involvedObject"];
            let kind = text(object, "/kind").unwrap_or_default();
            let times = number(event, "/count").filter(|count| *count > 1);
            let times = times.map(|count| format!(" ({count} times)")).unwrap_or_default();
            let seen = format!("{}{times}", reason_and_message(event));
            let about = format!("{kind} {}", text(object, "/name").unwrap_or_default());
            Finding::problem(CHECK, Code::WarningEvents, clipped(&seen)).about(&about)
        })
        .collect();
    if findings.is_empty() {
        return vec![Finding::ok(CHECK, "no Warning event in the last hour")];
    }
    findings
}

pub(super) fn clients(subject: &Subject<'_>) -> Vec<Finding> {
    const CHECK: Check = Check::Clients;
    let clients = match read(CHECK, &subject.cluster.clients) {
        Ok(clients) => clients,
        Err(finding) => return vec![finding],
    };
    let own: Vec<&Value> =
        clients.iter().filter(|client| client["spec"]["endpointRef"]["name"] == *name(subject.endpoint)).collect();
    let failed = own.iter().filter_map(|client| {
        let conditions = list(client, "/status/conditions");
        let specific = conditions.iter().find(|one| one["status"] == "False" && one["type"] != "Ready");
        let condition = specific.or_else(|| condition_is(client, "Ready", "False"))?;
        let seen = clipped(&reason_and_message(condition));
        Some(Finding::problem(CHECK, Code::ClientNotReady, seen).about(name(client)))
    });
    let findings: Vec<Finding> = failed.take(MAX_SHOWN).collect();
    if findings.is_empty() {
        return vec![Finding::ok(CHECK, format!("{} OAuthClients, none reports a problem", own.len()))];
    }
    findings
}

pub(super) fn grants(subject: &Subject<'_>) -> Finding {
    const CHECK: Check = Check::Grants;
    let grants = match read(CHECK, &subject.cluster.grants) {
        Ok(grants) => grants,
        Err(finding) => return finding,
    };
    let is_active = |grant: &&Value| {
        grant["spec"]["revoked"].is_null()
            && time(grant, "/spec/expiresAt").is_none_or(|end| subject.cluster.time < end)
    };
    let active = grants.iter().filter(is_active).count();
    Finding::ok(CHECK, format!("{active} grants are active, {} have ended", grants.len() - active))
}
