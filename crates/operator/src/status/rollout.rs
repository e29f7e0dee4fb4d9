//! The rollout of the servers, and what blocks it: from the Deployment and its pods to the conditions `Reconciling` and
//! `Stalled`. Pure.
//!
//! Old servers keep serving while new ones cannot start, so `Ready` does not show it.

use crate::status::{Blocker, finding, pull, reason};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{ResourceExt as _, core::DynamicObject};
use portcullis_api::condition::{Finding, RECONCILING, STALLED};
use portcullis_core::image_pull::is_pull_failure;
use serde_json::Value;
use std::sync::Arc;

/// How long an unschedulable pod may wait for a cluster autoscaler before the rollout is stalled.
const SCHEDULING_GRACE: SignedDuration = SignedDuration::from_mins(1);
/// How long an out-of-memory kill is reported after the server runs again.
const KILL_SHOWN_FOR: SignedDuration = SignedDuration::from_hours(1);
/// The maximum length of a cluster message in a condition.
const LONGEST_DETAIL: usize = 600;

/// The progress of the rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RolloutProgress {
    /// Every server runs the newest version.
    Complete,
    /// New servers are starting.
    Moving(Blocker),
    /// The rollout cannot complete by itself.
    Stuck(Blocker),
}

/// The state of the rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// The progress.
    pub progress: RolloutProgress,
    /// A running server that recently ran out of memory: which one, when, and what to do.
    pub killed: Option<String>,
    /// When to reconcile again without a watch event.
    pub look_again: Option<Timestamp>,
}

impl Rollout {
    /// From the live Deployment and the servers' pods, as the operator keeps them. `previous` is the condition `Stalled` so
    /// far.
    #[must_use]
    pub fn observe(
        deployment: Option<&DynamicObject>,
        pods: &[Arc<DynamicObject>],
        previous: Option<&Condition>,
        now: Timestamp,
    ) -> Self {
        let mut pods: Vec<Pod<'_>> = pods.iter().filter_map(|pod| Pod::of(pod)).collect();
        pods.sort_by(|a, b| a.name.cmp(&b.name));
        let failed = pods.iter().find_map(|pod| pod.failure(previous));
        let unscheduled = pods.iter().find_map(Pod::unscheduled);
        let (progress, look_again) = match (failed, unscheduled) {
            (Some(failure), _) => (RolloutProgress::Stuck(failure), None),
            (None, Some((since, blocker))) => match since.checked_add(SCHEDULING_GRACE).ok().filter(|end| now < *end) {
                Some(end) => (RolloutProgress::Moving(blocker), Some(end)),
                None => (RolloutProgress::Stuck(blocker), None),
            },
            (None, None) => (of_deployment(deployment), None),
        };
        Self { progress, killed: pods.iter().find_map(|pod| pod.killed_lately(now)), look_again }
    }

    /// What blocks the start of servers.
    #[must_use]
    pub fn stuck(&self) -> Option<&Blocker> {
        match &self.progress {
            RolloutProgress::Stuck(blocker) => Some(blocker),
            RolloutProgress::Complete | RolloutProgress::Moving(_) => None,
        }
    }

    /// `Stalled` or `Reconciling`, true; by the rules of kstatus neither is there otherwise. `blocker` is what else
    /// needs help.
    pub(super) fn finding(&self, blocker: Option<&Blocker>) -> Option<Finding> {
        let (kind, why) = match (&self.progress, blocker) {
            (RolloutProgress::Stuck(why), _) | (_, Some(why)) => (STALLED, why),
            (RolloutProgress::Moving(why), None) => (RECONCILING, why),
            (RolloutProgress::Complete, None) => return None,
        };
        Some(finding(kind, Some(true), why.reason, why.message.clone()))
    }
}

