//! `status`: what the operator found.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The state that the operator observed.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct McpEndpointStatus {
    /// The generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The URL for agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The OAuth issuer (RFC 8414).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The number of server pods, for the subresource `scale`.
    #[serde(default)]
    pub replicas: i32,
    /// The label selector of the server pods, for the subresource `scale`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The number of ready server pods.
    #[serde(default)]
    pub ready_replicas: i32,
    /// The number of clients that can obtain tokens.
    #[serde(default)]
    pub clients: i32,
    /// The number of valid grants, which are neither expired nor revoked. Updated at most once a minute.
    #[serde(default)]
    pub active_grants: i32,
    /// The value of the annotation `portcullis.dev/rotate` that last caused a rotation of the keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated_for: Option<String>,
    /// The component that adds the CORS headers: `Server`, the ingress controller (`Traefik` or `IngressNginx`), or
    /// `Gateway`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors_enforced_by: Option<String>,
    /// The version that the servers report; the lowest if they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_version: Option<String>,
    /// The MCP revisions that the servers support.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protocol_versions: Vec<String>,
    /// `Ready`, `Available`, `Exposed`, `CredentialsLoaded`, `Verified`; `LoginsReady` if there are logins; `LimitsFit`
    /// if the memory limit is too low for `limits`; `ToolsKnown` if `tools` names an unknown tool; `Reconciling` or
    /// `Stalled` only while true.
    #[serde(default)]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".to_string()]))]
    pub conditions: Vec<Condition>,
}
