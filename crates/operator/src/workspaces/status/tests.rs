//! Statuses of pods as kubelets and controllers write them, and what is said of them.

use crate::workspaces::reason;
use crate::workspaces::status::{StatusInputs, WorkspaceFinding, WorkspaceProblem, find};
use jiff::Timestamp;
use kube::core::DynamicObject;
use portcullis_api::{
    condition::{READY, RECONCILING, STALLED, conditions},
    workspace::Phase::{self, Failed, Running, Starting, Stopped, Stopping},
};
use portcullis_plan::workspace::StartBlocker;
use serde_json::{Value, json};

const NOTHING: StatusInputs<'_> = StatusInputs {
    up: true,
    blocker: None,
    next_start: None,
    problem: None,
    pod: None,
    claim: None,
    refusal: None,
    volume_failure: None,
    previous: None,
};

fn pod(status: &Value) -> DynamicObject {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "workspace-a-0"}, "status": status});
    serde_json::from_value(pod).unwrap()
}

fn container(state: &Value) -> Value {
    json!({"name": "workspace", "image": "debian:bokworm", "restartCount": 0, "ready": false, "state": state})
}

fn with_main(state: &Value) -> DynamicObject {
    let installed = json!({"name": "install-agent", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}});
    pod(&json!({
        "phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}],
        "initContainerStatuses": [installed], "containerStatuses": [container(state)],
    }))
}

fn waiting(reason: &str, message: &str) -> DynamicObject {
    with_main(&json!({"waiting": {"reason": reason, "message": message}}))
}

fn row(found: &WorkspaceFinding) -> (Phase, &str, bool) {
    (found.phase, found.ready.reason, found.ready.holds == Some(true))
}

/// A pod, and what is to be said of it.
type Row = (DynamicObject, Phase, &'static str, &'static str);

#[rustfmt::skip]
#[expect(clippy::too_many_lines, reason = "a table")]
fn pods() -> Vec<Row> {
    let running = json!({"running": {"startedAt": "2026-03-01T10:00:00Z"}});
    let crashed = |last: Value| {
        let mut container =
            container(&json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting"}}));
        container["lastState"] = json!({"terminated": last});
        pod(&json!({"phase": "Running", "containerStatuses": [container]}))
    };
    let ended_by_its_program = |state: Value| {
        let mut container = container(&state);
        container["lastState"] = json!({"terminated": {
            "exitCode": 1, "reason": "Error", "message": "pod.command ended at once (exit code 127)",
        }});
        pod(&json!({"phase": "Running", "containerStatuses": [container]}))
    };
    let unschedulable = |message: &str| {
        let condition =
            json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message});
        pod(&json!({"phase": "Pending", "conditions": [condition]}))
    };
    let installing = |state: Value| {
        let installer = json!({"name": "install-agent", "image": "example.com/portcullis", "state": state});
        let main = container(&json!({"waiting": {"reason": "PodInitializing"}}));
        pod(&json!({"phase": "Pending", "initContainerStatuses": [installer], "containerStatuses": [main]}))
    };
    let mut lost = with_main(&running);
    lost.data["status"]["conditions"] = json!([{"type": "Ready", "status": "False", "reason": "NodeNotReady"}]);
    let mut ending = with_main(&running);
    ending.metadata.deletion_timestamp = Some(portcullis_api::condition::whole_seconds(Timestamp::UNIX_EPOCH));
    let back_off = "Back-off pulling image \"debian:bokworm\": ErrImagePull: failed to pull and unpack image: failed to \
                    resolve reference \"docker.io/library/debian:bokworm\": docker.io/library/debian:bokworm: not found";
    vec![
        (with_main(&running), Running, reason::READY, "commands can run"),
        (pod(&json!({"phase": "Pending"})), Starting, reason::STARTING, "waits for its node"),
        (waiting("ContainerCreating", ""), Starting, reason::STARTING, "being pulled"),
        (installing(json!({"running": {}})), Starting, reason::STARTING, "being pulled"),
        (
            waiting("ImagePullBackOff", back_off),
            Failed,
            reason::IMAGE_PULL_FAILED,
            "\"debian:bokworm\" cannot be pulled: the registry does not have the image",
        ),
        (
            waiting("ErrImagePull", "pull access denied, repository does not exist or may require authorization"),
            Failed,
            reason::IMAGE_PULL_FAILED,
            "imagePullSecrets",
        ),
        (
            waiting("ErrImagePull", "dial tcp: lookup registry.example.com: no such host"),
            Failed,
            reason::IMAGE_PULL_FAILED,
            "cannot be reached",
        ),
        (
            waiting("InvalidImageName", "couldn't parse image name"),
            Failed,
            reason::IMAGE_PULL_FAILED,
            "the name of the image is invalid",
        ),
        (
            waiting("ErrImageNeverPull", "Container image is not present with pull policy of Never"),
            Failed,
            reason::IMAGE_PULL_FAILED,
            "imagePullPolicy is Never",
        ),
        (
            installing(json!({"waiting": {"reason": "ErrImagePull", "message": "not found"}})),
            Failed,
            reason::IMAGE_PULL_FAILED,
            "\"example.com/portcullis\"",
        ),
        (
            installing(json!({"terminated": {"exitCode": 2, "reason": "Error"}})),
            Starting,
            reason::STARTING,
            "the agent's installer has ended (exit code 2)",
        ),
        (
            waiting("CreateContainerConfigError", "secret \"tokens\" not found"),
            Failed,
            reason::CONFIG_MISSING,
            "secret \"tokens\" not found; ask",
        ),
        (
            waiting("RunContainerError", "exec: \"/run/portcullis/portcullis\": permission denied"),
            Failed,
            reason::CRASH_LOOPING,
            "permission denied",
        ),
        (
            crashed(json!({"exitCode": 1, "reason": "Error"})),
            Failed,
            reason::CRASH_LOOPING,
            "keeps ending (exit code 1)",
        ),
        (
            ended_by_its_program(running.clone()),
            Running,
            reason::PROGRAM_FAILED,
            "commands can run, but pod.command ended at once (exit code 127); see the workspace's logs. Correct",
        ),
        (
            ended_by_its_program(json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}})),
            Failed,
            reason::CRASH_LOOPING,
            "keeps ending (pod.command ended at once (exit code 127))",
        ),
        (crashed(json!({"exitCode": 137, "reason": "OOMKilled"})), Failed, reason::CRASH_LOOPING, "(out of memory)"),
        (
            crashed(json!({"exitCode": 128, "reason": "StartError", "message": "exec format error"})),
            Failed,
            reason::CRASH_LOOPING,
            "(StartError: exec format error)",
        ),
        (
            with_main(&json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}})),
            Starting,
            reason::STARTING,
            "has ended (out of memory) and is started again",
        ),
        (
            with_main(&json!({"terminated": {"exitCode": 0, "reason": "Completed"}})),
            Starting,
            reason::STARTING,
            "has ended (exit code 0)",
        ),
        (
            unschedulable("0/3 nodes are available: 3 Insufficient memory. preemption: 0/3 nodes are available."),
            Starting,
            reason::UNSCHEDULABLE,
            "3 Insufficient memory",
        ),
        (
            unschedulable("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."),
            Starting,
            reason::VOLUME_PENDING,
            "no StorageClass provisions one",
        ),
        (
            pod(&json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."})),
            Starting,
            reason::STARTING,
            "low on resource: memory",
        ),
        (lost, Failed, reason::NODE_NOT_READY, "does not answer"),
        (ending, Starting, reason::STARTING, "is terminating"),
    ]
}

