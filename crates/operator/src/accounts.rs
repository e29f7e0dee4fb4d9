//! Finds unneeded `OAuthAccount`s. Pure: observations and the time in, deletions out.
//!
//! An account is needed for the grants of its user, and as long as a browser session that it marks as ended could last. The
//! account of a deleted endpoint is deleted after the grants.

use crate::stores::Guarded;
use jiff::{SignedDuration, Timestamp};
use portcullis_api::{OAuthAccount, OAuthGrant};
use portcullis_core::account::SESSION_LIFETIME;
use std::{collections::HashSet, sync::Arc};

/// The minimum age: a restore from a backup may create the accounts before the grants.
const WAIT_FOR_GRANTS: SignedDuration = SignedDuration::from_hours(1);

/// The result.
#[derive(Debug, Default)]
pub(crate) struct Unneeded {
    /// Accounts to delete.
    pub accounts: Vec<Arc<Guarded<OAuthAccount>>>,
    /// When the next one may become unneeded, if nothing changes before.
    pub next: Option<Timestamp>,
}

/// Finds unneeded accounts.
#[must_use]
pub(crate) fn unneeded(
    accounts: &[Arc<Guarded<OAuthAccount>>],
    grants: &[Arc<Guarded<OAuthGrant>>],
    now: Timestamp,
) -> Unneeded {
    let with_grants: HashSet<(Option<&str>, &str, &str)> = grants
        .iter()
        .filter_map(|grant| grant.0.as_ref().ok())
        .map(|grant| {
            let spec = &grant.spec;
            (grant.metadata.namespace.as_deref(), spec.endpoint_ref.name.as_str(), spec.user.id.as_str())
        })
        .collect();
    let mut unneeded = Unneeded::default();
    for account in accounts {
        // An unreadable account was written by a newer version.
        let Ok(OAuthAccount { metadata, spec, .. }) = &account.0 else { continue };
        let user = (metadata.namespace.as_deref(), spec.endpoint_ref.name.as_str(), spec.user.id.as_str());
        if metadata.deletion_timestamp.is_some() || with_grants.contains(&user) {
            continue;
        }
        let of_sessions = spec.last_news().and_then(|last| last.checked_add(SESSION_LIFETIME).ok());
        let created = metadata.creation_timestamp.as_ref().map(|time| time.0);
        let of_grants = created.and_then(|created| created.checked_add(WAIT_FOR_GRANTS).ok());
        match of_sessions.max(of_grants).filter(|until| *until > now) {
            Some(until) => unneeded.next = Some(unneeded.next.map_or(until, |next| next.min(until))),
            None => unneeded.accounts.push(Arc::clone(account)),
        }
    }
    unneeded
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::ResourceExt as _;
    use serde_json::{Value, json};

    const HOUR: i64 = 3600;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn object<K: serde::de::DeserializeOwned>(kind: &str, namespace: &str, name: &str, spec: &Value) -> Arc<K> {
        let value = json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": kind, "spec": spec,
            "metadata": {"name": name, "namespace": namespace, "uid": name, "creationTimestamp": at(0)},
        });
        Arc::new(serde_json::from_value(value).unwrap())
    }

    fn account(name: &str, more: &Value) -> Arc<Guarded<OAuthAccount>> {
        let mut spec = json!({"endpointRef": {"name": "agents"}, "user": {"id": format!("sso:{name}"), "name": name}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        object("OAuthAccount", "dev", name, &spec)
    }

    fn grant(namespace: &str, endpoint: &str, user: &str) -> Arc<Guarded<OAuthGrant>> {
        let spec = json!({
            "endpointRef": {"name": endpoint}, "clientId": "claude", "user": {"id": user, "name": "x"},
            "scopes": ["files:read"], "resource": "https://mcp.example.com/mcp", "expiresAt": at(100_000),
        });
        object("OAuthGrant", namespace, "g", &spec)
    }

    fn names(unneeded: &Unneeded) -> Vec<String> {
        unneeded.accounts.iter().map(|account| account.name_any()).collect()
    }

    #[test]
    fn an_account_outlives_grants_and_sessions() {
        let signed_in = json!({"signedInAt": at(10 * HOUR)});
        let ended = json!({"signedInAt": at(10 * HOUR), "sessionsEndBefore": at(11 * HOUR)});
        let session =
            json!({"signedInAt": at(10 * HOUR), "sessions": [{"id": "s", "at": at(12 * HOUR), "ended": true}]});
        let by_administrator = json!({"signedInAt": at(10 * HOUR), "accessEndsBefore": at(13 * HOUR)});
        let rows = [(signed_in, 22), (ended, 23), (session, 24), (by_administrator, 25), (json!({}), 1)];
        for (more, until) in rows {
            let accounts = [account("ada", &more)];
            let before = unneeded(&accounts, &[], at(until * HOUR - 1));
            assert_eq!((names(&before).len(), before.next), (0, Some(at(until * HOUR))), "{more}");
            let after = unneeded(&accounts, &[], at(until * HOUR));
            assert_eq!((names(&after), after.next), (vec!["ada".to_owned()], None), "{more}");
        }
        let accounts = [account("ada", &json!({"signedInAt": at(0)}))];
        for (grant, kept) in [
            (grant("dev", "agents", "sso:ada"), true),
            (grant("dev", "others", "sso:ada"), false),
            (grant("prod", "agents", "sso:ada"), false),
            (grant("dev", "agents", "sso:bob"), false),
        ] {
            assert_eq!(unneeded(&accounts, &[grant], at(1000 * HOUR)).accounts.is_empty(), kept);
        }
    }
}
