//! The public URL of an endpoint, and the URLs and paths that are derived from it (RFC 8414, RFC 8707, RFC 9728).

use crate::loopback::is_loopback;
use serde::{Deserialize, Serialize, Serializer};
use std::str::FromStr;
use url::Url;

/// The endpoint's public URL, from which all other URLs and paths are derived.
///
/// The issuer is the URL without its last path segment. `https://h/mcp` has the issuer `https://h`, so that `/token`
/// and similar paths are at the root, where clients of MCP revision 2025-03-26 expect them. `https://h/team/mcp` has
/// the issuer `https://h/team`, so that several endpoints can share a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    origin: String,
    path: String,
}

/// Why a text is not a valid [`PublicUrl`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{url:?} is not a valid endpoint URL: {why}; for example https://mcp.example.com/mcp")]
pub struct PublicUrlError {
    url: String,
    why: &'static str,
}

impl PublicUrlError {
    /// The reason without the URL, which may contain a password.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        self.why
    }
}

impl FromStr for PublicUrl {
    type Err = PublicUrlError;

    fn from_str(text: &str) -> Result<Self, PublicUrlError> {
        let error = |why| PublicUrlError { url: text.to_owned(), why };
        let url = Url::parse(text).map_err(|_| error("it cannot be parsed"))?;
        if url.host().is_none() {
            return Err(error("it has no host"));
        }
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) => {}
            "http" => return Err(error("plain http is for loopback addresses only")),
            _ => return Err(error("it must begin with https://")),
        }
        if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
            return Err(error("it must have no query, fragment or user information"));
        }
        let path = url.path();
        if path == "/" || path.ends_with('/') || path.contains("//") {
            return Err(error("it must have a path without empty segments"));
        }
        Ok(Self { origin: url.origin().ascii_serialization(), path: path.to_owned() })
    }
}

impl PublicUrl {
    /// The complete URL: the MCP endpoint, and the audience of its tokens (RFC 8707).
    #[must_use]
    pub fn resource(&self) -> String {
        format!("{}{}", self.origin, self.path)
    }

    /// Scheme, host and port, as in an `Origin` header.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether clients use TLS, which this process or a proxy in front of it terminates.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.origin.starts_with("https://")
    }

    /// The host, with the port if it is not the scheme's default, as in a `Host` header.
    #[must_use]
    pub fn authority(&self) -> &str {
        self.origin.split_once("://").map_or("", |(_, authority)| authority)
    }

    /// The host without its port; an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let authority = self.authority();
        match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, _)) => address,
            None => authority.split_once(':').map_or(authority, |(host, _)| host),
        }
    }

    /// The host if it is a domain name, not an IP address.
    #[must_use]
    pub fn domain(&self) -> Option<&str> {
        let host = self.host();
        host.parse::<std::net::IpAddr>().is_err().then_some(host)
    }

    /// The path of the MCP endpoint, such as `/mcp`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The prefix of the authorization server's paths: empty, or for example `/team`.
    #[must_use]
    pub fn base_path(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(base, _)| base)
    }

    /// The OAuth issuer (RFC 8414).
    #[must_use]
    pub fn issuer(&self) -> String {
        format!("{}{}", self.origin, self.base_path())
    }

    /// The absolute URL of a path of the authorization server, such as `/token`.
    #[must_use]
    pub fn issuer_url(&self, path: &str) -> String {
        format!("{}{}{path}", self.origin, self.base_path())
    }

    /// The path of the protected resource metadata (RFC 9728 §3.1: inserted before the resource's own path).
    #[must_use]
    pub fn resource_metadata_path(&self) -> String {
        format!("/.well-known/oauth-protected-resource{}", self.path)
    }

    /// The absolute URL of the protected resource metadata.
    #[must_use]
    pub fn resource_metadata_url(&self) -> String {
        format!("{}{}", self.origin, self.resource_metadata_path())
    }

    /// The path of the authorization server metadata (RFC 8414 §3.1).
    #[must_use]
    pub fn issuer_metadata_path(&self) -> String {
        format!("/.well-known/oauth-authorization-server{}", self.base_path())
    }

    /// The same endpoint at another origin, as `portcullis dev` serves it. `origin` has no path.
    #[must_use]
    pub fn at_origin(&self, origin: &str) -> Self {
        Self { origin: origin.to_owned(), path: self.path.clone() }
    }

    /// The same endpoint at another path: one of its aliases.
    #[must_use]
    pub fn at_path(&self, path: &str) -> Self {
        Self { origin: self.origin.clone(), path: path.to_owned() }
    }
}

impl Serialize for PublicUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.resource())
    }
}

impl<'de> Deserialize<'de> for PublicUrl {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_follows_from_the_url() {
        let root: PublicUrl = "https://mcp.example.com/mcp".parse().unwrap();
        assert_eq!(root.resource(), "https://mcp.example.com/mcp");
        assert_eq!(root.issuer(), "https://mcp.example.com");
        assert_eq!(root.issuer_url("/token"), "https://mcp.example.com/token");
        assert_eq!(root.resource_metadata_path(), "/.well-known/oauth-protected-resource/mcp");
        assert_eq!(root.issuer_metadata_path(), "/.well-known/oauth-authorization-server");

        let nested: PublicUrl = "http://127.0.0.1:8080/a/b/mcp".parse().unwrap();
        assert_eq!(nested.authority(), "127.0.0.1:8080");
        assert_eq!(nested.issuer(), "http://127.0.0.1:8080/a/b");
        assert_eq!(nested.issuer_metadata_path(), "/.well-known/oauth-authorization-server/a/b");
        assert_eq!(nested.at_origin("http://localhost:1").resource(), "http://localhost:1/a/b/mcp");
        let alias = nested.at_path("/api/http");
        assert_eq!(
            alias.resource_metadata_url(),
            "http://127.0.0.1:8080/.well-known/oauth-protected-resource/api/http"
        );
    }

    #[test]
    fn a_host_is_a_name_or_an_address() {
        for (url, host, domain) in [
            ("https://mcp.example.com/mcp", "mcp.example.com", Some("mcp.example.com")),
            ("https://mcp.example.com:8443/mcp", "mcp.example.com", Some("mcp.example.com")),
            ("https://192.0.2.1:8443/mcp", "192.0.2.1", None),
            ("https://[2001:db8::1]:8443/mcp", "2001:db8::1", None),
            ("https://[2001:db8::1]/mcp", "2001:db8::1", None),
        ] {
            let url: PublicUrl = url.parse().unwrap();
            assert_eq!((url.host(), url.domain()), (host, domain));
        }
    }

    #[test]
    fn wrong_urls_are_refused() {
        for text in [
            "mcp.example.com/mcp",
            "http://mcp.example.com/mcp",
            "ftp://h/mcp",
            "https://h",
            "https://h/",
            "https://h/mcp/",
            "https://h//mcp",
            "https://h/mcp?a=b",
            "https://h/mcp#f",
            "https://u@h/mcp",
            "https:///mcp//",
        ] {
            assert!(text.parse::<PublicUrl>().is_err(), "{text}");
        }
    }
}
