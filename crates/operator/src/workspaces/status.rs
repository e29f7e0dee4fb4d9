//! The phase and the conditions of a workspace from observations. Pure.
//!
//! Messages are for AI agents: what is wrong, and what to do. Messages of the cluster are included if they help.

use crate::status::pull;
use crate::workspaces::reason;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::DynamicObject;
use portcullis_api::{
    condition::{Finding, READY, RECONCILING, STALLED},
    workspace::Phase,
};
use portcullis_core::{agent_paths::FAILED_PROGRAM, image_pull::is_pull_failure};
use portcullis_plan::workspace::{CONTAINER, INSTALLER, SecretRefusal, StartBlocker};
use serde_json::Value;

/// The maximum length of a cluster message in a condition.
const LONGEST_DETAIL: usize = 600;

/// The observations.
#[derive(Clone, Copy, Debug)]
pub(super) struct StatusInputs<'a> {
    /// Whether it should have a pod.
    pub up: bool,
    /// Why it cannot start.
    pub blocker: Option<&'a StartBlocker>,
    /// Why its next start will be refused.
    pub next_start: Option<&'a SecretRefusal>,
    /// Why it is not as planned.
    pub problem: Option<&'a WorkspaceProblem>,
    /// Its pod.
    pub pod: Option<&'a DynamicObject>,
    /// Its PersistentVolumeClaim.
    pub claim: Option<&'a DynamicObject>,
    /// Why its pod was refused.
    pub refusal: Option<&'a str>,
    /// Why there is no volume.
    pub volume_failure: Option<&'a str>,
    /// The previous condition `Ready`.
    pub previous: Option<&'a Condition>,
}

/// Why an object is not as planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WorkspaceProblem {
    /// One of [`reason`].
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

/// The result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WorkspaceFinding {
    /// The phase.
    pub phase: Phase,
    /// The condition `Ready`.
    pub ready: Finding,
}

impl WorkspaceFinding {
    /// `Ready`, and by the rules of kstatus `Reconciling` or `Stalled` while it holds.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let kind = match self.phase {
            Phase::Starting | Phase::Stopping => Some(RECONCILING),
            Phase::Failed => Some(STALLED),
            Phase::Running | Phase::Stopped => None,
        };
        let progress = kind.map(|kind| Finding { kind, holds: Some(true), ..self.ready.clone() });
        [self.ready.clone()].into_iter().chain(progress).collect()
    }
}

fn found(phase: Phase, reason: &'static str, message: impl Into<String>) -> WorkspaceFinding {
    let holds = Some(reason == reason::READY);
    WorkspaceFinding { phase, ready: Finding { kind: READY, holds, reason, message: message.into() } }
}

/// Determines the phase and the condition `Ready`.
pub(super) fn find(seen: &StatusInputs<'_>) -> WorkspaceFinding {
    if let Some(problem) = seen.problem {
        return found(Phase::Failed, problem.reason, refused(&problem.message));
    }
    if !seen.up {
        return match (seen.pod, seen.blocker) {
            (Some(_), _) => found(Phase::Stopping, reason::STOPPING, "it is being stopped; its files are kept"),
            (None, Some(blocker)) => found(Phase::Failed, reason_of(blocker), blocker.to_string()),
            (None, None) => {
                found(Phase::Stopped, reason::STOPPED, "it is stopped and its files are kept; start it to run commands")
            }
        };
    }
    let running = match (seen.pod, seen.refusal) {
        (None, Some(refusal)) => found(Phase::Failed, reason::POD_REFUSED, refused(refusal)),
        (None, None) => starting("its pod is being created"),
        (Some(pod), _) => of_pod(seen, pod),
    };
    match seen.blocker {
        Some(blocker) => found(running.phase, reason_of(blocker), blocker.to_string()),
        None => running,
    }
}

fn reason_of(blocker: &StartBlocker) -> &'static str {
    match blocker {
        StartBlocker::TemplateNotFound(_) => reason::TEMPLATE_NOT_FOUND,
        StartBlocker::InvalidParameters(_) => reason::INVALID_PARAMETERS,
        StartBlocker::QuotaExceeded(_) => reason::QUOTA_EXCEEDED,
        StartBlocker::EndpointNotFound(_) => reason::ENDPOINT_NOT_FOUND,
        StartBlocker::SecretRefused(_) => reason::SECRET_REFUSED,
    }
}

