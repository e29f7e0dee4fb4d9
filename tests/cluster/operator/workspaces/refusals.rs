//! What keeps a workspace from running, said in words.

use super::{Scene, message, node::Node, template};
use crate::operator::stage::{create, endpoint, operator, own_plane};
use portcullis_api::workspace::Phase;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_a_workspace_from_running_is_said_and_goes_when_it_is_mended() {
    let plane = own_plane().await;
    let _operator = operator(&plane, "one").await;
    let client = plane.client().await;
    let namespace = plane.create_namespace("refused").await;
    let scene = Scene { client: &client, namespace: &namespace };
    let _kubelet = Node::start(client.clone(), &namespace);
    create(&client, &namespace, &endpoint("agents", &json!({"workspaces": {"maxPerUser": 50}}))).await;

    // An image that is not there; the template is mended.
    create(&client, &namespace, &template("typo", &json!({"pod": {"image": "debian:missing"}}))).await;
    scene.make("typo", "typo", &json!({})).await;
    let status = scene.until("typo", Phase::Failed, "ImagePullFailed").await;
    assert!(
        message(&status).contains("\"debian:missing\" cannot be pulled: the registry does not have the image"),
        "{status:?}"
    );
    scene.told("typo", "ImagePullFailed").await;
    scene.patch_template("typo", &json!({"pod": {"image": "debian:bookworm"}})).await;
    scene.until("typo", Phase::Running, "Ready").await;

    // One that needs more memory than it may have.
    create(&client, &namespace, &template("hungry", &json!({"pod": {"image": "hungry"}}))).await;
    scene.make("hungry", "hungry", &json!({})).await;
    let status = scene.until("hungry", Phase::Failed, "CrashLooping").await;
    assert!(message(&status).contains("out of memory"), "{status:?}");

    // Parameters that do not fit, and then do.
    let parameters = json!({"parameters": [{"name": "size", "type": "enum", "options": ["small", "large"]}]});
    create(&client, &namespace, &template("sized", &parameters)).await;
    scene.make("sized", "sized", &json!({"parameters": {"size": "huge"}})).await;
    let status = scene.until("sized", Phase::Failed, "InvalidParameters").await;
    assert_eq!(message(&status), "parameter \"size\" cannot be \"huge\"; it must be one of: small, large");
    scene.patch("sized", &json!({"parameters": {"size": "large"}})).await;
    scene.until("sized", Phase::Running, "Ready").await;

    // What the API server does not take of a template.
    let wrong =
        json!({"pod": {"image": "a", "resources": {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}}});
    create(&client, &namespace, &template("wrong", &wrong)).await;
    scene.make("wrong", "wrong", &json!({})).await;
    let status = scene.until("wrong", Phase::Failed, "PodRefused").await;
    assert!(message(&status).contains("must be less than or equal to memory limit"), "{status:?}");

    // A RuntimeClass that is not there.
    create(&client, &namespace, &template("sandboxed", &json!({"pod": {"image": "a", "runtimeClassName": "gvisor"}})))
        .await;
    scene.make("sandboxed", "sandboxed", &json!({})).await;
    let status = scene.until("sandboxed", Phase::Failed, "PodRefused").await;
    assert!(message(&status).contains("RuntimeClass \"gvisor\" not found"), "{status:?}");

    // The quota of the namespace.
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": {"hard": {"limits.memory": "1Gi"}},
    });
    let small = plane.create_namespace("small").await;
    let scene = Scene { client: &client, namespace: &small };
    let _kubelet = Node::start(client.clone(), &small);
    create(&client, &small, &endpoint("agents", &json!({"deployment": {"replicas": 0}}))).await;
    let limited = json!({"pod": {"image": "debian:bookworm", "resources": {"limits": {"memory": "768Mi"}}}});
    create(&client, &small, &template("limited", &limited)).await;
    let made = plane.kubectl_with_input(&["-n", &small, "apply", "-f", "-"], &quota.to_string());
    assert!(made.status.success(), "{made:?}");
    let counted =
        plane.kubectl(&["-n", &small, "wait", "--for=jsonpath={.status.hard}", "resourcequota/small", "--timeout=30s"]);
    assert!(counted.status.success(), "{counted:?}");
    scene.make("one", "limited", &json!({})).await;
    scene.until("one", Phase::Running, "Ready").await;
    scene.make("two", "limited", &json!({})).await;
    let status = scene.until("two", Phase::Failed, "PodRefused").await;
    let text = message(&status);
    assert!(text.contains("exceeded quota: small") && text.contains("stop or delete a workspace"), "{text}");
    // One whose template names no amount of what the quota counts.
    create(&client, &small, &template("unlimited", &json!({"pod": {"image": "debian:bookworm"}}))).await;
    scene.make("three", "unlimited", &json!({})).await;
    let status = scene.until("three", Phase::Failed, "PodRefused").await;
    let unnamed = message(&status);
    assert!(unnamed.contains("must specify limits.memory") && unnamed.contains("pod.resources"), "{unnamed}");
    assert!(!unnamed.contains("delete a workspace"), "{unnamed}");
    // The refusal of before is no news of the next start.
    scene.patch("two", &json!({"running": false})).await;
    scene.until("two", Phase::Stopped, "Stopped").await;
    scene.patch("one", &json!({"running": false})).await;
    scene.until("one", Phase::Stopped, "Stopped").await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    scene.patch("two", &json!({"running": true})).await;
    scene.until("two", Phase::Running, "Ready").await;
}
