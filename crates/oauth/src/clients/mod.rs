//! The directory of clients from all sources, and the rules for clients that describe themselves.

pub mod assertion;
mod callbacks;
pub mod capacity;
pub mod document;
mod fetched;
pub mod registrar;
pub mod registration;

pub use assertion::ALGORITHMS;

use crate::{
    client::{Client, ClientError, Origin, Registrations},
    misses::Misses,
};
use assertion::Assertions;
use document::Documents;
use jiff::Timestamp;
use portcullis_config::Clients;
use portcullis_core::{Scope, authorization::ClientPolicy};
use portcullis_outbound::Outbound;
use registrar::Registrar;
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// The maximum length of a client id, in bytes. The id of a client with a metadata document is a URL.
pub const MAX_CLIENT_ID: usize = 2048;

/// The maximum length of a name, in characters, as of `displayName` in an `OAuthClient`. Longer names of clients are
/// truncated.
const MAX_NAME: usize = 64;

/// The metadata and keys that clients publish, fetched and cached. Survives reloads of the configuration.
pub struct PublishedMetadata {
    /// The metadata documents.
    pub documents: Documents,
    /// The keys, and the assertions that were signed with them.
    pub assertions: Assertions,
}

impl PublishedMetadata {
    /// An empty cache.
    #[must_use]
    pub fn new(outbound: &Arc<Outbound>) -> Self {
        Self { documents: Documents::new(Arc::clone(outbound)), assertions: Assertions::new(Arc::clone(outbound)) }
    }
}

/// The clients of one endpoint, by id.
pub struct Directory {
    configured: HashMap<String, Arc<Client>>,
    policy: ClientPolicy,
    registrations: Arc<dyn Registrations>,
    published: Arc<PublishedMetadata>,
    document_scopes: BTreeSet<Scope>,
    registrar: Arc<Registrar>,
    /// Registrations that the store does not have.
    missing: Misses,
}

/// A client that is valid at present, and the maximum scopes of its tokens.
#[derive(Debug)]
pub enum ValidClient<'a> {
    /// An `OAuthClient` that a platform engineer wrote.
    Configured(&'a Client),
    /// A client that registered itself.
    Registered(Arc<Client>),
    /// A client with a document at an allowed host, and the maximum scopes of such clients.
    Document(&'a BTreeSet<Scope>),
}

impl ValidClient<'_> {
    /// The maximum scopes of the client's tokens.
    #[must_use]
    pub fn scopes(&self) -> &BTreeSet<Scope> {
        match self {
            Self::Configured(client) => &client.verifier.scopes,
            Self::Registered(client) => &client.verifier.scopes,
            Self::Document(scopes) => scopes,
        }
    }

    /// When the client was created. Older tokens belong to a deleted client of the same name.
    #[must_use]
    pub fn registered_at(&self) -> Option<Timestamp> {
        match self {
            Self::Configured(client) => client.verifier.registered_at,
            Self::Registered(client) => client.verifier.registered_at,
            Self::Document(_) => None,
        }
    }
}

impl Directory {
    /// A directory of these clients, and of those that `policy` admits.
    #[must_use]
    pub fn new(
        clients: Clients,
        policy: ClientPolicy,
        registrations: Arc<dyn Registrations>,
        published: Arc<PublishedMetadata>,
        registrar: Arc<Registrar>,
    ) -> Self {
        let configured = clients
            .clients
            .into_iter()
            .map(|verifier| {
                let id = verifier.client_id.clone();
                (id, Arc::new(Client { verifier, origin: Origin::Configured }))
            })
            .collect();
        let document_scopes =
            policy.metadata_documents.iter().flat_map(|documents| documents.scopes.iter().copied()).collect();
        Self { configured, policy, registrations, published, document_scopes, registrar, missing: Misses::default() }
    }

    /// The client with this id. May read the store or fetch a document.
    pub async fn find(&self, client_id: &str, now: Timestamp) -> Result<Arc<Client>, ClientError> {
        if let Some(client) = self.configured.get(client_id) {
            return Ok(Arc::clone(client));
        }
        let unknown = || ClientError::Unknown(client_id.chars().take(128).collect());
        if client_id.len() > MAX_CLIENT_ID {
            return Err(unknown());
        }
        if document::is_document(client_id) {
            let policy = self.policy.metadata_documents.as_ref().ok_or_else(unknown)?;
            return self.published.documents.find(client_id, policy, now).await;
        }
        let mut registered = self.registrations.find(client_id);
        // The client is not authenticated: only an id that was issued here becomes part of a request to the API server.
        if registered.is_none() && self.policy.dynamic_registration.is_some() && self.registrar.made(client_id) {
            registered = self.read_registration(client_id, now).await?;
        }
        registered.filter(|client| client.counts(now)).ok_or_else(unknown)
    }

    /// Reads a registration that another server may have created a moment ago.
    async fn read_registration(&self, client_id: &str, now: Timestamp) -> Result<Option<Arc<Client>>, ClientError> {
        if self.missing.has(client_id, now) {
            return Ok(None);
        }
        let found = self.registrations.read(client_id).await?;
        if found.is_none() {
            self.missing.note(client_id, now);
        }
        Ok(found)
    }

    /// The present status of a client, from memory. Called for every request, so without I/O and without a copy.
    #[must_use]
    pub fn valid_client(&self, client_id: &str, now: Timestamp) -> Option<ValidClient<'_>> {
        if let Some(client) = self.configured.get(client_id) {
            return Some(ValidClient::Configured(client));
        }
        if document::is_document(client_id) {
            // The document was read when the user consented; from then on, the grant decides.
            let policy = self.policy.metadata_documents.as_ref()?;
            document::allowed_host(client_id, policy).ok()?;
            return Some(ValidClient::Document(&self.document_scopes));
        }
        self.registrations.find(client_id).filter(|client| client.counts(now)).map(ValidClient::Registered)
    }
}
