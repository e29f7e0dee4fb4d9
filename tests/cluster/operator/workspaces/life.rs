//! Made, stopped, started, left behind by its template, deleted.

use super::{Scene, image, message, node::Node, template};
use crate::{
    operator::stage::{api, create, endpoint, eventually, operator, own_plane, settled},
    support::controlplane::ControlPlane,
};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{PersistentVolumeClaim, Pod},
    networking::v1::NetworkPolicy,
};
use kube::{
    Client, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
};
use portcullis_api::{McpEndpoint, Workspace, WorkspaceTemplate, workspace::Phase};
use portcullis_plan::workspace::POD_REVISION_ANNOTATION;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn workspaces_are_what_their_manifests_say() {
    let plane = own_plane().await;
    let _operator = operator(&plane, "one").await;
    let client = plane.client().await;
    the_example_becomes_ready_where_pods_are_restricted(&plane, &client).await;
    stopped_and_started_it_is_up_to_date(&plane, &client).await;
    deleted_it_leaves_nothing_but_what_is_retained(&plane, &client).await;
    drift_is_repaired_and_a_lost_pod_comes_back(&plane, &client).await;
    surplus_ones_wait_for_room(&plane, &client).await;
    without_its_endpoint_it_goes_on_and_says_so(&plane, &client).await;
}

async fn the_example_becomes_ready_where_pods_are_restricted(plane: &ControlPlane, client: &Client) {
    let namespace = plane.create_namespace("example").await;
    for level in ["enforce", "warn"] {
        let label = format!("pod-security.kubernetes.io/{level}=restricted");
        assert!(plane.kubectl(&["label", "namespace", &namespace, &label]).status.success());
    }
    let _kubelet = Node::start(client.clone(), &namespace);
    let example = include_str!("../../../../examples/workspaces.yaml");
    let applied = plane.kubectl_with_input(&["-n", &namespace, "apply", "-f", "-"], example);
    assert!(applied.status.success(), "{applied:?}");
    let scene = Scene { client, namespace: &namespace };
    scene.make("web", "debian", &json!({"parameters": {"memory": "2Gi", "timezone": "Europe/Zurich"}})).await;
    let waited = plane.kubectl(&["-n", &namespace, "wait", "--for=condition=Ready", "ws/web", "--timeout=30s"]);
    assert!(waited.status.success(), "{waited:?}");
    let status = scene.until("web", Phase::Running, "Ready").await;
    assert_eq!((status.pod_name.as_deref(), status.home.as_deref()), (Some("workspace-web-0"), Some("/home/dev")));
    assert_eq!((status.outdated, status.expires_at.is_some()), (false, true));
    scene.told("web", "Ready").await;

    let pod = scene.pod("web").await.unwrap();
    let container = serde_json::to_value(&pod.spec.as_ref().unwrap().containers[0]).unwrap();
    assert_eq!(container["resources"]["limits"]["memory"], "2Gi");
    assert_eq!(container["env"][1], json!({"name": "TZ", "value": "Europe/Zurich"}));
    // What the API server adds to a pod must not undo it.
    let volumes = pod.spec.as_ref().unwrap().volumes.iter().flatten();
    assert!(volumes.into_iter().all(|volume| volume.projected.is_none()), "no token is mounted");
}

async fn stopped_and_started_it_is_up_to_date(plane: &ControlPlane, client: &Client) {
    let namespace = plane.create_namespace("start").await;
    let _kubelet = Node::start(client.clone(), &namespace);
    let scene = Scene { client, namespace: &namespace };
    create(client, &namespace, &endpoint("agents", &json!({}))).await;
    create(client, &namespace, &template("debian", &json!({}))).await;
    scene.make("web", "debian", &json!({})).await;
    scene.until("web", Phase::Running, "Ready").await;
    let first = scene.pod("web").await.unwrap();

    // Another version of the template restarts nothing.
    let spec = json!({"pod": {"image": "debian:trixie"}, "storage": {"size": "9Gi"}});
    scene.patch_template("debian", &spec).await;
    eventually("it is outdated", async || scene.status("web").await?.outdated.then_some(())).await;
    assert_eq!(scene.pod("web").await.unwrap().uid(), first.uid());

    scene.patch("web", &json!({"running": false})).await;
    let stopped = scene.until("web", Phase::Stopped, "Stopped").await;
    assert_eq!((stopped.pod_name, stopped.outdated), (None, false));
    scene.told("web", "Stopped").await;
    let claims = api::<PersistentVolumeClaim>(client, &namespace);
    let kept = claims.get("home-workspace-web-0").await.unwrap().uid();

    scene.patch("web", &json!({"running": true})).await;
    scene.until("web", Phase::Running, "Ready").await;
    assert_eq!(image(&scene.pod("web").await.unwrap()), "debian:trixie");
    assert_eq!(claims.get("home-workspace-web-0").await.unwrap().uid(), kept, "the files are the same");

    // A template that is gone stops nothing, but nothing starts from it.
    api::<WorkspaceTemplate>(client, &namespace).delete("debian", &DeleteParams::default()).await.unwrap();
    scene.make("late", "debian", &json!({})).await;
    let late = scene.until("late", Phase::Failed, "TemplateNotFound").await;
    assert!(message(&late).contains("debian") && late.home.is_none(), "{late:?}");
    scene.until("web", Phase::Running, "Ready").await;
    scene.told("late", "TemplateNotFound").await;
    create(client, &namespace, &template("debian", &json!({}))).await;
    scene.until("late", Phase::Running, "Ready").await;
}

