//! `McpEndpoint`: one guarded MCP endpoint, and all that stands around it.

use crate::{exposure::Exposure, rules, tools};
use k8s_openapi::{
    api::{
        core::v1::ResourceRequirements,
        networking::v1::{NetworkPolicyEgressRule, NetworkPolicyPeer},
    },
    apimachinery::pkg::{apis::meta::v1::Condition, util::intstr::IntOrString},
};
use kube::{CustomResource, KubeSchema};
use portcullis_core::{
    authorization::{ClientPolicy, ExternalIssuer, WorkloadIdentity},
    limits::DEFAULT_MAX_CONNECTIONS,
    login::Login,
    quantity::{ByteSize, Span},
    workspace::{AuthorizationMode, WorkspaceLimits},
};
use serde::{Deserialize, Serialize};

/// An OAuth-protected MCP endpoint. The operator turns it into a Deployment with its configuration, credentials,
/// Service and Ingress.
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
    validation = Rule::new("!has(self.pathAliases) || self.pathAliases.all(p, !self.url.matches('^[a-z]+://[^/]+' + p + '$'))")
        .field_path(".pathAliases")
        .message("must not repeat the path of url"),
    validation = Rule::new("self.cors.enforcedBy != 'Gateway' || has(self.exposure.gateway)")
        .field_path(".cors.enforcedBy")
        .message("Gateway needs exposure.gateway; use Auto, or expose the endpoint by a gateway")
)]
#[serde(rename_all = "camelCase")]
pub struct McpEndpointSpec {
    /// The public URL of the MCP endpoint, such as `https://mcp.example.com/mcp`. Host, path, OAuth issuer and
    /// metadata URLs all follow from it. Only `https`, except on loopback addresses.
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
        validation = Rule::new("!self.matches('/(authorize|consent|token|register|revoke|introspect|login|logout|agents|assets|jwks[.]json)$') && !self.matches('/(login|agents|assets)/') && !self.contains('/.well-known/')")
            .message("must not end in authorize, consent, token, register, revoke, introspect, login, logout, agents, assets or jwks.json, nor lie below login, agents, assets or .well-known: the authorization server answers there"),
        validation = Rule::new("self.matches('^[^/]*//([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\\\\[[0-9a-f:]+\\\\])(:[^/]*)?(/|$)')")
            .message("the host must be a name in lower case, international ones in their xn-- form, or an address"),
        validation = Rule::new("self.matches('^[^/]*//([^/:]*|\\\\[[^/]*\\\\])(:(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3}))?(/|$)')")
            .message("the port must be a number from 1 to 65535")
    )]
    pub url: String,

    /// More paths at which the same endpoint answers, such as `/api/experimental/mcp/http`. Tokens count at each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 2, max = 256)))]
    #[x_kube(merge_strategy = ListMerge::Set,
        validation = Rule::new("self.all(p, p.matches('^(/[A-Za-z0-9._~-]+)+$') && !p.matches('/[.]{1,2}(/|$)'))")
            .message("each must be a path of plain segments, not . or .., and no slash at its end, such as /api/experimental/mcp/http"),
        validation = Rule::new("self.all(p, !p.matches('/(authorize|consent|token|register|revoke|introspect|login|logout|agents|assets|jwks[.]json)$') && !p.matches('/(login|agents|assets)/') && !p.startsWith('/.well-known/'))")
            .message("none may end in authorize, consent, token, register, revoke, introspect, login, logout, agents, assets or jwks.json, nor lie below login, agents, assets or .well-known: the authorization server answers there"))]
    pub path_aliases: Vec<String>,

    /// The certificate with which the servers themselves speak TLS. Omitted: plain HTTP, for a proxy that ends TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ServerTls>,

    /// Who may sign in. Empty: nobody, and only unattended clients obtain tokens.
    #[serde(default)]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_string()]))]
    pub login: Vec<Login>,

    /// Clients that nobody made an `OAuthClient` for.
    #[serde(default)]
    pub clients: ClientPolicy,

    /// Pods that obtain tokens with their service account's. Omitted: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_identity: Option<WorkloadIdentity>,

    /// An authorization server elsewhere, instead of the built-in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_issuer: Option<ExternalIssuer>,

    /// How long tokens live, and the keys that sign them.
    #[serde(default)]
    pub tokens: Tokens,

    /// Who may reach which workspace.
    #[serde(default)]
    pub authorization: Authorization,

    /// The workspaces that agents make.
    #[serde(default)]
    pub workspaces: WorkspaceLimits,

    /// Which tools are served.
    #[serde(default)]
    pub tools: ToolFilter,

    /// Which browser origins may call the endpoint.
    #[serde(default)]
    pub cors: Cors,

    /// What one server admits at a time.
    #[serde(default)]
    pub limits: Limits,

    /// Who may reach the endpoint by address.
    #[serde(default)]
    pub network: Network,

    /// How the endpoint is reached from outside the cluster: exactly one of `ingress`, `gateway` and `none`. Omitted:
    /// an Ingress of the default class.
    #[serde(default)]
    pub exposure: Exposure,

    /// How the servers run.
    #[serde(default)]
    pub deployment: ServerDeployment,
}

