//! Stopped when nobody works in it, deleted when it is old: by a clock that the test sets.

use super::{Scene, node::Node, template};
use crate::{
    operator::stage::{api, create, endpoint, eventually, own_plane, settings},
    support::clock::ManualClock,
};
use jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams};
use portcullis_api::{Workspace, workspace::Phase};
use portcullis_core::clock::{Clock as _, SystemClock};
use serde_json::json;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn one_that_nobody_works_in_is_stopped_and_an_old_one_is_deleted() {
    let plane = own_plane().await;
    let client = plane.client().await;
    let clock = Arc::new(ManualClock::at(SystemClock.now()));
    let shutdown = CancellationToken::new();
    let settings = settings(Arc::<ManualClock>::clone(&clock));
    let running = tokio::spawn(portcullis_operator::run(plane.client().await, settings, shutdown.clone()));
    let namespace = plane.create_namespace("idle").await;
    let _kubelet = Node::start(client.clone(), &namespace);
    let scene = Scene { client: &client, namespace: &namespace };
    create(&client, &namespace, &endpoint("agents", &json!({}))).await;
    create(&client, &namespace, &template("idle", &json!({"idleStop": "2h", "timeToLive": "24h"}))).await;
    for name in ["used", "unused"] {
        scene.make(name, "idle", &json!({})).await;
        scene.until(name, Phase::Running, "Ready").await;
    }
    let step = |span: SignedDuration| clock.set(clock.now() + span);

    // As a server tells it.
    step(SignedDuration::from_mins(90));
    let active: Timestamp = Timestamp::from_second(clock.now().as_second()).unwrap();
    let told = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "Workspace", "metadata": {"name": "used"},
        "status": {"lastActivity": active},
    });
    let workspaces = api::<Workspace>(&client, &namespace);
    workspaces.patch_status("used", &PatchParams::apply("server"), &Patch::Apply(&told)).await.unwrap();

    step(SignedDuration::from_mins(31));
    scene.until("unused", Phase::Stopped, "Stopped").await;
    scene.told("unused", "IdleStopped").await;
    assert!(!workspaces.get("unused").await.unwrap().spec.running);
    let used = scene.until("used", Phase::Running, "Ready").await;
    assert_eq!(used.last_activity, Some(active), "the operator leaves it as the server told it");

    step(SignedDuration::from_mins(90));
    scene.until("used", Phase::Stopped, "Stopped").await;
    // Started again, it has its time again.
    scene.patch("used", &json!({"running": true})).await;
    let started = scene.until("used", Phase::Running, "Ready").await;
    assert_eq!(started.last_activity, Some(active));
    step(SignedDuration::from_mins(119));
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert!(workspaces.get("used").await.unwrap().spec.running, "not yet");

    // It ends for its age, however much it is used.
    let born = workspaces.get("used").await.unwrap().metadata.creation_timestamp.unwrap().0;
    assert_eq!(started.expires_at, Some(born + SignedDuration::from_hours(24)));
    // The other one was made some seconds later.
    clock.set(born + SignedDuration::from_hours(24) + SignedDuration::from_mins(1));
    for name in ["used", "unused"] {
        eventually("it is deleted", async || workspaces.get_opt(name).await.unwrap().is_none().then_some(())).await;
        scene.told(name, "Expired").await;
    }
    eventually("nothing is left", async || scene.left().await.is_empty().then_some(())).await;
    shutdown.cancel();
    running.await.unwrap().unwrap();
}
