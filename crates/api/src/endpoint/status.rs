//! `status`: what the operator found.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// What the operator found.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct McpEndpointStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where agents connect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The OAuth issuer (RFC 8414).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Server pods, for the subresource `scale`.
    #[serde(default)]
    pub replicas: i32,
    /// Their labels, for the subresource `scale`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Server pods that are ready.
    #[serde(default)]
    pub ready_replicas: i32,
    /// Clients that can obtain tokens.
    #[serde(default)]
    pub clients: i32,
    /// Grants that count: approvals by users that neither ended nor were taken back. Told at most once a minute.
    #[serde(default)]
    pub active_grants: i32,
    /// The value of the annotation `portcullis.dev/rotate` for which the keys were last given successors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated_for: Option<String>,
    /// Who adds the CORS headers: `Server`, the ingress controller (`Traefik` or `IngressNginx`), or the `Gateway`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors_enforced_by: Option<String>,
    /// The version that the servers report; the lowest where they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_version: Option<String>,
    /// The MCP revisions that the servers offer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protocol_versions: Vec<String>,
    /// `Ready`, `Available`, `Exposed`, `CredentialsLoaded`, `Verified`; `LoginsReady` too where there are logins;
    /// `LimitsFit` where the memory limit is too low for `limits`; `ToolsKnown` where `tools` names one that there is not;
    /// `Reconciling` or `Stalled` only while true.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_string()]))]
    pub conditions: Vec<Condition>,
}
