//! `Workspace`: a computer to work in, made from a template for one user. Servers write it for agents, people by
//! `kubectl apply`; the operator runs it.

use crate::client::EndpointRef;
use crate::rules;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use portcullis_core::grant::GrantUser;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A development environment for one user: a pod, and a volume that is kept when the pod ends.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "portcullis.dev",
    version = "v1alpha1",
    kind = "Workspace",
    namespaced,
    status = "WorkspaceStatus",
    shortname = "ws",
    category = "portcullis",
    cel,
    derive = "PartialEq",
    selectable = ".spec.endpointRef.name",
    printcolumn(name = "Name", type_ = "string", json_path = ".spec.displayName"),
    printcolumn(name = "Owner", type_ = "string", json_path = ".spec.owner.name"),
    printcolumn(name = "Template", type_ = "string", json_path = ".spec.templateRef.name"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Last-Activity", type_ = "date", json_path = ".status.lastActivity"),
    printcolumn(name = "Outdated", type_ = "boolean", json_path = ".status.outdated", priority = 1),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".spec.endpointRef.name", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([a-z0-9-]*[a-z0-9])?$')")
        .message("metadata.name: must be at most 40 of a-z, 0-9 and -, beginning with a letter, since the names of its pod and volume are made of it")
)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceSpec {
    /// The endpoint that serves the workspace, in the same namespace.
    #[x_kube(validation = Rule::new("self == oldSelf").message("cannot be changed"))]
    pub endpoint_ref: EndpointRef,
    /// The owner: a user or a client of the endpoint.
    #[x_kube(validation = Rule::new("self.id == oldSelf.id").message("cannot be changed"))]
    pub owner: GrantUser,
    /// The name for its owner, unique among the owner's workspaces.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]([a-z0-9-]*[a-z0-9])?$')")
        .message("must be made of a-z, 0-9 and -, beginning with a letter"))]
    pub display_name: String,
    /// The template, in the same namespace.
    #[x_kube(validation = Rule::new("self == oldSelf").message("cannot be changed; delete the workspace and make another"))]
    pub template_ref: TemplateRef,
    /// Values for the template's parameters; a change takes effect at the next start.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 32))]
    #[x_kube(validation = Rule::new("self.all(name, self[name].size() <= 512)").message("values must have at most 512 characters"))]
    pub parameters: BTreeMap<String, String>,
    /// Whether the workspace should run. A stopped workspace keeps its files.
    #[serde(default = "WorkspaceSpec::default_running")]
    pub running: bool,
}

impl WorkspaceSpec {
    fn default_running() -> bool {
        true
    }
}

/// A reference to a template.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateRef {
    /// The template's name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::object_name())]
    pub name: String,
}

/// The state that the operator observed; servers write `lastActivity`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// The name of the pod, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,
    /// The last activity in the workspace. Updated at most once a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub last_activity: Option<Timestamp>,
    /// When the workspace will be deleted because of `timeToLive`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub expires_at: Option<Timestamp>,
    /// Whether the workspace runs an older version of its template; the next start applies the current one.
    #[serde(default)]
    pub outdated: bool,
    /// The home folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
    /// `Ready`: whether commands can run; if not, the message has the reason and the remedy. `Reconciling` or `Stalled`
    /// only while true.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_string()]))]
    pub conditions: Vec<Condition>,
}

/// The phase of a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Phase {
    /// The workspace is starting.
    Starting,
    /// Commands can run.
    Running,
    /// The workspace is stopping.
    Stopping,
    /// The workspace is stopped; its files are kept.
    Stopped,
    /// The workspace cannot start or keeps crashing; `Ready` has the reason.
    Failed,
}
