//! Stands in for a node: it takes the pods of workspaces, and says of each what a kubelet would say of its image. What
//! runs in a workspace is for the tests on a real node.

use futures::TryStreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    runtime::watcher::{self, Event, watcher},
};
use portcullis_api::labels::WORKSPACE_LABEL;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// A running stand-in. It ends with this value.
pub struct Node {
    _task: JoinSet<()>,
}

impl Node {
    /// Takes the pods of a namespace.
    pub fn start(client: Client, namespace: &str) -> Self {
        let pods: Api<Pod> = Api::namespaced(client, namespace);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let config = watcher::Config::default().labels(WORKSPACE_LABEL);
            let mut events = std::pin::pin!(watcher(pods.clone(), config));
            while let Ok(Some(event)) = events.try_next().await {
                if let Event::Apply(pod) | Event::InitApply(pod) = event {
                    // It may have gone meanwhile.
                    let _ = tend(&pods, &pod).await;
                }
            }
        });
        Self { _task: task }
    }
}

async fn tend(pods: &Api<Pod>, pod: &Pod) -> kube::Result<()> {
    let name = pod.name_any();
    if pod.metadata.deletion_timestamp.is_some() {
        pods.delete(&name, &DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() }).await?;
        return Ok(());
    }
    let Some(spec) = &pod.spec else { return Ok(()) };
    if spec.node_name.is_none() {
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
            "target": {"apiVersion": "v1", "kind": "Node", "name": "node"},
        });
        let _: Value = pods.create_subresource("binding", &name, &PostParams::default(), &binding).await?;
    } else if pod.status.as_ref().is_none_or(|status| status.container_statuses.is_none()) {
        let image = spec.containers[0].image.clone().unwrap_or_default();
        let status = json!({"status": status(&image)});
        pods.patch_status(&name, &PatchParams::default(), &Patch::Strategic(status)).await?;
    }
    Ok(())
}

/// What becomes of an image.
fn status(image: &str) -> Value {
    let now = "2026-03-01T10:00:00Z";
    let (phase, state, last) = if image.contains("missing") {
        let message = format!("failed to resolve reference {image:?}: not found");
        ("Pending", json!({"waiting": {"reason": "ErrImagePull", "message": message}}), Value::Null)
    } else if image.contains("hungry") {
        let waiting = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting"}});
        ("Running", waiting, json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}}))
    } else {
        ("Running", json!({"running": {"startedAt": now}}), Value::Null)
    };
    let container = |name: &str, state: Value, last: Value| json!({"name": name, "image": image, "imageID": "", "ready": true, "restartCount": 0, "state": state, "lastState": last});
    let installed = json!({"terminated": {"exitCode": 0, "reason": "Completed"}});
    json!({
        "phase": phase, "startTime": now,
        "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": now}],
        "initContainerStatuses": [container("install-agent", installed, Value::Null)],
        "containerStatuses": [container("workspace", state, last)],
    })
}
