//! The allowed web origins (RFC 6454): MCP requires a check of `Origin`.
//!
//! An origin is compared with a list, not with `Host`, so this check also stops DNS rebinding. `Host` itself is checked
//! only at the MCP edge.

use http::{HeaderMap, header};

/// The endpoint's own origin and those of its configuration.
#[derive(Clone, Debug)]
pub(crate) struct Origins {
    own: String,
    patterns: Vec<Pattern>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Exact(String),
    /// `https://*.example.com`: the parts before and after one or more labels.
    Subdomains {
        scheme: String,
        suffix: String,
    },
}

impl Origins {
    pub(crate) fn new(own: &str, allowed: &[String]) -> Self {
        Self { own: own.to_owned(), patterns: allowed.iter().map(|text| Pattern::new(text)).collect() }
    }

    /// Whether a request with these headers is allowed: it has no `Origin`, or only allowed ones.
    pub(crate) fn admit(&self, headers: &HeaderMap) -> bool {
        headers.get_all(header::ORIGIN).iter().all(|origin| origin.to_str().is_ok_and(|origin| self.allow(origin)))
    }

    /// Whether this origin is allowed.
    pub(crate) fn allow(&self, origin: &str) -> bool {
        origin == self.own || self.patterns.iter().any(|pattern| pattern.matches(origin))
    }
}

impl Pattern {
    fn new(text: &str) -> Self {
        // Browsers omit the default port.
        let text = match text.split_once("://") {
            Some(("https", rest)) => format!("https://{}", rest.strip_suffix(":443").unwrap_or(rest)),
            Some(("http", rest)) => format!("http://{}", rest.strip_suffix(":80").unwrap_or(rest)),
            _ => text.to_owned(),
        };
        match text.split_once("://*.") {
            Some((scheme, domain)) => Self::Subdomains { scheme: format!("{scheme}://"), suffix: format!(".{domain}") },
            None => Self::Exact(text),
        }
    }

    fn matches(&self, origin: &str) -> bool {
        match self {
            Self::Exact(text) => text == origin,
            Self::Subdomains { scheme, suffix } => origin
                .strip_prefix(scheme.as_str())
                .and_then(|rest| rest.strip_suffix(suffix.as_str()))
                .is_some_and(|labels| labels.split('.').all(is_label)),
        }
    }
}

fn is_label(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn origins_are_matched_whole() {
        let allowed = ["https://claude.ai", "https://*.example.com", "https://*.dev.test:8443", "https://p.test:443"];
        let origins = Origins::new("https://mcp.example.org", &allowed.map(str::to_owned));
        for origin in [
            "https://mcp.example.org",
            "https://claude.ai",
            "https://a.example.com",
            "https://a.b.example.com",
            "https://x.dev.test:8443",
            "https://p.test",
        ] {
            assert!(origins.allow(origin), "{origin}");
        }
        for origin in [
            "",
            "null",
            "*",
            "http://claude.ai",
            "https://claude.ai:8443",
            "https://claude.ai.evil.com",
            "https://evilclaude.ai",
            "https://CLAUDE.ai",
            "https://example.com",
            "https://.example.com",
            "https://a..example.com",
            "https://evil.com/.example.com",
            "https://evil.com#.example.com",
            "https://user@a.example.com",
            "https://evilexample.com",
            "https://a.example.com:8443",
            "https://x.dev.test",
            "https://mcp.example.org/",
        ] {
            assert!(!origins.allow(origin), "{origin}");
        }
    }

    #[test]
    fn a_request_without_origin_passes_and_every_one_given_counts() {
        let origins = Origins::new("https://h", &[]);
        let with = |values: &[&'static str]| {
            values.iter().map(|value| (header::ORIGIN, HeaderValue::from_static(value))).collect::<HeaderMap>()
        };
        assert!(origins.admit(&with(&[])) && origins.admit(&with(&["https://h"])));
        assert!(!origins.admit(&with(&["https://evil"])) && !origins.admit(&with(&["https://h", "https://evil"])));
    }
}
