//! The last use of grants: updated in memory at every use, and written at most every few minutes for each grant.

use crate::{kubernetes::Kubernetes, objects};
use jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams};
use portcullis_reflector::{Lookup, RequestError, StatusWriter, request};
use serde_json::json;

/// The precision of the time. Writes of other servers count too.
const STEP: SignedDuration = SignedDuration::from_mins(5);

impl Kubernetes {
    pub(super) fn note_use(&self, name: &str, now: Timestamp) {
        let Lookup::Present(grant) = self.known.find(name) else { return };
        if grant.last_used.is_some_and(|last| now.duration_since(last) < STEP) {
            return;
        }
        objects::used(&self.known, name, now);
        self.last_uses.note(name, now);
    }
}

impl StatusWriter for Kubernetes {
    async fn write(&self, name: &str, at: Timestamp) -> Result<(), RequestError> {
        let patch = Patch::Merge(json!({"status": {"lastUsed": at}}));
        let kept = request(self.grants.patch_status(name, &PatchParams::default(), &patch)).await?;
        if let Ok(grant) = self.readable_grant(kept) {
            self.known.apply_response(grant);
        }
        Ok(())
    }
}
