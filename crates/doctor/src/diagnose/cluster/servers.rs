//! The servers: their Deployment, its pods, and the Service in front of them.

use super::{Subject, read};
use crate::{
    Check, Code, Finding, Outcome,
    cluster::{
        selector::selects,
        value::{condition_is, list, name, number, reason_and_message, text},
    },
    observation::clipped,
};
use portcullis_core::image_pull::is_pull_failure;
use serde_json::{Value, json};

/// The waiting reasons of a container that cannot be created.
const CONFIG_REASONS: [&str; 3] = ["CreateContainerConfigError", "CreateContainerError", "RunContainerError"];
/// The codes of pods, from the one that explains the most.
const CODES: [Code; 6] = [
    Code::ImagePullFailed,
    Code::ContainerConfigError,
    Code::OutOfMemory,
    Code::CrashLoop,
    Code::PodUnschedulable,
    Code::PodNotReady,
];
/// The reasons of `Ready` and `Stalled` because of which the operator creates no objects.
const BLOCKERS: [&str; 4] = ["NameTaken", "ApplyFailed", "Invalid", "DefinitionsOutdated"];

/// Why a pod is not ready.
pub(super) struct PodProblem {
    pub code: Code,
    pub seen: String,
}

pub(super) fn pods(subject: &Subject<'_>) -> Finding {
    const CHECK: Check = Check::Pods;
    let (deployment, pods) = match (read(CHECK, &subject.cluster.deployment), read(CHECK, &subject.cluster.pods)) {
        (Ok(deployment), Ok(pods)) => (deployment, pods),
        (Err(finding), _) | (_, Err(finding)) => return finding,
    };
    let Some(deployment) = deployment else { return missing(subject) };
    // Pods that are being deleted or were evicted have successors.
    let is_current = |pod: &&Value| {
        pod.pointer("/metadata/deletionTimestamp").is_none() && text(pod, "/status/phase") != Some("Failed")
    };
    let current: Vec<&Value> = pods.iter().filter(is_current).collect();
    let ready = current.iter().filter(|pod| is_ready(pod)).count();
    let mut problems: Vec<PodProblem> = current.iter().filter_map(|pod| problem(pod)).collect();
    problems.sort_by_key(|problem| CODES.iter().position(|code| *code == problem.code));
    let wanted = number(deployment, "/spec/replicas").unwrap_or(1);
    let refused = condition_is(deployment, "ReplicaFailure", "True").map(reason_and_message);
    let first = problems.first().map(|first| (first.code, with_event(subject, first)));
    let (code, seen) = match (first, refused) {
        _ if wanted == 0 => (Code::ScaledToZero, "the Deployment has 0 replicas".to_owned()),
        (Some((code, seen)), _) if ready > 0 => {
            (Code::RolloutStalled, format!("{ready} of {wanted} pods are ready; {}: {seen}", code.name()))
        }
        (Some(first), _) => first,
        (None, Some(refused)) if ready > 0 => (
            Code::RolloutStalled,
            format!("{ready} of {wanted} pods are ready; {}: {refused}", Code::PodsRefused.name()),
        ),
        (None, Some(refused)) => (Code::PodsRefused, refused),
        (None, None) if ready == 0 => (Code::PodsMissing, format!("0 of {wanted} pods exist")),
        (None, None) => return Finding::ok(CHECK, format!("{ready} of {wanted} pods are ready")),
    };
    Finding::problem(CHECK, code, clipped(&seen))
}

/// The Deployment does not exist; a condition may say why.
fn missing(subject: &Subject<'_>) -> Finding {
    let blocked = ["Stalled", "Ready"].into_iter().find_map(|kind| {
        let status = if kind == "Stalled" { "True" } else { "False" };
        condition_is(subject.endpoint, kind, status)
            .filter(|condition| BLOCKERS.iter().any(|reason| condition["reason"] == **reason))
    });
    let seen = format!("there is no Deployment {:?}", name(subject.endpoint));
    match blocked {
        Some(condition) => Finding::problem(Check::Pods, Code::ConditionFalse, clipped(&reason_and_message(condition))),
        None => Finding::problem(Check::Pods, Code::DeploymentMissing, seen),
    }
}

fn is_ready(pod: &Value) -> bool {
    condition_is(pod, "Ready", "True").is_some()
}