fn starting(message: impl Into<String>) -> WorkspaceFinding {
    found(Phase::Starting, reason::STARTING, message)
}

fn of_pod(seen: &StatusInputs<'_>, pod: &DynamicObject) -> WorkspaceFinding {
    let status = &pod.data["status"];
    if pod.metadata.deletion_timestamp.is_some() {
        return starting("its previous pod is terminating; then a new one is created");
    }
    if status["phase"] == "Failed" {
        let why = text(&status["message"]).or_else(|| text(&status["reason"])).unwrap_or("its node terminated it");
        return starting(format!("its pod was terminated and is being recreated: {}", shortened(why)));
    }
    if let Some(condition) = condition(status, "PodScheduled").filter(|one| one["reason"] == "Unschedulable") {
        return unschedulable(seen, text(&condition["message"]).unwrap_or_default());
    }
    let container = |list: &str, name: &str| {
        status[list].as_array().into_iter().flatten().find(|container| container["name"] == name)
    };
    let installer = container("initContainerStatuses", INSTALLER);
    if let Some(found) = installer.and_then(|container| not_running(seen, container, "the agent's installer")) {
        return found;
    }
    let Some(main) = container("containerStatuses", CONTAINER) else { return starting("its pod waits for its node") };
    if let Some(found) = not_running(seen, main, "its main program") {
        return found;
    }
    let lost =
        condition(status, "Ready").is_some_and(|ready| ready["status"] == "False" && ready["reason"] == "NodeNotReady");
    match (&main["state"]["running"], lost) {
        (Value::Object(_), true) => {
            let message = "its node does not answer; wait for it, or stop and start the workspace to move it to another node, \
                           if its volume can move";
            found(Phase::Failed, reason::NODE_NOT_READY, message)
        }
        (Value::Object(_), false) => {
            if let Some(why) = failed_program(&main["lastState"]["terminated"]) {
                return without_program(why);
            }
            let next = seen.next_start.map(|refusal| format!("; it cannot start again: {refusal}")).unwrap_or_default();
            found(Phase::Running, reason::READY, format!("commands can run{next}"))
        }
        _ => starting("its image is being pulled, or its volume mounted"),
    }
}

/// The agent's report on the template's program when it ended the container.
fn failed_program(terminated: &Value) -> Option<&str> {
    text(&terminated["message"]).filter(|message| message.starts_with(FAILED_PROGRAM))
}

fn without_program(why: &str) -> WorkspaceFinding {
    let message = format!(
        "commands can run, but {}; see the workspace's logs. Correct pod.command in the template, then stop and start \
         the workspace",
        shortened(why)
    );
    let holds = Some(true);
    WorkspaceFinding {
        phase: Phase::Running,
        ready: Finding { kind: READY, holds, reason: reason::PROGRAM_FAILED, message },
    }
}

fn unschedulable(seen: &StatusInputs<'_>, message: &str) -> WorkspaceFinding {
    let unbound = seen.claim.is_none_or(|claim| claim.data["status"]["phase"] == "Pending");
    if unbound && message.contains("PersistentVolumeClaim") {
        let why = seen
            .volume_failure
            .map_or_else(|| "no PersistentVolume matches, and no StorageClass provisions one".to_owned(), shortened);
        let message = format!("there is no volume for its files yet: {why}; wait, or ask the platform's engineers");
        return found(Phase::Starting, reason::VOLUME_PENDING, message);
    }
    let message = format!(
        "no node can run it: {}; stop a workspace that is not needed, or create one that requests less; the platform's \
         engineers can add nodes",
        shortened(message)
    );
    found(Phase::Starting, reason::UNSCHEDULABLE, message)
}

