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

/// What workspaces are made from.
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
        .message("only count with egress: Custom; set it, or remove them")
)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceTemplateSpec {
    /// What people call it; omitted: the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub display_name: Option<String>,
    /// What it is good for. Agents choose by it.
    #[serde(default)]
    #[schemars(length(max = 1024))]
    pub description: String,
    /// What can be chosen when a workspace is made.
    #[serde(default)]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_string()]))]
    pub parameters: Vec<Parameter>,
    /// What runs.
    pub pod: WorkspacePod,
    /// The home folder, which outlives the pod.
    #[serde(default)]
    pub storage: Storage,
    /// Stops a workspace that nobody has worked in for so long: 5 minutes to 1 year. Omitted: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rules::span("5m", "8760h"))]
    pub idle_stop: Option<Span>,
    /// Deletes a workspace at that age: 1 hour to 10 years. Omitted: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = rules::span("1h", "87600h"))]
    pub time_to_live: Option<Span>,
    /// Where workspaces may connect to.
    #[serde(default)]
    pub egress: Egress,
    /// Where they may connect to with `egress: Custom`, as in a NetworkPolicy; names can be looked up in any case.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub egress_rules: Vec<NetworkPolicyEgressRule>,
}

/// One choice.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("(self.type == 'enum') == (self.options.size() > 0)")
        .field_path(".options")
        .message("are needed for type enum, and only count there"),
    validation = Rule::new("self.type != 'enum' || !has(self.default) || self.default in self.options")
        .field_path(".default")
        .message("must be one of the options"),
    validation = Rule::new("self.type == 'string' || !has(self.pattern)")
        .field_path(".pattern")
        .message("only counts for type string; remove it"),
    validation = Rule::new("self.type == 'integer' || (!has(self.minimum) && !has(self.maximum))")
        .message("minimum and maximum only count for type integer; remove them"),
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
    /// Its name, for `$(parameters.NAME)`.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z][A-Za-z0-9_]*$')")
        .message("must be made of letters, digits and _, beginning with a small letter"))]
    pub name: String,
    /// What it changes. Agents choose by it.
    #[serde(default)]
    #[schemars(length(max = 512))]
    pub description: String,
    /// What its values are.
    #[serde(default, rename = "type")]
    pub kind: ParameterType,
    /// The values of an enum.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub options: Vec<String>,
    /// What a string must match as a whole: a regular expression (RE2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    // An expression that does not compile is an error of the rule's evaluation, which refuses the manifest.
    #[x_kube(validation = Rule::new("''.matches(self) in [true, false]").message("must be a regular expression (RE2)"))]
    pub pattern: Option<String>,
    /// The least value of an integer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<i64>,
    /// The greatest value of an integer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<i64>,
    /// The value where none is given; omitted: one must be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub default: Option<String>,
}

/// What a parameter's values are. They are written as text in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ParameterType {
    /// Any text that fits `pattern`.
    #[default]
    String,
    /// One of `options`.
    Enum,
    /// A whole number from `minimum` to `maximum`.
    Integer,
    /// `true` or `false`.
    Boolean,
}

/// What runs. It satisfies the *restricted* Pod Security Standard, whatever is written here.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkspacePod {
    /// The container image. It needs nothing of Portcullis in it, nor a shell.
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
    /// A program to run beside the agent from the start, such as a database; empty: none.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(max = 4096)))]
    pub command: Vec<String>,
    /// Environment variables of all commands.
    #[serde(default)]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_string()]))]
    pub env: Vec<EnvVariable>,
    /// CPU, memory and the like.
    #[serde(default)]
    pub resources: Resources,
    /// The user that everything runs as, who owns the home folder; never root.
    #[serde(default = "WorkspacePod::default_run_as_user")]
    #[schemars(range(min = 1, max = 2_147_483_647_i64))]
    pub run_as_user: i64,
    /// The RuntimeClass, such as `gvisor`; omitted: the cluster's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::object_name())]
    pub runtime_class_name: Option<String>,
    /// Labels of the nodes to run on.
    #[serde(default)]
    #[schemars(extend("maxProperties" = 16))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints of nodes to put up with.
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
    /// Where the node has not got it.
    #[default]
    IfNotPresent,
    /// At each start.
    Always,
    /// Not at all: the node must have it.
    Never,
}

/// Names a Secret of the namespace.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretName {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::object_name())]
    pub name: String,
}

/// One environment variable: a value, or a key of a Secret.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("has(self.value) != has(self.secretKeyRef)")
    .message("must have exactly one of value and secretKeyRef"))]
#[serde(rename_all = "camelCase")]
pub struct EnvVariable {
    /// Its name.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z_][A-Za-z0-9_]*$')")
        .message("must be made of letters, digits and _, not beginning with a digit"))]
    pub name: String,
    /// Its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub value: Option<String>,
    /// Where its value is, for what must not stand in a template. Whoever may run commands can read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKey>,
}

/// A key of a Secret of the namespace.
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
    /// What is set aside.
    #[serde(default, deserialize_with = "amounts")]
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = amount()))]
    pub requests: BTreeMap<String, String>,
    /// What may be used.
    #[serde(default, deserialize_with = "amounts")]
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = amount()))]
    pub limits: BTreeMap<String, String>,
}

/// A number, or a text such as `500m`, `1Gi` and `$(parameters.memory)`. By schema and not by a rule: the API server takes
/// the texts of `int-or-string` to be as long as a request, too long for a rule.
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

/// The volume under the home folder.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// Its size, such as `10Gi`. Workspaces that are there keep the size that they have.
    #[serde(default = "Storage::default_size")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]+([.][0-9]+)?(k|M|G|T|Ki|Mi|Gi|Ti)?$') || self.matches('^[$][(]parameters[.][A-Za-z0-9_]+[)]$')")
        .message("must be a size such as 10Gi, or a parameter such as $(parameters.disk)"))]
    pub size: String,
    /// The StorageClass; omitted: the cluster's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::object_name())]
    pub storage_class_name: Option<String>,
    /// Where it is mounted: the home folder.
    #[serde(default = "Storage::default_mount_path")]
    #[schemars(length(min = 2, max = 256))]
    #[x_kube(validation = Rule::new("self.matches('^(/[A-Za-z0-9._-]+)+$') && !self.matches('/[.]{1,2}(/|$)') && !self.matches('^/(proc|sys|dev|run)(/|$)')")
        .message("must be an absolute path of plain segments, such as /home/dev, and not below /proc, /sys, /dev or /run"))]
    pub mount_path: String,
    /// What becomes of it when the workspace is deleted.
    #[serde(default)]
    pub on_delete: OnDelete,
    /// The size of `/tmp`, which is on the node's disk and emptied at each start. A workspace that fills it is stopped by its
    /// node and started again.
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

/// What becomes of a volume when its workspace is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum OnDelete {
    /// It is deleted too.
    #[default]
    Delete,
    /// Its PersistentVolumeClaim stays.
    Retain,
}

/// Where workspaces may connect to. Nothing may ever connect to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Egress {
    /// Nowhere.
    None,
    /// Public addresses; never the cluster's, its nodes' or a metadata service's. Names can be looked up.
    #[default]
    Internet,
    /// Where `egressRules` say.
    Custom,
}

/// What the operator found.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceTemplateStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: whether workspaces can be made from the template; `Stalled` only where they cannot.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_string()]))]
    pub conditions: Vec<Condition>,
}
