//! Killed at any point and started again, the operator comes to the same end, and no credential is lost on the way.

use super::stage::{
    api, create, endpoint, eventually, names, objects, operator, operator_at, own_plane, robot, settled,
};
use crate::support::proxy::{Proxy, Side};
use kube::api::DeleteParams;
use portcullis_api::McpEndpoint;
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_write_it_comes_to_the_same_end() {
    let plane = own_plane().await;
    let client = plane.client().await;
    let proxy = Proxy::start(&plane).await;
    let mut ends = Vec::new();
    // An endpoint with a client takes 13 objects, 2 Events at most and 2 statuses.
    for (count, side) in (0..7).map(|step| 2 * step).flat_map(|count| [(count, Side::Before), (count, Side::After)]) {
        let namespace = plane.create_namespace("killed").await;
        let stopped = proxy.stop_after(count, side);
        // The same identity leads again at once.
        let mut first = operator_at(&plane, "one", &proxy.url()).await;
        create(&client, &namespace, &endpoint("agents", &json!({}))).await;
        create(&client, &namespace, &robot("robot", "agents", &json!({}))).await;
        let at = tokio::time::timeout(Duration::from_mins(1), stopped).await.expect("it writes so much").unwrap();
        first.process.kill();
        let before = secrets(&client, &namespace).await;
        proxy.open();

        let _second = operator(&plane, "one").await;
        eventually("every object exists", async || (names(&client, &namespace).await.len() == 13).then_some(())).await;
        let after = settled("the Secrets", async || secrets(&client, &namespace).await).await;
        for (name, data) in before {
            // The verifiers follow the clients; everything else is made once.
            if name != "agents-clients" {
                assert_eq!(after[&name], data, "{name}, killed {side:?} {at}");
            }
        }
        ends.push(settled("the namespace", async || end(&client, &namespace).await).await);
        // The next one has the same host.
        api::<McpEndpoint>(&client, &namespace).delete("agents", &DeleteParams::default()).await.unwrap();
    }
    for end in &ends {
        assert_eq!(*end, ends[0]);
    }
}

async fn secrets(client: &kube::Client, namespace: &str) -> BTreeMap<String, Value> {
    let all = objects(client, namespace).await.into_iter();
    all.filter(|((kind, _), _)| kind == "Secret")
        .map(|((_, name), object)| (name, object.data["data"].clone()))
        .collect()
}

/// What does not differ from one namespace to another.
async fn end(client: &kube::Client, namespace: &str) -> BTreeMap<(String, String), Value> {
    let all = objects(client, namespace).await.into_iter();
    all.map(|((kind, name), object)| {
        let mut data = object.data.clone();
        if let Some(fields) = data.as_object_mut() {
            fields.remove("status");
            if kind == "Secret" {
                fields.remove("data");
            }
            // A RoleBinding names the namespace of its service account.
            for subject in fields.get_mut("subjects").and_then(Value::as_array_mut).into_iter().flatten() {
                assert_eq!(subject["namespace"].take(), namespace);
            }
            if let Some(spec) = fields.get_mut("spec").and_then(Value::as_object_mut) {
                spec.remove("clusterIP");
                spec.remove("clusterIPs");
            }
        }
        let shown = json!({"labels": object.metadata.labels, "data": data});
        ((kind, name), shown)
    })
    .collect()
}