/// What is wrong with a container, if anything.
fn not_running(seen: &StatusInputs<'_>, container: &Value, what: &str) -> Option<WorkspaceFinding> {
    let waiting = &container["state"]["waiting"];
    let message = text(&waiting["message"]).unwrap_or_default();
    match text(&waiting["reason"]) {
        Some(reason) if is_pull_failure(reason) => {
            Some(not_pulled(seen, text(&container["image"]).unwrap_or_default(), reason, message))
        }
        Some("CreateContainerConfigError") => {
            let message = format!(
                "an object that its template refers to is missing: {}; ask the platform's engineers to add it",
                shortened(message)
            );
            Some(found(Phase::Failed, reason::CONFIG_MISSING, message))
        }
        Some("CreateContainerError" | "RunContainerError") => {
            let message = format!(
                "{what} could not be started: {}; use another template, or ask the platform's engineers",
                shortened(message)
            );
            Some(found(Phase::Failed, reason::CRASH_LOOPING, message))
        }
        Some("CrashLoopBackOff") => {
            let end = ended(&container["lastState"]["terminated"]);
            let message = format!(
                "{what} keeps ending ({end}); it is restarted after a delay. See its logs; if it needs more memory, create a workspace with more"
            );
            Some(found(Phase::Failed, reason::CRASH_LOOPING, message))
        }
        _ => {
            let terminated = &container["state"]["terminated"];
            let failed = terminated.is_object() && terminated["exitCode"] != 0
                || terminated.is_object() && what == "its main program";
            failed.then(|| starting(format!("{what} has ended ({}) and is started again", ended(terminated))))
        }
    }
}

fn ended(terminated: &Value) -> String {
    if let Some(why) = failed_program(terminated) {
        return shortened(why);
    }
    match (text(&terminated["reason"]), terminated["exitCode"].as_i64()) {
        (Some("OOMKilled"), _) => "out of memory".to_owned(),
        (Some(reason @ ("StartError" | "ContainerCannotRun")), _) => {
            let why = text(&terminated["message"]).map(shortened).unwrap_or_default();
            format!("{reason}: {why}")
        }
        (_, Some(code)) => format!("exit code {code}"),
        (_, None) => "for an unknown reason".to_owned(),
    }
}

/// A kubelet reports alternately the registry's answer and that it waits; the message stays the same.
fn not_pulled(seen: &StatusInputs<'_>, image: &str, reason: &str, message: &str) -> WorkspaceFinding {
    let begin = format!("image {image:?} cannot be pulled");
    let remedy = "the template names it, perhaps by a parameter: choose another value, or ask the platform's engineers";
    let cause = pull::cause(reason, message);
    found(
        Phase::Failed,
        reason::IMAGE_PULL_FAILED,
        pull::message(&begin, remedy, cause, seen.previous, reason::IMAGE_PULL_FAILED),
    )
}

/// The refusal of a pod by admission, with a remedy.
fn refused(message: &str) -> String {
    // `create Pod workspace-a-0 in StatefulSet workspace-a failed error: pods "workspace-a-0" is forbidden: …`
    let detail = message.split_once("failed error: ").map_or(message, |(_, detail)| detail);
    let detail = shortened(detail);
    if detail.contains("must specify") {
        let remedy = if detail.contains(INSTALLER) {
            "the platform's engineers can give the namespace a LimitRange with defaults for it"
        } else {
            "the platform's engineers can set it in pod.resources of the template, or give the namespace a LimitRange with \
             defaults"
        };
        format!("the quota of the namespace requires resources that the template does not set: {detail}; {remedy}")
    } else if detail.contains("exceeded quota") {
        format!(
            "the quota of the namespace does not allow it to start: {detail}; stop or delete a workspace that is not needed, or \
             ask the platform's engineers for more"
        )
    } else if detail.contains("belongs to something else") {
        detail
    } else {
        format!("the cluster rejected it: {detail}; use another template, or ask the platform's engineers")
    }
}

fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    status["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

fn text(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| !text.is_empty())
}

fn shortened(text: &str) -> String {
    let text = text.trim().trim_end_matches('.');
    let end = text.floor_char_boundary(LONGEST_DETAIL);
    if end < text.len() { format!("{}…", &text[..end]) } else { text.to_owned() }
}

#[cfg(test)]
mod tests;