async fn deleted_it_leaves_nothing_but_what_is_retained(plane: &ControlPlane, client: &Client) {
    let namespace = plane.create_namespace("delete").await;
    let _kubelet = Node::start(client.clone(), &namespace);
    let scene = Scene { client, namespace: &namespace };
    create(client, &namespace, &endpoint("agents", &json!({}))).await;
    create(client, &namespace, &template("plain", &json!({}))).await;
    create(client, &namespace, &template("kept", &json!({"storage": {"size": "1Gi", "onDelete": "Retain"}}))).await;
    for (name, template) in [("web", "plain"), ("sleeping", "plain"), ("data", "kept")] {
        scene.make(name, template, &json!({})).await;
        scene.until(name, Phase::Running, "Ready").await;
    }
    scene.patch("sleeping", &json!({"running": false})).await;
    scene.until("sleeping", Phase::Stopped, "Stopped").await;
    let workspaces = api::<Workspace>(client, &namespace);
    for name in ["web", "sleeping", "data"] {
        workspaces.delete(name, &DeleteParams::default()).await.unwrap();
    }
    let kept = ["PersistentVolumeClaim/home-workspace-data-0"];
    eventually("nothing but what is retained is left", async || (scene.left().await == kept).then_some(())).await;
    assert_eq!(settled("what is left", async || scene.left().await).await, kept);
}

async fn drift_is_repaired_and_a_lost_pod_comes_back(plane: &ControlPlane, client: &Client) {
    let namespace = plane.create_namespace("drift").await;
    let _kubelet = Node::start(client.clone(), &namespace);
    let scene = Scene { client, namespace: &namespace };
    create(client, &namespace, &endpoint("agents", &json!({}))).await;
    create(client, &namespace, &template("debian", &json!({}))).await;
    scene.make("web", "debian", &json!({})).await;
    scene.until("web", Phase::Running, "Ready").await;

    let policies = api::<NetworkPolicy>(client, &namespace);
    let open = json!({"spec": {"ingress": [{}]}});
    policies.patch("workspace-web", &PatchParams::default(), &Patch::Merge(&open)).await.unwrap();
    eventually("nobody may connect again", async || {
        let ingress = policies.get("workspace-web").await.unwrap().spec?.ingress;
        ingress.unwrap_or_default().is_empty().then_some(())
    })
    .await;
    scene.told("web", "DriftRepaired").await;

    // What it was started with is lost: it is what its template makes, which restarts nothing.
    let before = scene.pod("web").await.unwrap().uid();
    let sets = api::<StatefulSet>(client, &namespace);
    let garbage = json!({"metadata": {"annotations": {POD_REVISION_ANNOTATION: "garbage"}}});
    sets.patch("workspace-web", &PatchParams::default(), &Patch::Merge(&garbage)).await.unwrap();
    eventually("the recipe is there again", async || {
        let set = scene.set("web").await?;
        set.annotations()[POD_REVISION_ANNOTATION].starts_with('{').then_some(())
    })
    .await;
    assert_eq!(settled("its pod", async || scene.pod("web").await.unwrap().uid()).await, before);

    policies.delete("workspace-web", &DeleteParams::default()).await.unwrap();
    eventually("the policy is back", async || policies.get_opt("workspace-web").await.unwrap()).await;

    let down = json!({"spec": {"replicas": 0}});
    sets.patch("workspace-web", &PatchParams::default(), &Patch::Merge(&down)).await.unwrap();
    eventually("it is scaled up again", async || (scene.set("web").await?.spec?.replicas == Some(1)).then_some(()))
        .await;
    // The status may still speak of the pod that was there before.
    eventually("the controller of StatefulSets has seen both", async || {
        let set = scene.set("web").await?;
        let pod = scene.pod("web").await?;
        let seen = set.status?.observed_generation == set.metadata.generation;
        (seen && pod.metadata.deletion_timestamp.is_none()).then_some(())
    })
    .await;
    scene.until("web", Phase::Running, "Ready").await;

    let before = scene.pod("web").await.unwrap().uid();
    api::<Pod>(client, &namespace).delete("workspace-web-0", &DeleteParams::default()).await.unwrap();
    eventually("another pod runs", async || {
        let pod = scene.pod("web").await?;
        (pod.uid() != before && pod.status?.phase.as_deref() == Some("Running")).then_some(())
    })
    .await;
    scene.until("web", Phase::Running, "Ready").await;

    // A name that is taken is left alone, and said.
    let foreign = json!({"spec": {"podSelector": {}}});
    let foreign = json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "workspace-taken"}, "spec": foreign["spec"]});
    create(client, &namespace, &serde_json::from_value::<NetworkPolicy>(foreign).unwrap()).await;
    scene.make("taken", "debian", &json!({})).await;
    let taken = scene.until("taken", Phase::Failed, "NameTaken").await;
    assert!(message(&taken).contains("NetworkPolicy \"workspace-taken\""), "{taken:?}");
    assert!(scene.set("taken").await.is_none(), "no pod without a policy");
}

