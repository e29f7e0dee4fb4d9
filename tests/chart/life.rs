//! Installed, upgraded to a version with other custom resources, tested, uninstalled, installed again: what
//! people made with it outlives all of it, and what runs is not rolled.

use crate::{
    installed::{PINNED, helm, helmed, install, leaders, operators},
    node::Node,
    support::operator::eventually,
    tools::{CHART, NAMESPACE, RELEASE},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use kube::ResourceExt;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const QUICKSTART: &str = include_str!("../../examples/quickstart.yaml");
const TEAM: &str = "dev";
/// What the Ingress of the example is of.
const CLASS: &str = r#"
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: edge, annotations: {ingressclass.kubernetes.io/is-default-class: "true"}}
spec: {controller: example.com/edge}
"#;
/// The same image under a name of the next operator's.
const NEXT: &str = "local/portcullis:next";

#[tokio::test(flavor = "multi_thread")]
async fn what_people_made_outlives_upgrades_and_the_chart_itself() {
    let Some(node) = Node::start().await else { return };
    node.portcullis_image().await;
    let socket = node.folder().join("containerd.sock");
    let mut tag = node.enter(&["ctr", "--namespace", "k8s.io", "--address", socket.to_str().unwrap()]);
    // Under the names that containerd has for them.
    let tagged =
        tag.args(["images", "tag"]).args([PINNED, NEXT].map(|name| format!("docker.io/{name}"))).output().unwrap();
    assert!(tagged.status.success(), "{tagged:?}");
    // From nothing: the tests' node comes with the custom resources.
    let done = node.kubectl(&["delete", "crd", "--all"]);
    assert!(done.status.success(), "{done:?}");
    let folder = tempfile::tempdir().unwrap();
    let pinned = format!("--set=serverImage={PINNED}");

    node.apply(CLASS);
    let next = next_version(folder.path());
    let notes = install(&node, Path::new(CHART), "test", &[&pinned]);
    assert!(notes.contains("Make your first endpoint"), "{notes}");
    assert_eq!(operators(&node).await.len(), 2);
    let names: Vec<String> = operators(&node).await.iter().map(ResourceExt::name_any).collect();
    eventually("one of them leads", async || {
        let (leading, holder) = leaders(&node).await;
        (leading == 1 && names.contains(&holder?)).then_some(())
    })
    .await;
    assert!(!knows_new_field(&node));

    helm_knows_when_a_team_is_ready(&node, folder.path());
    let grant = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "OAuthGrant", "metadata": {"name": "g-kept", "namespace": TEAM,
            "labels": {"portcullis.dev/endpoint": "agents"}},
        "spec": {"endpointRef": {"name": "agents"}, "clientId": "claude-code", "user": {"id": "local:ann", "name": "ann"},
            "scopes": ["files:read"], "resource": "https://mcp.example.com/mcp", "expiresAt": "2099-01-01T00:00:00Z"},
    });
    node.apply(&grant.to_string());
    let before = made(&node);
    assert!(before.iter().any(|line| line.starts_with("OAuthGrant g-kept")), "{before:?}");

    // Another operator, other custom resources, the same servers.
    let said = install(&node, &next, "next", &[&pinned]);
    assert!(said.contains("REVISION: 2"), "{said}");
    assert!(knows_new_field(&node));
    let all_new = async || {
        let images = operators(&node).await.into_iter().map(|pod| pod.spec.unwrap().containers[0].image.clone());
        images.eq([Some(NEXT.to_owned()), Some(NEXT.to_owned())]).then_some(())
    };
    eventually("only new operators run", all_new).await;
    eventually("one of them leads", async || (leaders(&node).await.0 == 1).then_some(())).await;
    ready(&node);
    assert_eq!(made(&node), before);
    let limits = json!({"spec": {"limits": {"fromTheFuture": 77}}}).to_string();
    let patched = node.kubectl(&["-n", TEAM, "patch", "mcp/agents", "--type=merge", "-p", &limits]);
    assert!(patched.status.success() && patched.stderr.is_empty(), "{patched:?}");

    let tested = helmed(&node, &["test", RELEASE, "--namespace", NAMESPACE, "--timeout=3m"]);
    assert!(tested.contains("Phase:") && tested.contains("Succeeded"), "{tested}");
    let left = node.kubectl(&["-n", NAMESPACE, "get", "mcp,oac,pods", "-o", "name"]);
    assert!(!String::from_utf8_lossy(&left.stdout).contains("portcullis-test"), "{left:?}");

    // Without the chart, what it made goes on, guarded as before.
    helmed(&node, &["uninstall", RELEASE, "--namespace", NAMESPACE, "--wait"]);
    assert_eq!(operators(&node).await.len(), 0);
    assert_eq!(made(&node), before);
    assert_eq!(token_answers(&node).await, [200, 200]);
    let guard = node.kubectl(&[
        "get",
        "validatingadmissionpolicybinding/portcullis-exec",
        "validatingadmissionpolicybinding/portcullis-server-writes",
        "clusterrole/portcullis-server",
        "clusterrole/portcullis-server-exec",
    ]);
    assert!(guard.status.success(), "{guard:?}");

    // The next installation finds all of it, and works with it.
    install(&node, &next, "test", &[&pinned]);
    ready(&node);
    assert_eq!(made(&node), before);
    let deleted = node.kubectl(&["-n", TEAM, "delete", "secret", "ci-agent-oauth"]);
    assert!(deleted.status.success(), "{deleted:?}");
    eventually("there is another secret, and the servers know it", async || {
        let made = node.kubectl(&["-n", TEAM, "get", "secret", "ci-agent-oauth"]).status.success();
        (made && token_answers(&node).await == [200, 200]).then_some(())
    })
    .await;
}

