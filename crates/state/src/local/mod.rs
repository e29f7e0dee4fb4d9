//! Grants and registrations on one machine: in memory, and, for `portcullis dev`, in a folder too.
//!
//! The folder contains `grants/NAME.json`, `clients/NAME.json` and `accounts/NAME.json`, the same custom resources as in a
//! cluster, and `assertions/NAME.json` for each used assertion of a client.
//! Deleting the file of a grant revokes it: a file watch detects the deletion, so that requests need not read the disk.
//! Expired objects are removed at the next start and at every insertion.

mod accounts;
mod folder;
mod marks;
mod object_store;

use crate::objects::{self, KeptAccount, KeptGrant, Registered};
use crate::users::UserTable;
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use marks::Marks;
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use object_store::{ObjectStore, Put};
use portcullis_api::{
    OAuthAccount, OAuthClient, OAuthGrant, OAuthUser,
    grant::{OAuthGrantStatus, Revocation},
};
use portcullis_core::{
    clock::Clock,
    grant::{GrantUser, LoginEvidence, RefreshState, RevocationReason},
};
use portcullis_oauth::{
    client::{Client, ClientError, Held, NewRegistration, Registrations},
    grant::{Grant, GrantLookup, Grants, GrantsError},
    single_use::{Mark, SingleUse},
    user_rules::{Ended, UserRules},
};
use portcullis_reflector::{Index, Lookup};
use portcullis_telemetry::audit;
use std::{
    collections::HashSet,
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The precision of the time of the last use.
const LAST_USED_STEP: SignedDuration = SignedDuration::from_mins(1);
/// The endpoint in the stored objects: the folder belongs to one endpoint.
const ENDPOINT: &str = "local";

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// It cannot be read or created.
    #[error("the grants in {0} cannot be used; check that the folder is yours")]
    Folder(PathBuf, #[source] io::Error),
    /// The folder cannot be watched, so deletions of grants would have no effect.
    #[error("{0} cannot be watched for deleted grants")]
    Watch(PathBuf, #[source] notify::Error),
}

/// The grants and registrations of one endpoint.
pub struct Local {
    inner: Arc<Inner>,
    /// Stops watching when dropped.
    _watcher: Option<RecommendedWatcher>,
}

struct Inner {
    grants: Mutex<ObjectStore<OAuthGrant>>,
    clients: Mutex<ObjectStore<OAuthClient>>,
    accounts: Mutex<ObjectStore<OAuthAccount>>,
    assertions: Mutex<Marks>,
    known: Index<KeptGrant>,
    registered: Index<Registered>,
    known_accounts: Index<KeptAccount>,
    users: UserTable,
    on_disk: bool,
    clock: Arc<dyn Clock>,
}

impl Local {
    /// In memory only.
    #[must_use]
    pub fn memory(clock: Arc<dyn Clock>) -> Self {
        Self {
            inner: Arc::new(Inner::new(
                ObjectStore::default(),
                ObjectStore::default(),
                ObjectStore::default(),
                Marks::default(),
                clock,
            )),
            _watcher: None,
        }
    }

    /// In a folder, which is created if necessary. It belongs to one endpoint, and to one process at a time.
    pub async fn open(folder: &Path, clock: Arc<dyn Clock>) -> Result<Self, LocalError> {
        let folder = folder.to_owned();
        let opening = tokio::task::spawn_blocking({
            let folder = folder.clone();
            move || Self::open_now(&folder, clock)
        });
        opening.await.map_err(|error| LocalError::Folder(folder, io::Error::other(error)))?
    }

    fn open_now(folder: &Path, clock: Arc<dyn Clock>) -> Result<Self, LocalError> {
        let failed = |error| LocalError::Folder(folder.to_owned(), error);
        let path = folder.join("grants");
        let grants = ObjectStore::open(&path).map_err(failed)?;
        let clients = ObjectStore::open(&folder.join("clients")).map_err(failed)?;
        let accounts = ObjectStore::open(&folder.join("accounts")).map_err(failed)?;
        let assertions = Marks::open(&folder.join("assertions")).map_err(failed)?;
        let inner = Arc::new(Inner::new(grants, clients, accounts, assertions, clock));
        let unwatched = |error| LocalError::Watch(path.clone(), error);
        let mut watcher = notify::recommended_watcher({
            let inner = Arc::clone(&inner);
            // An error means that events were lost: look too.
            move |event: notify::Result<Event>| {
                if event.map_or(true, |event| !event.kind.is_access()) {
                    inner.notice_deleted();
                }
            }
        })
        .map_err(unwatched)?;
        watcher.watch(&path, RecursiveMode::NonRecursive).map_err(unwatched)?;
        // What was deleted since it was read, and before it was watched.
        inner.notice_deleted();
        inner.collect().map_err(failed)?;
        Ok(Self { inner, _watcher: Some(watcher) })
    }

    /// Writes the times of the last use of grants, which are only in memory.
    pub async fn close(&self) {
        let written = self.write(Inner::save_last_uses).await;
        if let Err(error) = written {
            tracing::warn!(%error, "the last uses of grants could not be written");
        }
    }

    /// Sets the user rules of the manifests. Marks the affected grants as revoked. Blocks if there is a folder.
    pub fn set_users<'a>(&self, users: impl IntoIterator<Item = &'a OAuthUser>) {
        if let Err(error) = self.inner.set_users(users) {
            // Memory refuses them all the same.
            tracing::error!(%error, "grants of ended or disabled users could not be marked as revoked");
        }
    }

    /// Runs on a blocking thread. It completes even if its caller stops waiting.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        if !self.inner.on_disk {
            return work(&self.inner);
        }
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || work(&inner)).await.map_err(io::Error::other)?
    }
}

