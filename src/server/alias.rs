//! More paths of the same endpoint (`spec.pathAliases`). At the entrance, a request to one becomes a request to the
//! endpoint's own path, and remembers by which URL the client knows the endpoint: to that client, this is the protected
//! resource (RFC 9728 §3.3: it compares). Everything behind knows one path only.

use crate::{
    config::{PublicUrl, ServerConfig},
    oauth::challenge::Resource,
};
use axum::extract::Request;
use http::{Uri, uri::PathAndQuery};

/// The aliases of one endpoint.
pub struct Aliases {
    own: PublicUrl,
    /// The longest first: one may lie below another.
    urls: Vec<PublicUrl>,
}

impl Aliases {
    pub fn new(config: &ServerConfig) -> Self {
        let mut urls: Vec<PublicUrl> = config.path_aliases.iter().map(|path| config.url.at_path(path)).collect();
        urls.sort_by_key(|url| std::cmp::Reverse(url.path().len()));
        Self { own: config.url.clone(), urls }
    }

    /// Has a request to an alias, or below one, ask at the endpoint's own path.
    pub fn resolve(&self, request: &mut Request) {
        let Some((alias, uri)) = self.resolved(request.uri()) else { return };
        *request.uri_mut() = uri;
        request.extensions_mut().insert(Resource(alias.clone()));
    }

    fn resolved(&self, uri: &Uri) -> Option<(&PublicUrl, Uri)> {
        let alias = self.urls.iter().find(|alias| below(uri.path(), alias).is_some())?;
        // The endpoint's own path may lie below an alias too.
        if alias.path().len() < self.own.path().len() && below(uri.path(), &self.own).is_some() {
            return None;
        }
        let rest = below(uri.path(), alias)?;
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let path = PathAndQuery::try_from(format!("{}{rest}{query}", self.own.path())).ok()?;
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(path);
        Some((alias, Uri::from_parts(parts).ok()?))
    }
}

/// What of a path lies below an endpoint's: nothing, or a path of its own.
fn below<'p>(path: &'p str, url: &PublicUrl) -> Option<&'p str> {
    path.strip_prefix(url.path()).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(own: &str, aliases: &[&str], uri: &str) -> Option<(String, String)> {
        let own: PublicUrl = format!("https://h{own}").parse().unwrap();
        let mut urls: Vec<PublicUrl> = aliases.iter().map(|path| own.at_path(path)).collect();
        urls.sort_by_key(|url| std::cmp::Reverse(url.path().len()));
        let aliases = Aliases { own, urls };
        let (alias, uri) = aliases.resolved(&uri.parse().unwrap())?;
        Some((alias.path().to_owned(), uri.to_string()))
    }

    #[test]
    fn the_longest_path_counts_and_segments_are_whole() {
        let some = |alias: &str, uri: &str| Some((alias.to_owned(), uri.to_owned()));
        for (own, aliases, uri, expected) in [
            ("/mcp", &["/api/http"][..], "/api/http", some("/api/http", "/mcp")),
            ("/mcp", &["/api/http"], "/api/http/workspaces?a=b%2F", some("/api/http", "/mcp/workspaces?a=b%2F")),
            ("/mcp", &["/api/http"], "https://h/api/http/", some("/api/http", "https://h/mcp/")),
            ("/mcp", &["/api/http"], "/api/https", None),
            ("/mcp", &["/api/http"], "/api", None),
            ("/mcp", &["/api/http"], "/mcp", None),
            ("/mcp", &["/api/http"], "/x/api/http", None),
            ("/mcp", &["/api/http"], "/API/http", None),
            ("/mcp", &[], "/api/http", None),
            ("/mcp", &["/a", "/a/b"], "/a/b/c", some("/a/b", "/mcp/c")),
            ("/mcp", &["/a", "/a/b"], "/a/bc", some("/a", "/mcp/bc")),
            ("/a/mcp", &["/a"], "/a/mcp/x", None),
            ("/a/mcp", &["/a"], "/a/x", some("/a", "/a/mcp/x")),
            ("/mcp", &["/mcp/v1"], "/mcp/v1/workspaces", some("/mcp/v1", "/mcp/workspaces")),
            ("/mcp", &["/mcp/v1"], "/mcp/workspaces", None),
        ] {
            assert_eq!(resolved(own, aliases, uri), expected, "{own} {aliases:?} {uri}");
        }
    }
}
