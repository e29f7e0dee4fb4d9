//! Which Secrets a workspace may read, with the Secrets that the operator makes.

use super::{Scene, message, node::Node, template};
use crate::operator::stage::{create, endpoint, eventually, operator, own_plane, robot};
use portcullis_api::workspace::Phase;
use serde_json::{Value, json};

fn reads(secret: &str) -> Value {
    json!({"pod": {"image": "debian:bookworm", "env": [{"name": "A", "secretKeyRef": {"name": secret, "key": "k"}}]}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workspace_reads_only_secrets_that_opted_in_and_never_the_operators() {
    let plane = own_plane().await;
    let _operator = operator(&plane, "one").await;
    let client = plane.client().await;
    let namespace = plane.create_namespace("secrets").await;
    let scene = Scene { client: &client, namespace: &namespace };
    let _kubelet = Node::start(client.clone(), &namespace);
    let kubectl = |args: &[&str]| {
        let done = plane.kubectl(&[&["-n", namespace.as_str()], args].concat());
        assert!(done.status.success(), "{done:?}");
    };
    create(
        &client,
        &namespace,
        &endpoint("agents", &json!({"deployment": {"replicas": 0}, "workspaces": {"maxPerUser": 50}})),
    )
    .await;
    create(&client, &namespace, &robot("ci", "agents", &json!({}))).await;
    let made = ["agents-signing-keys", "agents-clients", "agents-login", "ci-oauth"];
    eventually("the endpoint's Secrets", async || {
        let there = made.iter().all(|name| plane.kubectl(&["-n", &namespace, "get", "secret", name]).status.success());
        there.then_some(())
    })
    .await;

    // With the label or without it.
    for labelled in [false, true] {
        for secret in made {
            let name = format!("{secret}-{labelled}");
            if labelled {
                kubectl(&["label", "secret", secret, "portcullis.dev/workspaces=true"]);
            }
            create(&client, &namespace, &template(&name, &reads(secret))).await;
            scene.make(&name, &name, &json!({})).await;
            let status = scene.until(&name, Phase::Failed, "SecretRefused").await;
            let told = format!("Secret {secret:?}, which belongs to an endpoint or a client");
            assert!(message(&status).contains(&told), "{status:?}");
            assert!(scene.set(&name).await.is_none());
        }
    }

    // A Secret of people's: missing, then there, then shared, then withdrawn.
    create(&client, &namespace, &template("npm", &reads("npm"))).await;
    scene.make("npm", "npm", &json!({})).await;
    let command = format!("kubectl label --namespace {namespace} secret npm portcullis.dev/workspaces=true");
    let status = scene.until("npm", Phase::Failed, "SecretRefused").await;
    assert!(message(&status).contains(&command), "{status:?}");
    scene.told("npm", "SecretRefused").await;
    kubectl(&["create", "secret", "generic", "npm", "--from-literal=k=v"]);
    scene.make("npm-2", "npm", &json!({})).await;
    scene.until("npm-2", Phase::Failed, "SecretRefused").await;
    kubectl(&["label", "secret", "npm", "portcullis.dev/workspaces=true"]);
    scene.until("npm", Phase::Running, "Ready").await;
    scene.until("npm-2", Phase::Running, "Ready").await;
    let pod = scene.pod("npm").await.and_then(|pod| pod.metadata.uid);
    kubectl(&["label", "secret", "npm", "portcullis.dev/workspaces=false", "--overwrite"]);
    eventually("the running workspace says that it will not start again", async || {
        let status = scene.status("npm").await?;
        (status.phase == Some(Phase::Running) && message(&status).contains(&command)).then_some(())
    })
    .await;
    assert_eq!(scene.pod("npm").await.and_then(|pod| pod.metadata.uid), pod, "what runs is left alone");
    scene.patch("npm", &json!({"running": false})).await;
    scene.until("npm", Phase::Stopped, "Stopped").await;
    scene.patch("npm", &json!({"running": true})).await;
    scene.until("npm", Phase::Failed, "SecretRefused").await;
}
