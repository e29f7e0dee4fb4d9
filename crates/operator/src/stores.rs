//! The part of the cluster that the operator keeps in memory.
//!
//! Custom resources are complete; of other kinds only objects with the label of an endpoint or of a workspace, without
//! the fields that are never read. So memory grows with the endpoints and workspaces, not with the cluster.

use crate::Settings;
use crate::{cache::Cache, status::kept_of_pod};
use ipnet::IpNet;
use k8s_openapi::api::{
    admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    apps::v1::{Deployment, StatefulSet},
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{ConfigMap, Event, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount},
    discovery::v1::EndpointSlice,
    networking::v1::{Ingress, IngressClass, NetworkPolicy},
    policy::v1::PodDisruptionBudget,
    rbac::v1::RoleBinding,
};
use kube::{
    Client, Resource, ResourceExt as _,
    core::{DynamicObject, PartialObjectMeta, TypeMeta},
    discovery::ApiResource,
    runtime::reflector::{ObjectRef, store::WriterDropped},
};
use portcullis_api::{
    McpEndpoint, OAuthAccount, OAuthClient, OAuthGrant, OAuthUser, Workspace, WorkspaceTemplate,
    labels::{ENDPOINT_LABEL, WORKSPACE_LABEL},
};
use portcullis_plan::{
    ClusterFacts, DeliveredPolicy, EXEC_POLICY, ExposureRules, Neighbours, OptionalKind, PolicyProblem,
    SERVER_WRITES_POLICY,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};
use tokio::sync::Notify;

/// A custom resource, or why it could not be read. One that cannot must not stop the watch.
pub use portcullis_api::Guarded;
/// The reference to an endpoint.
pub type EndpointKey = ObjectRef<Guarded<McpEndpoint>>;
/// The reference to a workspace.
pub type WorkspaceKey = ObjectRef<Guarded<Workspace>>;

const DEFAULT_CLASS_ANNOTATION: &str = "ingressclass.kubernetes.io/is-default-class";

/// Everything that reconciles read.
#[derive(Debug)]
pub struct Stores {
    /// All endpoints.
    pub endpoints: Cache<Guarded<McpEndpoint>>,
    /// All clients.
    pub clients: Cache<Guarded<OAuthClient>>,
    /// All grants, without the hashes of refresh tokens.
    pub grants: Cache<Guarded<OAuthGrant>>,
    /// All accounts, without their tokens.
    pub accounts: Cache<Guarded<OAuthAccount>>,
    /// All user rules.
    pub users: Cache<Guarded<OAuthUser>>,
    /// The servers' pods.
    pub pods: Cache<DynamicObject>,
    /// The classes of Ingresses.
    pub ingress_classes: Cache<IngressClass>,
    /// The objects of the kinds in endpoint plans.
    pub objects: ObjectCaches,
    /// Notifies the collector that endpoints, clients or grants changed.
    pub collectable: Notify,
    /// The stores for workspaces.
    pub workspaces: WorkspaceStores,
    /// The admission policy that confines the servers' exec, and its binding.
    pub exec_policy: PolicyCache,
    /// The admission policy that confines the servers' writes, and its binding.
    pub server_writes_policy: PolicyCache,
    /// The addresses of the API server.
    pub api_servers: Cache<EndpointSlice>,
    /// The Ingress and HTTPRoute settings that endpoints may use.
    pub exposure: ExposureRules,
    neighbours: Neighbours,
    server_image: String,
    pull_secrets: BTreeSet<String>,
    optional: BTreeSet<OptionalKind>,
}