/// The progress according to the Deployment.
fn of_deployment(deployment: Option<&DynamicObject>) -> RolloutProgress {
    let Some(live) = deployment else {
        return moving("the Deployment of the servers does not exist yet".to_owned());
    };
    let number = |path: &str| live.data.pointer(path).and_then(Value::as_i64);
    let condition = |kind: &str, status: &str| {
        let all = live.data.pointer("/status/conditions").and_then(Value::as_array);
        all.into_iter().flatten().find(|one| one["type"] == kind && one["status"] == status)
    };
    let message = |condition: &Value| shortened(condition["message"].as_str().unwrap_or("no reason is given"));
    if let Some(refused) = condition("ReplicaFailure", "True") {
        return RolloutProgress::Stuck(refusal(&message(refused)));
    }
    let wanted = number("/spec/replicas").unwrap_or(1);
    let current = number("/status/observedGeneration").unwrap_or(0) >= live.metadata.generation.unwrap_or(0);
    let updated = if current { number("/status/updatedReplicas").unwrap_or(0) } else { 0 };
    let available = number("/status/availableReplicas").unwrap_or(0);
    let others = number("/status/replicas").unwrap_or(0) - updated;
    let count = format!("{updated} of {wanted} servers run the newest version");
    if current && condition("Progressing", "False").is_some_and(|one| one["reason"] == "ProgressDeadlineExceeded") {
        let message = format!(
            "{count}, and no more became ready within ten minutes; see kubectl describe pods and kubectl logs of the \
             servers, or return to the previous version"
        );
        return RolloutProgress::Stuck(Blocker { reason: reason::ROLLOUT_STALLED, message });
    }
    if !current || updated < wanted || others > 0 {
        return moving(count);
    }
    if available < wanted {
        return moving(format!("{available} of {wanted} servers are available"));
    }
    RolloutProgress::Complete
}

fn moving(message: String) -> RolloutProgress {
    RolloutProgress::Moving(Blocker { reason: reason::ROLLOUT_IN_PROGRESS, message })
}

/// The refusal of a server's pod by admission or a quota.
fn refusal(cause: &str) -> Blocker {
    let remedy = if cause.contains("must specify") {
        "set these resources in spec.deployment.resources, or defaults for the namespace by a LimitRange"
    } else if cause.contains("exceeded quota") {
        "raise the ResourceQuota of the namespace, or lower spec.deployment.replicas or resources"
    } else {
        "correct the named fields, or exempt the servers from that policy"
    };
    let message = format!("the cluster refuses the pod of a server: {cause}; {remedy}");
    Blocker { reason: reason::POD_REFUSED, message }
}

/// A server's pod that is neither terminating nor finished.
struct Pod<'a> {
    name: String,
    data: &'a Value,
}

impl<'a> Pod<'a> {
    fn of(pod: &'a DynamicObject) -> Option<Self> {
        let is_over = pod.data["phase"] == "Failed" || pod.data["phase"] == "Succeeded";
        (pod.metadata.deletion_timestamp.is_none() && !is_over).then(|| Self { name: pod.name_any(), data: &pod.data })
    }