#[test]
fn a_pod_says_where_it_is() {
    for (pod, phase, reason, message) in pods() {
        let found = find(&StatusInputs { pod: Some(&pod), ..NOTHING });
        let ready = [reason::READY, reason::PROGRAM_FAILED].contains(&reason);
        assert_eq!(row(&found), (phase, reason, ready), "{message}");
        assert!(found.ready.message.contains(message), "{message}: {}", found.ready.message);
    }
}

#[test]
fn a_volume_that_could_not_be_made_says_why() {
    let claim: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "home"}, "status": {"phase": "Pending"},
    }))
    .unwrap();
    let condition = json!({
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "pod has unbound immediate PersistentVolumeClaims",
    });
    let pod = pod(&json!({"phase": "Pending", "conditions": [condition]}));
    let why = "storageclass.storage.k8s.io \"fast\" not found";
    let found = find(&StatusInputs { pod: Some(&pod), claim: Some(&claim), volume_failure: Some(why), ..NOTHING });
    assert_eq!(found.ready.reason, reason::VOLUME_PENDING);
    assert!(found.ready.message.contains(why), "{}", found.ready.message);
}

#[test]
fn without_a_pod_the_cluster_or_the_plan_says_why() {
    let quota = "create Pod workspace-a-0 in StatefulSet workspace-a failed error: pods \"workspace-a-0\" is forbidden: \
                 exceeded quota: small, requested: limits.memory=2Gi, used: limits.memory=7Gi, limited: limits.memory=8Gi";
    let amount = |names: &str| {
        format!(
            "create Pod workspace-a-0 in StatefulSet workspace-a failed error: pods \"workspace-a-0\" is forbidden: failed \
             quota: small: must specify {names}"
        )
    };
    let (own, agents) =
        (amount("requests.memory for: workspace"), amount("limits.ephemeral-storage for: install-agent,workspace"));
    let class = "create Pod workspace-a-0 in StatefulSet workspace-a failed error: pod rejected: RuntimeClass \"gvisor\" not found";
    let taken = WorkspaceProblem {
        reason: reason::NAME_TAKEN,
        message: "StatefulSet \"a\" belongs to something else; remove it".to_owned(),
    };
    let ending = with_main(&json!({"running": {}}));
    let (gone, surplus) = (StartBlocker::TemplateNotFound("t".to_owned()), StartBlocker::QuotaExceeded(5));
    let unreachable = StartBlocker::EndpointNotFound("agents".to_owned());
    let down = StatusInputs { up: false, ..NOTHING };
    let rows = [
        (NOTHING, Starting, reason::STARTING, "is being created"),
        (
            StatusInputs { refusal: Some(quota), ..NOTHING },
            Failed,
            reason::POD_REFUSED,
            "pods \"workspace-a-0\" is forbidden: exceeded quota: small",
        ),
        (StatusInputs { refusal: Some(quota), ..NOTHING }, Failed, reason::POD_REFUSED, "stop or delete a workspace"),
        (
            StatusInputs { refusal: Some(&own), ..NOTHING },
            Failed,
            reason::POD_REFUSED,
            "must specify requests.memory for: workspace; the platform's engineers can set it in pod.resources of the template",
        ),
        (
            StatusInputs { refusal: Some(&agents), ..NOTHING },
            Failed,
            reason::POD_REFUSED,
            "install-agent,workspace; the platform's engineers can give the namespace a LimitRange",
        ),
        (
            StatusInputs { refusal: Some(class), ..NOTHING },
            Failed,
            reason::POD_REFUSED,
            "the cluster rejected it: pod rejected: RuntimeClass \"gvisor\" not found",
        ),
        (
            StatusInputs { problem: Some(&taken), ..NOTHING },
            Failed,
            reason::NAME_TAKEN,
            "belongs to something else; remove it",
        ),
        (down, Stopped, reason::STOPPED, "start it"),
        (StatusInputs { pod: Some(&ending), ..down }, Stopping, reason::STOPPING, "files are kept"),
        (
            StatusInputs { blocker: Some(&gone), ..down },
            Failed,
            reason::TEMPLATE_NOT_FOUND,
            "template \"t\" no longer exists",
        ),
        (StatusInputs { blocker: Some(&surplus), ..down }, Failed, reason::QUOTA_EXCEEDED, "more than 5"),
        (
            StatusInputs { blocker: Some(&unreachable), pod: Some(&ending), ..NOTHING },
            Running,
            reason::ENDPOINT_NOT_FOUND,
            "no McpEndpoint \"agents\"",
        ),
    ];
    for (seen, phase, reason, message) in rows {
        let found = find(&seen);
        assert_eq!(row(&found), (phase, reason, false), "{message}");
        assert!(found.ready.message.contains(message), "{message}: {}", found.ready.message);
        let about_quota = message.contains("must specify") || message.contains("LimitRange");
        assert!(!about_quota || !found.ready.message.contains("delete a workspace"), "{}", found.ready.message);
    }
}

