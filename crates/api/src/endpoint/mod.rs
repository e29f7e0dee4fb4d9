//! `McpEndpoint`: one guarded MCP endpoint, and all that stands around it.

mod cors;
mod deployment;
mod network;
mod status;
mod tokens;

pub use self::{
    cors::{Cors, CorsEnforcement},
    deployment::{Autoscaling, DisruptionBudget, ServerDeployment},
    network::{Network, ServerEgress},
    status::McpEndpointStatus,
    tokens::Tokens,
};
pub use crate::tools::ToolFilter;

use crate::{exposure::Exposure, rules};
use kube::{CustomResource, KubeSchema};
use portcullis_core::{
    authorization::{ClientPolicy, ExternalIssuer, WorkloadIdentity},
    console::Console,
    limits::Limits,
    login::Login,
    workspace::{AuthorizationMode, WorkspaceLimits},
};
use serde::{Deserialize, Serialize};

/// An OAuth-protected MCP endpoint. The operator creates a Deployment for it, with configuration, credentials, Service
/// and Ingress.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "portcullis.dev",
    version = "v1alpha1",
    kind = "McpEndpoint",
    namespaced,
    status = "McpEndpointStatus",
    scale(
        spec_replicas_path = ".spec.deployment.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    shortname = "mcp",
    category = "portcullis",
    cel,
    derive = "PartialEq",
    printcolumn(name = "URL", type_ = "string", json_path = ".spec.url"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Clients", type_ = "integer", json_path = ".status.clients"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.readyReplicas", priority = 1),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.serverVersion", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([a-z0-9-]*[a-z0-9])?$')")
        .message("metadata.name: must be at most 40 of a-z, 0-9 and -, beginning with a letter, since the names of the endpoint's objects begin with it")
)]
#[x_kube(
    validation = Rule::new("!has(self.externalIssuer) || (self.login.size() == 0 && !has(self.workloadIdentity) && !has(self.clients.metadataDocuments) && !has(self.clients.dynamicRegistration))")
        .field_path(".externalIssuer")
        .message("with an authorization server elsewhere the built-in one is off; remove login, clients and workloadIdentity, or externalIssuer"),
    validation = Rule::new("!has(self.console) || !has(self.console.administrators) || !has(self.console.administrators.users) || self.console.administrators.users.all(entry, !entry.contains(':') || self.login.exists(login, entry.startsWith(login.name + ':')))")
        .field_path(".console.administrators.users")
        .message("each must begin with the name of a login of spec.login and a colon; correct the name, or add the login"),
    validation = Rule::new("!has(self.console) || !has(self.console.administrators) || !has(self.console.administrators.groups) || self.console.administrators.groups.all(entry, !entry.contains(':') || self.login.exists(login, entry.startsWith(login.name + ':')))")
        .field_path(".console.administrators.groups")
        .message("each must begin with the name of a login of spec.login and a colon; correct the name, or add the login"),
    validation = Rule::new("!has(self.pathAliases) || self.pathAliases.all(p, !self.url.matches('^[a-z]+://[^/]+' + p + '$'))")
        .field_path(".pathAliases")
        .message("must not repeat the path of url"),
    validation = Rule::new("self.cors.enforcedBy != 'Gateway' || has(self.exposure.gateway)")
        .field_path(".cors.enforcedBy")
        .message("Gateway needs exposure.gateway; use Auto, or expose the endpoint by a gateway")
)]
#[serde(rename_all = "camelCase")]
pub struct McpEndpointSpec {
    /// The public URL of the MCP endpoint, such as `https://mcp.example.com/mcp`. Host, path, OAuth issuer and metadata
    /// URLs are derived from it. Only `https`, except on loopback addresses.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(
        validation = Rule::new("self.matches('^[a-z][a-z0-9+.-]*://[^/?#]')")
            .message("must be an absolute URL such as https://mcp.example.com/mcp"),
        validation = Rule::new("self.startsWith('https://') || self.matches('^http://(localhost|127\\\\.0\\\\.0\\\\.1|\\\\[::1\\\\])(:[0-9]+)?/')")
            .message("must begin with https:// (plain http is for localhost, 127.0.0.1 and [::1] only)"),
        validation = Rule::new("!self.contains('?') && !self.contains('#') && !self.contains('@')")
            .message("must have no query, fragment or user information; write scheme, host and path only"),
        validation = Rule::new("self.matches('^[^/]*//[^/]+(/[A-Za-z0-9._~-]+)+$') && !self.matches('/[.]{1,2}(/|$)')")
            .message("must have a path of plain segments, not . or .., and no slash at its end, such as https://mcp.example.com/mcp"),
        validation = rules::path_of_url(),
        validation = Rule::new("self.matches('^[^/]*//([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\\\\[[0-9a-f:]+\\\\])(:[^/]*)?(/|$)')")
            .message("the host must be a name in lower case, international ones in their xn-- form, or an address"),
        validation = Rule::new("self.matches('^[^/]*//([^/:]*|\\\\[[^/]*\\\\])(:(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3}))?(/|$)')")
            .message("the port must be a number from 1 to 65535")
    )]
    pub url: String,

    /// Additional paths of the same endpoint, such as `/api/experimental/mcp/http`. Tokens are valid at all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 2, max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set,
        validation = Rule::new("self.all(p, p.matches('^(/[A-Za-z0-9._~-]+)+$') && !p.matches('/[.]{1,2}(/|$)'))")
            .message("each must be a path of plain segments, not . or .., and no slash at its end, such as /api/experimental/mcp/http"),
        validation = rules::path_aliases())]
    pub path_aliases: Vec<String>,

    /// The certificate with which the servers terminate TLS. Default: plain HTTP, behind a proxy that terminates TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTls>,

    /// How users sign in. Empty: users cannot sign in, and only unattended clients obtain tokens.
    #[serde(default)]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_string()]))]
    pub login: Vec<Login>,

    /// Clients without a manifest, which register themselves or publish a metadata document.
    #[serde(default)]
    pub clients: ClientPolicy,

    /// Pods that obtain tokens with their service account's token. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_identity: Option<WorkloadIdentity>,

    /// An external authorization server, instead of the built-in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_issuer: Option<ExternalIssuer>,

    /// The pages for people who have signed in.
    #[serde(default, skip_serializing_if = "Console::is_default")]
    pub console: Console,

    /// Lifetimes of tokens and of their signing keys.
    #[serde(default)]
    pub tokens: Tokens,

    /// Access to workspaces.
    #[serde(default)]
    pub authorization: Authorization,

    /// Quotas of workspaces.
    #[serde(default)]
    pub workspaces: WorkspaceLimits,

    /// The tools that are served.
    #[serde(default)]
    pub tools: ToolFilter,

    /// The browser origins that may call the endpoint.
    #[serde(default)]
    pub cors: Cors,

    /// The limits of a server.
    #[serde(default)]
    pub limits: Limits,

    /// Access by network address.
    #[serde(default)]
    pub network: Network,

    /// How the endpoint is reached from outside the cluster: exactly one of `ingress`, `gateway` and `none`. Default:
    /// an Ingress of the default class.
    #[serde(default)]
    pub exposure: Exposure,

    /// How the servers run.
    #[serde(default)]
    pub deployment: ServerDeployment,
}

/// Access to workspaces, within the scopes of the token.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Authorization {
    /// What decides about access.
    #[serde(default)]
    pub mode: AuthorizationMode,
}

/// The certificate of the servers.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerTls {
    /// A `kubernetes.io/tls` Secret in the endpoint's namespace, such as one of cert-manager. Renewed certificates are
    /// loaded automatically.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::object_name())]
    pub secret_name: String,
}
