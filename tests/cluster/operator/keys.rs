//! Signing keys rotate under running servers, and tokens survive it; an endpoint whose tokens come from elsewhere.

use super::stage::{api, condition, create, endpoint, eventually, install, operator, own_plane, robot, settings};
use crate::support::{clock::ManualClock, controlplane::ControlPlane, kubelet::Kubelet};
use jiff::SignedDuration;
use k8s_openapi::api::{
    core::v1::{Pod, Secret},
    events::v1::Event,
};
use kube::{
    Client,
    api::{DeleteParams, ListParams},
};
use portcullis_api::{McpEndpoint, OAuthClient};
use portcullis_core::clock::{Clock as _, SystemClock};
use portcullis_oauth::workload::GRANT_TYPE;
use serde_json::{Value, json};
use std::{path::Path, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn tokens_survive_the_rotation_of_keys_and_a_rollout() {
    let plane = ControlPlane::start().await;
    install(&plane);
    let client = plane.client().await;
    let clock = Arc::new(ManualClock::at(SystemClock.now()));
    let shutdown = CancellationToken::new();
    let settings = settings(Arc::<ManualClock>::clone(&clock));
    let running = tokio::spawn(portcullis_operator::run(plane.client().await, settings, shutdown.clone()));
    let namespace = plane.create_namespace("keys").await;
    let kubelet = Kubelet::start(&plane, &namespace, Path::new(env!("CARGO_BIN_EXE_portcullis"))).await;
    let spec = json!({"exposure": {"none": {}}, "deployment": {"replicas": 2}, "tokens": {"keyRotation": "24h"}});
    create(&client, &namespace, &endpoint("agents", &spec)).await;
    create(&client, &namespace, &robot("robot", "agents", &json!({}))).await;
    let servers = Servers { client: &client, namespace: &namespace, kubelet: &kubelet };

    let [first] = servers.publish(1).await.try_into().unwrap();
    let token = servers.token().await;
    servers.accept(&token, 200).await;

    // Published, and not used yet.
    let step = |span: SignedDuration| clock.set(clock.now() + span);
    step(SignedDuration::from_hours(24));
    let published = servers.publish(2).await;
    assert_eq!(published[0], first);
    assert_eq!(kid(&servers.token().await), first);
    told(&client, &namespace, "SigningKeyPublished").await;

    // Used; tokens of the one before count, also at servers that start now.
    step(SignedDuration::from_mins(10));
    eventually("the new key signs", async || (kid(&servers.token().await) == published[1]).then_some(())).await;
    told(&client, &namespace, "SigningKeyRotated").await;
    servers.accept(&token, 200).await;
    let new_token = servers.token().await;
    let pods = api::<Pod>(&client, &namespace);
    let before: Vec<_> = names(&client, &namespace).await;
    for name in &before {
        pods.delete(name, &DeleteParams::default()).await.unwrap();
    }
    eventually("other servers run", async || {
        let now = names(&client, &namespace).await;
        (now.len() == 2 && now.iter().all(|name| !before.contains(name))).then_some(())
    })
    .await;
    servers.accept(&token, 200).await;
    servers.accept(&new_token, 200).await;

    // Gone when no token of it can be left.
    step(SignedDuration::from_mins(65));
    assert_eq!(servers.publish(1).await, [published[1].clone()]);
    servers.accept(&token, 401).await;
    servers.accept(&new_token, 200).await;
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_with_an_issuer_elsewhere_is_verified_and_its_clients_are_sent_there() {
    let plane = own_plane().await;
    let client = plane.client().await;
    let _operator = operator(&plane, "one").await;
    let namespace = plane.create_namespace("external").await;
    let kubelet = Kubelet::start(&plane, &namespace, Path::new(env!("CARGO_BIN_EXE_portcullis"))).await;
    let spec = json!({"exposure": {"none": {}}, "deployment": {"replicas": 1},
        "externalIssuer": {"issuerUrl": "https://idp.example.com/realms/a"}});
    create(&client, &namespace, &endpoint("agents", &spec)).await;
    create(&client, &namespace, &robot("robot", "agents", &json!({}))).await;
    let ready = plane.kubectl(&["-n", &namespace, "wait", "--for=condition=Ready", "mcp/agents", "--timeout=90s"]);
    assert!(ready.status.success(), "{ready:?}\n{}", kubelet.logs());
    let status = api::<McpEndpoint>(&client, &namespace).get("agents").await.unwrap().status.unwrap();
    assert_eq!(condition(&status.conditions, "Verified").unwrap().0, "True");
    assert_eq!(status.issuer.as_deref(), Some("https://idp.example.com/realms/a"));

    let status = api::<OAuthClient>(&client, &namespace).get("robot").await.unwrap().status.unwrap();
    assert_eq!(condition(&status.conditions, "Ready"), Some(("False".to_owned(), "ExternalIssuer".to_owned())));
    assert!(status.secret_name.is_none());
    assert!(api::<Secret>(&client, &namespace).get_opt("robot-oauth").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_get_in_at_servers_that_the_operator_runs() {
    let plane = own_plane().await;
    let client = plane.client().await;
    let _operator = operator(&plane, "one").await;
    let namespace = plane.create_namespace("workload").await;
    let kubelet = Kubelet::start(&plane, &namespace, Path::new(env!("CARGO_BIN_EXE_portcullis"))).await;
    let rule =
        json!({"name": "ci", "namespaces": [namespace], "serviceAccounts": ["runner"], "scopes": ["files:read"]});
    let spec = json!({"exposure": {"none": {}}, "deployment": {"replicas": 2}, "workloadIdentity": {"rules": [rule]}});
    create(&client, &namespace, &endpoint("agents", &spec)).await;
    let made = plane.kubectl(&["-n", &namespace, "create", "serviceaccount", "runner"]);
    assert!(made.status.success(), "{made:?}");
    let servers = Servers { client: &client, namespace: &namespace, kubelet: &kubelet };
    servers.publish(1).await;

    let audience = "--audience=https://agents.example.com";
    let projected = plane.kubectl(&["-n", &namespace, "create", "token", "runner", audience]);
    let projected = String::from_utf8(projected.stdout).unwrap();
    let token = eventually("a server takes the service account's token", async || {
        let address = servers.addresses().await.into_iter().next()?;
        let form = [("grant_type", GRANT_TYPE), ("assertion", projected.trim())];
        let answer = request(reqwest::Method::POST, &format!("{address}/token")).form(&form).send().await.ok()?;
        let answer: Value = answer.json().await.ok()?;
        Some(answer["access_token"].as_str()?.to_owned())
    })
    .await;
    servers.accept(&token, 200).await;
}

struct Servers<'a> {
    client: &'a Client,
    namespace: &'a str,
    kubelet: &'a Kubelet,
}

impl Servers<'_> {
    async fn addresses(&self) -> Vec<String> {
        let pods = api::<Pod>(self.client, self.namespace).list(&ListParams::default()).await.unwrap().items;
        let running = pods.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        running.filter_map(|pod| Some(format!("http://{}:8080", pod.status?.pod_ip?))).collect()
    }

    /// Waits until both servers publish this many keys, and tells which, the one that signs first.
    async fn publish(&self, count: usize) -> Vec<String> {
        eventually("the servers publish the keys", async || {
            let addresses = self.addresses().await;
            let mut seen = Vec::new();
            for address in &addresses {
                let answer = request(reqwest::Method::GET, &format!("{address}/jwks.json")).send().await.ok()?;
                let document: Value = answer.json().await.ok()?;
                let kids = document["keys"].as_array()?.iter().filter_map(|key| key["kid"].as_str().map(String::from));
                seen.push(kids.collect::<Vec<_>>());
            }
            (seen.len() == 2 && seen[0] == seen[1] && seen[0].len() == count).then(|| seen.remove(0))
        })
        .await
    }

    async fn token(&self) -> String {
        let secret = eventually("there is a client secret", async || {
            let secret = api::<Secret>(self.client, self.namespace).get_opt("robot-oauth").await.unwrap()?;
            String::from_utf8(secret.data?.get("client-secret")?.0.clone()).ok()
        })
        .await;
        eventually("a server gives a token", async || {
            let address = self.addresses().await.into_iter().next()?;
            let request = request(reqwest::Method::POST, &format!("{address}/token"))
                .basic_auth("robot", Some(&secret))
                .form(&[("grant_type", "client_credentials")]);
            let answer: Value = request.send().await.ok()?.json().await.ok()?;
            Some(answer["access_token"].as_str()?.to_owned())
        })
        .await
    }

    /// Waits until every server answers a call with this token as `expected`.
    async fn accept(&self, token: &str, expected: u16) {
        let answers = async || {
            let mut answers = Vec::new();
            for address in self.addresses().await {
                let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
                let request = request(reqwest::Method::POST, &format!("{address}/mcp"))
                    .header("accept", "application/json, text/event-stream")
                    .bearer_auth(token)
                    .json(&ping);
                answers.push(request.send().await.ok()?.status().as_u16());
            }
            Some(answers)
        };
        let waiting = async {
            while answers().await.is_none_or(|all| all.len() != 2 || all.iter().any(|one| *one != expected)) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let done = tokio::time::timeout(Duration::from_secs(30), waiting).await;
        assert!(done.is_ok(), "wanted {expected}, got {:?}\n{}", answers().await, self.kubelet.logs());
    }
}

fn request(method: reqwest::Method, url: &str) -> reqwest::RequestBuilder {
    reqwest::Client::new().request(method, url).header("host", "agents.example.com").timeout(Duration::from_secs(5))
}

fn kid(token: &str) -> String {
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
}

async fn names(client: &Client, namespace: &str) -> Vec<String> {
    let pods = api::<Pod>(client, namespace).list(&ListParams::default()).await.unwrap();
    pods.items.into_iter().filter_map(|pod| pod.metadata.name).collect()
}

async fn told(client: &Client, namespace: &str, reason: &str) {
    eventually(reason, async || {
        let events = api::<Event>(client, namespace).list(&ListParams::default()).await.unwrap();
        events.items.iter().any(|event| event.reason.as_deref() == Some(reason)).then_some(())
    })
    .await;
}
