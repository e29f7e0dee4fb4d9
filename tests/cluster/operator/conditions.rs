//! What keeps an endpoint from being what its manifest says is in its conditions, with the remedy, and goes when it is
//! mended.

use super::stage::{api, condition, create, endpoint, eventually, operator, own_plane};
use crate::support::{controlplane::ControlPlane, kubelet::Kubelet, operator::PATIENCE};
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{Pod, Secret},
        events::v1::Event,
    },
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use portcullis_api::McpEndpoint;
use serde_json::{Value, json};
use std::path::Path;

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_servers_from_running_is_said_with_the_remedy() {
    let plane = own_plane().await;
    let _operator = operator(&plane, "one").await;
    let client = plane.client().await;
    tokio::join!(refused_certificates_are_reported(&plane, &client), async {
        pods_that_cannot_run_stall_the_rollout(&plane, &client).await;
        a_quota_that_refuses_servers_is_named(&plane, &client).await;
        endpoints_are_scaled_by_kubectl(&plane, &client).await;
        an_ingress_needs_a_class_that_exists(&plane, &client).await;
    });
}

/// Waits until a condition has this status and reason, and gives its message.
async fn said(client: &Client, namespace: &str, kind: &str, status: &str, reason: &str) -> String {
    let endpoints: Api<McpEndpoint> = api(client, namespace);
    eventually(&format!("{kind}={status} {reason}"), async || {
        let found = find(&endpoints, kind).await?;
        (found.status == status && found.reason == reason).then_some(found.message)
    })
    .await
}

async fn find(endpoints: &Api<McpEndpoint>, kind: &str) -> Option<Condition> {
    let status = endpoints.get("agents").await.unwrap().status?;
    status.conditions.into_iter().find(|condition| condition.type_ == kind)
}

/// Waits until a condition is not there.
async fn absent(client: &Client, namespace: &str, kind: &str) {
    let endpoints: Api<McpEndpoint> = api(client, namespace);
    eventually(&format!("no {kind}"), async || find(&endpoints, kind).await.is_none().then_some(())).await;
}

async fn warned(client: &Client, namespace: &str, reason: &str) {
    let events: Api<Event> = api(client, namespace);
    eventually(reason, async || {
        let all = events.list(&ListParams::default()).await.unwrap();
        let is_it =
            |event: &Event| event.reason.as_deref() == Some(reason) && event.type_.as_deref() == Some("Warning");
        all.iter().any(is_it).then_some(())
    })
    .await;
}

/// A certificate is no part of the revision that servers report.
async fn refused_certificates_are_reported(plane: &ControlPlane, client: &Client) {
    let namespace = plane.create_namespace("certificate").await;
    let kubelet = Kubelet::start(plane, &namespace, Path::new(env!("CARGO_BIN_EXE_portcullis"))).await;
    let spec = json!({"exposure": {"none": {}}, "deployment": {"replicas": 1}, "tls": {"secretName": "cert"}});
    create(client, &namespace, &endpoint("agents", &spec)).await;
    let message = said(client, &namespace, "CredentialsLoaded", "False", "Rejected").await;
    let words = ["1 of 1 servers have loaded", "tls.crt is missing; the Secret named in spec.tls"];
    assert!(words.iter().all(|word| message.contains(word)), "{message}\n{}", kubelet.logs());
    warned(client, &namespace, "Rejected").await;

    let issued = rcgen::generate_simple_self_signed(["agents.example.com".to_owned()]).unwrap();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "cert"},
        "stringData": {"tls.crt": issued.cert.pem(), "tls.key": issued.signing_key.serialize_pem()},
    });
    let secret: Secret = serde_json::from_value(secret).unwrap();
    create(client, &namespace, &secret).await;
    refresh_volumes(client, &namespace, "made").await;
    said(client, &namespace, "CredentialsLoaded", "True", "Loaded").await;
    // No watch tells the operator of it, and the revision stays.
    api::<Secret>(client, &namespace).delete("cert", &DeleteParams::default()).await.unwrap();
    refresh_volumes(client, &namespace, "gone").await;
    let message = said(client, &namespace, "CredentialsLoaded", "False", "Rejected").await;
    assert!(message.contains("tls.crt is missing"), "{message}");
}

