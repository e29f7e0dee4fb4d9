//! The part of the cluster that the operator holds in memory, and the watches that keep it fresh.
//!
//! Endpoints and clients come whole; of everything else only objects with the endpoint label, stripped of what nobody
//! here reads. So memory grows with endpoints, not with the cluster.

use super::cache::{Cache, News};
use crate::{
    api::{McpEndpoint, OAuthClient},
    chain::chain,
    plan::{ClusterFacts, ENDPOINT_LABEL},
};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount},
    networking::v1::{Ingress, IngressClass, NetworkPolicy},
    policy::v1::PodDisruptionBudget,
    rbac::v1::RoleBinding,
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    core::{DeserializeGuard, DynamicObject, GroupVersionKind, TypeMeta},
    discovery::ApiResource,
    runtime::{
        WatchStreamExt as _,
        reflector::{ObjectRef, store::WriterDropped},
        watcher,
    },
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::{fmt::Debug, hash::Hash, sync::Arc};
use tokio::{sync::mpsc::UnboundedSender, task::JoinSet};

/// A custom resource, or why it could not be read. One that cannot must not stop the watch.
pub type Guarded<K> = DeserializeGuard<K>;
/// Names an endpoint.
pub type EndpointKey = ObjectRef<Guarded<McpEndpoint>>;

const DEFAULT_CLASS_ANNOTATION: &str = "ingressclass.kubernetes.io/is-default-class";

/// Everything that reconciles read.
#[derive(Debug)]
pub struct World {
    /// All endpoints.
    pub endpoints: Cache<Guarded<McpEndpoint>>,
    /// All clients.
    pub clients: Cache<Guarded<OAuthClient>>,
    /// The servers' pods.
    pub pods: Cache<DynamicObject>,
    ingress_classes: Cache<IngressClass>,
    /// One per kind that a plan may hold.
    objects: Vec<Cache<DynamicObject>>,
    server_image: String,
    traefik_middlewares: bool,
}

impl World {
    /// An empty world. Asks the API server whether Traefik's kinds are served.
    pub async fn new(client: &Client, server_image: String) -> Result<Self, kube::Error> {
        let traefik_middlewares = serves_middlewares(client).await?;
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
        if traefik_middlewares {
            kinds.push(middleware());
        }
        Ok(Self {
            endpoints: Cache::new((), strip),
            clients: Cache::new((), strip),
            pods: Cache::new(ApiResource::erase::<Pod>(&()), strip_pod),
            ingress_classes: Cache::new((), strip),
            objects: kinds.into_iter().map(|kind| Cache::new(kind, strip_object)).collect(),
            server_image,
            traefik_middlewares,
        })
    }

    /// Every kind that a plan may hold.
    #[must_use]
    pub fn objects(&self) -> &[Cache<DynamicObject>] {
        &self.objects
    }

    /// The objects of one kind.
    #[must_use]
    pub fn objects_of(&self, types: &TypeMeta) -> Option<&Cache<DynamicObject>> {
        self.objects
            .iter()
            .find(|cache| cache.kind().kind == types.kind && cache.kind().api_version == types.api_version)
    }

    /// The object of one kind with this name.
    #[must_use]
    pub fn object<K: Resource<DynamicType = ()>>(&self, namespace: &str, name: &str) -> Option<Arc<DynamicObject>> {
        self.objects_of(&TypeMeta::resource::<K>())?.get(namespace, name)
    }

    /// What a plan needs to know of the cluster.
    #[must_use]
    pub fn facts(&self) -> ClusterFacts {
        let mut classes = self.ingress_classes.select(|_| true);
        classes.sort_by_key(|class| class.name_any());
        let is_default =
            |class: &IngressClass| class.annotations().get(DEFAULT_CLASS_ANNOTATION).is_some_and(|v| v == "true");
        ClusterFacts {
            server_image: self.server_image.clone(),
            default_ingress_class: classes.iter().find(|class| is_default(class)).map(|class| class.name_any()),
            ingress_classes: classes
                .iter()
                .filter_map(|class| Some((class.name_any(), class.spec.as_ref()?.controller.clone()?)))
                .collect(),
            traefik_middlewares: self.traefik_middlewares,
        }
    }

    /// Whether the cluster still offers the kinds that it offered at the start.
    pub async fn is_current(&self, client: &Client) -> Result<bool, kube::Error> {
        Ok(serves_middlewares(client).await? == self.traefik_middlewares)
    }

