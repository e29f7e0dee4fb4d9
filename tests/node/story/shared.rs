//! Mode Kubernetes: a workspace is shared by a RoleBinding, verb by verb, for as long as there is one.

use super::apart::keep_apart;
use crate::{
    stage::{Person, Stage},
    support::operator::eventually,
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// How long a server may remember what it was told, and what it takes to ask again.
const AT_MOST: Duration = Duration::from_secs(12);

#[tokio::test(flavor = "multi_thread")]
async fn a_role_binding_shares_a_workspace_verb_by_verb_and_unshares_it() {
    let Some(stage) = Stage::shared(&json!({"authorization": {"mode": "Kubernetes"}})).await else { return };
    let [ann, bob, eve] = [stage.sign_in("ann").await, stage.sign_in("bob").await, stage.sign_in("eve").await];
    let made = ann.make("web").await;
    ann.run("web", "echo ours > notes.txt").await;
    let id = made["id"].as_str().unwrap();
    let alone = unknown(&bob, id).await;

    // By what docs/workspaces.md says, with `get` alone at first.
    let only = format!("--resource-name={id}");
    let role = |name: &str, verb: &str, subresource: &str| {
        let [verb, resource] = [format!("--verb={verb}"), format!("--resource=workspaces.portcullis.dev{subresource}")];
        stage.kubectl(&["create", "role", name, &verb, &resource, &only]);
        let role = format!("--role={name}");
        stage.kubectl(&["create", "rolebinding", name, &role, "--user=portcullis:agents:local:bob"]);
    };
    role("see", "get", "");
    within("bob sees it", async || bob.call("get_workspace", &json!({"workspace": id})).await.ok()).await;
    let seen = bob.call("list_workspaces", &json!({})).await.unwrap();
    assert_eq!((&seen["workspaces"][0]["id"], &seen["workspaces"][0]["owner"]), (&json!(id), &json!("ann")), "{seen}");
    for tool in ["workspace_usage", "workspace_logs"] {
        bob.call(tool, &json!({"workspace": "web"})).await.unwrap();
    }
    for (tool, more, verb) in [
        ("run_command", json!({"command": "true"}), "work in"),
        ("list_processes", json!({}), "work in"),
        ("read_file", json!({"path": "notes.txt"}), "work in"),
        ("write_file", json!({"path": "notes.txt", "content": "mine"}), "work in"),
        ("stop_workspace", json!({}), "stop"),
        ("start_workspace", json!({}), "start"),
        ("restart_workspace", json!({}), "restart"),
        ("delete_workspace", json!({}), "delete"),
    ] {
        let refused = bob.call(tool, &at("web", more)).await.unwrap_err();
        assert_eq!(
            refused,
            format!("workspace \"web\" belongs to ann; you are not permitted to {verb} it; ask the owner"),
            "{tool}"
        );
    }

    role("work", "create", "/exec");
    within("bob works in it", async || {
        let ran = bob.call("run_command", &at(id, json!({"command": "cat notes.txt"}))).await.ok()?;
        assert_eq!(ran["stdout"], "ours\n", "{ran}");
        Some(())
    })
    .await;
    let refused = bob.call("stop_workspace", &at(id, json!({}))).await.unwrap_err();
    assert!(refused.contains("you are not permitted to stop it"), "{refused}");

    role("switch", "patch", "");
    within("bob stops it", async || bob.call("stop_workspace", &at(id, json!({}))).await.ok()).await;
    let started = bob.call("start_workspace", &at(id, json!({}))).await.unwrap();
    assert_eq!(started["status"], "running", "{started}");
    assert_eq!(ann.run("web", "cat notes.txt").await["stdout"], "ours\n");
    let refused = bob.call("delete_workspace", &at(id, json!({}))).await.unwrap_err();
    assert!(refused.contains("you are not permitted to delete it"), "{refused}");
    unknown(&eve, id).await;

    stage.kubectl(&["delete", "rolebinding", "see", "work", "switch"]);
    within("bob sees it no more", async || bob.call("get_workspace", &at(id, json!({}))).await.is_err().then_some(()))
        .await;
    eventually("for any verb", async || (unknown(&bob, id).await == alone).then_some(())).await;
    keep_apart(&stage, &ann, &bob).await;
}

/// What somebody is told who asks for it by its id.
async fn unknown(person: &Person, id: &str) -> String {
    let refused = person.call("run_command", &at(id, json!({"command": "true"}))).await.unwrap_err();
    assert!(refused.contains("there is no workspace"), "{refused}");
    refused
}

fn at(workspace: &str, mut arguments: Value) -> Value {
    arguments["workspace"] = json!(workspace);
    arguments
}

/// As [`eventually`], and soon enough.
async fn within<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) {
    let begun = Instant::now();
    eventually(what, look).await;
    assert!(begun.elapsed() < AT_MOST, "{what}: after {:?}", begun.elapsed());
}
