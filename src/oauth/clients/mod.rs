//! Which clients there are, wherever they are described.

use super::client::{Client, ClientError, Origin, Registrations};
use crate::{
    api::{Scope, authorization::ClientPolicy},
    config::Clients,
};
use jiff::Timestamp;
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// Longer ids are nobody's: that of a metadata document is a URL.
pub const MAX_CLIENT_ID: usize = 2048;

/// The clients of one endpoint, by id.
pub struct Directory {
    configured: HashMap<String, Arc<Client>>,
    policy: ClientPolicy,
    registrations: Arc<dyn Registrations>,
}

/// That somebody still is a client, and the most that its tokens may be good for.
#[derive(Debug)]
pub enum Standing<'a> {
    /// An `OAuthClient` that a platform engineer wrote.
    Configured(&'a Client),
    /// One that registered itself.
    Registered(Arc<Client>),
}

impl Standing<'_> {
    /// The most that its tokens may be good for.
    #[must_use]
    pub fn scopes(&self) -> &BTreeSet<Scope> {
        match self {
            Self::Configured(client) => &client.verifier.scopes,
            Self::Registered(client) => &client.verifier.scopes,
        }
    }

    /// Since when it is this client, and not a namesake that is gone.
    #[must_use]
    pub fn registered_at(&self) -> Option<Timestamp> {
        match self {
            Self::Configured(client) => client.verifier.registered_at,
            Self::Registered(client) => client.verifier.registered_at,
        }
    }
}

impl Directory {
    /// These clients, and those that `policy` admits besides.
    #[must_use]
    pub fn new(clients: Clients, policy: ClientPolicy, registrations: Arc<dyn Registrations>) -> Self {
        let configured = clients
            .clients
            .into_iter()
            .map(|verifier| {
                let id = verifier.client_id.clone();
                (id, Arc::new(Client { verifier, origin: Origin::Configured }))
            })
            .collect();
        Self { configured, policy, registrations }
    }

    /// The client of this id, for which other places may be asked.
    pub async fn find(&self, client_id: &str, now: Timestamp) -> Result<Arc<Client>, ClientError> {
        if let Some(client) = self.configured.get(client_id) {
            return Ok(Arc::clone(client));
        }
        let unknown = || ClientError::Unknown(client_id.chars().take(128).collect());
        if client_id.len() > MAX_CLIENT_ID {
            return Err(unknown());
        }
        let mut registered = self.registrations.find(client_id);
        if registered.is_none() && self.policy.dynamic_registration.is_some() {
            registered = self.registrations.read(client_id).await?;
        }
        registered.filter(|client| counts(client, now)).ok_or_else(unknown)
    }

    /// What this client may have now, from memory: asked on every request, so without I/O and without a copy.
    #[must_use]
    pub fn standing(&self, client_id: &str, now: Timestamp) -> Option<Standing<'_>> {
        if let Some(client) = self.configured.get(client_id) {
            return Some(Standing::Configured(client));
        }
        self.registrations.find(client_id).filter(|client| counts(client, now)).map(Standing::Registered)
    }
}

/// Whether a registration has not ended.
fn counts(client: &Client, now: Timestamp) -> bool {
    match &client.origin {
        Origin::Registered { expires_at } => now < *expires_at,
        Origin::Configured | Origin::Document { .. } => true,
    }
}
