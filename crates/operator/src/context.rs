//! The context of every reconcile, and the state of each endpoint between two reconciles.

use crate::{
    Settings,
    apply::FIELD_MANAGER,
    cache::Cache,
    definitions::Definitions,
    events::Events,
    gc::ActiveGrants,
    metrics::{Metrics, Verb},
    probe::Probe,
    requeue::RequeueTimes,
    servers::{Incarnation, LastReports},
    stores::{EndpointKey, Guarded, Stores},
    verify::VerifyError,
};
use jiff::Timestamp;
use kube::{
    Api, Client, Resource, ResourceExt as _,
    api::{Patch, PatchParams},
    core::NamespaceResourceScope,
};
use portcullis_api::OAuthClient;
use portcullis_config::Revision;
use portcullis_core::clock::Clock;
use rand::{SeedableRng as _, rngs::StdRng};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use std::{
    collections::{BTreeSet, HashMap},
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
};

/// The context of every reconcile.
pub struct Context {
    /// For writes.
    pub client: Client,
    /// For reads.
    pub stores: Arc<Stores>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// The custom resource definitions that the cluster serves.
    pub definitions: Arc<Definitions>,
    /// Publishes Events.
    pub events: Events,
    /// Makes requests to servers.
    pub probe: Probe,
    /// Wall-clock time.
    pub clock: Arc<dyn Clock>,
    rng: Arc<Mutex<StdRng>>,
    /// Reconciles at their time.
    pub requeues: Arc<RequeueTimes<EndpointKey>>,
    /// The numbers of active grants, as in the statuses.
    pub active_grants: Mutex<ActiveGrants>,
    states: Mutex<HashMap<EndpointKey, ReconcileState>>,
}

/// The outputs of the operator.
#[derive(Debug)]
pub struct Reports {
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// The status fields that the cluster knows.
    pub definitions: Arc<Definitions>,
    /// Publishes Events.
    pub events: Events,
}

/// The state of an endpoint between two reconciles. It can be lost: it saves requests and spaces out retries.
#[derive(Clone, Debug, Default)]
pub struct ReconcileState {
    /// The number of consecutive failed reconciles.
    pub failures: u32,
    /// The number of consecutive reconciles that ended while something was in progress.
    pub waits: u32,
    /// Names of Secrets with another owner and without the label, which no watch reports.
    pub unlabelled_secrets: BTreeSet<String>,
    /// The last report of every running server.
    pub loaded: LastReports,
    /// The last conclusive verification.
    pub verified: Option<Verification>,
    /// The generation of an unreadable manifest whose status was written.
    pub unreadable: Option<i64>,
}

/// A conclusive verification.
#[derive(Clone, Debug)]
pub struct Verification {
    /// The revision and the servers that were verified.
    pub subject: (Revision, Vec<Incarnation>),
    /// When.
    pub at: Timestamp,
    /// The MCP revisions that every server supports, or what went wrong.
    pub outcome: Result<Vec<String>, VerifyError>,
}

impl Context {
    /// A context without any state of endpoints.
    #[must_use]
    pub fn new(client: Client, stores: Arc<Stores>, reports: Reports, settings: &Settings) -> Self {
        let Reports { metrics, definitions, events } = reports;
        Self {
            client,
            stores,
            metrics,
            definitions,
            events,
            probe: Probe::new(Arc::clone(&settings.clock)),
            clock: Arc::clone(&settings.clock),
            rng: Arc::clone(&settings.rng),
            requeues: Arc::default(),
            active_grants: Mutex::default(),
            states: Mutex::default(),
        }
    }

    /// A new generator for secrets and keys. The shared generator is locked only to seed it, so that reconciles do not wait
    /// for each other's plans.
    #[must_use]
    pub fn rng(&self) -> StdRng {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).fork()
    }

    /// The number of active grants of an endpoint.
    #[must_use]
    pub fn active_grants_at(&self, namespace: &str, endpoint: &str) -> i32 {
        let counts = self.active_grants.lock().unwrap_or_else(PoisonError::into_inner);
        counts.of_endpoints.get(&(namespace.to_owned(), endpoint.to_owned())).copied().unwrap_or_default()
    }

    /// The number of active grants of a client.
    #[must_use]
    pub fn active_grants_of(&self, client: &OAuthClient) -> i32 {
        let counts = self.active_grants.lock().unwrap_or_else(PoisonError::into_inner);
        let name = (client.namespace().unwrap_or_default(), client.name_any());
        counts.of_clients.get(&name).copied().unwrap_or_default()
    }

    /// The state of an endpoint.
    #[must_use]
    pub fn recall(&self, key: &EndpointKey) -> ReconcileState {
        self.states.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned().unwrap_or_default()
    }

    /// Keeps the state for the next reconcile of the endpoint.
    pub fn remember(&self, key: EndpointKey, state: ReconcileState) {
        self.states.lock().unwrap_or_else(PoisonError::into_inner).insert(key, state);
    }

    /// Drops the state of a deleted endpoint.
    pub fn forget(&self, key: &EndpointKey) {
        self.states.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        self.requeues.set(key, None);
    }

    /// Writes the status of a custom resource. Does nothing if the resource was deleted.
    pub async fn write_status<K>(
        &self,
        cache: &Cache<Guarded<K>>,
        namespace: &str,
        name: &str,
        status: &impl Serialize,
    ) -> Result<(), kube::Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + 'static,
    {
        let api: Api<Guarded<K>> = Api::namespaced(self.client.clone(), namespace);
        let kind = K::kind(&());
        let status = serde_json::to_value(status).map_err(kube::Error::SerdeError)?;
        let patch = json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "metadata": {"name": name},
            "status": self.definitions.reduced(&kind, status),
        });
        match api.patch_status(name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&patch)).await {
            Ok(written) => {
                self.metrics.wrote(&K::kind(&()), Verb::Status);
                cache.learn(written);
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error),
        }
    }
}
