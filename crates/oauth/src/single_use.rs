//! Credentials that are valid once: the assertions by which clients authenticate (RFC 7523 §3).
//!
//! The memory of one server is not enough: the same assertion can be presented to another server, or after a restart.
//! The store decides: it creates a mark of one name only once.

use crate::grant::GrantsError;
use async_trait::async_trait;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use std::fmt::Debug;

/// A record that a credential was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The name, from which the credential cannot be derived.
    pub name: String,
    /// The client that presented it.
    pub client_id: String,
    /// When the credential expires, and the mark can be deleted.
    pub until: Timestamp,
}

impl Mark {
    /// The mark of the assertion with this `jti` that `client_id` presented to this issuer.
    #[must_use]
    pub fn assertion(issuer: &str, client_id: &str, jti: &str, until: Timestamp) -> Self {
        let mut hash = Sha256::new();
        for part in ["portcullis assertion", issuer, client_id, jti] {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        let name = portcullis_core::hex(&hash.finalize()).chars().take(40).collect();
        Self { name, client_id: client_id.to_owned(), until }
    }
}

/// The store of marks.
#[async_trait]
pub trait SingleUse: Debug + Send + Sync {
    /// Stores a mark at least until it expires. Fails with [`GrantsError::Exists`] if any server stored one of this
    /// name before.
    async fn consume(&self, mark: &Mark) -> Result<(), GrantsError>;
}
