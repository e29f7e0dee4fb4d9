//! The servers' RBAC permissions: to read and write the grants, accounts, registrations and workspaces of their
//! namespace, and to connect to workspace agents.
//!
//! The operator may bind two ClusterRoles, without having their permissions: `portcullis-server`, and
//! `portcullis-server-exec`, which is bound only while an admission policy restricts it to workspaces.

use crate::metadata::{Component, Owner};
use k8s_openapi::api::{
    core::v1::{
        ConfigMapProjection, DownwardAPIProjection, DownwardAPIVolumeFile, KeyToPath, ObjectFieldSelector,
        ProjectedVolumeSource, ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
    },
    rbac::v1::{RoleBinding, RoleRef, Subject},
};

/// The ClusterRole of the servers.
pub const SERVER_ROLE: &str = "portcullis-server";
/// The ClusterRole with the permission for `pods/exec`.
pub const EXEC_ROLE: &str = "portcullis-server-exec";

const TOKEN_VOLUME: &str = "kube-api-access";
/// The path of the token for Kubernetes clients.
const TOKEN_DIR: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// The lifetime of the token in seconds. A kubelet renews it long before. (The token of `automountServiceAccountToken`
/// also requests an hour, but API servers extend exactly that token to a year.)
const TOKEN_SECONDS: i64 = 3600;

/// The name of the servers' ServiceAccount. `deploy/exec-policy.yaml` recognizes servers by its prefix.
pub(super) fn service_account_name(owner: &Owner<'_>) -> String {
    format!("portcullis-server-{}", owner.name())
}

pub(super) fn role_binding(owner: &Owner<'_>) -> RoleBinding {
    binding(owner, service_account_name(owner), SERVER_ROLE)
}

/// The binding for exec. It is not named `portcullis-server-…`, which could be the binding of another endpoint.
pub(super) fn exec_binding(owner: &Owner<'_>) -> RoleBinding {
    binding(owner, format!("portcullis-exec-{}", owner.name()), EXEC_ROLE)
}

fn binding(owner: &Owner<'_>, name: String, role: &str) -> RoleBinding {
    let account = service_account_name(owner);
    RoleBinding {
        metadata: owner.metadata(name, Component::Server),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".to_owned(),
            kind: "ClusterRole".to_owned(),
            name: role.to_owned(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: account,
            namespace: Some(owner.namespace().to_owned()),
            api_group: None,
        }]),
    }
}

/// The volume with the token of the servers' ServiceAccount. It replaces `automountServiceAccountToken`, so that the
/// token is short-lived and only in the container that needs it.
pub(super) fn token_volume() -> Volume {
    let sources = vec![
        VolumeProjection {
            service_account_token: Some(ServiceAccountTokenProjection {
                path: "token".to_owned(),
                expiration_seconds: Some(TOKEN_SECONDS),
                audience: None,
            }),
            ..VolumeProjection::default()
        },
        VolumeProjection {
            config_map: Some(ConfigMapProjection {
                name: "kube-root-ca.crt".to_owned(),
                items: Some(vec![KeyToPath { key: "ca.crt".to_owned(), path: "ca.crt".to_owned(), mode: None }]),
                optional: None,
            }),
            ..VolumeProjection::default()
        },
        VolumeProjection {
            downward_api: Some(DownwardAPIProjection {
                items: Some(vec![DownwardAPIVolumeFile {
                    path: "namespace".to_owned(),
                    field_ref: Some(ObjectFieldSelector {
                        api_version: Some("v1".to_owned()),
                        field_path: "metadata.namespace".to_owned(),
                    }),
                    ..DownwardAPIVolumeFile::default()
                }]),
            }),
            ..VolumeProjection::default()
        },
    ];
    Volume {
        name: TOKEN_VOLUME.to_owned(),
        projected: Some(ProjectedVolumeSource { sources: Some(sources), ..ProjectedVolumeSource::default() }),
        ..Volume::default()
    }
}

pub(super) fn token_mount() -> VolumeMount {
    VolumeMount {
        name: TOKEN_VOLUME.to_owned(),
        mount_path: TOKEN_DIR.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    }
}
