//! Servers on exactly the files that a kubelet mounts from the planned objects: `plan` and `serve` fit together.

use crate::{
    operator::stage::install,
    support::{controlplane::ControlPlane, kubelet::Kubelet},
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, Secret},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    core::{DynamicObject, GroupVersionKind, NamespaceResourceScope, Resource},
    discovery,
    runtime::wait::{await_condition, conditions},
};
use portcullis_api::{McpEndpoint, OAuthClient, validation};
use portcullis_config::{LoadedRevision, PRIVATE_PORT};
use portcullis_core::{
    clock::{Clock as _, SystemClock},
    rng,
};
use portcullis_plan::{ClusterFacts, Inputs, Plan, REVISION_ANNOTATION, plan};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Debug, path::Path, time::Duration};

/// Far more than it takes, and less than a kubelet's minute between refreshes where something is to happen at once.
const SOON: Duration = Duration::from_secs(40);

#[tokio::test]
async fn servers_load_what_is_planned_and_reload_it_when_told() {
    let plane = ControlPlane::shared().await;
    // The role that the planned RoleBinding names.
    install(plane);
    let namespace = plane.create_namespace("servers").await;
    let client = plane.client().await;
    let kubelet = Kubelet::start(plane, &namespace, Path::new(env!("CARGO_BIN_EXE_portcullis"))).await;

    let mut endpoint: McpEndpoint = create(
        &client,
        &namespace,
        json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "McpEndpoint", "metadata": {"name": "agents"},
            "spec": {"url": "https://mcp.example.com/mcp", "exposure": {"none": {}}, "deployment": {"replicas": 2}},
        }),
    )
    .await;
    let robot: OAuthClient = create(
        &client,
        &namespace,
        json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "OAuthClient", "metadata": {"name": "robot"},
            "spec": {"endpointRef": {"name": "agents"}, "scopes": ["workspaces:read"], "grants": ["client_credentials"],
                "preset": "custom"},
        }),
    )
    .await;

    let first = planned(&client, &endpoint, &robot).await;
    apply(&client, &first).await;
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
    let ready = await_condition(deployments, "agents", conditions::is_deployment_completed());
    let ready = tokio::time::timeout(SOON, ready).await;
    assert!(ready.is_ok_and(|ready| ready.is_ok()), "the servers never were ready\n{}", kubelet.logs());
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    let servers = pods.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(servers.len(), 2);
    for server in &servers {
        assert_eq!(loaded(server).await.unwrap().revision, first.revision);
    }

    endpoint.spec.limits.burst = 7;
    let second = planned(&client, &endpoint, &robot).await;
    assert_ne!(first.revision, second.revision);
    apply(&client, &second).await;
    for server in &servers {
        let told = json!({"metadata": {"annotations": {REVISION_ANNOTATION: second.revision.as_str()}}});
        pods.patch(&server.name_any(), &PatchParams::default(), &Patch::Merge(told)).await.unwrap();
    }
    for server in &servers {
        let reloaded =
            eventually(async || loaded(server).await.is_some_and(|now| now.revision == second.revision)).await;
        assert!(reloaded, "{} did not reload\n{}", server.name_any(), kubelet.logs());
    }
    let after = pods.list(&ListParams::default()).await.unwrap().items;
    let runs = |pods: &[Pod]| pods.iter().map(|pod| (pod.name_any(), restarts(pod))).collect::<Vec<_>>();
    assert_eq!(runs(&after), runs(&servers), "a change of the configuration starts nothing anew");

    let endpoints: Api<McpEndpoint> = Api::namespaced(client, &namespace);
    endpoints.delete("agents", &DeleteParams::background()).await.unwrap();
    let gone = eventually(async || pods.list(&ListParams::default()).await.unwrap().items.is_empty()).await;
    assert!(gone, "its pods outlive the endpoint");
    for server in &servers {
        assert!(loaded(server).await.is_none(), "{} still runs", server.name_any());
    }
}

/// Creates an object as `portcullis dev` reads it and as the API server takes it.
async fn create<K>(client: &Client, namespace: &str, manifest: Value) -> K
where
    K: kube::CustomResourceExt + Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Serialize + DeserializeOwned + Clone + Debug,
{
    let object: K = validation::admit(manifest).unwrap();
    Api::namespaced(client.clone(), namespace).create(&PostParams::default(), &object).await.unwrap()
}

async fn planned(client: &Client, endpoint: &McpEndpoint, robot: &OAuthClient) -> Plan {
    let namespace = endpoint.namespace().unwrap();
    let secrets = Api::namespaced(client.clone(), &namespace).list(&ListParams::default()).await.unwrap();
    let secrets: BTreeMap<_, _> = secrets.into_iter().map(|secret: Secret| (secret.name_any(), secret)).collect();
    let inputs = Inputs {
        endpoint,
        clients: &[robot],
        secrets: &secrets,
        cluster: &ClusterFacts { server_image: "portcullis".to_owned(), ..ClusterFacts::default() },
        taken: None,
        replicas: None,
        now: SystemClock.now(),
    };
    plan(&inputs, &mut rng::rng()).unwrap()
}

async fn apply(client: &Client, plan: &Plan) {
    for planned in &plan.objects {
        let kind = GroupVersionKind::try_from(planned.object.types.as_ref().unwrap()).unwrap();
        let (resource, _) = discovery::pinned_kind(client, &kind).await.unwrap();
        let namespace = planned.object.namespace().unwrap();
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &resource);
        let params = PatchParams::apply("portcullis").force();
        api.patch(&planned.object.name_any(), &params, &Patch::Apply(&planned.object)).await.unwrap();
    }
}

/// What a server says of itself; `None` where nobody answers.
async fn loaded(server: &Pod) -> Option<LoadedRevision> {
    let address = server.status.as_ref()?.pod_ip.as_ref()?;
    reqwest::get(format!("http://{address}:{PRIVATE_PORT}/revision")).await.ok()?.json().await.ok()
}

fn restarts(pod: &Pod) -> i32 {
    pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten()).map(|one| one.restart_count).sum()
}

async fn eventually(mut holds: impl AsyncFnMut() -> bool) -> bool {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SOON, waiting).await.is_ok()
}
