//! At rest nothing is written, and news reach only those whom they concern.

use super::{Scene, node::Node, template};
use crate::operator::stage::{OPERATOR, api, create, endpoint, eventually, operator, own_plane};
use kube::api::{ListParams, Patch, PatchParams};
use portcullis_api::{Workspace, WorkspaceTemplate};
use serde_json::json;
use std::time::Duration;

const WORKSPACES: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn at_rest_nothing_is_written_and_a_template_concerns_its_own() {
    let plane = own_plane().await;
    let client = plane.client().await;
    let namespace = plane.create_namespace("rest").await;
    let _kubelet = Node::start(client.clone(), &namespace);
    let scene = Scene { client: &client, namespace: &namespace };
    let mut first = operator(&plane, "one").await;
    create(&client, &namespace, &endpoint("agents", &json!({"workspaces": {"maxPerUser": 100}}))).await;
    let shared = ["-n", &namespace, "create", "secret", "generic", "s", "--from-literal=k=v"];
    assert!(plane.kubectl(&shared).status.success());
    let shared = ["-n", &namespace, "label", "secret", "s", "portcullis.dev/workspaces=true"];
    assert!(plane.kubectl(&shared).status.success());
    // What the API server stores in other words than it was told would be written again and again.
    let specs = [
        json!({}),
        json!({"pod": {"image": "a", "command": ["serve"], "env": [{"name": "EMPTY", "value": ""}, {"name": "A", "secretKeyRef": {"name": "s", "key": "k"}}],
            "resources": {"requests": {"cpu": "0.5", "memory": "1024Mi"}, "limits": {"cpu": "1000m", "memory": "1.5Gi"}},
            "nodeSelector": {"a": "b"}, "tolerations": [{"key": "a", "operator": "Exists"}], "imagePullSecrets": [{"name": "s"}]}}),
        json!({"egress": "Custom", "egressRules": [{"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": [{"port": 443}]}, {}]}),
        json!({"egress": "None", "storage": {"size": "0.5Gi", "storageClassName": "fast", "mountPath": "/tmp/home", "onDelete": "Retain"}, "idleStop": "2h"}),
        json!({"pod": {"image": "missing"}}),
    ];
    for (number, spec) in specs.iter().enumerate() {
        create(&client, &namespace, &template(&format!("t{number}"), spec)).await;
    }
    for number in 0..WORKSPACES {
        let running = number % 7 != 0;
        scene.make(&format!("w{number}"), &format!("t{}", number % specs.len()), &json!({"running": running})).await;
    }
    let workspaces = api::<Workspace>(&client, &namespace);
    let reasons = async || {
        let all = workspaces.list(&ListParams::default()).await.unwrap().items;
        let reason = |workspace: &Workspace| Some(workspace.status.as_ref()?.conditions.first()?.reason.clone());
        all.iter().filter_map(reason).collect::<Vec<_>>()
    };
    eventually("each is where it is meant to be", async || {
        let reasons = reasons().await;
        let done = |reason: &String| matches!(reason.as_str(), "Ready" | "Stopped" | "ImagePullFailed");
        (reasons.len() == WORKSPACES && reasons.iter().all(done)).then_some(())
    })
    .await;

    let lull = async || tokio::time::sleep(Duration::from_secs(3)).await;
    lull().await;
    let mark = plane.audit_mark();
    let others = first.workspace_reconciles().await;
    // News that change nothing, of one template: its workspaces alone are looked at.
    let patch = json!({"metadata": {"annotations": {"a": "b"}}});
    let templates = api::<WorkspaceTemplate>(&client, &namespace);
    templates.patch("t0", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    let its = f64::from(u32::try_from(WORKSPACES / specs.len()).unwrap());
    eventually("they were reconciled", async || (first.workspace_reconciles().await >= others + its).then_some(()))
        .await;
    lull().await;
    assert!(first.workspace_reconciles().await < others + its + 0.5, "others were reconciled too");

    // And of a new leader that looks at all.
    first.process.kill();
    let second = operator(&plane, "one").await;
    let all = f64::from(u32::try_from(WORKSPACES).unwrap());
    eventually("every workspace was reconciled", async || (second.workspace_reconciles().await >= all).then_some(()))
        .await;
    lull().await;
    let written = plane.audit_writes(mark, OPERATOR).into_iter();
    let written: Vec<_> = written.filter(|write| write.resource != "leases").collect();
    assert!(written.is_empty(), "the operator tried to write: {written:?}");
}
