//! `WorkspaceTemplate`: what workspaces are made from. Platform engineers write it; every endpoint of its namespace
//! offers it.
//!
//! `$(parameters.NAME)` stands for a parameter's value in `pod.image`, `pod.command`, the values of `pod.env`, the
//! amounts of `pod.resources` and `storage.size`.

use crate::rules;
use k8s_openapi::{
    api::{core::v1::Toleration, networking::v1::NetworkPolicyEgressRule},
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{CustomResource, KubeSchema};
use portcullis_core::quantity::Span;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A template for workspaces.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(clippy::duplicated_attributes, reason = "each printcolumn has a type and a path of its own")]
#[kube(
    group = "portcullis.dev",
    version = "v1alpha1",
    kind = "WorkspaceTemplate",
    plural = "workspacetemplates",
    namespaced,
    status = "WorkspaceTemplateStatus",
    shortname = "wst",
    category = "portcullis",
    cel,
    derive = "PartialEq",
    printcolumn(name = "Display-Name", type_ = "string", json_path = ".spec.displayName"),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.pod.image"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(
    validation = Rule::new("self.egress == 'Custom' || self.egressRules.size() == 0")
        .field_path(".egressRules")
        .message("only apply with egress: Custom; set it, or remove them")
)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceTemplateSpec {
    /// The display name. Default: `metadata.name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub display_name: Option<String>,
    /// The purpose of the template. Agents choose a template by it.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub description: String,
    /// Parameters, whose values are chosen when a workspace is created.
    #[serde(default)]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_string()]))]
    pub parameters: Vec<Parameter>,
    /// The pod of a workspace.
    pub pod: WorkspacePod,
    /// The volume of the home folder, which is kept when the pod ends.
    #[serde(default)]
    pub storage: Storage,
    /// Stops a workspace that has been idle for this long: 5 minutes to 1 year. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rules::span("5m", "8760h"))]
    pub idle_stop: Option<Span>,
    /// Deletes a workspace at this age: 1 hour to 10 years. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rules::span("1h", "87600h"))]
    pub time_to_live: Option<Span>,
    /// The destinations to which workspaces may connect.
    #[serde(default)]
    pub egress: Egress,
    /// The egress rules for `egress: Custom`, as in a NetworkPolicy. DNS is always allowed.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub egress_rules: Vec<NetworkPolicyEgressRule>,
}

/// A parameter of a template.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("(self.type == 'enum') == (self.options.size() > 0)")
        .field_path(".options")
        .message("are required for type enum, and only apply to it"),
    validation = Rule::new("self.type != 'enum' || !has(self.default) || self.default in self.options")
        .field_path(".default")
        .message("must be one of the options"),
    validation = Rule::new("self.type == 'string' || !has(self.pattern)")
        .field_path(".pattern")
        .message("only applies to type string; remove it"),
    validation = Rule::new("self.type == 'integer' || (!has(self.minimum) && !has(self.maximum))")
        .message("minimum and maximum only apply to type integer; remove them"),
    validation = Rule::new("!has(self.minimum) || !has(self.maximum) || self.minimum <= self.maximum")
        .message("minimum must not be above maximum"),
    validation = Rule::new("self.type != 'integer' || !has(self.default) || self.default.matches('^-?[0-9]{1,15}$')")
        .field_path(".default")
        .message("must be a whole number, in quotes"),
    validation = Rule::new("self.type != 'boolean' || !has(self.default) || self.default in ['true', 'false']")
        .field_path(".default")
        .message("must be \"true\" or \"false\", in quotes")
)]
#[serde(rename_all = "camelCase")]
pub struct Parameter {
    /// The name, for `$(parameters.NAME)`.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z][A-Za-z0-9_]*$')")
        .message("must be made of letters, digits and _, beginning with a small letter"))]
    pub name: String,
    /// The effect of the parameter. Agents choose a value by it.
    #[serde(default)]
    #[schemars(length(max = 512))]
    pub description: String,
    /// The type of the values.
    #[serde(default, rename = "type")]
    pub kind: ParameterType,
    /// The allowed values of an enum.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub options: Vec<String>,
    /// A regular expression (RE2) that must match the whole value of a string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    // An expression that does not compile is an error of the rule's evaluation, which refuses the manifest.
    #[x_kube(validation = Rule::new("''.matches(self) in [true, false]").message("must be a regular expression (RE2)"))]
    pub pattern: Option<String>,
    /// The minimum of an integer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<i64>,
    /// The maximum of an integer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<i64>,
    /// The default value. Without one, the parameter is required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub default: Option<String>,
}

/// The type of a parameter's values, which are always written as strings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ParameterType {
    /// A string that matches `pattern`.
    #[default]
    String,
    /// One of `options`.
    Enum,
    /// An integer from `minimum` to `maximum`.
    Integer,
    /// `true` or `false`.
    Boolean,
}

/// The pod of a workspace. It always satisfies the *restricted* Pod Security Standard.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkspacePod {
    /// The container image. It need not contain a shell or any part of Portcullis.
    #[schemars(length(min = 1, max = 512))]
    pub image: String,
    /// When the image is pulled.
    #[serde(default)]
    pub image_pull_policy: PullPolicy,
    /// Secrets of type `kubernetes.io/dockerconfigjson` for private registries.
    #[serde(default)]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_string()]))]
    pub image_pull_secrets: Vec<SecretName>,
    /// A program that runs beside the workspace agent, such as a database. Empty: none.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(max = 4096)))]
    pub command: Vec<String>,
    /// Environment variables of all commands.
    #[serde(default)]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_string()]))]
    pub env: Vec<EnvVariable>,
    /// CPU, memory and other compute resources.
    #[serde(default)]
    pub resources: Resources,
    /// The user id of all processes, and of the home folder's owner. Never root.
    #[serde(default = "WorkspacePod::default_run_as_user")]
    #[schemars(range(min = 1, max = 2_147_483_647_i64))]
    pub run_as_user: i64,
    /// The RuntimeClass, such as `gvisor`. Default: the cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::object_name())]
    pub runtime_class_name: Option<String>,
    /// Labels that a node must have.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 16))]
    pub node_selector: BTreeMap<String, String>,
    /// Tolerations of node taints.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub tolerations: Vec<Toleration>,
}