    fn containers(&self) -> impl Iterator<Item = &'a Value> {
        self.data["containers"].as_array().into_iter().flatten()
    }

    /// Since when it is unschedulable, and why.
    fn unscheduled(&self) -> Option<(Timestamp, Blocker)> {
        let condition = &self.data["unscheduled"];
        (condition["reason"] == "Unschedulable").then_some(())?;
        let since = condition["lastTransitionTime"].as_str().and_then(|time| time.parse().ok());
        let cause = shortened(condition["message"].as_str().unwrap_or("no reason is given"));
        let message = format!(
            "no node can run pod {}: {cause}; add nodes or free some, or lower spec.deployment.resources.requests",
            self.name
        );
        Some((since.unwrap_or(Timestamp::UNIX_EPOCH), Blocker { reason: reason::UNSCHEDULABLE, message }))
    }

    fn failure(&self, previous: Option<&Condition>) -> Option<Blocker> {
        self.containers().find_map(|container| self.container_failure(container, previous))
    }

    fn container_failure(&self, container: &Value, previous: Option<&Condition>) -> Option<Blocker> {
        let waiting = &container["state"]["waiting"];
        let (word, detail) = (waiting["reason"].as_str().unwrap_or_default(), waiting["message"].as_str());
        let detail = shortened(detail.unwrap_or("no reason is given"));
        let name = &self.name;
        if is_pull_failure(word) {
            let begin = format!("image {} of pod {name} cannot be pulled", container["image"]);
            let remedy = "correct the operator's --server-image (image or serverImage of the chart), or let the nodes pull \
                          it, by a pull secret of the servers' ServiceAccount";
            let message =
                pull::message(&begin, remedy, pull::cause(word, &detail), previous, reason::IMAGE_PULL_FAILED);
            return Some(Blocker { reason: reason::IMAGE_PULL_FAILED, message });
        }
        if word == "CreateContainerConfigError" {
            let message = format!("an object that pod {name} needs is missing: {detail}; create it, or correct it");
            return Some(Blocker { reason: reason::CONFIG_MISSING, message });
        }
        if matches!(word, "CreateContainerError" | "RunContainerError") {
            let message =
                format!("pod {name} cannot be started: {detail}; correct the operator's --server-image, or the node");
            return Some(Blocker { reason: reason::CRASH_LOOPING, message });
        }
        // What has ended and does not run as it should again, whether it waits, is being started, or has ended once more.
        let restarts = container["restartCount"].as_i64().unwrap_or_default();
        let ended = [&container["state"]["terminated"], &container["lastState"]["terminated"]]
            .into_iter()
            .find(|terminated| terminated.is_object())?;
        if container["ready"] == true {
            return None;
        }
        if ended["reason"] == "OOMKilled" {
            let message = format!("pod {name} ran out of memory and was killed, {}; {MORE_MEMORY}", times(restarts));
            return Some(Blocker { reason: reason::OUT_OF_MEMORY, message });
        }
        let how = match (ended["reason"].as_str(), ended["exitCode"].as_i64()) {
            (Some(word @ ("StartError" | "ContainerCannotRun")), _) => {
                format!("{word}: {}", shortened(ended["message"].as_str().unwrap_or_default()))
            }
            (_, Some(code)) => format!("exit code {code}"),
            (_, None) => "for an unknown reason".to_owned(),
        };
        let message = format!(
            "the server of pod {name} has ended ({how}), {}; see kubectl logs {name} --previous",
            times(restarts)
        );
        Some(Blocker { reason: reason::CRASH_LOOPING, message })
    }

    fn killed_lately(&self, now: Timestamp) -> Option<String> {
        self.containers().find_map(|container| {
            let ended = &container["lastState"]["terminated"];
            let at: Timestamp = ended["finishedAt"].as_str()?.parse().ok()?;
            let shown = ended["reason"] == "OOMKilled" && now.duration_since(at) < KILL_SHOWN_FOR;
            let restarts = container["restartCount"].as_i64().unwrap_or_default();
            shown.then(|| {
                format!(
                    "pod {} ran out of memory and was killed at {at}, {}; {MORE_MEMORY}",
                    self.name,
                    times(restarts)
                )
            })
        })
    }
}

const MORE_MEMORY: &str = "raise spec.deployment.resources.limits.memory";

fn times(restarts: i64) -> String {
    match restarts {
        0 => "not restarted yet".to_owned(),
        1 => "restarted once".to_owned(),
        _ => format!("restarted {restarts} times"),
    }
}

fn shortened(text: &str) -> String {
    let text = text.trim().trim_end_matches('.');
    let end = text.floor_char_boundary(LONGEST_DETAIL);
    if end < text.len() { format!("{}…", &text[..end]) } else { text.to_owned() }
}

/// The fields of a server's pod for [`Rollout`].
pub(crate) fn kept_of_pod(status: &Value) -> (Value, Value) {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    let unscheduled = conditions.into_iter().find(|one| one["type"] == "PodScheduled" && one["status"] == "False");
    let kept = |container: &Value| {
        let fields = ["image", "ready", "restartCount", "state", "lastState"];
        Value::Object(fields.map(|field| (field.to_owned(), container[field].clone())).into_iter().collect())
    };
    let containers = status["containerStatuses"].as_array().into_iter().flatten().map(kept).collect();
    (unscheduled.cloned().unwrap_or_default(), containers)
}

#[cfg(test)]
mod tests;
