//! Grants and registrations as `OAuthGrant`s and `OAuthClient`s of the endpoint's namespace.
//!
//! Every server watches them, so that a grant which is deleted or revoked anywhere is refused everywhere a moment
//! later. What must happen once is left to the API server: it creates a name once, and writes only over the
//! `resourceVersion` that was read.
//!
//! Grants have no owner reference. After a restore from backup the endpoint has another uid, and the garbage collector
//! would delete every grant; so the operator collects the grants of endpoints and clients that are gone.

mod grants;
mod last_use;
mod registrations;
mod watch;

use super::{
    health::Health,
    index::Index,
    objects::{self, Registered},
};
use crate::{
    ambient::Clock,
    api::{
        OAuthClient, OAuthGrant,
        labels::{ENDPOINT_LABEL, REGISTERED_DYNAMIC, REGISTERED_LABEL},
    },
    oauth::grant::Grant,
};
use kube::{Api, Client, Resource, core::DeserializeGuard, runtime::watcher::Event};
use last_use::LastUses;
use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;
use watch::Watch;

/// How long one request to the API server may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// The kinds that are listed before the server is ready.
pub const KINDS: usize = 2;

/// A custom resource, or why it could not be read: one that was written by a newer version must not stop the watch.
type Guarded<K> = DeserializeGuard<K>;

/// The grants and registrations of one endpoint.
pub struct Kubernetes {
    grants: Api<Guarded<OAuthGrant>>,
    new_grants: Api<OAuthGrant>,
    clients: Api<Guarded<OAuthClient>>,
    new_clients: Api<OAuthClient>,
    endpoint: String,
    known: Index<Grant>,
    registered: Index<Registered>,
    last_uses: LastUses,
    health: Arc<Health>,
    clock: Arc<dyn Clock>,
}

/// Why the API server did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// It did not answer.
    #[error("the API server did not answer within {} s", REQUEST_TIMEOUT.as_secs())]
    Timeout,
    /// It refused, or could not be reached.
    #[error("the API server did not do it")]
    Api(#[source] kube::Error),
    /// It keeps something that this version cannot read.
    #[error("{0} cannot be read; update the CRDs and the servers to the same version")]
    Unreadable(String),
    /// Others changed the same object again and again.
    #[error("others changed it again and again")]
    Contended,
}

impl RequestError {
    /// The HTTP status of the refusal.
    fn code(&self) -> Option<u16> {
        match self {
            Self::Api(kube::Error::Api(status)) => Some(status.code),
            _ => None,
        }
    }
}

impl Kubernetes {
    /// Those of `endpoint` in `namespace`. Nothing is known before [`Self::run`].
    #[must_use]
    pub fn new(client: &Client, namespace: &str, endpoint: &str, health: Arc<Health>, clock: Arc<dyn Clock>) -> Self {
        Self {
            grants: Api::namespaced(client.clone(), namespace),
            new_grants: Api::namespaced(client.clone(), namespace),
            clients: Api::namespaced(client.clone(), namespace),
            new_clients: Api::namespaced(client.clone(), namespace),
            endpoint: endpoint.to_owned(),
            known: Index::default(),
            registered: Index::default(),
            last_uses: LastUses::default(),
            health,
            clock,
        }
    }

    /// Follows the API server until `stop`; then writes down what is only in memory: when grants were last used.
    pub async fn run(&self, stop: &CancellationToken) {
        let of_endpoint = format!("{ENDPOINT_LABEL}={}", self.endpoint);
        let dynamic = format!("{of_endpoint},{REGISTERED_LABEL}={REGISTERED_DYNAMIC}");
        let mut watch = Watch::new(self.grants.clone(), &of_endpoint);
        let grants = async {
            let mut listed = false;
            loop {
                let event = watch.next().await;
                let done = matches!(event, Event::InitDone);
                self.grant_told(event).await;
                if done && !std::mem::replace(&mut listed, true) {
                    self.health.listed();
                }
            }
        };
        let mut watch = Watch::new(self.clients.clone(), &dynamic);
        let clients = async {
            let mut listed = false;
            loop {
                let event = watch.next().await;
                let done = matches!(event, Event::InitDone);
                self.client_told(event).await;
                if done && !std::mem::replace(&mut listed, true) {
                    self.health.listed();
                }
            }
        };
        let following = async {
            tokio::select! {
                () = grants => {}
                () = clients => {}
                () = self.save_last_uses() => {}
            }
        };
        stop.run_until_cancelled(following).await;
        self.save_last_uses_at_the_end().await;
    }

