//! Statuses of Deployments and pods as controllers and kubelets write them, and what is said of them.

use crate::status::rollout::{Rollout, RolloutProgress};
use crate::{
    status::{Blocker, finding, reason},
    stores::strip_pod,
};
use jiff::Timestamp;
use kube::core::DynamicObject;
use portcullis_api::condition::{RECONCILING, STALLED, conditions};
use serde_json::{Value, json};
use std::sync::Arc;

const NOW: &str = "2026-03-01T12:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// As the operator keeps it.
fn pod(name: &str, status: &Value) -> Arc<DynamicObject> {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {}, "status": status});
    let mut pod: DynamicObject = serde_json::from_value(pod).unwrap();
    strip_pod(&mut pod);
    Arc::new(pod)
}

fn container(state: &Value, last: &Value, restarts: u32, ready: bool) -> Value {
    json!({"phase": "Running", "containerStatuses": [{
        "name": "server", "image": "example.com/portcullis:typo", "state": state, "lastState": last,
        "restartCount": restarts, "ready": ready, "imageID": "sha256:0",
    }]})
}

fn waiting(reason: &str, message: &str) -> Value {
    container(&json!({"waiting": {"reason": reason, "message": message}}), &Value::Null, 0, false)
}

fn terminated(reason: &str, code: i64, at: &str) -> Value {
    json!({"terminated": {"reason": reason, "exitCode": code, "finishedAt": at}})
}

fn unschedulable(since: &str) -> Value {
    json!({"phase": "Pending", "conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "lastTransitionTime": since,
        "message": "0/3 nodes are available: 3 Insufficient memory.",
    }]})
}

fn deployment(spec: &Value, status: &Value) -> DynamicObject {
    serde_json::from_value(json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "agents", "generation": 2},
        "spec": spec, "status": status,
    }))
    .unwrap()
}

fn complete() -> DynamicObject {
    let status = json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2});
    deployment(&json!({"replicas": 2}), &status)
}

fn running() -> Arc<DynamicObject> {
    pod("agents-old", &container(&json!({"running": {}}), &Value::Null, 0, true))
}

/// Whether it is stuck, the reason, and the message.
fn message_of(rollout: &Rollout) -> (bool, &str, &str) {
    match &rollout.progress {
        RolloutProgress::Complete => (false, "", ""),
        RolloutProgress::Moving(Blocker { reason, message }) => (false, reason, message),
        RolloutProgress::Stuck(Blocker { reason, message }) => (true, reason, message),
    }
}

