//! `config.json`: the configuration of the servers, without secrets.

use ipnet::IpNet;
use portcullis_core::{
    PublicUrl,
    authorization::{ClientPolicy, ExternalIssuer, WorkloadRule},
    limits::DEFAULT_MAX_CONNECTIONS,
    login::Login,
    quantity::{ByteSize, Span},
    workspace::{AuthorizationMode, WorkspaceLimits},
};
use serde::{Deserialize, Serialize};

/// The configuration of one endpoint's servers. What is as it goes without saying is left out of the file, so that an
/// operator that knows more than its servers changes nothing for them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServerConfig {
    /// The endpoint's name, for logs and the `WWW-Authenticate` realm.
    pub endpoint: String,
    /// The endpoint's public URL.
    pub url: PublicUrl,
    /// More paths at which the same endpoint answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path_aliases: Vec<String>,
    /// Whether the servers speak TLS, with the certificate that is mounted beside this file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tls: bool,
    /// How long access tokens live.
    pub access_token_lifetime: Span,
    /// How long a user's consent lasts.
    pub refresh_token_lifetime: Span,
    /// How long a refresh token lasts if it is not used.
    pub refresh_token_idle: Span,
    /// Who may sign in; the secret side is in `login.json`.
    #[serde(default)]
    pub login: Vec<Login>,
    /// The policy for clients without a configured `OAuthClient`.
    #[serde(default)]
    pub client_policy: ClientPolicy,
    /// Pods that obtain tokens with their service account's.
    #[serde(default)]
    pub workload_identity: Vec<WorkloadRule>,
    /// The authorization server, where it is not this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_issuer: Option<ExternalIssuer>,
    /// Who may reach which workspace, and how many a user may have.
    #[serde(default)]
    pub workspaces: WorkspaceRules,
    /// Which tools are served.
    pub tools: ToolRules,
    /// The origins accepted, and whether this server answers preflights for them.
    pub cors: CorsRules,
    /// What one server admits.
    pub limits: Limits,
    /// Who may come, by address.
    pub access: AccessRules,
}

impl ServerConfig {
    /// Who issues the tokens that count here: this endpoint, or an authorization server elsewhere.
    #[must_use]
    pub fn issuer(&self) -> String {
        self.external_issuer.as_ref().map_or_else(|| self.url.issuer(), |external| external.issuer_url.clone())
    }
}

/// Who may reach which workspace, and how many a user may have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkspaceRules {
    /// Who decides who may reach one.
    pub mode: AuthorizationMode,
    /// How many one user may have.
    pub max_per_user: u32,
}

impl Default for WorkspaceRules {
    fn default() -> Self {
        Self { mode: AuthorizationMode::default(), max_per_user: WorkspaceLimits::default().max_per_user }
    }
}

/// Name patterns (`*` for any run of characters): served is what `allow` matches and `deny` does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToolRules {
    /// What may be served.
    pub allow: Vec<String>,
    /// What may not; it wins.
    pub deny: Vec<String>,
}

/// Origins, and who speaks CORS to them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CorsRules {
    /// Origins such as `https://claude.ai` or `https://*.example.com`. The server refuses any other with 403.
    pub allowed_origins: Vec<String>,
    /// How long a browser may remember a preflight's answer.
    pub max_age: Span,
    /// Whether this server answers preflights and adds the headers; false where something in front of it does.
    pub answered_here: bool,
}

/// What one server admits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// How long one request may take.
    pub request_timeout: Span,
    /// How many requests are worked on at once.
    pub max_concurrent_requests: u32,
    /// How many requests per second one client may make for long, at all servers together.
    pub requests_per_second: u32,
    /// How many it may make at once, above the rate, at all servers together.
    pub burst: u32,
    /// How large a body may be.
    pub max_body_size: ByteSize,
    /// How many connections are open at once.
    #[serde(default = "default_max_connections", skip_serializing_if = "is_default_max_connections")]
    pub max_connections: u32,
    /// How many servers share the rates.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub servers: u32,
}

fn default_max_connections() -> u32 {
    DEFAULT_MAX_CONNECTIONS
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_default_max_connections(count: &u32) -> bool {
    *count == default_max_connections()
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_one(count: &u32) -> bool {
    *count == 1
}

/// Rules by address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessRules {
    /// Networks that clients may come from; empty: any.
    pub allowed_cidrs: Vec<IpNet>,
    /// Proxies whose `X-Forwarded-For` or `Forwarded` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether their connections begin with a header of the PROXY protocol.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proxy_protocol: bool,
}
