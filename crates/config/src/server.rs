//! `config.json`: the configuration of the servers, without secrets.

use ipnet::IpNet;
use portcullis_core::{
    PublicUrl,
    authorization::{ClientPolicy, ExternalIssuer, WorkloadRule},
    console::Console,
    limits::Limits,
    login::Login,
    quantity::{ByteSize, Span},
    workspace::{AuthorizationMode, WorkspaceLimits},
};
use serde::{Deserialize, Serialize};

/// The configuration of one endpoint's servers. Default values are omitted from the file, so that a newer operator does
/// not change the files of older servers.
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
    /// Whether the servers use TLS, with the mounted certificate.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tls: bool,
    /// The lifetime of access tokens.
    pub access_token_lifetime: Span,
    /// The lifetime of a user's consent.
    pub refresh_token_lifetime: Span,
    /// The time after which an unused refresh token expires.
    pub refresh_token_idle: Span,
    /// The logins; their secrets are in `login.json`.
    #[serde(default)]
    pub login: Vec<Login>,
    /// The administrators of the console.
    #[serde(default, skip_serializing_if = "Console::is_default")]
    pub console: Console,
    /// The policy for clients without a configured `OAuthClient`.
    #[serde(default)]
    pub client_policy: ClientPolicy,
    /// The policy for pods that exchange service account tokens.
    #[serde(default)]
    pub workload_identity: Vec<WorkloadRule>,
    /// The external authorization server, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_issuer: Option<ExternalIssuer>,
    /// The rules for workspaces.
    #[serde(default)]
    pub workspaces: WorkspaceRules,
    /// The rules for tools.
    pub tools: ToolRules,
    /// The allowed origins, and whether this server answers preflights for them.
    pub cors: CorsRules,
    /// The limits of one server.
    pub limits: ServerLimits,
    /// The address rules.
    pub access: AccessRules,
}

impl ServerConfig {
    /// The issuer of the accepted tokens: this endpoint, or an external authorization server.
    #[must_use]
    pub fn issuer(&self) -> String {
        self.external_issuer.as_ref().map_or_else(|| self.url.issuer(), |external| external.issuer_url.clone())
    }
}

/// The rules for workspaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkspaceRules {
    /// The authorization mode.
    pub mode: AuthorizationMode,
    /// The quota of one user.
    pub max_per_user: u32,
}

impl Default for WorkspaceRules {
    fn default() -> Self {
        Self { mode: AuthorizationMode::default(), max_per_user: WorkspaceLimits::default().max_per_user }
    }
}

/// Name patterns (`*` matches any characters): tools that match `allow` and not `deny` are served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToolRules {
    /// The allowed tools.
    pub allow: Vec<String>,
    /// The denied tools; takes precedence.
    pub deny: Vec<String>,
}

/// The allowed origins, and the component that answers CORS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CorsRules {
    /// Origins such as `https://claude.ai` or `https://*.example.com`. The server refuses any other with 403.
    pub allowed_origins: Vec<String>,
    /// How long browsers may cache a preflight response.
    pub max_age: Span,
    /// Whether this server answers preflights and adds the headers; false if a proxy in front of it does.
    pub answered_here: bool,
}

/// `spec.limits`, and the number of servers that share the rates. The fields are those of [`Limits`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServerLimits {
    /// The time limit of a request.
    pub request_timeout: Span,
    /// The maximum number of concurrent requests.
    pub max_concurrent_requests: u32,
    /// The sustained requests per second of one client, at all servers together.
    pub requests_per_second: u32,
    /// The burst of one client above the rate, at all servers together.
    pub burst: u32,
    /// The maximum size of a request body.
    pub max_body_size: ByteSize,
    /// The maximum number of open connections.
    #[serde(default = "default_max_connections", skip_serializing_if = "is_default_max_connections")]
    pub max_connections: u32,
    /// The number of servers that share the rates.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub servers: u32,
}

impl ServerLimits {
    /// The limits of each of `servers` servers.
    #[must_use]
    pub fn new(limits: &Limits, servers: u32) -> Self {
        // A new field of `Limits` does not compile until it is here.
        let &Limits {
            request_timeout,
            max_concurrent_requests,
            requests_per_second,
            burst,
            max_body_size,
            max_connections,
        } = limits;
        Self {
            request_timeout,
            max_concurrent_requests,
            requests_per_second,
            burst,
            max_body_size,
            max_connections,
            servers,
        }
    }

    /// The maximum size of a request body, in bytes.
    #[must_use]
    pub fn body_limit(&self) -> usize {
        usize::try_from(self.max_body_size.bytes()).unwrap_or(usize::MAX)
    }
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self::new(&Limits::default(), 1)
    }
}

fn default_max_connections() -> u32 {
    Limits::default().max_connections
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

/// The rules by IP address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AccessRules {
    /// The networks of clients; empty: any.
    pub allowed_cidrs: Vec<IpNet>,
    /// The proxies whose `X-Forwarded-For` or `Forwarded` is trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether connections of these proxies begin with a PROXY protocol header.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub proxy_protocol: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_get_every_limit_under_its_name() {
        let limits = Limits { max_connections: 7, ..Limits::default() };
        let mut expected = serde_json::to_value(&limits).unwrap();
        expected["servers"] = 3.into();
        assert_eq!(serde_json::to_value(ServerLimits::new(&limits, 3)).unwrap(), expected);
    }
}
