//! When grants were last used: noted in memory at every use, written at most every few minutes for each.

use super::{Kubernetes, RequestError};
use crate::{chain::chain, oauth::grant::Grant, state::index::Found};
use jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams};
use serde_json::json;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;

/// How exact the time is. Other servers' writes count, so a grant that all of them use is written as often.
const STEP: SignedDuration = SignedDuration::from_mins(5);
/// Uses come in bursts.
const GATHER: Duration = Duration::from_millis(500);
const RETRY: Duration = Duration::from_secs(30);
const AT_THE_END: Duration = Duration::from_secs(5);

/// What is to be written.
#[derive(Default)]
pub struct LastUses {
    unsaved: Mutex<BTreeMap<String, Timestamp>>,
    noted: Notify,
}

impl LastUses {
    fn unsaved(&self) -> MutexGuard<'_, BTreeMap<String, Timestamp>> {
        self.unsaved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kubernetes {
    pub(super) fn note_use(&self, name: &str, now: Timestamp) {
        let Found::Here(grant) = self.known.find(name) else { return };
        if grant.last_used.is_some_and(|last| now.duration_since(last) < STEP) {
            return;
        }
        self.known.amend(name, |grant| Grant { last_used: Some(now), ..grant.clone() });
        self.last_uses.unsaved().insert(name.to_owned(), now);
        self.last_uses.noted.notify_one();
    }

    /// Writes for ever what is noted.
    pub(super) async fn save_last_uses(&self) {
        loop {
            self.last_uses.noted.notified().await;
            tokio::time::sleep(GATHER).await;
            if let Err(error) = self.save_noted().await {
                tracing::warn!(error = chain(&error), "when grants were last used could not be written; it is retried");
                tokio::time::sleep(RETRY).await;
                self.last_uses.noted.notify_one();
            }
        }
    }

    /// Writes what is noted, before the server ends.
    pub(super) async fn save_last_uses_at_the_end(&self) {
        if !matches!(tokio::time::timeout(AT_THE_END, self.save_noted()).await, Ok(Ok(()))) {
            tracing::warn!("when some grants were last used could not be written");
        }
    }

    async fn save_noted(&self) -> Result<(), RequestError> {
        loop {
            // One by one, and taken out when written: whoever stops this loses nothing.
            let next = self.last_uses.unsaved().iter().next().map(|(name, at)| (name.clone(), *at));
            let Some((name, at)) = next else { return Ok(()) };
            let patch = Patch::Merge(json!({"status": {"lastUsed": at}}));
            match self.request(self.grants.patch_status(&name, &PatchParams::default(), &patch)).await {
                Ok(kept) => {
                    if let Ok(grant) = self.readable_grant(kept) {
                        self.known.answered(grant);
                    }
                }
                Err(error) if error.code() == Some(404) => {}
                Err(error) => return Err(error),
            }
            let mut unsaved = self.last_uses.unsaved();
            if unsaved.get(&name) == Some(&at) {
                unsaved.remove(&name);
            }
        }
    }
}