#[test]
#[rustfmt::skip]
fn a_pod_that_cannot_run_stalls_the_rollout_though_others_serve() {
    let (run, none) = (json!({"running": {}}), Value::Null);
    let crash = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting"}});
    let oom = terminated("OOMKilled", 137, NOW);
    let error = terminated("Error", 2, NOW);
    let rows = [
        (waiting("ErrImagePull", "docker.io/x: not found"), true, reason::IMAGE_PULL_FAILED,
            &["image \"example.com/portcullis:typo\" of pod agents-new cannot be pulled: the registry does not have the image; correct", "--server-image"][..]),
        (waiting("ImagePullBackOff", "Back-off pulling image"), true, reason::IMAGE_PULL_FAILED, &["cannot be pulled; correct"]),
        (waiting("InvalidImageName", "couldn't parse"), true, reason::IMAGE_PULL_FAILED, &["the name of the image is invalid"]),
        (waiting("CreateContainerConfigError", "secret \"x\" not found"), true, reason::CONFIG_MISSING, &["secret \"x\" not found; create it"]),
        (waiting("RunContainerError", "exec format error"), true, reason::CRASH_LOOPING, &["exec format error; correct"]),
        (waiting("ContainerCreating", ""), false, "", &[]),
        (container(&crash, &error, 5, false), true, reason::CRASH_LOOPING, &["ended (exit code 2), restarted 5 times", "kubectl logs agents-new --previous"]),
        (container(&crash, &oom, 3, false), true, reason::OUT_OF_MEMORY, &["ran out of memory and was killed, restarted 3 times; raise spec.deployment.resources.limits.memory"]),
        (container(&oom, &none, 0, false), true, reason::OUT_OF_MEMORY, &["not restarted yet"]),
        // On its way up again: not yet ready, and ready.
        (container(&run, &error, 1, false), true, reason::CRASH_LOOPING, &["restarted once"]),
        (container(&run, &error, 1, true), false, "", &[]),
        (container(&run, &none, 0, false), false, "", &[]),
        (unschedulable("2026-03-01T11:00:00Z"), true, reason::UNSCHEDULABLE, &["no node can run pod agents-new: 0/3 nodes are available: 3 Insufficient memory; add nodes", "requests"]),
        (unschedulable("2026-03-01T11:59:30Z"), false, reason::UNSCHEDULABLE, &["no node can run pod agents-new"]),
        // An evicted pod is replaced by its controller.
        (json!({"phase": "Failed", "reason": "Evicted", "containerStatuses": [{"state": error}]}), false, "", &[]),
    ];
    for (status, stuck, reason, words) in rows {
        let pods = [running(), pod("agents-new", &status)];
        let found = Rollout::observe(Some(&complete()), &pods, None, now());
        let (is_stuck, why, message) = message_of(&found);
        assert_eq!((is_stuck, why), (stuck, reason), "{status}: {message}");
        assert!(words.iter().all(|word| message.contains(word)), "{status}: {message}");
        assert_eq!(found.stuck().is_some(), stuck);
        let grace = (reason == reason::UNSCHEDULABLE && !stuck).then(|| "2026-03-01T12:00:30Z".parse().unwrap());
        assert_eq!(found.look_again, grace, "{status}");
    }
}

#[test]
#[rustfmt::skip]
fn without_a_failing_pod_the_deployment_tells() {
    let status = |generation: i64, replicas: i64, updated: i64, available: i64, conditions: &[Value]| json!({
        "observedGeneration": generation, "replicas": replicas, "updatedReplicas": updated,
        "availableReplicas": available, "conditions": conditions,
    });
    let condition = |kind: &str, status: &str, reason: &str, message: &str| json!({"type": kind, "status": status, "reason": reason, "message": message});
    let failure = |message: &str| [condition("ReplicaFailure", "True", "FailedCreate", message)];
    let late = [condition("Progressing", "False", "ProgressDeadlineExceeded", "ReplicaSet has timed out progressing.")];
    let rows = [
        (status(2, 2, 2, 2, &[]), false, "", ""),
        (status(1, 2, 2, 2, &[]), false, reason::ROLLOUT_IN_PROGRESS, "0 of 2 servers run the newest version"),
        (status(2, 3, 1, 2, &[]), false, reason::ROLLOUT_IN_PROGRESS, "1 of 2 servers run the newest version"),
        (status(2, 3, 2, 3, &[]), false, reason::ROLLOUT_IN_PROGRESS, "2 of 2"),
        (status(2, 2, 2, 1, &[]), false, reason::ROLLOUT_IN_PROGRESS, "1 of 2 servers are available"),
        (status(2, 3, 1, 2, &late), true, reason::ROLLOUT_STALLED, "1 of 2 servers run the newest version, and no more became ready"),
        // It speaks of the version before.
        (status(1, 3, 1, 2, &late), false, reason::ROLLOUT_IN_PROGRESS, "0 of 2"),
        (status(2, 2, 0, 2, &failure("pods \"a\" is forbidden: exceeded quota: small, requested: pods=1")), true, reason::POD_REFUSED, "exceeded quota: small, requested: pods=1; raise the ResourceQuota"),
        (status(2, 2, 0, 2, &failure("pods \"a\" is forbidden: failed quota: q: must specify requests.memory for: server")), true, reason::POD_REFUSED, "set these resources in spec.deployment.resources, or defaults for the namespace by a LimitRange"),
        (status(2, 2, 0, 2, &failure("violates PodSecurity")), true, reason::POD_REFUSED, "violates PodSecurity; correct the named fields"),
    ];
    for (status, stuck, reason, words) in rows {
        let live = deployment(&json!({"replicas": 2}), &status);
        let found = Rollout::observe(Some(&live), &[running()], None, now());
        let (is_stuck, why, message) = message_of(&found);
        assert_eq!((is_stuck, why), (stuck, reason), "{status}: {message}");
        assert!(message.contains(words), "{status}: {message}");
    }
    let none = Rollout::observe(None, &[], None, now());
    assert_eq!((message_of(&none).0, message_of(&none).1), (false, reason::ROLLOUT_IN_PROGRESS));
    let zero = deployment(&json!({"replicas": 0}), &json!({"observedGeneration": 2}));
    assert_eq!(Rollout::observe(Some(&zero), &[], None, now()).progress, RolloutProgress::Complete);
}