/// The chart as it would be with a field `spec.limits.fromTheFuture`, under a version of its own.
fn next_version(folder: &Path) -> PathBuf {
    let copied = Command::new("cp").arg("-r").arg(CHART).arg(folder).status().unwrap();
    assert!(copied.success());
    let chart = folder.join("portcullis");
    let edit = |file: &str, edit: &dyn Fn(&str) -> String| {
        let path = chart.join(file);
        let before = fs::read_to_string(&path).unwrap();
        let after = edit(&before);
        assert_ne!(before, after, "{file}");
        fs::write(path, after).unwrap();
    };
    edit("Chart.yaml", &|text| text.replace("\nversion: ", "\nversion: 1"));
    edit("files/crds/mcpendpoints.yaml", &|text| {
        let with_new = |line: &str| match line.strip_suffix("maxConnections:") {
            Some(indent) => format!("{indent}fromTheFuture:\n{indent}  type: integer\n{line}\n"),
            None => format!("{line}\n"),
        };
        text.lines().map(with_new).collect()
    });
    chart
}

fn knows_new_field(node: &Node) -> bool {
    node.kubectl(&["explain", "mcpendpoints.spec.limits.fromTheFuture"]).status.success()
}

/// Helm waits by the rules of kstatus, as Argo CD and Flux do, and needs to be told nothing of these kinds.
fn helm_knows_when_a_team_is_ready(node: &Node, folder: &Path) {
    let chart = folder.join("team");
    fs::create_dir_all(chart.join("templates")).unwrap();
    fs::write(chart.join("Chart.yaml"), "apiVersion: v2\nname: team\nversion: 0.1.0\n").unwrap();
    fs::write(chart.join("templates/quickstart.yaml"), QUICKSTART).unwrap();
    let chart = chart.to_str().unwrap();
    helmed(node, &["install", "team", chart, "--namespace", TEAM, "--create-namespace", "--wait", "--timeout=3m"]);
    for resource in ["mcp/agents", "oac/ci-agent", "oac/claude-code"] {
        let path = "jsonpath={.metadata.generation}={.status.observedGeneration} {.status.conditions[?(@.type=='Ready')].status}";
        let shown = String::from_utf8(node.kubectl(&["-n", TEAM, "get", resource, "-o", path]).stdout).unwrap();
        let (generations, is_ready) = shown.split_once(' ').unwrap();
        let (wanted, observed) = generations.split_once('=').unwrap();
        assert!(wanted == observed && is_ready == "True", "{resource}: {shown}");
    }
    // What is not ready it waits for, in vain.
    let lost = "apiVersion: portcullis.dev/v1alpha1\nkind: OAuthClient\nmetadata: {name: lost}\n\
                spec: {endpointRef: {name: nowhere}, grants: [client_credentials], scopes: ['workspaces:read']}\n";
    fs::write(Path::new(chart).join("templates/lost.yaml"), lost).unwrap();
    let refused = helm(node, &["upgrade", "team", chart, "--namespace", TEAM, "--wait", "--timeout=5s"]);
    let error = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && error.contains("lost"), "{error}");
    let removed = node.kubectl(&["-n", TEAM, "delete", "oac/lost"]);
    assert!(removed.status.success(), "{removed:?}");
}

fn ready(node: &Node) {
    let waited = node.kubectl(&["-n", TEAM, "wait", "--for=condition=Ready", "mcp,oac", "--all", "--timeout=90s"]);
    assert!(waited.status.success(), "{waited:?}");
}

/// All that must not change: resources and pods by their uids, pods' restarts, Secrets by their content.
fn made(node: &Node) -> Vec<String> {
    let listed = node.kubectl(&["-n", TEAM, "get", "mcp,oac,oag,secrets,pods", "-o", "json"]);
    let list: Value = serde_json::from_slice(&listed.stdout).unwrap();
    // Helm's own notes of the team's chart are not ours.
    let ours = |one: &&Value| one["type"] != "helm.sh/release.v1";
    let line = |one: &Value| {
        let restarts = &one["status"]["containerStatuses"][0]["restartCount"];
        let metadata = &one["metadata"];
        let name = metadata["name"].as_str().unwrap();
        format!("{} {name} {} {restarts} {}", one["kind"].as_str().unwrap(), metadata["uid"], one["data"])
    };
    list["items"].as_array().unwrap().iter().filter(ours).map(line).collect()
}

/// What each server answers to the unattended client of the example, which uses its secret.
async fn token_answers(node: &Node) -> Vec<u16> {
    let get = |args: &[&str]| String::from_utf8(node.kubectl(&[&["-n", TEAM, "get"], args].concat()).stdout).unwrap();
    let field = |name: &str| {
        let value = get(&["secret", "ci-agent-oauth", "-o", &format!("jsonpath={{.data.{name}}}")]);
        String::from_utf8(STANDARD.decode(value).unwrap()).unwrap()
    };
    let (id, secret) = (field("client-id"), field("client-secret"));
    let addresses = get(&["pods", "-l", "portcullis.dev/endpoint=agents", "-o", "jsonpath={.items[*].status.podIP}"]);
    let mut answers = Vec::new();
    for address in addresses.split(' ') {
        let token = reqwest::Client::new().post(format!("http://{address}:8080/token")).basic_auth(&id, Some(&secret));
        let token = token.header("Host", "mcp.example.com").form(&[("grant_type", "client_credentials")]);
        answers.push(token.send().await.unwrap().status().as_u16());
    }
    answers
}