/// Lifetimes of tokens and of the keys that sign them.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = rules::two_spans("refreshIdle", "<=", "refreshLifetime", "1h")
    .field_path(".refreshIdle")
    .message("must not be longer than refreshLifetime"))]
#[serde(rename_all = "camelCase")]
pub struct Tokens {
    /// How long an access token is good for: 1 minute to 1 hour.
    #[serde(default = "Tokens::default_access_lifetime")]
    #[x_kube(validation = rules::span("1m", "1h"))]
    pub access_lifetime: Span,
    /// How long a user's consent lasts, however much it is used: 1 hour to 1 year.
    #[serde(default = "Tokens::default_refresh_lifetime")]
    #[x_kube(validation = rules::span("1h", "8760h"))]
    pub refresh_lifetime: Span,
    /// How long a refresh token is good for if it is not used: 1 hour to 1 year.
    #[serde(default = "Tokens::default_refresh_idle")]
    #[x_kube(validation = rules::span("1h", "8760h"))]
    pub refresh_idle: Span,
    /// The age at which the key that signs access tokens is replaced: 1 day to 10 years. Nobody is cut off by it.
    #[serde(default = "Tokens::default_key_rotation")]
    #[x_kube(validation = rules::span("24h", "87600h"))]
    pub key_rotation: Span,
}

impl Tokens {
    fn default_access_lifetime() -> Span {
        Span::from_secs(15 * 60)
    }
    fn default_refresh_lifetime() -> Span {
        Span::from_secs(30 * 24 * 3600)
    }
    fn default_refresh_idle() -> Span {
        Span::from_secs(7 * 24 * 3600)
    }
    fn default_key_rotation() -> Span {
        Span::from_secs(90 * 24 * 3600)
    }
}

impl Default for Tokens {
    fn default() -> Self {
        Self {
            access_lifetime: Self::default_access_lifetime(),
            refresh_lifetime: Self::default_refresh_lifetime(),
            refresh_idle: Self::default_refresh_idle(),
            key_rotation: Self::default_key_rotation(),
        }
    }
}

/// Who may reach which workspace, within the scopes of the token.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Authorization {
    /// Who decides.
    #[serde(default)]
    pub mode: AuthorizationMode,
}

/// Which tools are served: those that `allow` matches and `deny` does not.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolFilter {
    /// Tool names; `*` stands for any run of characters.
    #[serde(default = "ToolFilter::default_allow")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Set, validation = Rule::new("self.all(t, t.matches('^[a-z0-9_*]+$'))")
        .message("tool names are made of a-z, 0-9, _ and the wildcard *"), validation = tools::rule())]
    pub allow: Vec<String>,
    /// Tool names to leave out; it wins over `allow`.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(min = 1, max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Set, validation = Rule::new("self.all(t, t.matches('^[a-z0-9_*]+$'))")
        .message("tool names are made of a-z, 0-9, _ and the wildcard *"), validation = tools::rule())]
    pub deny: Vec<String>,
}

impl ToolFilter {
    fn default_allow() -> Vec<String> {
        vec!["*".to_owned()]
    }
}

impl Default for ToolFilter {
    fn default() -> Self {
        Self { allow: Self::default_allow(), deny: Vec::new() }
    }
}

