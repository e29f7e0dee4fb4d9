//! Grants, registrations and accounts as `OAuthGrant`s, `OAuthClient`s and `OAuthAccount`s of the endpoint's namespace.
//!
//! Every server watches them, so that all servers refuse a grant a moment after it was deleted or revoked. The API server
//! makes operations happen once: it creates a name once, and writes are conditional on the `resourceVersion` that was read.
//!
//! Grants have no owner reference. After a restore from a backup the endpoint has another uid, and the garbage collector
//! would delete every grant; so the operator deletes the grants of deleted endpoints and clients.

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
use portcullis_reflector::{Health, Index, Watch, WriteBehind, identity};
use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;
use users::{Ending, UserObject};

/// The kinds that are listed before the server is ready.
pub const KINDS: usize = 4;

/// How often to drop expired tombstones.
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
    last_uses: WriteBehind,
    health: Arc<Health>,
    clock: Arc<dyn Clock>,
}

impl Kubernetes {
    /// The state of `endpoint` in `namespace`. It is empty before [`Self::run`].
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
            last_uses: WriteBehind::new("the last uses of grants"),
            health,
            clock,
        }
    }

    /// Watches the API server until `stop`; then writes the times of the last use of grants, which are only in memory.
    pub async fn run(&self, stop: &CancellationToken) {
        let of_endpoint = format!("{ENDPOINT_LABEL}={}", self.endpoint);
        let dynamic = format!("{of_endpoint},{REGISTERED_LABEL}={REGISTERED_DYNAMIC}");
        let mut watch = Watch::new(self.grants.clone(), Config::default().labels(&of_endpoint));
        let grants = async {
            loop {
                let event = watch.next().await;
                self.apply_grant_event(event).await;
                watch.applied(&self.health);
            }
        };
        let mut watch = Watch::new(self.clients.clone(), Config::default().labels(&dynamic));
        let clients = async {
            loop {
                let event = watch.next().await;
                self.apply_client_event(event).await;
                watch.applied(&self.health);
            }
        };
        let mut watch = Watch::new(self.account_objects.clone(), Config::default().labels(&of_endpoint));
        let accounts = async {
            loop {
                let event = watch.next().await;
                self.apply_account_event(event).await;
                watch.applied(&self.health);
            }
        };
        // Not by the label: people write them.
        let mut watch = Watch::new(self.user_objects.clone(), Config::default());
        let users = async {
            loop {
                let event = watch.next().await;
                self.apply_user_event(event);
                watch.applied(&self.health);
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

    async fn apply_grant_event(&self, event: watcher::Event<Guarded<OAuthGrant>>) {
        match event {
            watcher::Event::Apply(object) | watcher::Event::InitApply(object) => match self.readable_grant(object) {
                Ok(grant) => self.end_if_due(&self.known.apply_watch_event(grant)),
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
                        tracing::warn!(grant = name, %error, "could not determine whether a grant still exists");
                        self.known.removed(&name, None, self.clock.now());
                    }
                }
            }
        }
    }

    async fn apply_client_event(&self, event: watcher::Event<Guarded<OAuthClient>>) {
        match event {
            watcher::Event::Apply(object) | watcher::Event::InitApply(object) => match self.readable_client(object) {
                Ok(client) => drop(self.registered.apply_watch_event(client)),
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

    /// The grant, if it belongs to this endpoint; otherwise its name.
    fn readable_grant(&self, object: Guarded<OAuthGrant>) -> Result<KeptGrant, String> {
        let (name, version) = identity(&object);
        match object.0 {
            Ok(_) if version.is_none() => Err(name),
            Ok(object) if object.metadata.deletion_timestamp.is_some() => Err(name),
            Ok(object) if object.spec.endpoint_ref.name != self.endpoint => Err(name),
            Ok(object) => Ok(objects::grant(object)),
            Err(invalid) => {
                tracing::warn!(grant = name, error = %invalid.error, "an OAuthGrant cannot be read, and is ignored");
                Err(name)
            }
        }
    }

    /// The client, if it was registered at this endpoint; otherwise its name.
    fn readable_client(&self, object: Guarded<OAuthClient>) -> Result<Registered, String> {
        let (name, version) = identity(&object);
        match object.0 {
            Ok(_) if version.is_none() => Err(name),
            Ok(object) if object.metadata.deletion_timestamp.is_some() => Err(name),
            Ok(object) if object.spec.endpoint_ref.name != self.endpoint => Err(name),
            Ok(object) => objects::registered(&object).ok_or(name),
            Err(invalid) => {
                tracing::warn!(client = name, error = %invalid.error, "an OAuthClient cannot be read, and is ignored");
                Err(name)
            }
        }
    }

    /// The labels of created objects.
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
