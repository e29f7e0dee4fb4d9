//! At rest nothing is written: by the API server's own count of requests.

use super::stage::{OPERATOR, api, create, endpoint, eventually, operator, own_plane, robot};
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use portcullis_api::{McpEndpoint, OAuthClient};
use serde_json::json;
use std::{collections::BTreeMap, time::Duration};

const ENDPOINTS: usize = 50;
const CLIENTS_EACH: usize = 2;
/// Time for writes that were about to happen, among them those of the other controllers.
const LULL: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_resync_and_a_restart_write_nothing() {
    let plane = own_plane().await;
    let client = plane.client().await;
    let namespace = plane.create_namespace("rest").await;
    let first = operator(&plane, "one").await;
    // What the API server stores in other words than it was told would be written again and again.
    let specs = [
        json!({"deployment": {"replicas": 1}}),
        json!({"deployment": {"replicas": 1, "resources": {
            "requests": {"cpu": "0.5", "memory": "1024Mi"}, "limits": {"cpu": "1000m", "memory": "1.5Gi"},
        }}}),
        json!({"deployment": {"autoscaling": {"min": 1, "max": 3}}, "exposure": {"none": {}}}),
        json!({
            "deployment": {"replicas": 1, "disruptionBudget": {"minAvailable": "50%"}},
            "cors": {"allowedOrigins": ["https://*.example.com"]},
            "exposure": {"ingress": {"className": "edge", "annotations": {"cert-manager.io/duration": ""}, "tls": {"secretName": "cert"}}},
        }),
    ];
    for (number, spec) in specs.iter().cycle().take(ENDPOINTS).enumerate() {
        let name = format!("agents-{number}");
        create(&client, &namespace, &endpoint(&name, spec)).await;
        for robot_number in 0..CLIENTS_EACH {
            create(&client, &namespace, &robot(&format!("robot-{number}-{robot_number}"), &name, &json!({}))).await;
        }
    }
    let endpoints: Api<McpEndpoint> = api(&client, &namespace);
    let clients: Api<OAuthClient> = api(&client, &namespace);
    eventually("every status speaks of the newest spec", async || {
        let endpoints = endpoints.list(&ListParams::default()).await.unwrap().items;
        let clients = clients.list(&ListParams::default()).await.unwrap().items;
        let endpoints_done = endpoints.iter().all(|endpoint| {
            endpoint.status.as_ref().is_some_and(|status| status.clients == i32::try_from(CLIENTS_EACH).unwrap())
        });
        let clients_done = clients.iter().all(|client| client.status.as_ref().is_some_and(|s| s.secret_name.is_some()));
        (endpoints_done && clients_done).then_some(())
    })
    .await;

    // Leases are renewed as long as somebody leads, the API server keeps the endpoints of its own Service, and the
    // IngressClass and the token are this test's.
    let others = ["leases", "endpoints", "ingressclasses", "serviceaccounts/token"];
    let writes = async || -> BTreeMap<(String, String), u64> {
        let counts = plane.write_requests().await.into_iter();
        counts.filter(|((_, resource), _)| !others.contains(&resource.as_str())).collect()
    };
    let lull = async || {
        eventually("the cluster is at rest", async || {
            let before = writes().await;
            tokio::time::sleep(LULL).await;
            (writes().await == before).then_some(before)
        })
        .await
    };
    let at_rest = lull().await;
    let mark = plane.audit_mark();

    // A new IngressClass that nobody uses may concern every endpoint.
    let reconciles = first.reconciles().await;
    let class = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
        "metadata": {"name": "unused"}, "spec": {"controller": "example.com/unused"},
    });
    let classes: Api<k8s_openapi::api::networking::v1::IngressClass> = Api::all(client.clone());
    classes.create(&PostParams::default(), &serde_json::from_value(class).unwrap()).await.unwrap();
    let all = f64::from(u32::try_from(ENDPOINTS).unwrap());
    eventually("every endpoint was reconciled again", async || {
        (first.reconciles().await >= reconciles + all).then_some(())
    })
    .await;
    assert_eq!(lull().await, at_rest, "a resync wrote");

    let mut first = first;
    first.process.kill();
    let second = operator(&plane, "one").await;
    eventually("the second operator reconciled every endpoint", async || {
        (second.reconciles().await >= all).then_some(())
    })
    .await;
    assert_eq!(lull().await, at_rest, "a restart wrote");
    let written = plane.audit_writes(mark, OPERATOR).into_iter();
    let written: Vec<_> = written.filter(|write| write.resource != "leases").collect();
    assert!(written.is_empty(), "the operator tried to write: {written:?}");
}
