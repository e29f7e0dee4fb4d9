//! `Accounts` with `OAuthAccount`s. Every server watches them, so that all servers refuse a session a moment after the
//! provider ended it. Writes are conditional on the version that was read.

use crate::kubernetes::Kubernetes;
use crate::kubernetes::grants::unavailable;
use crate::objects::{self, KeptAccount};
use async_trait::async_trait;
use kube::{
    api::{Patch, PatchParams, PostParams},
    runtime::watcher::Event,
};
use portcullis_api::{Guarded, OAuthAccount};
use portcullis_core::grant::GrantUser;
use portcullis_oauth::{
    accounts::{self, Account, Accounts},
    grant::GrantsError,
};
use portcullis_reflector::{Lookup, RequestError, identity, request};
use serde_json::{Value, json};
use std::sync::Arc;

impl Kubernetes {
    /// Applies a watch event.
    pub(super) async fn apply_account_event(&self, event: Event<Guarded<OAuthAccount>>) {
        match event {
            Event::Apply(object) | Event::InitApply(object) => match self.readable_account(object) {
                Ok(account) => {
                    let account = self.accounts.apply_watch_event(account);
                    if account.account.access_ends_before.is_some() {
                        self.end_grants_of(&account.account.user.id);
                    }
                }
                Err(name) => self.accounts.removed(&name, None, self.clock.now()),
            },
            Event::Delete(object) => {
                let (name, version) = identity(&object);
                self.accounts.removed(&name, version, self.clock.now());
            }
            Event::Init => self.accounts.list_begins(),
            Event::InitDone => {
                for name in self.accounts.list_ends(self.clock.now()) {
                    if let Err(error) = self.fetch_account(&name).await {
                        // It stays known: what it says of ended sessions must not be forgotten.
                        tracing::warn!(account = name, %error, "could not determine whether an account still exists");
                    }
                }
            }
        }
    }

    /// The account, if it belongs to this endpoint; otherwise its name.
    fn readable_account(&self, object: Guarded<OAuthAccount>) -> Result<KeptAccount, String> {
        let (name, version) = identity(&object);
        match object.0 {
            Ok(_) if version.is_none() => Err(name),
            Ok(object) if object.metadata.deletion_timestamp.is_some() => Err(name),
            Ok(object) if object.spec.endpoint_ref.name != self.endpoint => Err(name),
            Ok(object) if accounts::object_name(&self.endpoint, &object.spec.user.id) != name => {
                tracing::warn!(
                    account = name,
                    "an OAuthAccount has the name of another user's account, and is ignored"
                );
                Err(name)
            }
            Ok(object) => Ok(objects::account(object)),
            Err(invalid) => {
                tracing::error!(
                    account = name,
                    error = %invalid.error,
                    "an OAuthAccount cannot be read, and is ignored; update the CRDs and the servers to the same version"
                );
                Err(name)
            }
        }
    }

    /// Reads from the API server, and updates the index.
    async fn fetch_account(&self, name: &str) -> Result<Option<Arc<Account>>, RequestError> {
        let known = self.accounts.version(name);
        let answer = request(self.account_objects.get_opt(name)).await?;
        let Some(account) = answer.and_then(|object| self.readable_account(object).ok()) else {
            self.accounts.apply_not_found(name, known, self.clock.now());
            return Ok(None);
        };
        Ok(Some(Arc::clone(&self.accounts.apply_response(account).account)))
    }
}

#[async_trait]
impl Accounts for Kubernetes {
    fn account(&self, user_id: &str) -> Option<Arc<Account>> {
        match self.accounts.find(&accounts::object_name(&self.endpoint, user_id)) {
            Lookup::Present(kept) => Some(Arc::clone(&kept.account)),
            Lookup::Deleted | Lookup::Unknown => None,
        }
    }

    fn users(&self, after: &str, limit: usize) -> Vec<GrantUser> {
        objects::users_with_accounts(&self.accounts, after, limit)
    }

    fn users_of_session(&self, login: &str, session: &str) -> Vec<String> {
        objects::users_of_session(&self.accounts, login, session)
    }

    async fn read_account(&self, user_id: &str) -> Result<Option<Arc<Account>>, GrantsError> {
        self.fetch_account(&accounts::object_name(&self.endpoint, user_id)).await.map_err(unavailable)
    }

    async fn write_account(&self, account: Account) -> Result<Arc<Account>, GrantsError> {
        let version = account.version.clone();
        let mut object = objects::new_account(account, &self.endpoint);
        object.metadata.labels = Some(self.labels(&[]));
        let written = if version.is_empty() {
            let created = request(self.new_accounts.create(&PostParams::default(), &object)).await;
            created.map(|created| Guarded(Ok(created)))
        } else {
            let name = object.metadata.name.clone().unwrap_or_default();
            let patch = json!({"metadata": {"resourceVersion": version}, "spec": whole(&json!(object.spec))});
            request(self.account_objects.patch(&name, &PatchParams::default(), &Patch::Merge(&patch))).await
        };
        let written = written.map_err(|error| match error.code() {
            Some(409) if version.is_empty() => GrantsError::Exists,
            Some(409) => GrantsError::Conflict,
            Some(404) if !version.is_empty() => GrantsError::NotFound,
            _ => unavailable(error),
        })?;
        let kept = self.readable_account(written).map_err(|name| unavailable(RequestError::Unreadable(name)))?;
        Ok(Arc::clone(&self.accounts.apply_response(kept).account))
    }
}

/// A merge patch keeps fields that are not in it, so removed fields must be null.
fn whole(spec: &Value) -> Value {
    let mut whole = json!({
        "signedInAt": null, "token": null, "checkedAt": null, "lease": null, "refused": null, "sessionsEndBefore": null,
        "sessions": null, "checkedEvidence": null, "accessEndsBefore": null,
    });
    super::grants::merge(&mut whole, spec.clone());
    if let Some(evidence) = whole.pointer_mut("/checkedEvidence/evidence") {
        *evidence = super::grants::replaced_evidence(evidence.take());
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_api::crds;
    use portcullis_oauth::accounts::Account;

    /// A field that the patch forgets would keep its old value, such as a lease that was given back.
    #[test]
    fn a_patch_sets_or_removes_every_field() {
        let crd = serde_json::to_value(crds::of::<OAuthAccount>()).unwrap();
        let fields = crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties").unwrap();
        let user = serde_json::from_value(json!({"id": "sso:ada", "name": "Ada"})).unwrap();
        let patch = whole(&json!(objects::new_account(Account::new(user), "agents").spec));
        let names =
            |value: &Value| value.as_object().unwrap().keys().cloned().collect::<std::collections::BTreeSet<_>>();
        assert_eq!(names(&patch), names(fields));

        let evidence = json!({"groups": ["a"]});
        let patch = whole(&json!({"checkedEvidence": {"at": "2026-01-01T00:00:00Z", "evidence": evidence}}));
        let (evidence, at) = (&patch["checkedEvidence"]["evidence"], &patch["checkedEvidence"]["at"]);
        assert_eq!((&evidence["groups"], at), (&json!(["a"]), &json!("2026-01-01T00:00:00Z")));
        let fields = fields.pointer("/checkedEvidence/properties/evidence/properties").unwrap();
        assert_eq!(names(evidence), names(fields), "old groups must not stay");
    }
}
