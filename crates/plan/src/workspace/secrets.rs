//! The Secrets that a workspace may read. Template authors may name any Secret of the namespace, so Secrets opt in by a
//! label. The operator's own Secrets are refused even with the label: a signing key could issue tokens for every user.

use crate::workspace::PodRevision;
use crate::{CLIENT_LABEL, ENDPOINT_LABEL, MANAGED_BY};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use portcullis_api::labels::{SHARED, WORKSPACES_LABEL};
use std::collections::BTreeMap;

/// The access of workspaces to a Secret, by its labels and owners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretAccess {
    /// The Secret has the label: workspaces may read it.
    Shared,
    /// The Secret belongs to an endpoint or a client: workspaces may not read it.
    Managed,
}

impl SecretAccess {
    /// The access by a Secret's metadata. `None` without a label that permits access.
    #[must_use]
    pub fn of(metadata: &ObjectMeta) -> Option<Self> {
        let label = |name: &str| metadata.labels.as_ref().and_then(|labels| labels.get(name)).map(String::as_str);
        let owners = metadata.owner_references.iter().flatten();
        let managed = label(ENDPOINT_LABEL).is_some()
            || label(CLIENT_LABEL).is_some()
            || label("app.kubernetes.io/managed-by") == Some(MANAGED_BY)
            || owners.into_iter().any(|owner| owner.api_version.starts_with("portcullis.dev/"));
        if managed {
            return Some(Self::Managed);
        }
        (label(WORKSPACES_LABEL) == Some(SHARED)).then_some(Self::Shared)
    }
}

/// The access to the Secrets that a plan asks for, by name. A Secret without an entry may not be read.
pub type Secrets = BTreeMap<String, SecretAccess>;

/// Why a workspace may not read a Secret that its template names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretRefusal {
    /// The Secret does not exist or does not have the label.
    #[error(
        "its template reads Secret {secret:?}, which does not exist or does not allow it; ask the platform's engineers to \
         create it, or to allow it: kubectl label --namespace {namespace} secret {secret} portcullis.dev/workspaces=true"
    )]
    NotShared {
        /// The Secret's name.
        secret: String,
        /// Its namespace.
        namespace: String,
    },
    /// The Secret belongs to the operator.
    #[error(
        "its template reads Secret {secret:?}, which belongs to an endpoint or a client of Portcullis and is refused even \
         with the label portcullis.dev/workspaces; ask the platform's engineers to name another Secret in the template"
    )]
    Managed {
        /// The Secret's name.
        secret: String,
    },
}

/// The first Secret of the pod revision that may not be read.
pub(super) fn refusal(pod_revision: &PodRevision, secrets: &Secrets, namespace: &str) -> Option<SecretRefusal> {
    pod_revision.secrets().find_map(|name| match secrets.get(name) {
        Some(SecretAccess::Shared) => None,
        Some(SecretAccess::Managed) => Some(SecretRefusal::Managed { secret: name.to_owned() }),
        None => Some(SecretRefusal::NotShared { secret: name.to_owned(), namespace: namespace.to_owned() }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn labels_and_owners_decide_who_may_read_a_secret() {
        let owned = json!({"ownerReferences": [
            {"apiVersion": "portcullis.dev/v1alpha1", "kind": "OAuthClient", "name": "a", "uid": "u"}
        ], "labels": {"portcullis.dev/workspaces": "true"}});
        let labels = |labels: serde_json::Value| json!({"labels": labels});
        for (metadata, access) in [
            (json!({}), None),
            (labels(json!({"portcullis.dev/workspaces": "false"})), None),
            (labels(json!({"portcullis.dev/workspaces": "true"})), Some(SecretAccess::Shared)),
            (
                labels(json!({"portcullis.dev/workspaces": "true", "portcullis.dev/endpoint": "a"})),
                Some(SecretAccess::Managed),
            ),
            (
                labels(json!({"portcullis.dev/workspaces": "true", "portcullis.dev/client": "a"})),
                Some(SecretAccess::Managed),
            ),
            (
                labels(json!({"portcullis.dev/workspaces": "true", "app.kubernetes.io/managed-by": "portcullis"})),
                Some(SecretAccess::Managed),
            ),
            (
                labels(json!({"portcullis.dev/workspaces": "true", "app.kubernetes.io/managed-by": "Helm"})),
                Some(SecretAccess::Shared),
            ),
            (owned, Some(SecretAccess::Managed)),
        ] {
            let parsed: ObjectMeta = serde_json::from_value(metadata.clone()).unwrap();
            assert_eq!(SecretAccess::of(&parsed), access, "{metadata}");
        }
    }
}
