//! A store in memory for the tests of the authorization server.

use crate::{
    accounts::{Account, Accounts},
    client::{Client, ClientError, Held, NewRegistration, Origin, Registrations},
    grant::{Grant, GrantLookup, Grants, GrantsError},
    single_use::{Mark, SingleUse},
    user_rules::{Ended, UserRules},
};
use async_trait::async_trait;
use jiff::Timestamp;
use portcullis_config::ClientVerifier;
use portcullis_core::{
    client::{ClientType, Grant as GrantKind},
    clock::Clock,
    grant::{GrantUser, LoginEvidence, RefreshState, RevocationReason},
};
use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

/// The state that the servers of one endpoint share.
pub(crate) struct Memory {
    clock: Arc<dyn Clock>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    writes: u64,
    grants: BTreeMap<String, Arc<Grant>>,
    clients: BTreeMap<String, (Arc<Client>, Held)>,
    accounts: BTreeMap<String, Arc<Account>>,
    marks: BTreeMap<String, Timestamp>,
}

impl Kept {
    fn version(&mut self) -> String {
        self.writes += 1;
        self.writes.to_string()
    }

    fn put(&mut self, grant: Grant) -> Arc<Grant> {
        let grant = Arc::new(Grant { version: self.version(), ..grant });
        self.grants.insert(grant.name.clone(), Arc::clone(&grant));
        grant
    }
}

impl Memory {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, kept: Mutex::default() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memory")
    }
}

#[async_trait]
impl Grants for Memory {
    fn find(&self, name: &str) -> GrantLookup {
        self.kept().grants.get(name).map_or(GrantLookup::Unknown, |grant| GrantLookup::Present(Arc::clone(grant)))
    }

    fn of_user(&self, user_id: &str) -> Vec<Arc<Grant>> {
        self.kept().grants.values().filter(|grant| grant.user.id == user_id).cloned().collect()
    }

    fn users(&self, after: &str, limit: usize, now: Timestamp) -> Vec<GrantUser> {
        let kept = self.kept();
        let of = |grant: &Arc<Grant>| (grant.user.id.clone(), grant.user.clone());
        let users: BTreeMap<_, _> = kept.grants.values().filter(|grant| grant.is_active(now)).map(of).collect();
        users.into_values().filter(|user| user.id.as_str() > after).take(limit).collect()
    }

    fn clients(&self, now: Timestamp) -> HashSet<String> {
        let kept = self.kept();
        kept.grants.values().filter(|grant| grant.is_active(now)).map(|grant| grant.client_id.clone()).collect()
    }

    async fn read(&self, name: &str) -> Result<Option<Arc<Grant>>, GrantsError> {
        Ok(self.kept().grants.get(name).cloned())
    }

    async fn create(&self, grant: Grant) -> Result<Arc<Grant>, GrantsError> {
        let mut kept = self.kept();
        if kept.grants.contains_key(&grant.name) {
            return Err(GrantsError::Exists);
        }
        Ok(kept.put(grant))
    }

    async fn rotate(
        &self,
        grant: &Grant,
        next: RefreshState,
        evidence: Option<LoginEvidence>,
    ) -> Result<Arc<Grant>, GrantsError> {
        let mut kept = self.kept();
        let present = kept.grants.get(&grant.name).cloned().ok_or(GrantsError::NotFound)?;
        if present.version != grant.version {
            return Err(GrantsError::Conflict);
        }
        let evidence = evidence.or_else(|| present.evidence.clone());
        Ok(kept.put(Grant { refresh: Some(next), evidence, ..Grant::clone(&present) }))
    }

    async fn revoke(&self, name: &str, reason: RevocationReason, _: Timestamp) -> Result<(), GrantsError> {
        let mut kept = self.kept();
        if let Some(grant) = kept.grants.get(name).filter(|grant| grant.revoked.is_none()).cloned() {
            kept.put(Grant { revoked: Some(reason), ..Grant::clone(&grant) });
        }
        Ok(())
    }