impl Inner {
    fn new(
        grants: ObjectStore<OAuthGrant>,
        clients: ObjectStore<OAuthClient>,
        accounts: ObjectStore<OAuthAccount>,
        assertions: Marks,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let (known, registered, known_accounts) = (Index::default(), Index::default(), Index::default());
        for object in accounts.all() {
            known_accounts.apply_watch_event(objects::account(object.clone()));
        }
        for object in grants.all() {
            known.apply_watch_event(objects::grant(object.clone()));
        }
        for client in clients.all().filter_map(objects::registered) {
            registered.apply_watch_event(client);
        }
        let on_disk = grants.on_disk();
        let users = UserTable::default();
        let (grants, clients, accounts) = (Mutex::new(grants), Mutex::new(clients), Mutex::new(accounts));
        let assertions = Mutex::new(assertions);
        Self { grants, clients, accounts, assertions, known, registered, known_accounts, users, on_disk, clock }
    }

    fn grants(&self) -> MutexGuard<'_, ObjectStore<OAuthGrant>> {
        self.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clients(&self) -> MutexGuard<'_, ObjectStore<OAuthClient>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accounts(&self) -> MutexGuard<'_, ObjectStore<OAuthAccount>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Updates the index while the object store is locked, so that both always agree.
    fn notice_deleted(&self) {
        let mut grants = self.grants();
        for name in grants.forget_deleted() {
            audit::Event::GrantDeleted { grant: &name }.emit();
            self.known.removed(&name, None, self.clock.now());
        }
    }