/// Cross-origin rules (the Fetch standard's CORS protocol), and the origins that the server accepts at all.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cors {
    /// Origins such as `https://claude.ai` or `https://*.example.com` (any one or more labels). A request from any
    /// other origin is refused; a request without an `Origin`, as from anything but a browser, is not concerned.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(max = 253)))]
    #[x_kube(merge_strategy = ListMerge::Set, validation = Rule::new(format!("self.all(o, o.matches('^https://([*][.])?[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{{1,5}})?$') || o.matches('^http://{}(:[0-9]{{1,5}})?$'))", portcullis_core::loopback::pattern()))
        .message("each must be scheme and host in lower case, without path or slash, such as https://claude.ai or https://*.example.com; http for loopback only; a lone * is refused since any page could then drive the endpoint"))]
    pub allowed_origins: Vec<String>,
    /// How long a browser may remember a preflight's answer: at most 24 hours.
    #[serde(default = "Cors::default_max_age")]
    #[x_kube(validation = rules::span("0s", "24h"))]
    pub max_age: Span,
    /// Who answers preflights and adds the headers.
    #[serde(default)]
    pub enforced_by: CorsEnforcement,
}

impl Cors {
    fn default_max_age() -> Span {
        Span::from_secs(2 * 3600)
    }
}

impl Default for Cors {
    fn default() -> Self {
        Self { allowed_origins: Vec::new(), max_age: Self::default_max_age(), enforced_by: CorsEnforcement::Auto }
    }
}

/// Who enforces CORS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum CorsEnforcement {
    /// The ingress controller, where it is known to do it right; else the server. The status says who.
    #[default]
    Auto,
    /// Always the server.
    Server,
    /// The gateway of `exposure.gateway`, by the `CORS` filter of its HTTPRoute. Only where the gateway knows that
    /// filter: others answer every request with 500.
    Gateway,
}

/// What one server admits. Beyond: 429 or 503 with `Retry-After`, or 413.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// How long one request may take: 1 second to 1 hour.
    #[serde(default = "Limits::default_request_timeout")]
    #[x_kube(validation = rules::span("1s", "1h"))]
    pub request_timeout: Span,
    /// How many requests one server works on at once. One client has at most half of them for a user.
    #[serde(default = "Limits::default_max_concurrent_requests")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_concurrent_requests: u32,
    /// How many requests per second one client may make for long, for each user on whose behalf it comes; also how many
    /// of those without a valid token one address may make. Divided over the servers.
    #[serde(default = "Limits::default_requests_per_second")]
    #[schemars(range(min = 1, max = 100_000))]
    pub requests_per_second: u32,
    /// How many of them may come at once, above the rate. Divided over the servers.
    #[serde(default = "Limits::default_burst")]
    #[schemars(range(min = 1, max = 100_000))]
    pub burst: u32,
    /// How large one request's body may be.
    #[serde(default = "Limits::default_max_body_size")]
    pub max_body_size: ByteSize,
    /// How many connections one server keeps open. One address has at most three quarters of them, unless it is a
    /// trusted proxy. Beyond, the connection that has been idle for longest is closed.
    #[serde(default = "Limits::default_max_connections")]
    #[schemars(range(min = 10, max = 100_000))]
    pub max_connections: u32,
}

impl Limits {
    fn default_request_timeout() -> Span {
        Span::from_secs(120)
    }
    fn default_max_concurrent_requests() -> u32 {
        100
    }
    fn default_requests_per_second() -> u32 {
        10
    }
    fn default_burst() -> u32 {
        20
    }
    fn default_max_body_size() -> ByteSize {
        ByteSize::from_mebibytes(4)
    }
    fn default_max_connections() -> u32 {
        DEFAULT_MAX_CONNECTIONS
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_timeout: Self::default_request_timeout(),
            max_concurrent_requests: Self::default_max_concurrent_requests(),
            requests_per_second: Self::default_requests_per_second(),
            burst: Self::default_burst(),
            max_body_size: Self::default_max_body_size(),
            max_connections: Self::default_max_connections(),
        }
    }
}

/// The certificate of the servers.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerTls {
    /// A `kubernetes.io/tls` Secret in the endpoint's namespace, such as cert-manager keeps. Renewals are picked up.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = rules::object_name())]
    pub secret_name: String,
}

