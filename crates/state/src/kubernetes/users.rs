//! `OAuthUser`s of the endpoint: watched like grants, kept as rules in memory, and applied to grants.
//!
//! The rules in memory have an immediate effect. Marking the grants as revoked makes it permanent: a marked grant stays
//! revoked when the `OAuthUser` is deleted, and at servers that start later. Every server does it; the first write wins.

use crate::kubernetes::Kubernetes;
use crate::objects;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, ResourceExt as _, core::NamespaceResourceScope, runtime::watcher::Event};
use portcullis_api::{OAuthUser, OAuthUserSpec, grant::Revocation};
use portcullis_core::report::chain;
use portcullis_oauth::{
    grant::Grant,
    user_rules::{Ended, UserRules},
};
use portcullis_reflector::{Lookup, RequestError};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    borrow::Cow,
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;

/// When to retry failed marks of grants.
const RETRY: Duration = Duration::from_secs(5);

/// An `OAuthUser` with an unparsed spec: an unreadable one must not allow access, so its user is extracted from the raw
/// fields.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct UserObject {
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Value,
}

impl Resource for UserObject {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        OAuthUser::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        OAuthUser::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        OAuthUser::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        OAuthUser::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// The meaning of an object for one endpoint.
#[derive(Debug, PartialEq)]
enum Meaning<'a> {
    Rule(OAuthUserSpec),
    /// The rule cannot be read, but its user can.
    Unreadable {
        user_id: &'a str,
        error: String,
    },
    /// The user cannot be read either.
    UnknownUser {
        error: String,
    },
    /// It is about another endpoint.
    Elsewhere,
}

impl UserObject {
    fn meaning(&self, endpoint: &str) -> Meaning<'_> {
        match OAuthUserSpec::deserialize(&self.spec) {
            Ok(spec) if spec.endpoint_ref.name == endpoint => Meaning::Rule(spec),
            Ok(_) => Meaning::Elsewhere,
            Err(error) => {
                let text = |pointer: &str| self.spec.pointer(pointer).and_then(Value::as_str);
                let error = error.to_string();
                match (text("/endpointRef/name"), text("/user/id")) {
                    (Some(other), _) if other != endpoint => Meaning::Elsewhere,
                    (_, Some(user_id)) => Meaning::Unreadable { user_id, error },
                    (_, None) => Meaning::UnknownUser { error },
                }
            }
        }
    }
}

/// Grants that must be marked, by name. Each stays until it is marked, even if the rule is deleted meanwhile.
#[derive(Debug, Default)]
pub(super) struct Ending {
    due: Mutex<BTreeMap<String, Ended>>,
    noted: Notify,
}

impl Ending {
    fn due(&self) -> MutexGuard<'_, BTreeMap<String, Ended>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kubernetes {
    /// Applies a watch event.
    pub(super) fn apply_user_event(&self, event: Event<UserObject>) {
        let now = self.clock.now();
        match event {
            Event::Apply(object) | Event::InitApply(object) => self.user_changed(&object, now),
            Event::Delete(object) => self.users.remove(&object.name_any(), now),
            Event::Init => self.users.list_begins(),
            Event::InitDone => self.users.list_ends(now),
        }
    }

    fn user_changed(&self, object: &UserObject, now: Timestamp) {
        let name = object.name_any();
        let user_id = match object.meaning(&self.endpoint) {
            Meaning::Rule(spec) => {
                self.users.put(&name, &spec, now);
                spec.user.id
            }
            Meaning::Unreadable { user_id, error } => {
                tracing::error!(
                    object = name,
                    user = user_id,
                    error,
                    "an OAuthUser cannot be read, so its user is treated as disabled; correct it, or update the CRDs and the \
                     servers to the same version"
                );
                self.users.put_unreadable(&name, user_id, now);
                user_id.to_owned()
            }
            Meaning::UnknownUser { error } => {
                tracing::error!(
                    object = name,
                    error,
                    "an OAuthUser and its spec.user.id cannot be read, so its last valid version remains in use; correct \
                     it, or update the CRDs and the servers to the same version"
                );
                return self.users.keep(&name);
            }
            Meaning::Elsewhere => return self.users.remove(&name, now),
        };
        self.end_grants_of(&user_id);
    }

