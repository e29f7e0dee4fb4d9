//! The checks, in the order of causes, and what each of them requires.

/// One check. The order is that of causes: a failure is explained by the first failed check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
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
    /// Requests of web pages (the Fetch standard's CORS protocol), for each origin.
    Cors,
    /// A token by client credentials (RFC 6749 §4.4).
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
    /// Every check, in the order of causes.
    pub const ALL: [Self; 18] = [
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
        Self::Cors,
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
            Self::Cors => "cors",
            Self::Token => "token",
            Self::Authorization => "authorization",
            Self::Revisions => "revisions",
            Self::Tools => "tools",
            Self::Call => "call",
            Self::Latency => "latency",
            Self::RateLimits => "rate-limits",
        }
    }

    /// The checks without whose success this one says nothing. If one of them failed or was skipped, this one is skipped.
    #[must_use]
    pub const fn requires(self) -> &'static [Self] {
        match self {
            Self::Url => &[],
            Self::Dns => &[Self::Url],
            Self::Tcp => &[Self::Dns],
            Self::Tls => &[Self::Tcp],
            Self::Http => &[Self::Tls],
            Self::Clock | Self::Challenge | Self::ResourceMetadata | Self::Cors | Self::Latency | Self::RateLimits => {
                &[Self::Http]
            }
            Self::IssuerMetadata => &[Self::ResourceMetadata],
            Self::Jwks | Self::Token => &[Self::IssuerMetadata],
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
