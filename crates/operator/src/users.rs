//! The statuses of `OAuthUser`s. Servers end the grants; the status reports how many are left.

use crate::{context::Context, status, stores::Guarded};
use jiff::Timestamp;
use kube::{Resource as _, ResourceExt as _};
use portcullis_api::{OAuthGrant, OAuthUser, OAuthUserStatus};
use portcullis_core::report::chain;
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

/// The reports on objects whose status cannot be read.
#[derive(Debug, Default)]
pub(crate) struct UserReports {
    /// The generations, by uid, that were reported as unreadable.
    unreadable: BTreeSet<(String, i64)>,
}

impl UserReports {
    /// Brings the status of every `OAuthUser` up to date. `grants` are all that there are. Returns whether every status could
    /// be written.
    pub(crate) async fn write(
        &mut self,
        context: &Context,
        grants: &[Arc<Guarded<OAuthGrant>>],
        now: Timestamp,
    ) -> bool {
        let users = context.stores.users.select(|_| true);
        if users.is_empty() {
            return true;
        }
        let mut of_users: HashMap<&str, Vec<&OAuthGrant>> =
            users.iter().filter_map(|user| Some((user.0.as_ref().ok()?.spec.user.id.as_str(), Vec::new()))).collect();
        for grant in grants.iter().filter_map(|grant| grant.0.as_ref().ok()) {
            if let Some(grants) = of_users.get_mut(grant.spec.user.id.as_str()) {
                grants.push(grant);
            }
        }
        let mut complete = true;
        for user in &users {
            complete &= match &user.0 {
                Ok(known) => {
                    let grants = of_users.get(known.spec.user.id.as_str()).map(Vec::as_slice).unwrap_or_default();
                    report(context, known, grants, now).await
                }
                Err(invalid) => self.report_unreadable(context, user, &invalid.error, now).await,
            };
        }
        complete
    }

    async fn report_unreadable(
        &mut self,
        context: &Context,
        user: &Guarded<OAuthUser>,
        error: &str,
        now: Timestamp,
    ) -> bool {
        let generation = user.meta().generation;
        let key = (user.uid().unwrap_or_default(), generation.unwrap_or_default());
        if self.unreadable.contains(&key) {
            return true;
        }
        let status = status::unreadable_user_status(error, generation, now);
        let written = write(context, &user.namespace().unwrap_or_default(), &user.name_any(), &status).await;
        if written {
            self.unreadable.insert(key);
        }
        written
    }
}

async fn report(context: &Context, user: &OAuthUser, grants: &[&OAuthGrant], now: Timestamp) -> bool {
    let namespace = user.namespace().unwrap_or_default();
    let of_endpoint: Vec<&OAuthGrant> = grants
        .iter()
        .filter(|grant| {
            grant.metadata.namespace.as_deref() == Some(&namespace) && grant.spec.endpoint_ref == user.spec.endpoint_ref
        })
        .copied()
        .collect();
    let endpoint = context.stores.endpoints.get(&namespace, &user.spec.endpoint_ref.name);
    let endpoint = match endpoint.as_deref().map(|endpoint| &endpoint.0) {
        Some(Ok(endpoint)) => Some(endpoint),
        // Its logins are unknown.
        Some(Err(_)) => return true,
        None => None,
    };
    let status = status::user_status(user, endpoint, &of_endpoint, now);
    user.status.as_ref() == Some(&status) || write(context, &namespace, &user.name_any(), &status).await
}

async fn write(context: &Context, namespace: &str, name: &str, status: &OAuthUserStatus) -> bool {
    match context.write_status(&context.stores.users, namespace, name, status).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(namespace, user = name, error = chain(&error), "status not written; it is retried");
            false
        }
    }
}
