//! The watches that keep the [`Stores`] up to date, and enqueue the affected endpoints and workspaces.

use crate::{
    cache::{Cache, Change},
    hosts,
    namespaces::{API_SERVER, WatchMerger, Watched, apis},
    queue::Queue,
    status::reason,
    stores::{EndpointKey, Guarded, PolicyCache, Stores, WorkspaceKey, key, workspace_key},
};
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::{Event, Secret};
use kube::{
    Client, Resource as _, ResourceExt as _,
    core::{DynamicObject, PartialObjectMeta},
    runtime::{WatchStreamExt as _, watcher},
};
use portcullis_api::{
    McpEndpoint, OAuthClient, Workspace, WorkspaceTemplate,
    labels::{ENDPOINT_LABEL, SHARED, WORKSPACE_LABEL, WORKSPACES_LABEL},
    version::resource_version,
};
use portcullis_core::report::chain;
use portcullis_plan::workspace::{claim_name, object_name};
use serde::de::DeserializeOwned;
use std::{fmt::Debug, sync::Arc};
use tokio::task::JoinSet;

/// The reconcile queues, one for each kind.
#[derive(Clone, Debug)]
pub(crate) struct ReconcileQueues {
    /// Endpoints.
    pub endpoints: Queue<EndpointKey>,
    /// Workspaces.
    pub workspaces: Queue<WorkspaceKey>,
}

/// What a watch needs in order to enqueue the affected objects.
#[derive(Clone)]
struct Watches {
    stores: Arc<Stores>,
    client: Client,
    namespaces: Arc<[String]>,
    queues: ReconcileQueues,
}

/// Starts the watches of these namespaces, or of all if there are none. Each watch enqueues the affected objects.
pub(crate) fn start_watches(
    stores: &Arc<Stores>,
    client: &Client,
    namespaces: &[String],
    queues: &ReconcileQueues,
    tasks: &mut JoinSet<()>,
) {
    let watches = Watches {
        stores: Arc::clone(stores),
        client: client.clone(),
        namespaces: namespaces.into(),
        queues: queues.clone(),
    };
    watches.endpoints(tasks);
    watches.workspaces(tasks);
}

impl Watches {
    /// What the plans of endpoints depend on.
    fn endpoints(&self, tasks: &mut JoinSet<()>) {
        let all = watcher::Config::default;
        let labelled = || watcher::Config::default().labels(ENDPOINT_LABEL);
        let watches = || self.clone();
        tasks.spawn(watches().run(all(), |stores| &stores.endpoints, Self::endpoint_changed, Self::all_changed));
        tasks.spawn(watches().run(all(), |stores| &stores.clients, Self::client_changed, Self::all_endpoints));
        // No plan depends on grants, accounts and users.
        let collect = |watches: &Self| watches.stores.collectable.notify_one();
        tasks.spawn(watches().run(all(), |stores| &stores.grants, move |watches, _| collect(watches), collect));
        tasks.spawn(watches().run(all(), |stores| &stores.accounts, move |watches, _| collect(watches), collect));
        tasks.spawn(watches().run(all(), |stores| &stores.users, move |watches, _| collect(watches), collect));
        let class_changed = |watches: &Self, _: &_| watches.all_endpoints();
        tasks.spawn(watches().run(all(), |stores| &stores.ingress_classes, class_changed, Self::all_endpoints));
        let named = |name: &str| watcher::Config::default().fields(&format!("metadata.name={name}"));
        let policies: [fn(&Stores) -> &PolicyCache; 2] =
            [|stores| &stores.exec_policy, |stores| &stores.server_writes_policy];
        for cache in policies {
            let config = named(cache(&self.stores).delivered.name);
            let changed = |watches: &Self, _: &_| watches.all_endpoints();
            let all = Self::all_endpoints;
            tasks.spawn(watches().run(config.clone(), move |stores| &cache(stores).policies, changed, all));
            let changed = |watches: &Self, _: &_| watches.all_endpoints();
            tasks.spawn(watches().run(config, move |stores| &cache(stores).bindings, changed, all));
        }
        let slice_changed = |watches: &Self, _: &_| watches.all_endpoints();
        tasks.spawn(watches().run(named(API_SERVER), |stores| &stores.api_servers, slice_changed, Self::all_endpoints));
        tasks.spawn(watches().run(labelled(), |stores| &stores.pods, Self::object_changed, Self::all_endpoints));
        for index in 0..self.stores.objects.kinds().len() {
            tasks.spawn(watches().run(
                labelled(),
                move |stores| &stores.objects.kinds()[index],
                Self::object_changed,
                Self::all_endpoints,
            ));
        }
    }