/// Rules by network address.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("!self.proxyProtocol || self.trustedProxies.size() > 0")
    .field_path(".proxyProtocol")
    .message("needs trustedProxies: only they are believed"),
    validation = Rule::new("self.egress == 'Restricted' || self.egressRules.size() == 0")
    .field_path(".egressRules")
    .message("only count with egress: Restricted; set it, or remove them"))]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// Networks that clients may come from; empty: any. Behind a proxy this needs `trustedProxies`.
    #[serde(default)]
    #[schemars(length(max = 128), inner(length(max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Set, validation = Rule::new("self.all(c, isCIDR(c))")
        .message("each must be a network such as 160.79.104.0/21 or 2607:6bc0::/48; a single address is written with /32 or /128"))]
    pub allowed_cidrs: Vec<String>,
    /// Proxies whose `X-Forwarded-For` or `Forwarded` (RFC 7239) is believed, such as the ingress controller's network.
    #[serde(default)]
    #[schemars(length(max = 128), inner(length(max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Set, validation = Rule::new("self.all(c, isCIDR(c))")
        .message("each must be a network such as 10.0.0.0/8; a single address is written with /32 or /128"))]
    pub trusted_proxies: Vec<String>,
    /// Whether connections from `trustedProxies` begin with a header of the PROXY protocol (version 1 or 2). One that
    /// does not is closed.
    #[serde(default)]
    pub proxy_protocol: bool,
    /// Whether a NetworkPolicy says who may connect to the servers, and where they may connect to.
    #[serde(default = "Network::default_network_policy")]
    pub network_policy: bool,
    /// Who may connect to the public port, as in a NetworkPolicy: the pods of the ingress controller. Empty: everybody.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub ingress_from: Vec<NetworkPolicyPeer>,
    /// What collects metrics from the private port, as in a NetworkPolicy, besides what the operator is set to.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub monitoring_from: Vec<NetworkPolicyPeer>,
    /// Where the servers may connect to.
    #[serde(default)]
    pub egress: ServerEgress,
    /// What `egress: Restricted` allows besides, as in a NetworkPolicy: an identity provider with a private address.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub egress_rules: Vec<NetworkPolicyEgressRule>,
}

/// Where servers may connect to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum ServerEgress {
    /// To name servers, the API server, public addresses by https, and where `egressRules` say.
    #[default]
    Restricted,
    /// Anywhere.
    Any,
}

impl Network {
    fn default_network_policy() -> bool {
        true
    }
}

impl Default for Network {
    fn default() -> Self {
        Self {
            allowed_cidrs: Vec::new(),
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
            network_policy: Self::default_network_policy(),
            ingress_from: Vec::new(),
            monitoring_from: Vec::new(),
            egress: ServerEgress::default(),
            egress_rules: Vec::new(),
        }
    }
}

/// How the servers run.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("!(has(self.replicas) && has(self.autoscaling))")
    .message("replicas and autoscaling exclude each other; remove autoscaling to set a number, as kubectl scale does, or change its min and max"))]
#[serde(rename_all = "camelCase")]
pub struct ServerDeployment {
    /// How many servers; omitted, and without `autoscaling`: 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub replicas: Option<i32>,
    /// CPU and memory of each server; omitted: requests of 20m CPU and 32Mi memory, a limit of 128Mi memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// How many servers must stay up while nodes are drained; omitted, and with more than one replica: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disruption_budget: Option<DisruptionBudget>,
    /// Scales the servers by their CPU use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
}

/// A PodDisruptionBudget.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DisruptionBudget {
    /// A number of servers, or a share such as `50%`.
    #[x_kube(validation = Rule::new("string(self).matches('^([0-9]{1,9}|(100|[0-9]{1,2})%)$')")
        .message("must be a number from 0 or a share such as 50%"))]
    pub min_available: IntOrString,
}

/// A HorizontalPodAutoscaler.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(validation = Rule::new("self.min <= self.max")
    .message("min must not be above max"))]
#[serde(rename_all = "camelCase")]
pub struct Autoscaling {
    /// The fewest servers.
    #[schemars(range(min = 1, max = 100))]
    pub min: i32,
    /// The most servers.
    #[schemars(range(min = 1, max = 100))]
    pub max: i32,
    /// The CPU use to aim at, in percent of what is requested.
    #[serde(default = "Autoscaling::default_target_cpu")]
    #[schemars(range(min = 1, max = 100))]
    pub target_cpu: i32,
}

impl Autoscaling {
    fn default_target_cpu() -> i32 {
        70
    }
}

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
