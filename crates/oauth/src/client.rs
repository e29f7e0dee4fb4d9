//! The clients that may ask for something, wherever they are described: an `OAuthClient`, a metadata document
//! (OAuth Client ID Metadata Documents), or a registration of their own (RFC 7591).

use async_trait::async_trait;
use jiff::Timestamp;
use portcullis_config::ClientVerifier;
use portcullis_core::Scope;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt::Debug, sync::Arc};

/// Where a client is described, which says how far it is to be believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// In an `OAuthClient` that a platform engineer wrote.
    Configured,
    /// In a document that this host serves: the host is who it says, all else is its own word.
    Document {
        /// The host.
        host: String,
    },
    /// By itself. Nothing that it says was checked.
    Registered {
        /// When the registration ends.
        expires_at: Timestamp,
    },
}

/// A client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Who it is, how it proves itself, and what it may have.
    pub verifier: ClientVerifier,
    /// Where that is said.
    pub origin: Origin,
}

impl Client {
    /// Whether its registration, if it has one, has not ended.
    #[must_use]
    pub fn counts(&self, now: Timestamp) -> bool {
        match &self.origin {
            Origin::Registered { expires_at } => now < *expires_at,
            Origin::Configured | Origin::Document { .. } => true,
        }
    }
}

/// Why a client cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody knows it.
    #[error("there is no client {0:?} at this endpoint; it may have been deleted, or its registration have ended")]
    Unknown(String),
    /// Its metadata document cannot be used. The text is for people.
    #[error("the client's metadata document cannot be used: {0}")]
    Document(String),
    /// Where clients are kept cannot be reached.
    #[error("clients cannot be looked up at the moment; try again shortly")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What a client says of itself when it registers, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRegistration {
    /// What it calls itself.
    pub name: Option<String>,
    /// Where it may be called back.
    pub redirect_uris: Vec<String>,
    /// The most that its tokens may be good for.
    pub scopes: BTreeSet<Scope>,
    /// When the registration ends.
    pub expires_at: Timestamp,
    /// A keyed hash of the network that it came from.
    pub source: Option<String>,
}

/// A registration that takes a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The client.
    pub client_id: String,
    /// When it registered.
    pub registered_at: Timestamp,
    /// A keyed hash of the network that it came from; `None` for one that an older version kept.
    pub source: Option<String>,
}

/// Where the clients that registered themselves are kept.
#[async_trait]
pub trait Registrations: Debug + Send + Sync {
    /// From memory; no I/O. One whose time is over may still be there: [`Client::counts`].
    fn find(&self, client_id: &str) -> Option<Arc<Client>>;

    /// Those that count at `now`, from memory, in any order.
    fn held(&self, now: Timestamp) -> Vec<Held>;

    /// At the place itself: another server may have registered it a moment ago.
    async fn read(&self, client_id: &str) -> Result<Option<Arc<Client>>, ClientError>;

    /// Keeps a new public client under `client_id`, which is random.
    async fn create(&self, client_id: &str, new: NewRegistration) -> Result<Arc<Client>, ClientError>;

    /// Deletes one. One that is not there is no error.
    async fn remove(&self, client_id: &str) -> Result<(), ClientError>;
}