    /// Starts the watches. Each sends the endpoints that its news concern.
    pub fn watch(self: &Arc<Self>, client: &Client, concerned: &UnboundedSender<EndpointKey>, tasks: &mut JoinSet<()>) {
        let labelled = watcher::Config::default().labels(ENDPOINT_LABEL);
        let all = watcher::Config::default();

        let follow = Follow { world: Arc::clone(self), concerned: concerned.clone() };
        tasks.spawn(follow.clone().run(
            Api::all(client.clone()),
            all.clone(),
            |world| &world.endpoints,
            |endpoint| Some(key_of(endpoint)),
        ));
        tasks.spawn(follow.clone().run(
            Api::all(client.clone()),
            all.clone(),
            |world| &world.clients,
            endpoint_of_client,
        ));
        tasks.spawn(follow.clone().run(Api::all(client.clone()), all, |world| &world.ingress_classes, |_| None));
        let pods = Api::all_with(client.clone(), self.pods.kind());
        tasks.spawn(follow.clone().run(pods, labelled.clone(), |world| &world.pods, endpoint_by_label));
        for (index, cache) in self.objects.iter().enumerate() {
            let api = Api::all_with(client.clone(), cache.kind());
            tasks.spawn(follow.clone().run(
                api,
                labelled.clone(),
                move |world| &world.objects[index],
                endpoint_by_label,
            ));
        }
    }

    /// Completes once every kind has been listed: a plan from half a world would make credentials anew.
    pub async fn ready(&self) -> Result<(), WriterDropped> {
        self.endpoints.ready().await?;
        self.clients.ready().await?;
        self.ingress_classes.ready().await?;
        self.pods.ready().await?;
        for cache in &self.objects {
            cache.ready().await?;
        }
        Ok(())
    }
}

/// What a watch needs in order to tell whom its news concern.
#[derive(Clone)]
struct Follow {
    world: Arc<World>,
    concerned: UnboundedSender<EndpointKey>,
}

impl Follow {
    /// Watches one kind for ever. News of which `endpoint_of` knows no endpoint concern nobody, except where a class of
    /// ingress changed: that may concern all.
    async fn run<K>(
        self,
        api: Api<K>,
        config: watcher::Config,
        cache: impl Fn(&World) -> &Cache<K>,
        endpoint_of: impl Fn(&K) -> Option<EndpointKey>,
    ) where
        K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
        K::DynamicType: Eq + Hash + Clone,
    {
        let mut events = watcher(api, config).default_backoff().boxed();
        // A receiver that is gone means that leadership is over, and so is this task.
        while !self.concerned.is_closed() {
            let event = match events.try_next().await {
                Ok(Some(event)) => event,
                Ok(None) => return,
                Err(error) => {
                    let cache = cache(&self.world);
                    tracing::warn!(kind = %K::kind(cache.kind()), error = chain(&error), "watch failed; it is retried");
                    continue;
                }
            };
            match cache(&self.world).observe(event) {
                News::None => {}
                News::One(object) => match endpoint_of(&object) {
                    Some(key) => self.concern(key),
                    None if is_ingress_class::<K>(cache(&self.world).kind()) => self.concern_all(),
                    None => {}
                },
                News::All => self.concern_all(),
            }
        }
    }

    fn concern(&self, key: EndpointKey) {
        let _ = self.concerned.send(key);
    }

    fn concern_all(&self) {
        for endpoint in self.world.endpoints.select(|_| true) {
            self.concern(key_of(&endpoint));
        }
        // Clients of endpoints that are not there have something to say too.
        for client in self.world.clients.select(|_| true) {
            if let Some(key) = endpoint_of_client(&client) {
                self.concern(key);
            }
        }
    }
}

fn is_ingress_class<K: Resource>(kind: &K::DynamicType) -> bool {
    K::kind(kind) == "IngressClass"
}

/// Names the endpoint `name`.
#[must_use]
pub fn key(namespace: &str, name: &str) -> EndpointKey {
    ObjectRef::new(name).within(namespace)
}

fn key_of(endpoint: &Guarded<McpEndpoint>) -> EndpointKey {
    key(&endpoint.namespace().unwrap_or_default(), &endpoint.name_any())
}

fn endpoint_of_client(client: &Guarded<OAuthClient>) -> Option<EndpointKey> {
    match &client.0 {
        Ok(valid) => Some(key(&valid.namespace()?, &valid.spec.endpoint_ref.name)),
        Err(invalid) => {
            let (namespace, name) = (client.namespace(), client.name_any());
            tracing::warn!(?namespace, name, error = %invalid.error, "an OAuthClient cannot be read; update the CRDs and the operator to the same version");
            None
        }
    }
}

fn endpoint_by_label(object: &DynamicObject) -> Option<EndpointKey> {
    Some(key(object.metadata.namespace.as_deref()?, object.labels().get(ENDPOINT_LABEL)?))
}

fn strip<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
}

fn strip_object(object: &mut DynamicObject) {
    strip(object);
}

/// Of a pod, its address, phase, readiness and restarts are used.
fn strip_pod(pod: &mut DynamicObject) {
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
    pod.data = json!({"phase": status["phase"], "podIP": status["podIP"], "ready": ready, "restarts": restarts});
}

fn middleware() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("traefik.io", "v1alpha1", "Middleware"))
}

async fn serves_middlewares(client: &Client) -> Result<bool, kube::Error> {
    match client.list_api_group_resources("traefik.io/v1alpha1").await {
        Ok(list) => Ok(list.resources.iter().any(|resource| resource.kind == "Middleware")),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(false),
        Err(error) => Err(error),
    }
}
