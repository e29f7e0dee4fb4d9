//! `Grants` with `OAuthGrant`s.

use crate::kubernetes::Kubernetes;
use crate::objects;
use async_trait::async_trait;
use jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use portcullis_api::{Guarded, grant::Revocation};
use portcullis_core::grant::{GrantUser, LoginEvidence, RefreshState, RevocationReason};
use portcullis_oauth::grant::{Grant, GrantLookup, Grants, GrantsError};
use portcullis_reflector::{RequestError, request};
use serde_json::{Value, json};
use std::{collections::HashSet, sync::Arc};

/// The maximum number of attempts of a revocation with conflicting writes.
const REVOKE_TRIES: usize = 10;

/// A request to the API server failed.
pub(super) fn unavailable(error: RequestError) -> GrantsError {
    GrantsError::Unavailable(Box::new(error))
}

impl Kubernetes {
    /// Reads from the API server, and updates the index.
    pub(super) async fn read_grant(&self, name: &str) -> Result<Option<Arc<Grant>>, RequestError> {
        let known = self.known.version(name);
        let answer = request(self.grants.get_opt(name)).await?;
        let Some(grant) = answer.and_then(|object| self.readable_grant(object).ok()) else {
            self.known.apply_not_found(name, known, self.clock.now());
            return Ok(None);
        };
        Ok(Some(objects::apply_response(&self.known, grant)))
    }

    /// Changes the grant, if its version is still the given one.
    async fn patch_grant(&self, name: &str, version: &str, mut patch: Value) -> Result<Arc<Grant>, RequestError> {
        patch["metadata"] = json!({"resourceVersion": version});
        let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
        let kept = request(self.grants.patch(name, &params, &patch)).await?;
        let kept = self.readable_grant(kept).map_err(RequestError::Unreadable)?;
        Ok(objects::apply_response(&self.known, kept))
    }

    /// Marks the grant as revoked. `false` if it was revoked before, or does not exist.
    pub(super) async fn try_revoke(&self, name: &str, revocation: &Revocation) -> Result<bool, RequestError> {
        for _ in 0..REVOKE_TRIES {
            let Some(grant) = self.read_grant(name).await? else { return Ok(false) };
            if grant.revoked.is_some() {
                return Ok(false);
            }
            match self.patch_grant(name, &grant.version, json!({"spec": {"revoked": revocation}})).await {
                Ok(_) => return Ok(true),
                Err(error) if matches!(error.code(), Some(404 | 409)) => {}
                Err(error) => return Err(error),
            }
        }
        Err(RequestError::Contended)
    }
}

#[async_trait]
impl Grants for Kubernetes {
    fn find(&self, name: &str) -> GrantLookup {
        objects::find(&self.known, name)
    }

    fn of_user(&self, user_id: &str) -> Vec<Arc<Grant>> {
        objects::of_user(&self.known, user_id)
    }

    fn users(&self, after: &str, limit: usize, now: Timestamp) -> Vec<GrantUser> {
        objects::users_with_grants(&self.known, after, limit, now)
    }

    fn clients(&self, now: Timestamp) -> HashSet<String> {
        objects::clients(&self.known, now)
    }

    async fn read(&self, name: &str) -> Result<Option<Arc<Grant>>, GrantsError> {
        self.read_grant(name).await.map_err(unavailable)
    }

    async fn create(&self, grant: Grant) -> Result<Arc<Grant>, GrantsError> {
        let mut object = objects::new_grant(grant, &self.endpoint);
        object.metadata.labels = Some(self.labels(&[]));
        let created = match request(self.new_grants.create(&PostParams::default(), &object)).await {
            Ok(created) => created,
            Err(error) if error.code() == Some(409) => return Err(GrantsError::Exists),
            Err(error) => return Err(unavailable(error)),
        };
        let created =
            self.readable_grant(Guarded(Ok(created))).map_err(|name| unavailable(RequestError::Unreadable(name)))?;
        Ok(objects::apply_response(&self.known, created))
    }

    async fn rotate(
        &self,
        grant: &Grant,
        next: RefreshState,
        evidence: Option<LoginEvidence>,
    ) -> Result<Arc<Grant>, GrantsError> {
        if grant.version.is_empty() {
            // The API server would take it for "whatever it is now".
            return Err(GrantsError::Conflict);
        }
        let mut spec = json!({"refresh": next});
        if let Some(evidence) = evidence {
            spec["evidence"] = replaced_evidence(json!(evidence));
        }
        let rotated = self.patch_grant(&grant.name, &grant.version, json!({"spec": spec})).await;
        rotated.map_err(|error| match error.code() {
            Some(404) => GrantsError::NotFound,
            Some(409) => GrantsError::Conflict,
            _ => unavailable(error),
        })
    }

    async fn revoke(&self, name: &str, reason: RevocationReason, now: Timestamp) -> Result<(), GrantsError> {
        self.try_revoke(name, &Revocation { at: now, reason }).await.map_err(unavailable)?;
        Ok(())
    }

    fn used(&self, name: &str, now: Timestamp) {
        self.note_use(name, now);
    }
}

/// Evidence in a merge patch, which keeps the fields that are not in it: the old evidence must not stay.
pub(super) fn replaced_evidence(evidence: Value) -> Value {
    let mut whole = json!({
        "passwordFingerprint": null, "groups": null, "organizations": null, "teams": null, "administratorGroups": null,
    });
    merge(&mut whole, evidence);
    whole
}

/// Overwrites the fields of `base` that `fields` has.
pub(super) fn merge(base: &mut Value, fields: Value) {
    if let (Value::Object(base), Value::Object(fields)) = (base, fields) {
        base.extend(fields);
    }
}
