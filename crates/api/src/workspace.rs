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

/// A computer to work in. Its files outlive its pod.
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
    /// The endpoint through which agents reach it, in the same namespace.
    #[x_kube(validation = Rule::new("self == oldSelf").message("cannot be changed"))]
    pub endpoint_ref: EndpointRef,
    /// Whose it is: a user of that endpoint.
    #[x_kube(validation = Rule::new("self.id == oldSelf.id").message("cannot be changed"))]
    pub owner: GrantUser,
    /// What its owner calls it.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]([a-z0-9-]*[a-z0-9])?$')")
        .message("must be made of a-z, 0-9 and -, beginning with a letter"))]
    pub display_name: String,
    /// What it is made from, in the same namespace.
    #[x_kube(validation = Rule::new("self == oldSelf").message("cannot be changed; delete the workspace and make another"))]
    pub template_ref: TemplateRef,
    /// Choices among the template's parameters; a change counts from the next start on.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 32))]
    #[x_kube(validation = Rule::new("self.all(name, self[name].size() <= 512)").message("values must have at most 512 characters"))]
    pub parameters: BTreeMap<String, String>,
    /// Whether it is meant to run. Stopped, it keeps its files.
    #[serde(default = "WorkspaceSpec::default_running")]
    pub running: bool,
}

impl WorkspaceSpec {
    fn default_running() -> bool {
        true
    }
}

/// Names a template.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateRef {
    /// The template's name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::object_name())]
    pub name: String,
}

/// What the operator found; `lastActivity` is the servers'.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where it is on its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// The pod, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,
    /// When it was last worked in. Told at most once a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub last_activity: Option<Timestamp>,
    /// When it will be deleted for its age.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Time>")]
    pub expires_at: Option<Timestamp>,
    /// Whether it runs an older version of its template; the next start brings it up to date.
    #[serde(default)]
    pub outdated: bool,
    /// The home folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
    /// `Ready`: whether commands can run, and if not, why and what to do. `Reconciling` or `Stalled` only while true.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_string()]))]
    pub conditions: Vec<Condition>,
}

/// Where a workspace is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Phase {
    /// It is being started.
    Starting,
    /// Commands can run.
    Running,
    /// It is being stopped.
    Stopping,
    /// Nothing runs; the files are kept.
    Stopped,
    /// It cannot start, or goes down again and again; `Ready` says why.
    Failed,
}
