//! The checks, in dependency order, and what each of them requires.

/// One check. The order is that of causes: a failure is explained by the first failed check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// The Kubernetes API, by a kubeconfig.
    Cluster,
    /// The custom resource definitions.
    Definitions,
    /// The `McpEndpoint`.
    Resource,
    /// The operator.
    Operator,
    /// The Secrets and ConfigMaps to which the endpoint refers.
    References,
    /// The Deployment of the servers and its pods.
    Pods,
    /// The ResourceQuotas of the namespace.
    Quota,
    /// The Service of the servers and its endpoints.
    Service,
    /// The Ingress or HTTPRoute.
    Exposure,
    /// The certificates in Secrets.
    Certificate,
    /// The NetworkPolicies that select the servers.
    NetworkPolicy,
    /// The conditions of the `McpEndpoint`.
    Conditions,
    /// Warning events of the endpoint's objects.
    Events,
    /// The shape of the URL.
    Url,
    /// The addresses of the host.
    Dns,
    /// Connections to the addresses.
    Tcp,
    /// The TLS handshake and the certificate chain.
    Tls,
    /// The status of a request without a token.
    Http,
    /// The server's clock, by its `Date` header.
    Clock,
    /// The `WWW-Authenticate` header (RFC 6750, RFC 9728 §5.1).
    Challenge,
    /// The protected resource metadata (RFC 9728).
    ResourceMetadata,
    /// The authorization server metadata (RFC 8414).
    IssuerMetadata,
    /// The public keys (RFC 7517).
    Jwks,
    /// The metadata documents of clients (OAuth Client ID Metadata Documents), as the endpoint reads them.
    ClientMetadata,
    /// The logins for users, and their identity providers.
    Logins,
    /// Requests of web pages (the Fetch standard's CORS protocol), for each origin.
    Cors,
    /// The `OAuthClient`s of the endpoint.
    Clients,
    /// The `OAuthGrant`s of the endpoint.
    Grants,
    /// A token, by client credentials (RFC 6749 §4.4) or of a user's sign-in.
    Token,
    /// A request with the token.
    Authorization,
    /// The MCP revisions.
    Revisions,
    /// `tools/list`.
    Tools,
    /// A call of a tool that changes nothing.
    Call,
    /// The time of the responses.
    Latency,
    /// Responses with status 429.
    RateLimits,
}

impl Check {
    /// Every check, in dependency order.
    pub const ALL: [Self; 35] = [
        Self::Cluster,
        Self::Definitions,
        Self::Resource,
        Self::Operator,
        Self::References,
        Self::Pods,
        Self::Quota,
        Self::Service,
        Self::Exposure,
        Self::Certificate,
        Self::NetworkPolicy,
        Self::Conditions,
        Self::Events,
        Self::Url,
        Self::Dns,
        Self::Tcp,
        Self::Tls,
        Self::Http,
        Self::Clock,
        Self::Challenge,
        Self::ResourceMetadata,
        Self::IssuerMetadata,
        Self::Jwks,
        Self::ClientMetadata,
        Self::Logins,
        Self::Cors,
        Self::Clients,
        Self::Grants,
        Self::Token,
        Self::Authorization,
        Self::Revisions,
        Self::Tools,
        Self::Call,
        Self::Latency,
        Self::RateLimits,
    ];

    /// Its stable name, in kebab-case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Definitions => "definitions",
            Self::Resource => "resource",
            Self::Operator => "operator",
            Self::References => "references",
            Self::Pods => "pods",
            Self::Quota => "quota",
            Self::Service => "service",
            Self::Exposure => "exposure",
            Self::Certificate => "certificate",
            Self::NetworkPolicy => "network-policy",
            Self::Conditions => "conditions",
            Self::Events => "events",
            Self::Url => "url",
            Self::Dns => "dns",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Http => "http",
            Self::Clock => "clock",
            Self::Challenge => "challenge",
            Self::ResourceMetadata => "resource-metadata",
            Self::IssuerMetadata => "issuer-metadata",
            Self::Jwks => "jwks",
            Self::ClientMetadata => "client-metadata",
            Self::Logins => "logins",
            Self::Cors => "cors",
            Self::Clients => "clients",
            Self::Grants => "grants",
            Self::Token => "token",
            Self::Authorization => "authorization",
            Self::Revisions => "revisions",
            Self::Tools => "tools",
            Self::Call => "call",
            Self::Latency => "latency",
            Self::RateLimits => "rate-limits",
        }
    }

    /// Whether it examines the cluster, for which it needs a kubeconfig.
    #[must_use]
    pub const fn is_of_cluster(self) -> bool {
        matches!(
            self,
            Self::Cluster
                | Self::Definitions
                | Self::Resource
                | Self::Operator
                | Self::References
                | Self::Pods
                | Self::Quota
                | Self::Service
                | Self::Exposure
                | Self::Certificate
                | Self::NetworkPolicy
                | Self::Conditions
                | Self::Events
                | Self::Clients
                | Self::Grants
        )
    }

    /// The checks without whose success this one says nothing. If one of them failed or was skipped, this one is skipped.
    #[must_use]
    pub const fn requires(self) -> &'static [Self] {
        match self {
            Self::Cluster | Self::Url => &[],
            Self::Definitions => &[Self::Cluster],
            Self::Resource => &[Self::Definitions],
            Self::Operator
            | Self::References
            | Self::Pods
            | Self::Quota
            | Self::Service
            | Self::Exposure
            | Self::Certificate
            | Self::NetworkPolicy
            | Self::Conditions
            | Self::Events
            | Self::Clients
            | Self::Grants => &[Self::Resource],
            Self::Dns => &[Self::Url],
            Self::Tcp => &[Self::Dns],
            Self::Tls => &[Self::Tcp],
            Self::Http => &[Self::Tls],
            Self::Clock | Self::Challenge | Self::ResourceMetadata | Self::Cors | Self::Latency | Self::RateLimits => {
                &[Self::Http]
            }
            Self::IssuerMetadata => &[Self::ResourceMetadata],
            Self::Jwks | Self::ClientMetadata | Self::Logins | Self::Token => &[Self::IssuerMetadata],
            Self::Authorization => &[Self::Token],
            Self::Revisions | Self::Tools => &[Self::Authorization],
            Self::Call => &[Self::Tools],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_requires_only_earlier_ones() {
        for (position, check) in Check::ALL.into_iter().enumerate() {
            for required in check.requires() {
                assert!(Check::ALL[..position].contains(required), "{check:?} requires {required:?}");
            }
        }
    }

    #[test]
    fn names_are_unique_and_in_kebab_case() {
        let mut names = Check::ALL.map(Check::name).to_vec();
        assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Check::ALL.len());
    }
}