/// A kubelet does it by itself after a minute.
async fn refresh_volumes(client: &Client, namespace: &str, word: &str) {
    let pods: Api<Pod> = api(client, namespace);
    let patch = Patch::Merge(json!({"metadata": {"annotations": {"example.com/touched": word}}}));
    for pod in pods.list(&ListParams::default()).await.unwrap() {
        pods.patch(&pod.name_any(), &PatchParams::default(), &patch).await.unwrap();
    }
}

/// What a scheduler and a kubelet say of a server's pod, one after the other.
async fn pods_that_cannot_run_stall_the_rollout(plane: &ControlPlane, client: &Client) {
    let namespace = plane.create_namespace("stalled").await;
    let spec = json!({"exposure": {"none": {}}, "deployment": {"replicas": 1}});
    create(client, &namespace, &endpoint("agents", &spec)).await;
    let message = said(client, &namespace, "Reconciling", "True", "RolloutInProgress").await;
    assert!(message.contains("of 1 servers"), "{message}");
    let pods: Api<Pod> = api(client, &namespace);
    let pod =
        eventually("its pod", async || pods.list(&ListParams::default()).await.unwrap().items.pop()).await.name_any();
    let say = async |status: Value| {
        pods.patch_status(&pod, &PatchParams::default(), &Patch::Merge(json!({"status": status}))).await.unwrap();
    };
    let container = |state: Value, last: Value, restarts: u32, ready: bool| {
        json!([{"name": "server", "image": "example.com/portcullis", "imageID": "", "state": state,
            "lastState": last, "restartCount": restarts, "ready": ready}])
    };
    let unscheduled = |since: &str| {
        json!({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "message": "0/2 nodes are available: 2 Insufficient memory.", "lastTransitionTime": since}]})
    };
    say(unscheduled("2026-01-01T00:00:00Z")).await;
    let message = said(client, &namespace, "Stalled", "True", "Unschedulable").await;
    assert!(message.contains("2 Insufficient memory; add nodes") && message.contains(&pod), "{message}");
    let message = said(client, &namespace, "Available", "False", "Unschedulable").await;
    assert!(message.contains("0 of 1 servers are ready: no node can run pod"), "{message}");
    said(client, &namespace, "Ready", "False", "Unschedulable").await;
    absent(client, &namespace, "Reconciling").await;
    warned(client, &namespace, "Unschedulable").await;

    let waiting = |reason: &str, message: &str| json!({"waiting": {"reason": reason, "message": message}});
    let scheduled = json!([{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    let pulling = container(waiting("ErrImagePull", "example.com/portcullis: not found"), Value::Null, 0, false);
    say(json!({"conditions": scheduled, "containerStatuses": pulling})).await;
    let message = said(client, &namespace, "Stalled", "True", "ImagePullFailed").await;
    assert!(
        message.contains("the registry does not have the image; correct the operator's --server-image"),
        "{message}"
    );
    warned(client, &namespace, "ImagePullFailed").await;
    let killed = json!({"terminated": {"reason": "OOMKilled", "exitCode": 137, "finishedAt": "2026-01-01T00:00:00Z"}});
    say(json!({"containerStatuses": container(waiting("CrashLoopBackOff", "back-off"), killed, 4, false)})).await;
    let message = said(client, &namespace, "Stalled", "True", "OutOfMemory").await;
    assert!(message.contains("raise spec.deployment.resources.limits.memory"), "{message}");
    warned(client, &namespace, "OutOfMemory").await;
    let ended = json!({"terminated": {"reason": "Error", "exitCode": 3}});
    say(json!({"containerStatuses": container(waiting("CrashLoopBackOff", "back-off"), ended, 5, false)})).await;
    let message = said(client, &namespace, "Stalled", "True", "CrashLooping").await;
    assert!(message.contains("exit code 3") && message.contains("--previous"), "{message}");

    // It runs after all.
    let ready =
        json!([scheduled[0], {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    let runs = container(json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}}), Value::Null, 5, true);
    say(json!({"phase": "Running", "conditions": ready, "containerStatuses": runs})).await;
    absent(client, &namespace, "Stalled").await;
    absent(client, &namespace, "Reconciling").await;
    said(client, &namespace, "Available", "True", "ServersReady").await;
}

async fn a_quota_that_refuses_servers_is_named(plane: &ControlPlane, client: &Client) {
    let namespace = plane.create_namespace("quota").await;
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"},
        "spec": {"hard": {"limits.cpu": "2"}}});
    let made = plane.kubectl_with_input(&["-n", &namespace, "create", "-f", "-"], &quota.to_string());
    assert!(made.status.success(), "{made:?}");
    let counted = ["-n", &namespace, "wait", "--for=jsonpath={.status.hard}", "resourcequota/small", "--timeout=60s"];
    assert!(plane.kubectl(&counted).status.success());
    create(client, &namespace, &endpoint("agents", &json!({"exposure": {"none": {}}}))).await;
    let message = said(client, &namespace, "Stalled", "True", "PodRefused").await;
    let words = ["must specify limits.cpu", "spec.deployment.resources", "LimitRange"];
    assert!(words.iter().all(|word| message.contains(word)), "{message}");
    warned(client, &namespace, "PodRefused").await;
}