impl WorkspacePod {
    fn default_run_as_user() -> i64 {
        1000
    }
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum PullPolicy {
    /// If the node does not have the image.
    #[default]
    IfNotPresent,
    /// At each start.
    Always,
    /// Never: the node must have the image.
    Never,
}

/// A reference to a Secret in the same namespace.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretName {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::object_name())]
    pub name: String,
}

/// An environment variable: a value, or a key of a Secret.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.value) != has(self.secretKeyRef)")
    .message("must have exactly one of value and secretKeyRef"))]
#[serde(rename_all = "camelCase")]
pub struct EnvVariable {
    /// The variable's name.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z_][A-Za-z0-9_]*$')")
        .message("must be made of letters, digits and _, not beginning with a digit"))]
    pub name: String,
    /// The variable's value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub value: Option<String>,
    /// The key of a Secret that holds the value, for values that must not be in a template. Everyone who may run
    /// commands can read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKey>,
}

/// A key of a Secret in the same namespace.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretKey {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::object_name())]
    pub name: String,
    /// The key.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// Amounts by resource name, such as `cpu: 500m` and `memory: 1Gi`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// The requested amounts.
    #[serde(default, deserialize_with = "amounts")]
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = amount()))]
    pub requests: BTreeMap<String, String>,
    /// The maximum amounts.
    #[serde(default, deserialize_with = "amounts")]
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = amount()))]
    pub limits: BTreeMap<String, String>,
}

/// A number, or a string such as `500m`, `1Gi` and `$(parameters.memory)`. The schema checks it, not a rule: the API
/// server assumes that strings of `int-or-string` are as long as a request, so a rule would cost too much.
fn amount() -> Value {
    json!({
        "x-kubernetes-int-or-string": true,
        "minimum": 0,
        "maxLength": 64,
        "pattern": "^([0-9]+([.][0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?|[$][(]parameters[.][A-Za-z0-9_]+[)])$",
    })
}

fn amounts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Amount {
        Number(u64),
        Text(String),
    }
    let amounts = BTreeMap::<String, Amount>::deserialize(deserializer)?;
    let text = |amount| match amount {
        Amount::Number(number) => number.to_string(),
        Amount::Text(text) => text,
    };
    Ok(amounts.into_iter().map(|(name, amount)| (name, text(amount))).collect())
}

/// The volume of the home folder.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// The size, such as `10Gi`. Existing workspaces keep their size.
    #[serde(default = "Storage::default_size")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]+([.][0-9]+)?(k|M|G|T|Ki|Mi|Gi|Ti)?$') || self.matches('^[$][(]parameters[.][A-Za-z0-9_]+[)]$')")
        .message("must be a size such as 10Gi, or a parameter such as $(parameters.disk)"))]
    pub size: String,
    /// The StorageClass. Default: the cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::object_name())]
    pub storage_class_name: Option<String>,
    /// The mount path, which is the home folder.
    #[serde(default = "Storage::default_mount_path")]
    #[schemars(length(min = 2, max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^(/[A-Za-z0-9._-]+)+$') && !self.matches('/[.]{1,2}(/|$)') && !self.matches('^/(proc|sys|dev|run)(/|$)')")
        .message("must be an absolute path of plain segments, such as /home/dev, and not below /proc, /sys, /dev or /run"))]
    pub mount_path: String,
    /// Whether the volume is deleted with its workspace.
    #[serde(default)]
    pub on_delete: OnDelete,
    /// The size of `/tmp`, which is on the node's disk and empty at each start. The node restarts a workspace that
    /// exceeds it.
    #[serde(default = "Storage::default_temporary_size")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]+([.][0-9]+)?(k|M|G|T|Ki|Mi|Gi|Ti)?$')")
        .message("must be a size such as 8Gi"))]
    pub temporary_size: String,
}

impl Storage {
    fn default_size() -> String {
        "10Gi".to_owned()
    }
    fn default_mount_path() -> String {
        "/home/dev".to_owned()
    }
    fn default_temporary_size() -> String {
        "8Gi".to_owned()
    }
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            size: Self::default_size(),
            storage_class_name: None,
            mount_path: Self::default_mount_path(),
            on_delete: OnDelete::default(),
            temporary_size: Self::default_temporary_size(),
        }
    }
}

/// Whether a volume is deleted with its workspace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum OnDelete {
    /// The PersistentVolumeClaim is deleted.
    #[default]
    Delete,
    /// The PersistentVolumeClaim is kept.
    Retain,
}

/// The destinations to which workspaces may connect. Connections to workspaces are never allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Egress {
    /// None.
    None,
    /// Public addresses and DNS; never addresses of the cluster, its nodes or a metadata service.
    #[default]
    Internet,
    /// The destinations of `egressRules`.
    Custom,
}

/// The state that the operator observed.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceTemplateStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: whether workspaces can be created from the template. `Stalled` only if they cannot.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_string()]))]
    pub conditions: Vec<Condition>,
}