/// Everything that reconciles of workspaces read.
#[derive(Debug)]
pub struct WorkspaceStores {
    /// All workspaces.
    pub all: Cache<Guarded<Workspace>>,
    /// All templates.
    pub templates: Cache<Guarded<WorkspaceTemplate>>,
    /// Notified when a template changed.
    pub templates_changed: Notify,
    /// The objects of the kinds in workspace plans.
    pub objects: ObjectCaches,
    /// Their pods.
    pub pods: Cache<DynamicObject>,
    /// Their PersistentVolumeClaims.
    pub claims: Cache<DynamicObject>,
    /// The metadata of the Secrets that workspaces may read.
    pub shared_secrets: Cache<PartialObjectMeta<Secret>>,
    /// Events of StatefulSets whose pod was refused.
    pub refusals: Cache<Event>,
    /// Events of PersistentVolumeClaims without a volume.
    pub volume_failures: Cache<Event>,
    /// The image that agents come from.
    pub agent_image: String,
    /// The Secrets with registry credentials for that image.
    pub pull_secrets: BTreeSet<String>,
    /// Networks of the cluster that have public addresses.
    pub internal: Vec<IpNet>,
}

/// One cache for each kind that a plan may contain.
#[derive(Debug)]
pub struct ObjectCaches(Vec<Cache<DynamicObject>>);

impl ObjectCaches {
    fn of_kinds(kinds: Vec<ApiResource>, group: fn(&DynamicObject) -> Option<String>) -> Self {
        Self(kinds.into_iter().map(|kind| Cache::new(kind, strip).grouped_by(group)).collect())
    }

    /// Each kind.
    #[must_use]
    pub fn kinds(&self) -> &[Cache<DynamicObject>] {
        &self.0
    }

    /// The objects of one kind.
    #[must_use]
    pub fn of(&self, types: &TypeMeta) -> Option<&Cache<DynamicObject>> {
        self.0.iter().find(|cache| cache.kind().kind == types.kind && cache.kind().api_version == types.api_version)
    }

    /// The object of one kind with this name.
    #[must_use]
    pub fn get<K: Resource<DynamicType = ()>>(&self, namespace: &str, name: &str) -> Option<Arc<DynamicObject>> {
        self.of(&TypeMeta::resource::<K>())?.get(namespace, name)
    }

    /// The object of an optional kind with this name.
    #[must_use]
    pub fn get_optional(&self, kind: OptionalKind, namespace: &str, name: &str) -> Option<Arc<DynamicObject>> {
        self.of(&kind.types())?.get(namespace, name)
    }

    /// Completes once every kind has been listed.
    async fn ready(&self) -> Result<(), WriterDropped> {
        for cache in &self.0 {
            cache.ready().await?;
        }
        Ok(())
    }
}

/// The copy of one admission policy in the cluster.
#[derive(Debug)]
pub struct PolicyCache {
    /// The policy as it is delivered.
    pub delivered: &'static DeliveredPolicy,
    /// At most one.
    pub policies: Cache<ValidatingAdmissionPolicy>,
    /// At most one.
    pub bindings: Cache<ValidatingAdmissionPolicyBinding>,
}

impl Stores {
    /// Empty stores. Asks the API server which optional kinds it serves.
    pub async fn new(client: &Client, settings: &Settings) -> Result<Self, kube::Error> {
        let Settings { server_image, agent_image, pull_secrets, internal, exposure, neighbours, .. } = settings.clone();
        let optional = served(client).await?;
        let mut kinds = vec![
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
        ];
        kinds.extend(optional.iter().map(|kind| ApiResource::from_gvk(&kind.gvk())));
        Ok(Self {
            endpoints: Cache::new((), strip),
            clients: Cache::new((), strip).grouped_by(endpoint_of_client),
            grants: Cache::new((), strip_grant),
            accounts: Cache::new((), strip_account),
            users: Cache::new((), strip),
            pods: Cache::new(ApiResource::erase::<Pod>(&()), strip_pod).grouped_by(endpoint_of),
            ingress_classes: Cache::new((), strip),
            objects: ObjectCaches::of_kinds(kinds, endpoint_of),
            collectable: Notify::new(),
            workspaces: WorkspaceStores::new(agent_image, pull_secrets.clone(), internal),
            exec_policy: PolicyCache::new(&EXEC_POLICY),
            server_writes_policy: PolicyCache::new(&SERVER_WRITES_POLICY),
            api_servers: Cache::new((), strip),
            exposure,
            neighbours,
            server_image,
            pull_secrets,
            optional,
        })
    }