async fn surplus_ones_wait_for_room(plane: &ControlPlane, client: &Client) {
    let namespace = plane.create_namespace("quota").await;
    let _kubelet = Node::start(client.clone(), &namespace);
    let scene = Scene { client, namespace: &namespace };
    create(client, &namespace, &endpoint("agents", &json!({"workspaces": {"maxPerUser": 2}}))).await;
    create(client, &namespace, &template("debian", &json!({}))).await;
    for name in ["a", "b", "c"] {
        scene.make(name, "debian", &json!({})).await;
    }
    scene.make("bobs", "debian", &json!({"owner": {"id": "local:bob", "name": "bob"}})).await;
    for name in ["a", "b", "bobs"] {
        scene.until(name, Phase::Running, "Ready").await;
    }
    let surplus = scene.until("c", Phase::Failed, "QuotaExceeded").await;
    assert!(message(&surplus).contains("more than 2 workspaces"), "{surplus:?}");
    assert!(scene.set("c").await.is_none());

    api::<Workspace>(client, &namespace).delete("a", &DeleteParams::default()).await.unwrap();
    scene.until("c", Phase::Running, "Ready").await;

    // A lower quota stops nothing that runs; a higher one lets others start.
    scene.make("d", "debian", &json!({})).await;
    scene.until("d", Phase::Failed, "QuotaExceeded").await;
    let endpoints = api::<McpEndpoint>(client, &namespace);
    let quota = async |most: u32| {
        let patch = json!({"spec": {"workspaces": {"maxPerUser": most}}});
        endpoints.patch("agents", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    };
    quota(1).await;
    eventually("the message has the new quota", async || {
        message(&scene.status("d").await?).contains("more than 1 workspaces").then_some(())
    })
    .await;
    scene.until("c", Phase::Running, "Ready").await;
    quota(3).await;
    scene.until("d", Phase::Running, "Ready").await;
}

async fn without_its_endpoint_it_goes_on_and_says_so(plane: &ControlPlane, client: &Client) {
    let namespace = plane.create_namespace("endpoint").await;
    let _kubelet = Node::start(client.clone(), &namespace);
    let scene = Scene { client, namespace: &namespace };
    create(client, &namespace, &template("debian", &json!({}))).await;
    scene.make("web", "debian", &json!({})).await;
    scene.until("web", Phase::Failed, "EndpointNotFound").await;
    create(client, &namespace, &endpoint("agents", &json!({}))).await;
    scene.until("web", Phase::Running, "Ready").await;
    let before = scene.pod("web").await.unwrap().uid();
    api::<McpEndpoint>(client, &namespace).delete("agents", &DeleteParams::default()).await.unwrap();
    scene.until("web", Phase::Running, "EndpointNotFound").await;
    assert_eq!(scene.pod("web").await.unwrap().uid(), before);
}
