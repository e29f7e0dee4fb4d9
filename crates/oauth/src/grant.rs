//! Grants: the consent of a user to a client (RFC 6749 §1.3), and the store of grants.
//!
//! [`Grants`] abstracts the store: the API server in a cluster, a folder in `portcullis dev`. Reads are from memory,
//! which the store keeps current; writes go to the store. Only hashes of refresh tokens are stored.

use crate::single_use::SingleUse;
use async_trait::async_trait;
use jiff::Timestamp;
use portcullis_core::{
    Scope,
    grant::{GrantUser, LoginEvidence, RefreshState, RevocationReason},
};
use std::{
    collections::{BTreeSet, HashSet},
    fmt::Debug,
    sync::Arc,
};

/// One user's consent to one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The name, which is derived from the authorization code.
    pub name: String,
    /// The client.
    pub client_id: String,
    /// The user.
    pub user: GrantUser,
    /// The scopes that the user approved.
    pub scopes: BTreeSet<Scope>,
    /// The resource that the tokens are for (RFC 8707).
    pub resource: String,
    /// When the grant was created.
    pub created_at: Timestamp,
    /// When the user signed in before the consent.
    pub signed_in_at: Timestamp,
    /// When the grant expires, whether it is used or not.
    pub expires_at: Timestamp,
    /// The state that validates refresh tokens; `None` if the client gets none.
    pub refresh: Option<RefreshState>,
    /// The evidence of the sign-in; `None` if an older version created the grant.
    pub evidence: Option<LoginEvidence>,
    /// Why the grant was revoked.
    pub revoked: Option<RevocationReason>,
    /// When the grant was last used, to within a few minutes.
    pub last_used: Option<Timestamp>,
    /// Opaque store version, for optimistic locking.
    pub version: String,
}

impl Grant {
    /// Whether the grant is valid at `now`: neither revoked nor expired.
    #[must_use]
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && now < self.expires_at
    }
}

/// The result of looking up a grant in memory.
#[derive(Clone, Debug)]
pub enum GrantLookup {
    /// The grant exists. It may be revoked or expired.
    Present(Arc<Grant>),
    /// The grant was deleted recently.
    Deleted,
    /// The grant is not in memory. Another server may have created it a moment ago: [`Grants::read`] finds out.
    Unknown,
}

/// Why an operation of the store failed.
#[derive(Debug, thiserror::Error)]
pub enum GrantsError {
    /// An object of this name exists: the code was redeemed, or the assertion presented, before.
    #[error("a grant with this name exists")]
    Exists,
    /// The grant changed since it was read: read it again.
    #[error("the grant changed in the meantime")]
    Conflict,
    /// The grant does not exist.
    #[error("there is no such grant")]
    NotFound,
    /// The store cannot be reached, or refuses the operation.
    #[error("grants cannot be stored at the moment; try again shortly")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The store of the grants of one endpoint.
#[async_trait]
pub trait Grants: SingleUse + Debug + Send + Sync {
    /// Reads from memory; no I/O.
    fn find(&self, name: &str) -> GrantLookup;

    /// All grants of a user, including revoked and expired ones, from memory, in any order.
    fn of_user(&self, user_id: &str) -> Vec<Arc<Grant>>;

    /// The users with a grant that is valid at `now`, from memory, sorted by id: at most `limit` after the id `after`.
    fn users(&self, after: &str, limit: usize, now: Timestamp) -> Vec<GrantUser>;

    /// The clients with a grant that is valid at `now`, from memory.
    fn clients(&self, now: Timestamp) -> HashSet<String>;

    /// Reads from the store.
    async fn read(&self, name: &str) -> Result<Option<Arc<Grant>>, GrantsError>;

    /// Stores a new grant. Fails with [`GrantsError::Exists`] if any server created a grant of this name before.
    /// `version` is ignored.
    async fn create(&self, grant: Grant) -> Result<Arc<Grant>, GrantsError>;

    /// Replaces the refresh state, and the evidence if there is new evidence, if the stored grant has not changed since
    /// `grant` was read. Otherwise, fails with [`GrantsError::Conflict`].
    async fn rotate(
        &self,
        grant: &Grant,
        next: RefreshState,
        evidence: Option<LoginEvidence>,
    ) -> Result<Arc<Grant>, GrantsError>;

    /// Revokes a grant, at every server. A second revocation keeps the first reason. A missing grant is not an error.
    async fn revoke(&self, name: &str, reason: RevocationReason, now: Timestamp) -> Result<(), GrantsError>;

    /// Records that a grant was used. The store is updated some time later, and not for each use.
    fn used(&self, name: &str, now: Timestamp);
}
