//! Grants and registrations that have ended are collected; the rest is counted, and keeps nobody busy.

use super::stage::{api, condition, create, endpoint, eventually, operator, own_plane, robot, settled};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use portcullis_api::{McpEndpoint, OAuthClient, OAuthGrant};
use portcullis_core::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};

fn grant(name: &str, client: &str, expires_at: Timestamp, revoked: &Value) -> OAuthGrant {
    serde_json::from_value(json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "OAuthGrant",
        "metadata": {"name": name, "labels": {"portcullis.dev/endpoint": "agents"}},
        "spec": {"endpointRef": {"name": "agents"}, "clientId": client, "user": {"id": "local:ann", "name": "ann"},
            "scopes": ["files:read"], "resource": "https://agents.example.com/mcp", "expiresAt": expires_at,
            "revoked": revoked},
    }))
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_is_collected_and_the_rest_keeps_nobody_busy() {
    let plane = own_plane().await;
    let client = plane.client().await;
    let namespace = plane.create_namespace("grants").await;
    let operator = operator(&plane, "one").await;
    create(&client, &namespace, &endpoint("agents", &json!({"exposure": {"none": {}}}))).await;
    let public = json!({"preset": "claude-code", "grants": ["authorization_code", "refresh_token"]});
    create(&client, &namespace, &robot("claude", "agents", &public)).await;
    let now = SystemClock.now();
    let (soon, later) = (now + SignedDuration::from_secs(15), now + SignedDuration::from_hours(1));
    let registration = json!({
        "type": "Public", "grants": ["authorization_code"], "redirectUris": ["http://127.0.0.1/callback"],
        "registration": {"expiresAt": soon},
    });
    create(&client, &namespace, &robot("dyn-1", "agents", &registration)).await;
    let revoked = |ago| json!({"at": now - SignedDuration::from_mins(ago), "reason": "ByUser"});
    for made in [
        grant("g-active", "claude", later, &Value::Null),
        grant("g-registered", "dyn-1", later, &Value::Null),
        grant("g-expired", "claude", now - SignedDuration::from_secs(1), &Value::Null),
        grant("g-revoked", "claude", later, &revoked(1)),
        grant("g-revoked-long-ago", "claude", later, &revoked(61)),
    ] {
        create(&client, &namespace, &made).await;
    }
    let (grants, clients): (Api<OAuthGrant>, Api<OAuthClient>) = (api(&client, &namespace), api(&client, &namespace));
    let names = async || {
        let list = grants.list(&ListParams::default()).await.unwrap().items;
        let mut names: Vec<String> = list.into_iter().filter_map(|grant| grant.metadata.name).collect();
        names.sort();
        names
    };
    let remain = async |wanted: &[&str]| {
        eventually(&format!("only {wanted:?} remain"), async || (names().await == wanted).then_some(())).await;
    };

    // Nothing has to be made for a client that registered itself: it is ready, and servers are told nothing.
    eventually("the registered client is ready", async || {
        let status = clients.get("dyn-1").await.unwrap().status?;
        (condition(&status.conditions, "Ready")? == ("True".to_owned(), "Registered".to_owned())).then_some(())
    })
    .await;
    let verifiers = eventually("the servers' files are written", async || {
        api::<Secret>(&client, &namespace).get_opt("agents-clients").await.unwrap()?.data
    })
    .await;
    let verifiers = String::from_utf8(verifiers["clients.json"].0.clone()).unwrap();
    assert!(verifiers.contains("claude") && !verifiers.contains("dyn-1"), "{verifiers}");

    // With the registration end its grants.
    remain(&["g-active", "g-revoked"]).await;
    assert!(clients.get_opt("dyn-1").await.unwrap().is_none());
    assert!(SystemClock.now() >= soon);

    // Refreshes go on all the time: no plan depends on them.
    let before = settled("the operator is at rest", async || operator.reconciles().await).await;
    for generation in 0..20 {
        let refresh = json!({"generation": generation, "hash": "sha256:0", "rotatedAt": now});
        let patch = Patch::Merge(json!({"spec": {"refresh": refresh}, "status": {"lastUsed": now}}));
        grants.patch("g-active", &PatchParams::default(), &patch).await.unwrap();
    }
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    assert!((operator.reconciles().await - before).abs() < 0.5, "refreshes woke it");

    // Grants end with their client, and with their endpoint.
    clients.delete("claude", &DeleteParams::default()).await.unwrap();
    remain(&[]).await;
    create(&client, &namespace, &robot("claude", "agents", &public)).await;
    create(&client, &namespace, &grant("g-again", "claude", later, &Value::Null)).await;
    let endpoints: Api<McpEndpoint> = api(&client, &namespace);
    // At most once a minute, so that a busy day does not become a storm of writes.
    let told = "--for=jsonpath={.status.activeGrants}=1";
    let told = plane.kubectl(&["-n", &namespace, "wait", told, "mcp/agents", "oac/claude", "--timeout=90s"]);
    assert!(told.status.success(), "{told:?}");
    endpoints.delete("agents", &DeleteParams::default()).await.unwrap();
    remain(&[]).await;
}