/// Why a pod is not ready; `None` if it is.
pub(super) fn problem(pod: &Value) -> Option<PodProblem> {
    if is_ready(pod) {
        return None;
    }
    let statuses = list(pod, "/status/initContainerStatuses").iter().chain(list(pod, "/status/containerStatuses"));
    let found = statuses.filter_map(container).min_by_key(|(code, _)| CODES.iter().position(|one| one == code));
    let (code, why) = found.unwrap_or_else(|| {
        if let Some(condition) = condition_is(pod, "PodScheduled", "False") {
            return (Code::PodUnschedulable, reason_and_message(condition));
        }
        let phase = text(pod, "/status/phase").unwrap_or("Unknown");
        let why = condition_is(pod, "Ready", "False").map(reason_and_message).unwrap_or_default();
        let why = if why.is_empty() { String::new() } else { format!(", {why}") };
        (Code::PodNotReady, format!("phase {phase}{why}"))
    });
    Some(PodProblem { code, seen: format!("pod {}: {why}", name(pod)) })
}

/// Why a container does not run.
fn container(status: &Value) -> Option<(Code, String)> {
    let waiting = text(status, "/state/waiting/reason").unwrap_or_default();
    let said = || reason_and_message(&status["state"]["waiting"]);
    if is_pull_failure(waiting) {
        return Some((Code::ImagePullFailed, format!("{}: {}", text(status, "/image").unwrap_or_default(), said())));
    }
    if CONFIG_REASONS.contains(&waiting) {
        return Some((Code::ContainerConfigError, said()));
    }
    let current = status.pointer("/state/terminated");
    let ended = current.or_else(|| status.pointer("/lastState/terminated"))?;
    let exit_code = number(ended, "/exitCode").unwrap_or_default();
    if status["ready"] == true || (current.is_some() && exit_code == 0) {
        return None;
    }
    let restarts = number(status, "/restartCount").unwrap_or_default();
    if ended["reason"] == "OOMKilled" {
        return Some((Code::OutOfMemory, format!("killed because of its memory limit, {restarts} restarts")));
    }
    let repeated = waiting == "CrashLoopBackOff" || current.is_some();
    let message = text(ended, "/message").map(|message| format!(": {}", message.trim())).unwrap_or_default();
    repeated.then(|| (Code::CrashLoop, format!("ended with exit code {exit_code}, {restarts} restarts{message}")))
}

/// The problem, with the newest event of the pod if that says more: why a volume cannot be mounted or a probe fails.
fn with_event(subject: &Subject<'_>, problem: &PodProblem) -> String {
    let events = subject.cluster.events.as_deref().unwrap_or_default();
    let explaining = ["FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox", "Unhealthy"];
    let event = events.iter().rfind(|event| {
        let pod = text(event, "/involvedObject/name").unwrap_or_default();
        event["involvedObject"]["kind"] == "Pod"
            && problem.seen.starts_with(&format!("pod {pod}:"))
            && explaining.iter().any(|reason| event["reason"] == **reason)
    });
    match event.filter(|_| problem.code == Code::PodNotReady) {
        Some(event) => format!("{}; {}", problem.seen, reason_and_message(event)),
        None => problem.seen.clone(),
    }
}

pub(super) fn service(subject: &Subject<'_>) -> Finding {
    const CHECK: Check = Check::Service;
    let (service, slices) = match (read(CHECK, &subject.cluster.service), read(CHECK, &subject.cluster.slices)) {
        (Ok(service), Ok(slices)) => (service, slices),
        (Err(finding), _) | (_, Err(finding)) => return finding,
    };
    let Some(service) = service else {
        let seen = format!("there is no Service {:?}", name(subject.endpoint));
        return Finding::problem(CHECK, Code::ServiceMissing, seen);
    };
    let endpoints = slices.iter().flat_map(|slice| list(slice, "/endpoints"));
    let leads_to = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] != false).count();
    if leads_to > 0 {
        return Finding::ok(CHECK, format!("it leads to {leads_to} servers"));
    }
    let pods = subject.cluster.pods.as_deref().unwrap_or_default();
    let ready: Vec<&Value> = pods.iter().filter(|pod| is_ready(pod)).collect();
    if ready.is_empty() {
        return Finding::skipped(CHECK, Outcome::Skipped("no server is ready"));
    }
    let selector = json!({"matchLabels": service["spec"]["selector"]});
    let selected = ready.iter().filter(|pod| selects(&selector, pod)).count();
    let seen = format!(
        "{} pods are ready, and spec.selector {} selects {selected} of them; there is no endpoint",
        ready.len(),
        service["spec"]["selector"]
    );
    Finding::problem(CHECK, Code::ServiceWithoutEndpoints, clipped(&seen))
}
