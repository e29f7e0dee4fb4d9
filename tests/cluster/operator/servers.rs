//! From manifests to servers that run: ready, verified, and told of new credentials at once.

use super::stage::{Operator, api, condition, eventually, operator, own_plane};
use crate::support::{controlplane::ControlPlane, kubelet::Kubelet};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use portcullis_api::{McpEndpoint, OAuthClient};
use serde_json::json;
use std::{path::Path, time::Duration};
use tokio::time::Instant;

#[tokio::test(flavor = "multi_thread")]
async fn servers_become_ready_and_load_new_credentials_at_once() {
    let plane = own_plane().await;
    let client = plane.client().await;
    let namespace = plane.create_namespace("ready").await;
    let kubelet = Kubelet::start(&plane, &namespace, Path::new(env!("CARGO_BIN_EXE_portcullis"))).await;
    let _shown = Shown(&kubelet);
    let operator = operator(&plane, "one").await;
    let example = include_str!("../../../examples/quickstart.yaml");
    let applied = plane.kubectl_with_input(&["-n", &namespace, "apply", "-f", "-"], example);
    assert!(applied.status.success(), "{applied:?}");
    wait_ready(&plane, &namespace);

    let status = api::<McpEndpoint>(&client, &namespace).get("agents").await.unwrap().status.unwrap();
    for kind in ["Ready", "Available", "Exposed", "CredentialsLoaded", "Verified"] {
        assert_eq!(condition(&status.conditions, kind).map(|(status, _)| status).as_deref(), Some("True"), "{kind}");
    }
    assert_eq!((status.ready_replicas, status.clients), (2, 2));
    assert_eq!(status.server_version.as_deref(), Some(env!("CARGO_PKG_VERSION")));
    assert!(status.protocol_versions.contains(&"2026-07-28".to_owned()));

    // A mounted Secret is refreshed after a minute, unless the pod's annotation says that it changed.
    let first = token_answers(&client, &namespace).await;
    assert!(first.iter().all(|status| *status == 200), "{first:?}");
    let secrets: Api<Secret> = api(&client, &namespace);
    let held = async || secrets.get_opt("ci-agent-oauth").await.unwrap()?.data;
    let before = held().await;
    let started = Instant::now();
    secrets.delete("ci-agent-oauth", &DeleteParams::default()).await.unwrap();
    eventually("there is another secret", async || held().await.filter(|now| Some(now) != before.as_ref())).await;
    eventually("every server takes it", async || {
        token_answers(&client, &namespace).await.iter().all(|status| *status == 200).then_some(())
    })
    .await;
    assert!(started.elapsed() < Duration::from_secs(40), "it took {:?}", started.elapsed());
    wait_ready(&plane, &namespace);

    // A change of the configuration makes no new pods.
    let pods = async || {
        let list = api::<Pod>(&client, &namespace).list(&ListParams::default()).await.unwrap().items;
        list.into_iter().filter_map(|pod| pod.metadata.name).collect::<Vec<_>>()
    };
    let before = pods().await;
    let patch = json!({"spec": {"tools": {"deny": ["delete_workspace"]}}});
    let endpoints: Api<McpEndpoint> = api(&client, &namespace);
    let patched = endpoints.patch("agents", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    eventually("the servers have loaded it", async || {
        let status = endpoints.get("agents").await.unwrap().status?;
        let ready = condition(&status.conditions, "Ready")?.0 == "True";
        (ready && status.observed_generation == patched.metadata.generation).then_some(())
    })
    .await;
    assert_eq!(pods().await, before);
    at_rest_nothing_is_written(&plane, &operator).await;
}

async fn at_rest_nothing_is_written(plane: &ControlPlane, operator: &Operator) {
    let writes = || operator.metric("portcullis_operator_writes_total");
    let mark = plane.audit_mark();
    let before = eventually("it is at rest", async || {
        let before = writes().await?;
        tokio::time::sleep(Duration::from_secs(3)).await;
        (writes().await? <= before).then_some(before)
    })
    .await;
    let class = "{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {name: unused}, spec: {controller: example.com/unused}}";
    let made = plane.kubectl_with_input(&["create", "-f", "-"], class);
    assert!(made.status.success(), "{made:?}");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(writes().await, Some(before), "{:?}", plane.audit_writes(mark, super::stage::OPERATOR));
}

/// What people do to wait.
fn wait_ready(plane: &ControlPlane, namespace: &str) {
    let args = ["-n", namespace, "wait", "--for=condition=Ready", "mcp/agents", "oac/ci-agent", "--timeout=90s"];
    let waited = plane.kubectl(&args);
    let shown = plane.kubectl(&["-n", namespace, "get", "mcp,oac,pods", "-o", "yaml"]);
    assert!(waited.status.success(), "{waited:?}\n{}", String::from_utf8_lossy(&shown.stdout));
    let client = plane.kubectl(&["-n", namespace, "get", "oac", "ci-agent"]);
    assert!(client.status.success(), "{client:?}");
}

/// What every server says to the client's secret as it is now.
async fn token_answers(client: &Client, namespace: &str) -> Vec<u16> {
    let Some(secret) = api::<Secret>(client, namespace).get_opt("ci-agent-oauth").await.unwrap() else {
        return vec![404];
    };
    let data = secret.data.unwrap();
    let text = |key: &str| String::from_utf8(data[key].0.clone()).unwrap();
    let client_id =
        api::<OAuthClient>(client, namespace).get("ci-agent").await.unwrap().status.unwrap().client_id.unwrap();
    assert_eq!(text("client-id"), client_id);
    let mut answers = Vec::new();
    for pod in api::<Pod>(client, namespace).list(&ListParams::default()).await.unwrap() {
        let address = pod.status.unwrap().pod_ip.unwrap();
        let http = reqwest::Client::new();
        let request = http
            .post(format!("http://{address}:8080/token"))
            .header("host", "mcp.example.com")
            .basic_auth(&client_id, Some(text("client-secret")))
            .form(&[("grant_type", "client_credentials"), ("resource", &text("url"))]);
        answers.push(request.send().await.unwrap().status().as_u16());
    }
    answers
}

/// What the servers printed, where the test fails.
struct Shown<'a>(&'a Kubelet);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0.logs());
        }
    }
}