    /// Schedules the marks of a user's grants that have ended.
    pub(super) fn end_grants_of(&self, user_id: &str) {
        for grant in self.known.of_user(user_id) {
            self.end_if_due(&grant);
        }
    }

    /// Schedules the mark of a grant if its user's access has ended.
    pub(super) fn end_if_due(&self, grant: &Grant) {
        if !grant.is_active(self.clock.now()) {
            return;
        }
        if let Some(ended) = self.ended(&grant.user.id, grant.signed_in_at) {
            self.ending.due().insert(grant.name.clone(), ended);
            self.ending.noted.notify_one();
        }
    }

    /// Marks scheduled grants until the future is dropped.
    pub(super) async fn end_grants(&self) {
        let mut failing = false;
        loop {
            self.ending.noted.notified().await;
            let due: Vec<(String, Ended)> =
                self.ending.due().iter().map(|(name, ended)| (name.clone(), *ended)).collect();
            let mut failed = None;
            for (name, ended) in due {
                match self.end_grant(&name, ended).await {
                    Ok(()) => drop(self.ending.due().remove(&name)),
                    Err(error) => failed = Some((name, error)),
                }
            }
            if let Some((grant, error)) = &failed {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(
                        grant,
                        error = chain(error),
                        "a grant whose user's access ended is refused, but cannot be marked as revoked; it is retried"
                    );
                }
                tokio::time::sleep(RETRY).await;
                self.ending.noted.notify_one();
            } else {
                failing = false;
            }
        }
    }

    async fn end_grant(&self, name: &str, ended: Ended) -> Result<(), RequestError> {
        // Another server may have been quicker.
        let Lookup::Present(grant) = self.known.find(name) else { return Ok(()) };
        let now = self.clock.now();
        if !grant.is_active(now) {
            return Ok(());
        }
        if self.try_revoke(name, &Revocation { at: now, reason: ended.revocation() }).await? {
            objects::note_ended(&grant, ended);
        }
        Ok(())
    }
}

impl UserRules for Kubernetes {
    fn ended(&self, user_id: &str, since: Timestamp) -> Option<Ended> {
        let in_console = || objects::access_ended(&self.accounts, user_id, since);
        self.users.ended(user_id, since).or_else(in_console)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(spec: &Value) -> UserObject {
        serde_json::from_value(json!({"metadata": {"name": "ada"}, "spec": spec})).unwrap()
    }

    #[test]
    fn an_object_that_cannot_be_read_disables_its_user() {
        let (here, there) = (json!({"name": "agents"}), json!({"name": "others"}));
        let user = json!({"id": "local:ada"});
        let meaning = |spec: Value| match object(&spec).meaning("agents") {
            Meaning::Rule(spec) => format!("rule of {}", spec.user.id),
            Meaning::Unreadable { user_id, .. } => format!("disables {user_id}"),
            Meaning::UnknownUser { .. } => "nobody".to_owned(),
            Meaning::Elsewhere => "elsewhere".to_owned(),
        };
        for (spec, expected) in [
            (json!({"endpointRef": here, "user": user, "disabled": true}), "rule of local:ada"),
            (json!({"endpointRef": here, "user": user, "disabled": true, "later": 1}), "rule of local:ada"),
            (json!({"endpointRef": there, "user": user, "disabled": true}), "elsewhere"),
            (json!({"endpointRef": here, "user": user, "disabled": "perhaps"}), "disables local:ada"),
            (json!({"endpointRef": here, "user": user, "notBefore": "yesterday"}), "disables local:ada"),
            (json!({"endpointRef": there, "user": user, "notBefore": "yesterday"}), "elsewhere"),
            (json!({"user": user}), "disables local:ada"),
            (json!({"endpointRef": here, "user": {"id": 7}}), "nobody"),
            (json!(null), "nobody"),
        ] {
            assert_eq!(meaning(spec.clone()), expected, "{spec}");
        }
    }
}