    /// The facts about the cluster that a plan depends on.
    #[must_use]
    pub fn facts(&self) -> ClusterFacts {
        ClusterFacts {
            server_image: self.server_image.clone(),
            pull_secrets: self.pull_secrets.clone(),
            default_ingress_class: self.default_ingress_class(),
            ingress_classes: self
                .ingress_classes
                .select(|_| true)
                .iter()
                .filter_map(|class| Some((class.name_any(), class.spec.as_ref()?.controller.clone()?)))
                .collect(),
            optional: self.optional.clone(),
            exposure: self.exposure.clone(),
            exec_problem: self.exec_policy.problem(),
            api_servers: self.api_servers.select(|_| true).iter().flat_map(|slice| addresses(slice)).collect(),
            neighbours: self.neighbours.clone(),
        }
    }

    /// The IngressClass that is marked as default, the first by name.
    #[must_use]
    pub fn default_ingress_class(&self) -> Option<String> {
        let is_default =
            |class: &IngressClass| class.annotations().get(DEFAULT_CLASS_ANNOTATION).is_some_and(|v| v == "true");
        self.ingress_classes.select(is_default).iter().map(|class| class.name_any()).min()
    }

    /// Whether the cluster still serves the same optional kinds as at the start.
    pub async fn is_current(&self, client: &Client) -> Result<bool, kube::Error> {
        Ok(served(client).await? == self.optional)
    }

    /// Completes once every kind has been listed: a plan from incomplete stores would replace credentials.
    pub async fn ready(&self) -> Result<(), WriterDropped> {
        self.endpoints.ready().await?;
        self.clients.ready().await?;
        self.grants.ready().await?;
        self.accounts.ready().await?;
        self.users.ready().await?;
        self.ingress_classes.ready().await?;
        self.exec_policy.ready().await?;
        self.server_writes_policy.ready().await?;
        self.api_servers.ready().await?;
        self.pods.ready().await?;
        self.objects.ready().await?;
        self.workspaces.ready().await
    }
}

impl PolicyCache {
    fn new(delivered: &'static DeliveredPolicy) -> Self {
        Self { delivered, policies: Cache::new((), strip), bindings: Cache::new((), strip) }
    }

    /// Why the policy does not confine the servers, if it does not.
    #[must_use]
    pub fn problem(&self) -> Option<PolicyProblem> {
        let name = self.delivered.name;
        let policy = self.policies.select(|policy| policy.name_any() == name).pop();
        let binding = self.bindings.select(|binding| binding.name_any() == name).pop();
        self.delivered.check(policy.as_deref(), binding.as_deref()).err()
    }

    async fn ready(&self) -> Result<(), WriterDropped> {
        self.policies.ready().await?;
        self.bindings.ready().await
    }
}

impl WorkspaceStores {
    fn new(agent_image: String, pull_secrets: BTreeSet<String>, internal: Vec<IpNet>) -> Self {
        Self {
            all: Cache::new((), strip).grouped_by(owner_of_workspace),
            templates: Cache::new((), strip),
            templates_changed: Notify::new(),
            objects: ObjectCaches::of_kinds(
                vec![ApiResource::erase::<StatefulSet>(&()), ApiResource::erase::<NetworkPolicy>(&())],
                workspace_of,
            ),
            pods: Cache::new(ApiResource::erase::<Pod>(&()), strip_workspace_pod),
            claims: Cache::new(ApiResource::erase::<PersistentVolumeClaim>(&()), strip_claim),
            shared_secrets: Cache::new((), strip),
            refusals: Cache::new((), strip).grouped_by(subject_of_event),
            volume_failures: Cache::new((), strip).grouped_by(subject_of_event),
            agent_image,
            pull_secrets,
            internal,
        }
    }

    async fn ready(&self) -> Result<(), WriterDropped> {
        self.all.ready().await?;
        self.templates.ready().await?;
        self.objects.ready().await?;
        self.pods.ready().await?;
        self.claims.ready().await?;
        self.shared_secrets.ready().await?;
        self.refusals.ready().await?;
        self.volume_failures.ready().await
    }
}