    async fn grant_told(&self, event: Event<Guarded<OAuthGrant>>) {
        match event {
            Event::Apply(object) | Event::InitApply(object) => match self.readable_grant(object) {
                Ok(grant) => drop(self.known.told(grant)),
                Err(name) => self.known.removed(&name, None, self.clock.now()),
            },
            Event::Delete(object) => {
                let (name, version) = identity(&object);
                self.known.removed(&name, Some(version), self.clock.now());
            }
            Event::Init => self.known.list_begins(),
            Event::InitDone => {
                for name in self.known.list_ends(self.clock.now()) {
                    if let Err(error) = self.read_grant(&name).await {
                        // Until it is known to be there it does not count.
                        tracing::warn!(grant = name, %error, "it is not known whether a grant is still there");
                        self.known.removed(&name, None, self.clock.now());
                    }
                }
            }
        }
    }

    async fn client_told(&self, event: Event<Guarded<OAuthClient>>) {
        match event {
            Event::Apply(object) | Event::InitApply(object) => match self.readable_client(object) {
                Ok(client) => drop(self.registered.told(client)),
                Err(name) => self.registered.removed(&name, None, self.clock.now()),
            },
            Event::Delete(object) => {
                let (name, version) = identity(&object);
                self.registered.removed(&name, Some(version), self.clock.now());
            }
            Event::Init => self.registered.list_begins(),
            Event::InitDone => {
                for name in self.registered.list_ends(self.clock.now()) {
                    if self.read_client(&name).await.is_err() {
                        self.registered.removed(&name, None, self.clock.now());
                    }
                }
            }
        }
    }

    /// The grant, if it counts here; else its name.
    fn readable_grant(&self, object: Guarded<OAuthGrant>) -> Result<Grant, String> {
        let (name, _) = identity(&object);
        match object.0 {
            Ok(object) if object.metadata.deletion_timestamp.is_some() => Err(name),
            Ok(object) if object.spec.endpoint_ref.name != self.endpoint => Err(name),
            Ok(object) => Ok(objects::grant(object)),
            Err(invalid) => {
                tracing::warn!(grant = name, error = %invalid.error, "an OAuthGrant cannot be read, and does not count");
                Err(name)
            }
        }
    }

    /// The client, if it registered itself here; else its name.
    fn readable_client(&self, object: Guarded<OAuthClient>) -> Result<Registered, String> {
        let (name, _) = identity(&object);
        match object.0 {
            Ok(object) if object.metadata.deletion_timestamp.is_some() => Err(name),
            Ok(object) if object.spec.endpoint_ref.name != self.endpoint => Err(name),
            Ok(object) => objects::registered(object).ok_or(name),
            Err(invalid) => {
                tracing::warn!(client = name, error = %invalid.error, "an OAuthClient cannot be read, and does not count");
                Err(name)
            }
        }
    }

    /// The labels of what is made here.
    fn labels(&self, more: &[(&str, &str)]) -> BTreeMap<String, String> {
        let own = [(ENDPOINT_LABEL, self.endpoint.as_str())];
        own.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    /// One request, within its time.
    async fn request<T>(&self, request: impl Future<Output = Result<T, kube::Error>>) -> Result<T, RequestError> {
        match tokio::time::timeout(REQUEST_TIMEOUT, request).await {
            Ok(answer) => answer.map_err(RequestError::Api),
            Err(_) => Err(RequestError::Timeout),
        }
    }
}

impl fmt::Debug for Kubernetes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kubernetes").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

fn identity<K: Resource>(object: &K) -> (String, u64) {
    let metadata = object.meta();
    (metadata.name.clone().unwrap_or_default(), objects::version(metadata.resource_version.as_deref()))
}
