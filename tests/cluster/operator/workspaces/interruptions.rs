//! Killed at any write and started again, the operator comes to the same end.

use super::{Scene, node::Node, template};
use crate::{
    operator::stage::{create, endpoint, operator, operator_at, own_plane, planned, settled},
    support::proxy::{Proxy, Side},
};
use portcullis_api::workspace::Phase;
use serde_json::json;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_write_a_workspace_comes_to_the_same_end() {
    let plane = own_plane().await;
    let client = plane.client().await;
    let proxy = Proxy::start(&plane).await;
    // A policy, a StatefulSet, a status on the way and one at the end, and an Event.
    let cases: Vec<(usize, Side)> = (0..4).flat_map(|count| [(count, Side::Before), (count, Side::After)]).collect();
    let mut namespaces = Vec::new();
    let mut setup = operator(&plane, "one").await;
    for _ in &cases {
        let namespace = plane.create_namespace("killed").await;
        create(&client, &namespace, &template("debian", &json!({}))).await;
        create(&client, &namespace, &endpoint("agents", &json!({}))).await;
        planned(&client, &namespace, "agents").await;
        namespaces.push(namespace);
    }
    settled("the endpoints", async || setup.reconciles().await.to_bits()).await;
    setup.process.kill();

    for ((count, side), namespace) in cases.into_iter().zip(&namespaces) {
        let _kubelet = Node::start(client.clone(), namespace);
        let scene = Scene { client: &client, namespace };
        let stopped = proxy.stop_after(count, side);
        // The same identity leads again at once.
        let mut first = operator_at(&plane, "one", &proxy.url()).await;
        scene.make("web", "debian", &json!({})).await;
        let at = tokio::time::timeout(Duration::from_mins(1), stopped).await.expect("it writes so much").unwrap();
        first.process.kill();
        proxy.open();

        let _second = operator(&plane, "one").await;
        let status = scene.until("web", Phase::Running, "Ready").await;
        assert_eq!((status.outdated, status.pod_name.as_deref()), (false, Some("workspace-web-0")), "{side:?} {at}");
        let mut left = settled("what it is made of", async || scene.left().await).await;
        left.sort();
        let all = ["NetworkPolicy/workspace-web", "PersistentVolumeClaim/home-workspace-web-0", "Pod/workspace-web-0"];
        assert_eq!(left, [&all[..], &["StatefulSet/workspace-web"]].concat(), "{side:?} {at}");
    }
}