async fn endpoints_are_scaled_by_kubectl(plane: &ControlPlane, client: &Client) {
    let namespace = plane.create_namespace("scaled").await;
    create(client, &namespace, &endpoint("agents", &json!({"exposure": {"none": {}}}))).await;
    let scale = || plane.kubectl(&["-n", &namespace, "scale", "mcp", "agents", "--replicas=3"]);
    let scaled = scale();
    assert!(scaled.status.success(), "{scaled:?}");
    let deployments: Api<Deployment> = api(client, &namespace);
    eventually("three servers are wanted", async || {
        (deployments.get_opt("agents").await.unwrap()?.spec?.replicas == Some(3)).then_some(())
    })
    .await;
    let scale_of = api::<McpEndpoint>(client, &namespace);
    eventually("the scale has its pods and their labels", async || {
        let scale = scale_of.get_scale("agents").await.unwrap();
        let (spec, status) = (scale.spec?, scale.status?);
        let selected =
            api::<Pod>(client, &namespace).list(&ListParams::default().labels(&status.selector?)).await.unwrap();
        (spec.replicas == Some(3) && status.replicas == 3 && selected.items.len() == 3).then_some(())
    })
    .await;

    let autoscaled = json!({"spec": {"deployment": {"replicas": null, "autoscaling": {"min": 1, "max": 4}}}});
    let params = PatchParams::default();
    api::<McpEndpoint>(client, &namespace).patch("agents", &params, &Patch::Merge(autoscaled)).await.unwrap();
    let refused = String::from_utf8(scale().stderr).unwrap();
    assert!(refused.contains("remove autoscaling to set a number, as kubectl scale does"), "{refused}");
}

/// The last one: it takes the cluster's default away.
async fn an_ingress_needs_a_class_that_exists(plane: &ControlPlane, client: &Client) {
    let namespace = plane.create_namespace("class").await;
    let spec = json!({"exposure": {"ingress": {"className": "egde"}}, "deployment": {"replicas": 0}});
    create(client, &namespace, &endpoint("agents", &spec)).await;
    let message = said(client, &namespace, "Exposed", "False", "IngressClassNotFound").await;
    assert!(message.contains("no IngressClass \"egde\"") && message.contains("there are: edge"), "{message}");
    let change = async |ingress: Value| {
        let patch = Patch::Merge(json!({"spec": {"exposure": {"ingress": ingress}}}));
        api::<McpEndpoint>(client, &namespace).patch("agents", &PatchParams::default(), &patch).await.unwrap();
    };
    change(json!({"className": "edge"})).await;
    said(client, &namespace, "Exposed", "True", "IngressApplied").await;
    change(json!({"className": null})).await;
    tokio::time::timeout(PATIENCE, said(client, &namespace, "Exposed", "True", "IngressApplied")).await.unwrap();
    assert!(plane.kubectl(&["delete", "ingressclass", "edge"]).status.success());
    let message = said(client, &namespace, "Exposed", "False", "NoDefaultIngressClass").await;
    assert!(message.contains("the cluster has no IngressClass at all"), "{message}");
    let status = api::<McpEndpoint>(client, &namespace).get("agents").await.unwrap().status.unwrap();
    assert!(condition(&status.conditions, "Exposed").is_some());
}