    fn set_users<'a>(&self, users: impl IntoIterator<Item = &'a OAuthUser>) -> io::Result<()> {
        let now = self.clock.now();
        self.users.list_begins();
        for user in users {
            self.users.put(&user.name_any(), &user.spec, now);
        }
        self.users.list_ends(now);
        let ended = |grant: &Grant| self.users.ended(&grant.user.id, grant.signed_in_at);
        for grant in self.known.all(|grant| grant.is_active(now) && ended(grant).is_some()) {
            let Some(ended) = ended(&grant) else { continue };
            let revocation = Revocation { at: now, reason: ended.revocation() };
            self.change(&grant.name, |object| {
                object.spec.revoked = Some(revocation);
                true
            })?;
            objects::note_ended(&grant, ended);
        }
        Ok(())
    }

    /// Removes expired objects.
    fn collect(&self) -> io::Result<()> {
        let now = self.clock.now();
        let mut grants = self.grants();
        for name in grants.names(|grant| is_over(grant, now)) {
            grants.remove(&name)?;
            self.known.removed(&name, None, now);
        }
        drop(grants);
        let mut clients = self.clients();
        let ended = |client: &OAuthClient| client.spec.registration.as_ref().is_none_or(|it| it.expires_at <= now);
        for name in clients.names(ended) {
            clients.remove(&name)?;
            self.registered.removed(&name, None, now);
        }
        drop(clients);
        let mut accounts = self.accounts();
        let over =
            |account: &OAuthAccount| account.spec.is_over(self.known.of_user(&account.spec.user.id).is_empty(), now);
        for name in accounts.names(over) {
            accounts.remove(&name)?;
            self.known_accounts.removed(&name, None, now);
        }
        Ok(())
    }

    /// Changes a grant. `Ok(None)`: it does not exist; `change` returns whether a write is needed.
    fn change(&self, name: &str, change: impl FnOnce(&mut OAuthGrant) -> bool) -> io::Result<Option<Arc<Grant>>> {
        let mut grants = self.grants();
        let Some(mut object) = grants.get(name).cloned() else { return Ok(None) };
        if change(&mut object) {
            if let Some(last_used) = self.last_used(name) {
                object.status = Some(OAuthGrantStatus { last_used: Some(last_used) });
            }
            object = grants.replace(object)?;
        }
        Ok(Some(objects::apply_response(&self.known, objects::grant(object))))
    }

    fn last_used(&self, name: &str) -> Option<Timestamp> {
        match self.known.find(name) {
            Lookup::Present(grant) => grant.last_used,
            Lookup::Deleted | Lookup::Unknown => None,
        }
    }

    fn save_last_uses(&self) -> io::Result<()> {
        let noted = |grant: &OAuthGrant| grant.status.as_ref().and_then(|status| status.last_used);
        let names = self.grants().names(|grant| self.last_used(&grant.name_any()) != noted(grant));
        names.iter().try_for_each(|name| self.change(name, |_| true).map(drop))
    }
}

fn is_over(grant: &OAuthGrant, now: Timestamp) -> bool {
    let revoked = grant.spec.revoked.as_ref().is_some_and(|revoked| revoked.is_old(now));
    revoked || grant.spec.expires_at <= now
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("grants", &self.inner.known.count(|_| true)).finish_non_exhaustive()
    }
}

fn unavailable(error: io::Error) -> GrantsError {
    GrantsError::Unavailable(Box::new(error))
}

#[async_trait]
impl Grants for Local {
    fn find(&self, name: &str) -> GrantLookup {
        objects::find(&self.inner.known, name)
    }

    fn of_user(&self, user_id: &str) -> Vec<Arc<Grant>> {
        objects::of_user(&self.inner.known, user_id)
    }

    fn users(&self, after: &str, limit: usize, now: Timestamp) -> Vec<GrantUser> {
        objects::users_with_grants(&self.inner.known, after, limit, now)
    }

    fn clients(&self, now: Timestamp) -> HashSet<String> {
        objects::clients(&self.inner.known, now)
    }

    async fn read(&self, name: &str) -> Result<Option<Arc<Grant>>, GrantsError> {
        let name = name.to_owned();
        self.write(move |inner| inner.change(&name, |_| false)).await.map_err(unavailable)
    }

    async fn create(&self, grant: Grant) -> Result<Arc<Grant>, GrantsError> {
        let created = self.write(move |inner| {
            inner.collect()?;
            let mut grants = inner.grants();
            let now = inner.clock.now();
            Ok(match grants.add(objects::new_grant(grant, ENDPOINT), now)? {
                Put::Done(object) => Some(objects::apply_response(&inner.known, objects::grant(object))),
                Put::Exists => None,
            })
        });
        created.await.map_err(unavailable)?.ok_or(GrantsError::Exists)
    }

