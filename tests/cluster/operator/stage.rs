//! What every scenario starts from: the rights installed, an operator running, manifests applied.

pub use crate::support::operator::{OPERATOR, Operator, eventually, install};

use crate::support::{controlplane::ControlPlane, operator::PATIENCE};
use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{ConfigMap, Secret, Service, ServiceAccount},
    networking::v1::{Ingress, NetworkPolicy},
    policy::v1::PodDisruptionBudget,
    rbac::v1::RoleBinding,
};
use kube::{
    Api, Client, Resource,
    api::{ListParams, PostParams},
    core::{DynamicObject, NamespaceResourceScope},
    discovery::ApiResource,
};
use portcullis_api::{McpEndpoint, OAuthClient};
use portcullis_core::{clock::Clock, rng};
use portcullis_operator::{Settings, leader::Election};
use portcullis_plan::ENDPOINT_LABEL;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::Instant;

/// What the operators of these tests are started with.
const OPTIONS: [&str; 2] = ["--server-image=example.com/portcullis", "--lease-seconds=3"];

/// A control plane of its own, with the rights installed: for scenarios that stop operators or count what they write.
pub async fn own_plane() -> ControlPlane {
    let plane = ControlPlane::start().await;
    install(&plane);
    plane
}

/// What an operator within the test is told: its time is the test's.
pub fn settings(clock: Arc<dyn Clock>) -> Settings {
    Settings {
        clock,
        rng: Arc::new(Mutex::new(rng::rng())),
        server_image: "example.com/portcullis".to_owned(),
        agent_image: "example.com/portcullis-agent".to_owned(),
        pull_secrets: BTreeSet::new(),
        internal: Vec::new(),
        exposure: portcullis_plan::ExposureRules::default(),
        neighbours: portcullis_plan::Neighbours::default(),
        namespaces: Vec::new(),
        election: Election { namespace: "portcullis-system".to_owned(), identity: "one".to_owned(), lease_seconds: 15 },
        listen: "127.0.0.1:0".parse().unwrap(),
    }
}

/// Starts an operator as a process that has the rights of `deploy/rbac.yaml`.
pub async fn operator(plane: &ControlPlane, identity: &str) -> Operator {
    operator_at(plane, identity, plane.url()).await
}

/// The same, through a proxy at `url`.
pub async fn operator_at(plane: &ControlPlane, identity: &str, url: &str) -> Operator {
    Operator::start(plane, url, identity, &OPTIONS).await
}

/// Waits until a look at the cluster shows the same twice, a second apart, and returns it.
pub async fn settled<T: PartialEq>(what: &str, mut look: impl AsyncFnMut() -> T) -> T {
    let mut before = look().await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = look().await;
        if now == before {
            return now;
        }
        assert!(Instant::now() < deadline, "never settled: {what}");
        before = now;
    }
}

/// An endpoint. `more` is merged over its spec.
pub fn endpoint(name: &str, more: &Value) -> McpEndpoint {
    let mut spec = json!({"url": format!("https://{name}.example.com/mcp")});
    merge(&mut spec, more);
    resource(
        json!({"apiVersion": "portcullis.dev/v1alpha1", "kind": "McpEndpoint", "metadata": {"name": name}, "spec": spec}),
    )
}

/// An unattended client of an endpoint. `more` is merged over its spec.
pub fn robot(name: &str, endpoint: &str, more: &Value) -> OAuthClient {
    let mut spec =
        json!({"endpointRef": {"name": endpoint}, "grants": ["client_credentials"], "scopes": ["workspaces:read"]});
    merge(&mut spec, more);
    resource(
        json!({"apiVersion": "portcullis.dev/v1alpha1", "kind": "OAuthClient", "metadata": {"name": name}, "spec": spec}),
    )
}

fn merge(spec: &mut Value, more: &Value) {
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
}

fn resource<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

/// Creates an object.
pub async fn create<K>(client: &Client, namespace: &str, object: &K) -> K
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    Api::namespaced(client.clone(), namespace).create(&PostParams::default(), object).await.unwrap()
}

/// The typed API of a namespace.
pub fn api<K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>>(client: &Client, namespace: &str) -> Api<K> {
    Api::namespaced(client.clone(), namespace)
}

/// Every object of an endpoint that the operator makes, by kind and name.
pub async fn objects(client: &Client, namespace: &str) -> BTreeMap<(String, String), DynamicObject> {
    let mut found = BTreeMap::new();
    for kind in [
        ApiResource::erase::<Secret>(&()),
        ApiResource::erase::<ConfigMap>(&()),
        ApiResource::erase::<ServiceAccount>(&()),
        ApiResource::erase::<RoleBinding>(&()),
        ApiResource::erase::<Service>(&()),
        ApiResource::erase::<Deployment>(&()),
        ApiResource::erase::<Ingress>(&()),
        ApiResource::erase::<NetworkPolicy>(&()),
        ApiResource::erase::<PodDisruptionBudget>(&()),
        ApiResource::erase::<HorizontalPodAutoscaler>(&()),
    ] {
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind);
        for object in api.list(&ListParams::default().labels(ENDPOINT_LABEL)).await.unwrap() {
            found.insert((kind.kind.clone(), object.metadata.name.clone().unwrap()), object);
        }
    }
    found
}

/// Their kinds and names.
pub async fn names(client: &Client, namespace: &str) -> Vec<String> {
    objects(client, namespace).await.keys().map(|(kind, name)| format!("{kind}/{name}")).collect()
}

/// Waits until an endpoint's status speaks of its newest spec and all its objects exist.
pub async fn planned(client: &Client, namespace: &str, name: &str) -> McpEndpoint {
    let endpoints: Api<McpEndpoint> = api(client, namespace);
    eventually("the endpoint's status speaks of its newest spec", async || {
        let endpoint = endpoints.get(name).await.unwrap();
        let observed = endpoint.status.as_ref()?.observed_generation;
        (observed == endpoint.metadata.generation).then_some(endpoint)
    })
    .await
}

/// Status and reason of a condition.
pub fn condition(
    conditions: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition],
    kind: &str,
) -> Option<(String, String)> {
    let found = conditions.iter().find(|condition| condition.type_ == kind)?;
    Some((found.status.clone(), found.reason.clone()))
}

/// Makes these local users, and returns the `spec.login` by which they sign in.
pub async fn local_users(client: &Client, namespace: &str, names: &[&str]) -> Value {
    let hash = bcrypt::hash("a password of the tests", 4).unwrap();
    let users: Secret = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "people", "labels": {"portcullis.dev/endpoint": "agents"}},
        "stringData": {"htpasswd": names.iter().map(|name| format!("{name}:{hash}")).collect::<Vec<_>>().join("\n")},
    }))
    .unwrap();
    create(client, namespace, &users).await;
    json!([{"name": "local", "passwords": {"secretRef": {"name": "people"}}}])
}
