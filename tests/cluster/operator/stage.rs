//! What every scenario starts from: the rights installed, an operator running, manifests applied.

use crate::support::{controlplane::ControlPlane, process::Process};
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
use portcullis::{
    api::{McpEndpoint, OAuthClient},
    plan::ENDPOINT_LABEL,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Debug, net::TcpListener, path::Path, time::Duration};
use tokio::time::Instant;

/// The user that the operator is to the API server.
pub const OPERATOR: &str = "system:serviceaccount:portcullis-system:portcullis-operator";
const PATIENCE: Duration = Duration::from_secs(30);

/// Installs `deploy/rbac.yaml`.
pub fn install(plane: &ControlPlane) {
    let manifest = include_str!("../../../deploy/rbac.yaml");
    let done = plane.kubectl_with_input(&["apply", "--server-side", "-f", "-"], manifest);
    assert!(done.status.success(), "{done:?}");
}

/// A control plane of its own, with the rights installed: for scenarios that stop operators or count what they write.
pub async fn own_plane() -> ControlPlane {
    let plane = ControlPlane::start().await;
    install(&plane);
    plane
}

/// An operator that runs. What it logged is shown where a test fails.
pub struct Operator {
    pub process: Process,
    listen: String,
}

impl Operator {
    /// The sum of the samples of a metric whose line begins with `prefix`.
    pub async fn metric(&self, prefix: &str) -> Option<f64> {
        let answer = reqwest::get(format!("http://{}/metrics", self.listen)).await.ok()?;
        let text = answer.text().await.ok()?;
        let samples = text.lines().filter(|line| line.starts_with(prefix));
        Some(samples.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum())
    }

    /// How many reconciles it has ended. It reconciles every endpoint once it leads.
    pub async fn reconciles(&self) -> f64 {
        self.metric(r#"portcullis_operator_reconciles_total{kind="McpEndpoint""#).await.unwrap_or_default()
    }

    /// The same of workspaces.
    pub async fn workspace_reconciles(&self) -> f64 {
        self.metric(r#"portcullis_operator_reconciles_total{kind="Workspace""#).await.unwrap_or_default()
    }

    /// All that it printed.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Its metrics, as Prometheus sees them.
    pub async fn metrics(&self) -> String {
        reqwest::get(format!("http://{}/metrics", self.listen)).await.unwrap().text().await.unwrap()
    }

    /// Whether it leads.
    pub async fn leads(&self) -> bool {
        self.metric("portcullis_operator_leader").await == Some(1.0)
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.process.log_tail());
        }
    }
}

/// Starts an operator as a process that has the rights of `deploy/rbac.yaml`.
pub async fn operator(plane: &ControlPlane, identity: &str) -> Operator {
    let kubeconfig = plane.kubeconfig_for_service_account("portcullis-system", "portcullis-operator").await;
    start(&kubeconfig, identity)
}

/// The same, through a proxy at `url`.
pub async fn operator_at(plane: &ControlPlane, identity: &str, url: &str) -> Operator {
    let kubeconfig = plane.kubeconfig_for_service_account_at("portcullis-system", "portcullis-operator", url).await;
    start(&kubeconfig, identity)
}

fn start(kubeconfig: &Path, identity: &str) -> Operator {
    let folder = kubeconfig.parent().unwrap().to_owned();
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let args = ["operator", "--server-image=example.com/portcullis", "--lease-seconds=3"].map(ToOwned::to_owned);
    let args: Vec<String> =
        args.into_iter().chain([format!("--listen={listen}"), format!("--identity={identity}")]).collect();
    let env = [("KUBECONFIG", kubeconfig.to_str().unwrap()), ("RUST_LOG", "info,portcullis=trace,audit=trace")];
    let log = folder.join(format!("operator-{identity}.log"));
    let process = Process::start(Path::new(env!("CARGO_BIN_EXE_portcullis")), &args, &env, &log).unwrap();
    Operator { process, listen }
}

/// Waits until `look` finds something.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
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
