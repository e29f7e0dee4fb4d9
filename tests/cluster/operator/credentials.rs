//! Credentials: healed when deleted or damaged, rotated at their time, never lost.

use super::stage::{api, create, endpoint, eventually, install, operator, own_plane, robot, settings, settled};
use crate::support::controlplane::ControlPlane;
use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::api::{core::v1::Secret, events::v1::Event};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use portcullis_api::OAuthClient;
use portcullis_config::Clients;
use portcullis_core::clock::Clock;
use serde_json::json;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn damaged_credentials_are_healed() {
    let plane = own_plane().await;
    let client = plane.client().await;
    let _operator = operator(&plane, "one").await;
    let namespace = plane.create_namespace("heal").await;
    create(&client, &namespace, &endpoint("agents", &json!({}))).await;
    create(&client, &namespace, &robot("robot", "agents", &json!({}))).await;
    let secrets: Api<Secret> = api(&client, &namespace);
    let mut secret = works(&client, &namespace, None).await;
    let healed = "SecretHealed";
    for (what, event) in [("deleted", "SecretCreated"), ("emptied", healed), ("spoilt", healed), ("unlabelled", "")] {
        match what {
            "deleted" => drop(secrets.delete("robot-oauth", &DeleteParams::default()).await.unwrap()),
            "emptied" => replace(&secrets, json!([{"op": "remove", "path": "/data"}])).await,
            "spoilt" => {
                replace(&secrets, json!([{"op": "replace", "path": "/data/client-secret", "value": "eA=="}])).await;
            }
            _ => replace(&secrets, json!([{"op": "remove", "path": "/metadata/labels"}])).await,
        }
        if event.is_empty() {
            eventually("the labels are back", async || secrets.get("robot-oauth").await.unwrap().metadata.labels).await;
            assert_eq!(works(&client, &namespace, None).await, secret, "what only lost its labels is kept");
        } else {
            secret = works(&client, &namespace, Some(&secret)).await;
            told(&client, &namespace, event).await;
        }
    }
    let keys = async || secrets.get_opt("agents-signing-keys").await.unwrap()?.data;
    let before = keys().await.unwrap();
    secrets.delete("agents-signing-keys", &DeleteParams::default()).await.unwrap();
    eventually("there are new signing keys", async || keys().await.filter(|now| *now != before)).await;
}

async fn replace(secrets: &Api<Secret>, patch: serde_json::Value) {
    let patch = serde_json::from_value(patch).unwrap();
    secrets.patch("robot-oauth", &PatchParams::default(), &Patch::Json::<()>(patch)).await.unwrap();
}

/// Waits until the client's Secret holds a secret, other than `before`, that the servers' verifiers take.
async fn works(client: &Client, namespace: &str, before: Option<&String>) -> String {
    eventually("the servers take the client's secret", async || {
        let secret = held(client, namespace).await.filter(|secret| Some(secret) != before)?;
        verifies(client, namespace, &secret, Timestamp::MIN).await.then_some(secret)
    })
    .await
}

async fn held(client: &Client, namespace: &str) -> Option<String> {
    let secret = api::<Secret>(client, namespace).get_opt("robot-oauth").await.unwrap()?;
    String::from_utf8(secret.data?.get("client-secret")?.0.clone()).ok()
}

async fn verifies(client: &Client, namespace: &str, secret: &str, now: Timestamp) -> bool {
    let Some(verifiers) = api::<Secret>(client, namespace).get_opt("agents-clients").await.unwrap() else {
        return false;
    };
    let clients: Clients = serde_json::from_slice(&verifiers.data.unwrap()["clients.json"].0).unwrap();
    clients.get("robot").is_some_and(|client| client.verifies(secret, now))
}

async fn told(client: &Client, namespace: &str, reason: &str) {
    let events: Api<Event> = api(client, namespace);
    eventually(reason, async || {
        let all = events.list(&ListParams::default()).await.unwrap();
        all.items.iter().any(|event| event.reason.as_deref() == Some(reason)).then_some(())
    })
    .await;
}

struct ManualClock(watch::Sender<Timestamp>);

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }

    fn sleep_until(&self, deadline: Timestamp) -> BoxFuture<'_, ()> {
        let mut time = self.0.subscribe();
        Box::pin(async move {
            let _ = time.wait_for(|now| *now >= deadline).await;
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rotation_happens_at_its_time_and_both_secrets_count_in_the_overlap() {
    let plane = ControlPlane::start().await;
    install(&plane);
    let client = plane.client().await;
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let clock = Arc::new(ManualClock(watch::Sender::new(at("2026-01-01T00:00:00Z"))));
    let shutdown = CancellationToken::new();
    let settings = settings(Arc::<ManualClock>::clone(&clock));
    let running = tokio::spawn(portcullis_operator::run(plane.client().await, settings, shutdown.clone()));

    let namespace = plane.create_namespace("rotate").await;
    create(&client, &namespace, &endpoint("agents", &json!({}))).await;
    let rotation = json!({"secret": {"rotation": {"interval": "24h", "overlap": "1h"}}});
    create(&client, &namespace, &robot("robot", "agents", &rotation)).await;
    let first = works(&client, &namespace, None).await;
    let status = async || api::<OAuthClient>(&client, &namespace).get("robot").await.unwrap().status;
    let next = eventually("the status names the next rotation", async || status().await?.next_rotation).await;
    assert_eq!(next, at("2026-01-02T00:00:00Z"));

    clock.0.send_replace(at("2026-01-01T23:59:59Z"));
    settled("the client", async || status().await).await;
    assert_eq!(held(&client, &namespace).await.as_ref(), Some(&first), "not a second early");

    clock.0.send_replace(at("2026-01-02T00:00:00Z"));
    let second = works(&client, &namespace, Some(&first)).await;
    told(&client, &namespace, "SecretRotated").await;
    let in_overlap = at("2026-01-02T00:59:59Z");
    assert!(verifies(&client, &namespace, &first, in_overlap).await, "both count in the overlap");
    assert!(verifies(&client, &namespace, &second, in_overlap).await);
    assert!(!verifies(&client, &namespace, &first, at("2026-01-02T01:00:00Z")).await, "one counts after it");

    clock.0.send_replace(at("2026-01-02T01:00:00Z"));
    eventually("the old secret is forgotten", async || {
        (!verifies(&client, &namespace, &first, Timestamp::MIN).await).then_some(())
    })
    .await;
    assert_eq!(works(&client, &namespace, None).await, second);

    // On demand, with the same overlap, once for each value.
    let asked = ["annotate", "oac/robot", "portcullis.dev/rotate=monday", "--overwrite", "-n", &namespace];
    assert!(plane.kubectl(&asked).status.success());
    let third = works(&client, &namespace, Some(&second)).await;
    let in_overlap = at("2026-01-02T01:59:59Z");
    assert!(verifies(&client, &namespace, &second, in_overlap).await, "both count in the overlap");
    assert!(verifies(&client, &namespace, &third, in_overlap).await);
    assert!(!verifies(&client, &namespace, &second, at("2026-01-02T02:00:00Z")).await);
    eventually("the status says for which request", async || {
        (status().await?.rotated_for.as_deref() == Some("monday")).then_some(())
    })
    .await;
    assert!(plane.kubectl(&asked).status.success());
    settled("the client", async || status().await).await;
    assert_eq!(held(&client, &namespace).await, Some(third));
    shutdown.cancel();
    running.await.unwrap().unwrap();
}
