//! What a real scheduler, kubelet and container runtime say of servers that cannot run, and of a workspace's own program
//! that fails, is in conditions and events, with the remedy.

use crate::{
    node::Node,
    stage::{Stage, operator_of, template},
    support::operator::{Operator, eventually},
};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_run_is_reported_with_the_remedy() {
    let Some(node) = Node::start().await else { return };
    let mut stage = Stage::on(&node, &json!({})).await;
    let ann = stage.sign_in("ann").await;

    // An image that is not there: the servers of before serve.
    drop(stage.operator.take());
    let missing = ["--server-image=local/portcullis:missing"];
    stage.operator = Some(Operator::start(&node, node.url(), "one", &missing).await);
    let message = said(&stage, "Stalled", "ImagePullFailed").await;
    let words = ["\"local/portcullis:missing\"", "cannot be pulled", "--server-image"];
    assert!(words.iter().all(|word| message.contains(word)), "{message}");
    said(&stage, "Ready", "Ready").await;
    said(&stage, "Available", "ServersReady").await;
    warned(&stage, "ImagePullFailed").await;
    ann.call("whoami", &json!({})).await.unwrap();
    drop(stage.operator.take());
    stage.operator = Some(operator_of(&node).await);
    settled(&stage).await;

    // More than any node has. It may be on its way for a minute.
    resources(&stage, &json!({"requests": {"memory": "1000Gi"}, "limits": {"memory": "1000Gi"}}));
    let message = said(&stage, "Reconciling", "Unschedulable").await;
    assert!(message.contains("Insufficient memory") && message.contains("resources.requests"), "{message}");
    said(&stage, "Ready", "Ready").await;

    resources(&stage, &Value::Null);
    settled(&stage).await;

    // A workspace goes on without its own program.
    let mut broken = template();
    broken["metadata"]["name"] = json!("broken");
    broken["spec"]["pod"]["command"] = json!(["/bin/sh", "-c", "echo trouble; exit 7"]);
    stage.apply(&[broken]);
    let arguments = json!({"template": "broken", "name": "web"});
    ann.call("create_workspace", &arguments).await.unwrap();
    let message = eventually("the workspace says that its program failed", async || {
        let list: Value = serde_json::from_str(&stage.kubectl(&["get", "ws", "-o", "json"])).unwrap();
        let ready = list["items"][0]["status"]["conditions"][0].clone();
        let is_it = ready["status"] == "True" && ready["reason"] == "ProgramFailed";
        is_it.then(|| ready["message"].as_str().unwrap().to_owned())
    })
    .await;
    assert!(message.contains("pod.command ended at once (exit code 7)"), "{message}");
    assert_eq!(ann.run("web", "echo usable").await["stdout"], "usable\n");
}

/// Waits until a condition is True with this reason, and gives its message.
async fn said(stage: &Stage<'_>, kind: &str, reason: &str) -> String {
    eventually(&format!("{kind} {reason}"), async || {
        let found = conditions(stage).into_iter().find(|one| one["type"] == kind)?;
        let is_it = found["status"] == "True" && found["reason"] == reason;
        is_it.then(|| found["message"].as_str().unwrap_or_default().to_owned())
    })
    .await
}

/// Waits until the servers are as the manifest says.
async fn settled(stage: &Stage<'_>) {
    eventually("nothing is abnormal", async || {
        let abnormal = |one: &Value| one["type"] == "Stalled" || one["type"] == "Reconciling";
        (!conditions(stage).iter().any(abnormal)).then_some(())
    })
    .await;
}

fn conditions(stage: &Stage<'_>) -> Vec<Value> {
    let endpoint: Value = serde_json::from_str(&stage.kubectl(&["get", "mcp/agents", "-o", "json"])).unwrap();
    endpoint["status"]["conditions"].as_array().cloned().unwrap_or_default()
}

async fn warned(stage: &Stage<'_>, reason: &str) {
    let selector = format!("--field-selector=type=Warning,reason={reason}");
    eventually(reason, async || (!stage.kubectl(&["get", "events", &selector, "-o", "name"]).is_empty()).then_some(()))
        .await;
}

fn resources(stage: &Stage<'_>, resources: &Value) {
    let patch = json!({"spec": {"deployment": {"resources": resources}}}).to_string();
    stage.kubectl(&["patch", "mcp/agents", "--type=merge", "-p", &patch]);
}
