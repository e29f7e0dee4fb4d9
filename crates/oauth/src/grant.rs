//! Grants: what a user allowed a client (RFC 6749 §1.3), and where they are kept.
//!
//! [`Grants`] hides the place: the API server in a cluster, a folder in `portcullis dev`. Reading is from memory, which
//! the place keeps current; writing goes there. Only hashes of refresh tokens are stored.

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
    /// Its name, which derives from the authorization code.
    pub name: String,
    /// The client.
    pub client_id: String,
    /// The user.
    pub user: GrantUser,
    /// To what the user consented.
    pub scopes: BTreeSet<Scope>,
    /// The resource that the tokens are for (RFC 8707).
    pub resource: String,
    /// Since when.
    pub created_at: Timestamp,
    /// When the user signed in who gave it.
    pub signed_in_at: Timestamp,
    /// When it ends, however much it is used.
    pub expires_at: Timestamp,
    /// What a refresh token is held against; `None` where the client gets none.
    pub refresh: Option<RefreshState>,
    /// Why the user was let in; `None` if an older version made the grant.
    pub evidence: Option<LoginEvidence>,
    /// Why it no longer counts.
    pub revoked: Option<RevocationReason>,
    /// When it was last used, to within a few minutes.
    pub last_used: Option<Timestamp>,
    /// Which state of it this is, in the place's own words: what a conditional write is held against.
    pub version: String,
}

impl Grant {
    /// Whether it counts at `now`.
    #[must_use]
    pub fn is_active(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && now < self.expires_at
    }
}

/// What memory says of a grant.
#[derive(Clone, Debug)]
pub enum Known {
    /// It is there. It may be revoked or expired.
    Here(Arc<Grant>),
    /// It was deleted not long ago.
    Gone,
    /// Never heard of. It may have been created at another server a moment ago: [`Grants::read`] would know.
    Unknown,
}

/// Why the place did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum GrantsError {
    /// There is one of this name: its code was redeemed, or its assertion presented, before.
    #[error("there is one of this name")]
    Exists,
    /// It changed since it was read: read it again.
    #[error("the grant changed in the meantime")]
    Conflict,
    /// It is not there.
    #[error("there is no such grant")]
    NotFound,
    /// The place cannot be reached, or refuses.
    #[error("grants cannot be stored at the moment; try again shortly")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Where the grants of one endpoint are kept.
#[async_trait]
pub trait Grants: SingleUse + Debug + Send + Sync {
    /// From memory; no I/O.
    fn find(&self, name: &str) -> Known;

    /// All of a user's, from memory, in any order; revoked and expired ones too.
    fn of_user(&self, user_id: &str) -> Vec<Arc<Grant>>;

    /// The clients with a grant that counts at `now`, from memory.
    fn clients(&self, now: Timestamp) -> HashSet<String>;

    /// At the place itself.
    async fn read(&self, name: &str) -> Result<Option<Arc<Grant>>, GrantsError>;

    /// Keeps a new one: [`GrantsError::Exists`] if there is one of its name already, whoever made it. `version` is
    /// ignored.
    async fn create(&self, grant: Grant) -> Result<Arc<Grant>, GrantsError>;

    /// Replaces the refresh state, and the evidence if there is new evidence, if the grant still is as `grant` says: else
    /// [`GrantsError::Conflict`].
    async fn rotate(
        &self,
        grant: &Grant,
        next: RefreshState,
        evidence: Option<LoginEvidence>,
    ) -> Result<Arc<Grant>, GrantsError>;

    /// Makes it count no longer, at every server. Doing it twice keeps the first reason. One that is not there is no
    /// error.
    async fn revoke(&self, name: &str, reason: RevocationReason, now: Timestamp) -> Result<(), GrantsError>;

    /// Notes that it was used; written down some time later, and not each time.
    fn used(&self, name: &str, now: Timestamp);
}
