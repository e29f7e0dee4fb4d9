//! The clients of an endpoint, from all sources: an `OAuthClient`, a metadata document (OAuth Client ID Metadata
//! Documents), or dynamic client registration (RFC 7591).

use async_trait::async_trait;
use jiff::Timestamp;
use portcullis_config::ClientVerifier;
use portcullis_core::Scope;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt::Debug, sync::Arc};

/// The source of a client's description, which determines how far it is trusted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// An `OAuthClient` that a platform engineer wrote.
    Configured,
    /// A document that this host serves. Only the host is verified; all else is the client's own claim.
    Document {
        /// The host.
        host: String,
    },
    /// Dynamic client registration. Nothing in the description is verified.
    Registered {
        /// When the registration expires.
        expires_at: Timestamp,
    },
}

/// A client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The client's id, credentials and permissions.
    pub verifier: ClientVerifier,
    /// The source of the description.
    pub origin: Origin,
}

impl Client {
    /// Whether the client is valid at `now`: its registration, if any, has not expired.
    #[must_use]
    pub fn counts(&self, now: Timestamp) -> bool {
        match &self.origin {
            Origin::Registered { expires_at } => now < *expires_at,
            Origin::Configured | Origin::Document { .. } => true,
        }
    }
}

/// Why a client cannot be found.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The client does not exist.
    #[error("there is no client {0:?} at this endpoint; it may have been deleted, or its registration have ended")]
    Unknown(String),
    /// The client's metadata document cannot be used. The text is for users.
    #[error("the client's metadata document cannot be used: {0}")]
    Document(String),
    /// The store of clients cannot be reached.
    #[error("clients cannot be looked up at the moment; try again shortly")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The validated metadata of a new registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRegistration {
    /// The name that the client gives itself.
    pub name: Option<String>,
    /// The redirect URIs.
    pub redirect_uris: Vec<String>,
    /// The maximum scopes of the client's tokens.
    pub scopes: BTreeSet<Scope>,
    /// When the registration expires.
    pub expires_at: Timestamp,
    /// A keyed hash of the network that the registration came from.
    pub source: Option<String>,
}

/// A registration that counts towards the maximum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The id of the client.
    pub client_id: String,
    /// When the client registered.
    pub registered_at: Timestamp,
    /// A keyed hash of the network that the registration came from; `None` for a registration of an older version.
    pub source: Option<String>,
}

/// The store of dynamically registered clients.
#[async_trait]
pub trait Registrations: Debug + Send + Sync {
    /// Reads from memory; no I/O. The registration may have expired: see [`Client::counts`].
    fn find(&self, client_id: &str) -> Option<Arc<Client>>;

    /// The registrations that are valid at `now`, from memory, in any order.
    fn held(&self, now: Timestamp) -> Vec<Held>;

    /// Reads from the store: another server may have created the registration a moment ago.
    async fn read(&self, client_id: &str) -> Result<Option<Arc<Client>>, ClientError>;

    /// Stores a new public client under `client_id`, which is random.
    async fn create(&self, client_id: &str, new: NewRegistration) -> Result<Arc<Client>, ClientError>;

    /// Deletes a registration. A missing one is not an error.
    async fn remove(&self, client_id: &str) -> Result<(), ClientError>;
}