    /// What the plans of workspaces depend on, besides endpoints.
    fn workspaces(&self, tasks: &mut JoinSet<()>) {
        let all = watcher::Config::default;
        let labelled = || watcher::Config::default().labels(WORKSPACE_LABEL);
        // There are many Events, but few of these.
        let events = |fields: &str| watcher::Config::default().fields(fields);
        let refusals = events("involvedObject.kind=StatefulSet,reason=FailedCreate");
        let volume_failures = events("involvedObject.kind=PersistentVolumeClaim,type=Warning");
        let shared = watcher::Config::default().labels(&format!("{WORKSPACES_LABEL}={SHARED}"));
        let every = Self::all_workspaces;
        let watches = || self.clone();
        tasks.spawn(watches().run(all(), |stores| &stores.workspaces.all, Self::workspace_changed, every));
        tasks.spawn(watches().run(
            all(),
            |stores| &stores.workspaces.templates,
            Self::template_changed,
            Self::all_templates,
        ));
        tasks.spawn(watches().run(labelled(), |stores| &stores.workspaces.pods, Self::part_changed, every));
        tasks.spawn(watches().run(labelled(), |stores| &stores.workspaces.claims, Self::part_changed, every));
        for index in 0..self.stores.workspaces.objects.kinds().len() {
            tasks.spawn(watches().run(
                labelled(),
                move |stores| &stores.workspaces.objects.kinds()[index],
                Self::part_changed,
                every,
            ));
        }
        tasks.spawn(watches().run(shared, |stores| &stores.workspaces.shared_secrets, Self::secret_changed, every));
        tasks.spawn(watches().run(refusals, |stores| &stores.workspaces.refusals, Self::event_came, every));
        tasks.spawn(watches().run(
            volume_failures,
            |stores| &stores.workspaces.volume_failures,
            Self::event_came,
            every,
        ));
    }

    /// Watches one kind until the task is aborted. `one` enqueues what a changed object affects, `all` what a new list
    /// affects.
    async fn run<K>(
        self,
        config: watcher::Config,
        cache: impl Fn(&Stores) -> &Cache<K>,
        one: impl Fn(&Self, &K),
        all: impl Fn(&Self),
    ) where
        K: Watched + Debug + DeserializeOwned + Send + Sync,
    {
        let cache = cache(&self.stores);
        let apis = apis::<K>(&self.namespaces, &self.client, cache.kind());
        let mut merger = WatchMerger::of(apis.len());
        let watches = apis
            .into_iter()
            .enumerate()
            .map(|(from, api)| watcher(api, config.clone()).default_backoff().map(move |event| (from, event)).boxed());
        let mut events = stream::select_all(watches);
        while let Some((from, event)) = events.next().await {
            let event = match event {
                Ok(event) => event,
                Err(error) => {
                    let namespace = self.namespaces.get(from);
                    tracing::warn!(kind = %K::kind(cache.kind()), namespace, error = chain(&error), "watch failed; it is retried");
                    continue;
                }
            };
            if let watcher::Event::Apply(object) | watcher::Event::InitApply(object) = &event
                && let Err(error) = resource_version(object)
            {
                let (namespace, name) = (object.namespace(), object.name_any());
                tracing::error!(kind = %K::kind(cache.kind()), namespace, name, %error, "the operator does not watch this kind");
                // Nothing is planned without a complete list.
                if matches!(event, watcher::Event::InitApply(_)) {
                    return;
                }
            }
            for event in merger.take(&self.namespaces, from, event, cache) {
                match cache.observe(event) {
                    Change::None => {}
                    Change::One(object) => one(&self, &object),
                    Change::All => all(&self),
                }
            }
        }
    }

    fn enqueue_endpoint(&self, endpoint: EndpointKey) {
        self.queues.endpoints.send(endpoint);
    }

    fn enqueue_workspace(&self, workspace: &Guarded<Workspace>) {
        let key = workspace_key(&workspace.namespace().unwrap_or_default(), &workspace.name_any());
        self.queues.workspaces.send(key);
    }

    fn all_changed(&self) {
        self.all_endpoints();
        self.all_workspaces();
    }

    fn all_endpoints(&self) {
        self.stores.collectable.notify_one();
        for endpoint in self.stores.endpoints.select(|_| true) {
            self.enqueue_endpoint(key_of(&endpoint));
        }
        // Clients of missing endpoints have a status too.
        for client in self.stores.clients.select(|_| true) {
            self.client_changed(&client);
        }
    }

    fn all_workspaces(&self) {
        self.workspaces_where(|_| true);
    }

    fn workspaces_where(&self, condition: impl Fn(&Workspace) -> bool) {
        let unreadable_too = |workspace: &Guarded<Workspace>| workspace.0.as_ref().map_or(true, &condition);
        for workspace in self.stores.workspaces.all.select(unreadable_too) {
            self.enqueue_workspace(&workspace);
        }
    }

