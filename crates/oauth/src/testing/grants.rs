//! Grants whose watch lags, or whose store is unreachable.

use super::Memory;
use crate::{
    grant::{Grant, GrantLookup, Grants, GrantsError},
    single_use::{Mark, SingleUse},
};
use async_trait::async_trait;
use jiff::Timestamp;
use portcullis_core::grant::{GrantUser, LoginEvidence, RefreshState, RevocationReason};
use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

/// The grants as a server sees them whose watch may lag, or whose store may be unreachable.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(super) place: Arc<Memory>,
    /// The watch has delivered no events.
    pub lags: AtomicBool,
    pub unreachable: AtomicBool,
    pub reads: AtomicUsize,
}

#[async_trait]
impl Grants for Seen {
    fn find(&self, name: &str) -> GrantLookup {
        if self.lags.load(Ordering::SeqCst) { GrantLookup::Unknown } else { self.place.find(name) }
    }

    fn of_user(&self, user_id: &str) -> Vec<Arc<Grant>> {
        self.place.of_user(user_id)
    }

    fn users(&self, after: &str, limit: usize, now: Timestamp) -> Vec<GrantUser> {
        self.place.users(after, limit, now)
    }

    fn clients(&self, now: Timestamp) -> HashSet<String> {
        self.place.clients(now)
    }

    async fn read(&self, name: &str) -> Result<Option<Arc<Grant>>, GrantsError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        // Lets other tasks run while the read is in progress.
        tokio::task::yield_now().await;
        self.reachable()?;
        self.place.read(name).await
    }

    async fn create(&self, grant: Grant) -> Result<Arc<Grant>, GrantsError> {
        self.reachable()?;
        self.place.create(grant).await
    }

    async fn rotate(
        &self,
        grant: &Grant,
        next: RefreshState,
        evidence: Option<LoginEvidence>,
    ) -> Result<Arc<Grant>, GrantsError> {
        self.reachable()?;
        self.place.rotate(grant, next, evidence).await
    }

    async fn revoke(&self, name: &str, reason: RevocationReason, now: Timestamp) -> Result<(), GrantsError> {
        self.reachable()?;
        self.place.revoke(name, reason, now).await
    }

    fn used(&self, name: &str, now: Timestamp) {
        self.place.used(name, now);
    }
}

#[async_trait]
impl SingleUse for Seen {
    async fn consume(&self, mark: &Mark) -> Result<(), GrantsError> {
        self.reachable()?;
        self.place.consume(mark).await
    }
}

impl Seen {
    fn reachable(&self) -> Result<(), GrantsError> {
        let gone = self.unreachable.load(Ordering::SeqCst);
        if gone { Err(GrantsError::Unavailable("no route".into())) } else { Ok(()) }
    }
}