#[test]
fn a_server_that_was_killed_and_runs_again_is_reported_for_an_hour() {
    let killed = |at: &str| pod("a", &container(&json!({"running": {}}), &terminated("OOMKilled", 137, at), 2, true));
    let at = |at: &str| Rollout::observe(Some(&complete()), &[killed(at)], None, now());
    let found = at("2026-03-01T11:30:00Z");
    assert_eq!(found.progress, RolloutProgress::Complete);
    assert_eq!(
        found.killed.as_deref(),
        Some(
            "pod a ran out of memory and was killed at 2026-03-01T11:30:00Z, restarted 2 times; raise \
             spec.deployment.resources.limits.memory"
        )
    );
    assert_eq!(at("2026-03-01T10:59:00Z").killed, None);
    let other = pod("a", &container(&json!({"running": {}}), &terminated("Error", 1, NOW), 2, true));
    assert_eq!(Rollout::observe(Some(&complete()), &[other], None, now()).killed, None);
}

/// By the rules of kstatus each is there only while it is true, and they exclude each other.
#[test]
fn stalled_and_reconciling_are_there_only_while_they_hold() {
    let (moving, stuck) = ("moving".to_owned(), "stuck".to_owned());
    let (moving, stuck) = (
        RolloutProgress::Moving(Blocker { reason: reason::ROLLOUT_IN_PROGRESS, message: moving }),
        RolloutProgress::Stuck(Blocker { reason: reason::ROLLOUT_STALLED, message: stuck }),
    );
    let taken = Blocker { reason: reason::NAME_TAKEN, message: "taken".to_owned() };
    for (progress, blocker, expected) in [
        (RolloutProgress::Complete, None, None),
        (RolloutProgress::Complete, Some(&taken), Some((STALLED, reason::NAME_TAKEN))),
        (moving.clone(), None, Some((RECONCILING, reason::ROLLOUT_IN_PROGRESS))),
        (moving, Some(&taken), Some((STALLED, reason::NAME_TAKEN))),
        (stuck.clone(), None, Some((STALLED, reason::ROLLOUT_STALLED))),
        (stuck, Some(&taken), Some((STALLED, reason::ROLLOUT_STALLED))),
    ] {
        let found = Rollout { progress, killed: None, look_again: None }.finding(blocker);
        assert!(found.as_ref().is_none_or(|found| found.holds == Some(true)));
        assert_eq!(found.map(|found| (found.kind, found.reason)), expected);
    }
}

/// A kubelet reports by turns the registry's answer and that it waits. The status is written once.
#[test]
fn a_failing_pull_is_one_message() {
    let observe = |status: &Value, said: Option<&_>| {
        let found = Rollout::observe(Some(&complete()), &[pod("a", status)], said, now());
        message_of(&found).2.to_owned()
    };
    let first = observe(&waiting("ErrImagePull", "manifest unknown"), None);
    let stalled = finding(STALLED, Some(true), reason::IMAGE_PULL_FAILED, first.clone());
    let said = conditions(&[stalled], &[], None, now());
    let back_off = waiting("ImagePullBackOff", "Back-off pulling image");
    assert_eq!(observe(&back_off, said.first()), first);
    assert_ne!(observe(&back_off, None), first);
}