    fn endpoint_changed(&self, endpoint: &Guarded<McpEndpoint>) {
        self.stores.collectable.notify_one();
        self.enqueue_endpoint(key_of(endpoint));
        self.neighbours_of(endpoint);
        // The quota may have changed, and workspaces without an endpoint cannot be reached.
        self.workspaces_where(|workspace| {
            workspace.namespace() == endpoint.namespace() && workspace.spec.endpoint_ref.name == endpoint.name_any()
        });
    }

    /// Only one of several endpoints with the same URL or host serves it: enqueues those that wait, and those that share
    /// the host of this one.
    fn neighbours_of(&self, endpoint: &Guarded<McpEndpoint>) {
        let waits = |other: &McpEndpoint| {
            let conditions = other.status.iter().flat_map(|status| &status.conditions);
            conditions.into_iter().any(|one| matches!(one.reason.as_str(), reason::URL_TAKEN | reason::HOST_TAKEN))
        };
        // Endpoints with the same URL have the same host.
        let host = endpoint.0.as_ref().ok().and_then(hosts::host);
        let shares = |other: &McpEndpoint| host.is_some() && hosts::host(other) == host;
        let is_another = |other: &Guarded<McpEndpoint>| {
            (&other.meta().namespace, &other.meta().name) != (&endpoint.meta().namespace, &endpoint.meta().name)
        };
        let neighbours = self
            .stores
            .endpoints
            .select(|other| is_another(other) && other.0.as_ref().is_ok_and(|other| waits(other) || shares(other)));
        for neighbour in neighbours {
            self.enqueue_endpoint(key_of(&neighbour));
        }
    }

    fn client_changed(&self, client: &Guarded<OAuthClient>) {
        self.stores.collectable.notify_one();
        if let Some(key) = endpoint_of_client(client) {
            self.enqueue_endpoint(key);
        }
    }

    fn object_changed(&self, object: &DynamicObject) {
        let name = object.metadata.namespace.as_deref().zip(object.labels().get(ENDPOINT_LABEL));
        if let Some((namespace, name)) = name {
            self.enqueue_endpoint(key(namespace, name));
        }
    }

    fn workspace_changed(&self, workspace: &Guarded<Workspace>) {
        self.enqueue_workspace(workspace);
        let is_gone = self.stores.workspaces.all.get(&workspace.namespace().unwrap_or_default(), &workspace.name_any());
        if let (None, Ok(gone)) = (is_gone, &workspace.0) {
            // The owner's quota allows another workspace now.
            self.workspaces_where(|other| {
                other.namespace() == gone.namespace()
                    && other.spec.endpoint_ref == gone.spec.endpoint_ref
                    && other.spec.owner.id == gone.spec.owner.id
            });
        }
    }

    fn all_templates(&self) {
        self.stores.workspaces.templates_changed.notify_one();
        self.all_workspaces();
    }

    fn template_changed(&self, template: &Guarded<WorkspaceTemplate>) {
        self.stores.workspaces.templates_changed.notify_one();
        self.workspaces_where(|workspace| {
            workspace.namespace() == template.namespace() && workspace.spec.template_ref.name == template.name_any()
        });
    }

    /// Templates name Secrets, and few Secrets are shared: enqueues every workspace of the namespace.
    fn secret_changed(&self, secret: &PartialObjectMeta<Secret>) {
        self.workspaces_where(|workspace| workspace.namespace() == secret.metadata.namespace);
    }

    fn part_changed(&self, part: &DynamicObject) {
        if let Some((namespace, name)) = part.metadata.namespace.as_deref().zip(part.labels().get(WORKSPACE_LABEL)) {
            self.queues.workspaces.send(workspace_key(namespace, name));
        }
    }

    /// An Event has no label, but the name of the object that it is about.
    fn event_came(&self, event: &Event) {
        let about = &event.involved_object;
        let (namespace, name) = (about.namespace.as_deref(), about.name.as_deref().unwrap_or_default());
        let of_workspace = |workspace: &Workspace| {
            let its = workspace.name_any();
            workspace.namespace().as_deref() == namespace && (name == object_name(&its) || name == claim_name(&its))
        };
        self.workspaces_where(of_workspace);
    }
}

fn key_of(endpoint: &Guarded<McpEndpoint>) -> EndpointKey {
    key(&endpoint.namespace().unwrap_or_default(), &endpoint.name_any())
}

fn endpoint_of_client(client: &Guarded<OAuthClient>) -> Option<EndpointKey> {
    match &client.0 {
        // Dynamically registered clients are not in the plan: many registrations must not cause many reconciles.
        Ok(valid) if valid.spec.registration.is_some() => None,
        Ok(valid) => Some(key(&valid.namespace()?, &valid.spec.endpoint_ref.name)),
        Err(invalid) => {
            let (namespace, name) = (client.namespace(), client.name_any());
            tracing::warn!(?namespace, name, error = %invalid.error, "an OAuthClient cannot be read; update the CRDs and the operator to the same version");
            None
        }
    }
}