    fn used(&self, name: &str, now: Timestamp) {
        if let Some(grant) = self.kept().grants.get_mut(name) {
            *grant = Arc::new(Grant { last_used: Some(now), ..Grant::clone(grant) });
        }
    }
}

#[async_trait]
impl SingleUse for Memory {
    async fn consume(&self, mark: &Mark) -> Result<(), GrantsError> {
        let now = self.clock.now();
        let mut kept = self.kept();
        kept.marks.retain(|_, until| *until > now);
        match kept.marks.insert(mark.name.clone(), mark.until) {
            Some(_) => Err(GrantsError::Exists),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Registrations for Memory {
    fn find(&self, client_id: &str) -> Option<Arc<Client>> {
        self.kept().clients.get(client_id).map(|(client, _)| Arc::clone(client))
    }

    fn held(&self, now: Timestamp) -> Vec<Held> {
        self.kept().clients.values().filter(|(client, _)| client.counts(now)).map(|(_, held)| held.clone()).collect()
    }

    async fn read(&self, client_id: &str) -> Result<Option<Arc<Client>>, ClientError> {
        Ok(Registrations::find(self, client_id))
    }

    async fn create(&self, client_id: &str, new: NewRegistration) -> Result<Arc<Client>, ClientError> {
        let registered_at = self.clock.now();
        let verifier = ClientVerifier {
            client_id: client_id.to_owned(),
            display_name: new.name.unwrap_or_else(|| client_id.to_owned()),
            client_type: ClientType::Public,
            grants: vec![GrantKind::AuthorizationCode, GrantKind::RefreshToken],
            scopes: new.scopes,
            registered_at: Some(registered_at),
            redirect_uris: new.redirect_uris,
            secrets: Vec::new(),
            private_key_jwt: None,
        };
        let client = Arc::new(Client { verifier, origin: Origin::Registered { expires_at: new.expires_at } });
        let held = Held { client_id: client_id.to_owned(), registered_at, source: new.source };
        self.kept().clients.insert(client_id.to_owned(), (Arc::clone(&client), held));
        Ok(client)
    }

    async fn remove(&self, client_id: &str) -> Result<(), ClientError> {
        self.kept().clients.remove(client_id);
        Ok(())
    }
}

#[async_trait]
impl Accounts for Memory {
    fn account(&self, user_id: &str) -> Option<Arc<Account>> {
        self.kept().accounts.get(user_id).cloned()
    }

    fn users(&self, after: &str, limit: usize) -> Vec<GrantUser> {
        let kept = self.kept();
        let users = kept.accounts.values().map(|account| account.user.clone());
        users.filter(|user| user.id.as_str() > after).take(limit).collect()
    }

    fn users_of_session(&self, login: &str, session: &str) -> Vec<String> {
        let prefix = format!("{login}:");
        let has = |account: &&Arc<Account>| {
            account.user.id.starts_with(&prefix) && account.sessions.iter().any(|known| known.id == session)
        };
        self.kept().accounts.values().filter(has).map(|account| account.user.id.clone()).collect()
    }

    async fn read_account(&self, user_id: &str) -> Result<Option<Arc<Account>>, GrantsError> {
        Ok(self.account(user_id))
    }

    async fn write_account(&self, account: Account) -> Result<Arc<Account>, GrantsError> {
        let mut kept = self.kept();
        match kept.accounts.get(&account.user.id) {
            None if account.version.is_empty() => {}
            None => return Err(GrantsError::NotFound),
            Some(_) if account.version.is_empty() => return Err(GrantsError::Exists),
            Some(present) if present.version != account.version => return Err(GrantsError::Conflict),
            Some(_) => {}
        }
        let account = Arc::new(Account { version: kept.version(), ..account });
        kept.accounts.insert(account.user.id.clone(), Arc::clone(&account));
        Ok(account)
    }
}

impl UserRules for Memory {
    fn ended(&self, user_id: &str, since: Timestamp) -> Option<Ended> {
        let ends = self.account(user_id).is_some_and(|account| account.ends_access(since));
        ends.then_some(Ended::Before)
    }
}
