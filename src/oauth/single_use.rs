//! What may be presented once: the assertions by which clients prove themselves (RFC 7523 §3).
//!
//! A server's own memory cannot tell: the same assertion may come to another server, or after a restart. The store decides,
//! by creating the name of a mark once.

use super::grant::GrantsError;
use async_trait::async_trait;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use std::fmt::Debug;

/// A mark that something was presented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its name: what was presented cannot be derived from it.
    pub name: String,
    /// The client that presented it.
    pub client_id: String,
    /// From then on the thing itself counts no longer, and the mark may be deleted.
    pub until: Timestamp,
}

impl Mark {
    /// That `client_id` presented the assertion with this `jti` to this issuer.
    #[must_use]
    pub fn assertion(issuer: &str, client_id: &str, jti: &str, until: Timestamp) -> Self {
        let mut hash = Sha256::new();
        for part in ["portcullis assertion", issuer, client_id, jti] {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        let name = crate::config::hex(&hash.finalize()).chars().take(40).collect();
        Self { name, client_id: client_id.to_owned(), until }
    }
}

/// Where marks are kept.
#[async_trait]
pub trait SingleUse: Debug + Send + Sync {
    /// Keeps a mark at least until its time. [`GrantsError::Exists`] if there is one of its name, whichever server made it.
    async fn consume(&self, mark: &Mark) -> Result<(), GrantsError>;
}
