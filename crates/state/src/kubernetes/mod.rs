//! Grants, registrations and accounts as `OAuthGrant`s, `OAuthClient`s and `OAuthAccount`s of the endpoint's namespace.
//!
//! Every server watches them, so that a grant which is deleted or revoked anywhere is refused everywhere a moment
//! later. What must happen once is left to the API server: it creates a name once, and writes only over the
//! `resourceVersion` that was read.
//!
//! Grants have no owner reference. After a restore from backup the endpoint has another uid, and the garbage collector
//! would delete every grant; so the operator collects the grants of endpoints and clients that are gone.

mod accounts;
mod grants;
mod last_use;
mod marks;
mod registrations;
mod users;

use crate::objects::{self, KeptAccount, KeptGrant, Registered};
use crate::users::UserTable;
use k8s_openapi::api::core::v1::Event;
use kube::{
    Api, Client,
    runtime::watcher::{self, Config},
};
use portcullis_api::{
    Guarded, OAuthAccount, OAuthClient, OAuthGrant,
    labels::{ENDPOINT_LABEL, REGISTERED_DYNAMIC, REGISTERED_LABEL},
};
use portcullis_core::clock::Clock;
use portcullis_reflector::{Health, Index, Times, Watch, identity};
use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;
use users::{Ending, UserObject};

/// The kinds that are listed before the server is ready.
pub const KINDS: usize = 4;

/// How often names that were deleted long ago are forgotten.
const FORGET_EVERY: Duration = Duration::from_mins(1);

/// The grants and registrations of one endpoint.
pub struct Kubernetes {
    grants: Api<Guarded<OAuthGrant>>,
    new_grants: Api<OAuthGrant>,
    clients: Api<Guarded<OAuthClient>>,
    new_clients: Api<OAuthClient>,
    account_objects: Api<Guarded<OAuthAccount>>,
    new_accounts: Api<OAuthAccount>,
    user_objects: Api<UserObject>,
    events: Api<Event>,
    namespace: String,
    endpoint: String,
    known: Index<KeptGrant>,
    registered: Index<Registered>,
    accounts: Index<KeptAccount>,
    users: UserTable,
    ending: Ending,
    last_uses: Times,
    health: Arc<Health>,
    clock: Arc<dyn Clock>,
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
            account_objects: Api::namespaced(client.clone(), namespace),
            new_accounts: Api::namespaced(client.clone(), namespace),
            user_objects: Api::namespaced(client.clone(), namespace),
            events: Api::namespaced(client.clone(), namespace),
            namespace: namespace.to_owned(),
            endpoint: endpoint.to_owned(),
            known: Index::default(),
            registered: Index::default(),
            accounts: Index::default(),
            users: UserTable::default(),
            ending: Ending::default(),
            last_uses: Times::new("when grants were last used"),
            health,
            clock,
        }
    }

    /// Follows the API server until `stop`; then writes down what is only in memory: when grants were last used.
    pub async fn run(&self, stop: &CancellationToken) {
        let of_endpoint = format!("{ENDPOINT_LABEL}={}", self.endpoint);
        let dynamic = format!("{of_endpoint},{REGISTERED_LABEL}={REGISTERED_DYNAMIC}");
        let mut watch = Watch::new(self.grants.clone(), Config::default().labels(&of_endpoint));
        let grants = async {
            loop {
                let event = watch.next().await;
                self.grant_told(event).await;
                watch.taken_in(&self.health);
            }
        };
        let mut watch = Watch::new(self.clients.clone(), Config::default().labels(&dynamic));
        let clients = async {
            loop {
                let event = watch.next().await;
                self.client_told(event).await;
                watch.taken_in(&self.health);
            }
        };
        let mut watch = Watch::new(self.account_objects.clone(), Config::default().labels(&of_endpoint));
        let accounts = async {
            loop {
                let event = watch.next().await;
                self.account_told(event).await;
                watch.taken_in(&self.health);
            }
        };
        // Not by the label: people write them.
        let mut watch = Watch::new(self.user_objects.clone(), Config::default());
        let users = async {
            loop {
                let event = watch.next().await;
                self.user_told(event);
                watch.taken_in(&self.health);
            }
        };
        let forget = async {
            loop {
                tokio::time::sleep(FORGET_EVERY).await;
                let now = self.clock.now();
                self.known.forget(now);
                self.registered.forget(now);
                self.accounts.forget(now);
            }
        };
        let following = async {
            tokio::select! {
                () = grants => {}
                () = clients => {}
                () = accounts => {}
                () = forget => {}
                () = users => {}
                () = self.end_grants() => {}
                () = self.last_uses.save(self) => {}
            }
        };
        stop.run_until_cancelled(Box::pin(following)).await;
        self.last_uses.save_at_the_end(self).await;
    }

    async fn grant_told(&self, event: watcher::Event<Guarded<OAuthGrant>>) {
        match event {
            watcher::Event::Apply(object) | watcher::Event::InitApply(object) => match self.readable_grant(object) {
                Ok(grant) => self.end_if_due(&self.known.told(grant)),
                Err(name) => self.known.removed(&name, None, self.clock.now()),
            },
            watcher::Event::Delete(object) => {
                let (name, version) = identity(&object);
                self.known.removed(&name, version, self.clock.now());
            }
            watcher::Event::Init => self.known.list_begins(),
            watcher::Event::InitDone => {
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

    async fn client_told(&self, event: watcher::Event<Guarded<OAuthClient>>) {
        match event {
            watcher::Event::Apply(object) | watcher::Event::InitApply(object) => match self.readable_client(object) {
                Ok(client) => drop(self.registered.told(client)),
                Err(name) => self.registered.removed(&name, None, self.clock.now()),
            },
            watcher::Event::Delete(object) => {
                let (name, version) = identity(&object);
                self.registered.removed(&name, version, self.clock.now());
            }
            watcher::Event::Init => self.registered.list_begins(),
            watcher::Event::InitDone => {
                for name in self.registered.list_ends(self.clock.now()) {
                    if self.read_client(&name).await.is_err() {
                        self.registered.removed(&name, None, self.clock.now());
                    }
                }
            }
        }
    }

    /// The grant, if it counts here; else its name.
    fn readable_grant(&self, object: Guarded<OAuthGrant>) -> Result<KeptGrant, String> {
        let (name, version) = identity(&object);
        match object.0 {
            Ok(_) if version.is_none() => Err(name),
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
        let (name, version) = identity(&object);
        match object.0 {
            Ok(_) if version.is_none() => Err(name),
            Ok(object) if object.metadata.deletion_timestamp.is_some() => Err(name),
            Ok(object) if object.spec.endpoint_ref.name != self.endpoint => Err(name),
            Ok(object) => objects::registered(&object).ok_or(name),
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
}

impl fmt::Debug for Kubernetes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kubernetes").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