#[test]
fn stalled_and_reconciling_follow_the_phase() {
    let kinds = |seen: StatusInputs<'_>| find(&seen).findings().iter().map(|finding| finding.kind).collect::<Vec<_>>();
    let (running, failing) = (with_main(&json!({"running": {}})), waiting("ErrImagePull", "not found"));
    assert_eq!(kinds(StatusInputs { pod: Some(&running), ..NOTHING }), [READY]);
    assert_eq!(kinds(NOTHING), [READY, RECONCILING]);
    assert_eq!(kinds(StatusInputs { up: false, ..NOTHING }), [READY]);
    let failed = find(&StatusInputs { pod: Some(&failing), ..NOTHING }).findings();
    assert_eq!((failed[1].kind, failed[1].holds, failed[1].reason), (STALLED, Some(true), reason::IMAGE_PULL_FAILED));
    assert_eq!(failed[1].message, failed[0].message);
}

/// A kubelet says it in other words each time. That must not be written each time.
#[test]
fn retries_of_a_failing_pull_are_one_message() {
    let first = find(&StatusInputs { pod: Some(&waiting("ErrImagePull", "manifest unknown")), ..NOTHING });
    let previous = conditions(std::slice::from_ref(&first.ready), &[], None, Timestamp::UNIX_EPOCH);
    let second = waiting("ImagePullBackOff", "Back-off pulling image \"debian:bokworm\"");
    assert_eq!(find(&StatusInputs { pod: Some(&second), previous: previous.first(), ..NOTHING }), first);
    assert_ne!(find(&StatusInputs { pod: Some(&second), ..NOTHING }), first);
}

#[test]
fn what_a_cluster_says_is_repeated_up_to_a_length() {
    let long = "é".repeat(10_000);
    let found = find(&StatusInputs { refusal: Some(&long), ..NOTHING });
    assert!(found.ready.message.len() < 1000 && found.ready.message.contains('…'));
}