/// The addresses of a Service's endpoints.
fn addresses(slice: &EndpointSlice) -> Vec<SocketAddr> {
    let ports = || slice.ports.iter().flatten().filter_map(|port| u16::try_from(port.port?).ok());
    let addresses = slice.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
    let addresses = addresses.filter_map(|address| address.parse::<IpAddr>().ok());
    addresses.flat_map(|address| ports().map(move |port| SocketAddr::new(address, port))).collect()
}

/// The reference to the endpoint `name`.
#[must_use]
pub fn key(namespace: &str, name: &str) -> EndpointKey {
    ObjectRef::new(name).within(namespace)
}

/// The reference to the workspace `name`.
#[must_use]
pub fn workspace_key(namespace: &str, name: &str) -> WorkspaceKey {
    ObjectRef::new(name).within(namespace)
}

fn endpoint_of(object: &DynamicObject) -> Option<String> {
    object.labels().get(ENDPOINT_LABEL).cloned()
}

fn workspace_of(object: &DynamicObject) -> Option<String> {
    object.labels().get(WORKSPACE_LABEL).cloned()
}

fn endpoint_of_client(client: &Guarded<OAuthClient>) -> Option<String> {
    Some(client.0.as_ref().ok()?.spec.endpoint_ref.name.clone())
}

fn owner_of_workspace(workspace: &Guarded<Workspace>) -> Option<String> {
    Some(workspace.0.as_ref().ok()?.spec.owner.id.clone())
}

/// The uid of the object that an Event is about.
fn subject_of_event(event: &Event) -> Option<String> {
    event.involved_object.uid.clone()
}

fn strip<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
}

fn strip_grant(grant: &mut Guarded<OAuthGrant>) {
    strip(grant);
    if let Ok(grant) = &mut grant.0 {
        grant.spec.refresh = None;
    }
}

fn strip_account(account: &mut Guarded<OAuthAccount>) {
    strip(account);
    if let Ok(account) = &mut account.0 {
        account.spec.token = None;
        account.spec.lease = None;
    }
}

/// Keeps the address, phase, readiness and restarts of a server's pod, and what prevents it from running.
pub(crate) fn strip_pod(pod: &mut DynamicObject) {
    strip(pod);
    let status = pod.data.get("status").unwrap_or(&Value::Null);
    let restarts: i64 = status["containerStatuses"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|container| container["restartCount"].as_i64())
        .sum();
    let ready = status["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
    let (unscheduled, containers) = kept_of_pod(status);
    pod.data = json!({
        "phase": status["phase"], "podIP": status["podIP"], "ready": ready, "restarts": restarts,
        "unscheduled": unscheduled, "containers": containers,
    });
}

/// Keeps the fields of a workspace's pod that explain why it does not run.
fn strip_workspace_pod(pod: &mut DynamicObject) {
    strip(pod);
    let mut status = pod.data["status"].take();
    let kept = ["startTime", "phase", "reason", "message", "conditions", "initContainerStatuses", "containerStatuses"];
    if let Some(fields) = status.as_object_mut() {
        fields.retain(|name, _| kept.contains(&name.as_str()));
    }
    pod.data = json!({"status": status});
}

fn strip_claim(claim: &mut DynamicObject) {
    strip(claim);
    claim.data = json!({"status": {"phase": claim.data["status"]["phase"]}});
}

/// The optional kinds that the cluster serves.
async fn served(client: &Client) -> Result<BTreeSet<OptionalKind>, kube::Error> {
    let mut served = BTreeSet::new();
    for kind in OptionalKind::ALL {
        let gvk = kind.gvk();
        match client.list_api_group_resources(&gvk.api_version()).await {
            Ok(list) if list.resources.iter().any(|resource| resource.kind == gvk.kind) => {
                served.insert(kind);
            }
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error),
        }
    }
    Ok(served)
}
