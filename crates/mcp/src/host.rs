//! The `Host` header (RFC 9110 §7.2), against DNS rebinding: it must name the endpoint's own host, at any port, since
//! proxies and port-forwards stand in front of a pod. An endpoint on this machine answers to every loopback name.

use http::{header::HOST, request::Parts, uri::Authority};
use portcullis_core::{PublicUrl, loopback};

/// The longest host that a refusal repeats.
const MAX_SHOWN: usize = 100;

/// The host names of one endpoint.
#[derive(Clone, Debug)]
pub(super) struct Hosts {
    names: Vec<String>,
    url: String,
}

impl Hosts {
    /// The names that follow from the endpoint's URL.
    pub(super) fn of(url: &PublicUrl) -> Self {
        let host = Authority::try_from(url.authority())
            .map_or_else(|_| url.authority().to_owned(), |authority| authority.host().to_owned());
        let is_loopback = loopback::HOSTS.contains(&host.as_str());
        let names = if is_loopback { loopback::HOSTS.map(str::to_owned).to_vec() } else { vec![host] };
        Self { names, url: url.resource() }
    }

    /// The names.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Why the host of a request is refused, and what to do. `None` if it is the endpoint's, and if it is missing or
    /// malformed, which rmcp refuses.
    pub(super) fn refusal(&self, parts: &Parts) -> Option<String> {
        let host = host_of(parts)?;
        let name = host.host();
        if self.names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return None;
        }
        let shown: String = name.chars().take(MAX_SHOWN).collect();
        let expected = self.names.first().map(String::as_str).unwrap_or_default();
        Some(format!(
            "the Host header names {shown:?}, which is not a host of this endpoint; send requests to {}, or, through a \
             port-forward or a proxy, with the header Host: {expected}",
            self.url
        ))
    }
}

/// The host that a request names: in HTTP/2 it may be a part of the target URI only.
fn host_of(parts: &Parts) -> Option<Authority> {
    match parts.headers.get(HOST) {
        Some(host) => host.to_str().ok()?.parse().ok(),
        None => parts.uri.authority().cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn refusal(url: &str, request: http::request::Builder) -> Option<String> {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        Hosts::of(&url.parse().unwrap()).refusal(&parts)
    }

    #[test]
    fn names_follow_from_the_url() {
        let names = |url: &str| Hosts::of(&url.parse().unwrap()).names;
        assert_eq!(names("https://mcp.example.com/mcp"), ["mcp.example.com"]);
        assert_eq!(names("https://mcp.example.com:8443/mcp"), ["mcp.example.com"]);
        assert_eq!(names("http://127.0.0.1:8080/mcp"), ["localhost", "127.0.0.1", "[::1]"]);
    }

    #[test]
    fn a_refusal_names_the_url_and_the_header() {
        let url = "https://mcp.example.com:8443/mcp";
        for host in ["mcp.example.com", "MCP.example.com:1", "mcp.example.com:8443", "", "mcp.example.com:", "a b"] {
            assert_eq!(refusal(url, Request::builder().header(HOST, host)), None, "{host:?}");
        }
        let said = refusal(url, Request::builder().header(HOST, "localhost:8080")).unwrap();
        assert_eq!(
            said,
            "the Host header names \"localhost\", which is not a host of this endpoint; send requests to \
             https://mcp.example.com:8443/mcp, or, through a port-forward or a proxy, with the header Host: mcp.example.com"
        );
        let long = refusal(url, Request::builder().header(HOST, "a".repeat(1000))).unwrap();
        assert!(long.len() < 400, "{long}");
        assert!(refusal(url, Request::builder().uri("https://evil.example/mcp")).is_some(), "HTTP/2");
        assert_eq!(refusal("http://127.0.0.1:8080/mcp", Request::builder().header(HOST, "localhost:9")), None);
    }
}