    async fn rotate(
        &self,
        grant: &Grant,
        next: RefreshState,
        evidence: Option<LoginEvidence>,
    ) -> Result<Arc<Grant>, GrantsError> {
        let (name, version) = (grant.name.clone(), grant.version.clone());
        let rotated = self.write(move |inner| {
            let mut fresh = true;
            let kept = inner.change(&name, |object| {
                fresh = object.resource_version().is_some_and(|kept| kept == version);
                object.spec.refresh = Some(next);
                if evidence.is_some() {
                    object.spec.evidence = evidence;
                }
                fresh
            })?;
            Ok(match kept {
                None => Err(GrantsError::NotFound),
                Some(_) if !fresh => Err(GrantsError::Conflict),
                Some(kept) => Ok(kept),
            })
        });
        rotated.await.map_err(unavailable)?
    }

    async fn revoke(&self, name: &str, reason: RevocationReason, now: Timestamp) -> Result<(), GrantsError> {
        let name = name.to_owned();
        let revoked = self.write(move |inner| {
            inner.change(&name, |object| {
                let first = object.spec.revoked.is_none();
                if first {
                    object.spec.revoked = Some(Revocation { at: now, reason });
                }
                first
            })
        });
        revoked.await.map_err(unavailable).map(drop)
    }

    fn used(&self, name: &str, now: Timestamp) {
        let Lookup::Present(grant) = self.inner.known.find(name) else { return };
        if grant.last_used.is_some_and(|last| now.duration_since(last) < LAST_USED_STEP) {
            return;
        }
        // Stored with the next write: a request does not wait for a disk.
        objects::used(&self.inner.known, name, now);
    }
}

impl UserRules for Local {
    fn ended(&self, user_id: &str, since: Timestamp) -> Option<Ended> {
        let inner = &self.inner;
        let in_console = || objects::access_ended(&inner.known_accounts, user_id, since);
        inner.users.ended(user_id, since).or_else(in_console)
    }
}

#[async_trait]
impl SingleUse for Local {
    async fn consume(&self, mark: &Mark) -> Result<(), GrantsError> {
        let Mark { name, until, .. } = mark.clone();
        let added = self.write(move |inner| {
            let mut assertions = inner.assertions.lock().unwrap_or_else(PoisonError::into_inner);
            assertions.add(&name, until, inner.clock.now())
        });
        if added.await.map_err(unavailable)? { Ok(()) } else { Err(GrantsError::Exists) }
    }
}

#[async_trait]
impl Registrations for Local {
    fn find(&self, client_id: &str) -> Option<Arc<Client>> {
        match self.inner.registered.find(client_id) {
            Lookup::Present(registered) => Some(Arc::clone(&registered.client)),
            Lookup::Deleted | Lookup::Unknown => None,
        }
    }

    fn held(&self, now: Timestamp) -> Vec<Held> {
        objects::held(&self.inner.registered, now)
    }

    async fn read(&self, client_id: &str) -> Result<Option<Arc<Client>>, ClientError> {
        Ok(Registrations::find(self, client_id))
    }

    async fn create(&self, client_id: &str, new: NewRegistration) -> Result<Arc<Client>, ClientError> {
        let object = objects::new_registration(client_id, new, ENDPOINT);
        let created = self.write(move |inner| {
            inner.collect()?;
            let mut clients = inner.clients();
            let now = inner.clock.now();
            let registered = match clients.add(object, now)? {
                Put::Done(object) => objects::registered(&object),
                Put::Exists => None,
            };
            let registered = registered.ok_or_else(|| io::Error::other("the client's random name is taken"))?;
            Ok(Arc::clone(&inner.registered.apply_response(registered).client))
        });
        created.await.map_err(|error| ClientError::Unavailable(Box::new(error)))
    }

    async fn remove(&self, client_id: &str) -> Result<(), ClientError> {
        let name = client_id.to_owned();
        let removed = self.write(move |inner| {
            inner.clients().remove(&name)?;
            inner.registered.removed(&name, None, inner.clock.now());
            Ok(())
        });
        removed.await.map_err(|error| ClientError::Unavailable(Box::new(error)))
    }
}
