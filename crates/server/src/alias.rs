//! Further paths of the endpoint (`spec.pathAliases`). A request to an alias is rewritten to the endpoint's own path
//! first, and keeps the URL by which the client knows the endpoint: for that client, this is the protected resource
//! (RFC 9728 §3.3: clients compare it). All other code sees only one path.
//!
//! A trailing slash, which users add and clients keep, is ignored.

use axum::extract::Request;
use http::{Uri, uri::PathAndQuery};
use portcullis_config::ServerConfig;
use portcullis_core::PublicUrl;
use portcullis_oauth::{challenge::Resource, metadata::ROOT_RESOURCE_METADATA};

/// The aliases of one endpoint.
pub(crate) struct Aliases {
    own: PublicUrl,
    /// Sorted by length, the longest first: an alias may be below another one.
    urls: Vec<PublicUrl>,
}

impl Aliases {
    pub(crate) fn new(config: &ServerConfig) -> Self {
        let mut urls: Vec<PublicUrl> = config.path_aliases.iter().map(|path| config.url.at_path(path)).collect();
        urls.sort_by_key(|url| std::cmp::Reverse(url.path().len()));
        Self { own: config.url.clone(), urls }
    }

    /// Rewrites a request to an alias, or below one, to the endpoint's own path.
    pub(crate) fn resolve(&self, request: &mut Request) {
        let path = self.without_slash(request.uri().path());
        let alias = self.alias(path);
        let Some(uri) = self.resolved(request.uri(), path, alias) else { return };
        *request.uri_mut() = uri;
        if let Some(alias) = alias {
            request.extensions_mut().insert(Resource(alias.clone()));
        }
    }

    /// The path of an endpoint, or of its metadata, without the trailing slash.
    fn without_slash<'p>(&self, path: &'p str) -> &'p str {
        let Some(plain) = path.strip_suffix('/') else { return path };
        let resource = plain.strip_prefix(ROOT_RESOURCE_METADATA).unwrap_or(plain);
        let is_endpoint = self.urls.iter().chain([&self.own]).any(|url| url.path() == resource);
        if is_endpoint { plain } else { path }
    }

    fn alias(&self, path: &str) -> Option<&PublicUrl> {
        let alias = self.urls.iter().find(|alias| below(path, alias).is_some())?;
        // The endpoint's own path may be below an alias too.
        let own = alias.path().len() < self.own.path().len() && below(path, &self.own).is_some();
        (!own).then_some(alias)
    }

    /// The rewritten URI of a request for `path`; `None` if it does not change.
    fn resolved(&self, uri: &Uri, path: &str, alias: Option<&PublicUrl>) -> Option<Uri> {
        let path = match alias {
            Some(alias) => format!("{}{}", self.own.path(), below(path, alias)?),
            None if path != uri.path() => path.to_owned(),
            None => return None,
        };
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::try_from(format!("{path}{query}")).ok()?);
        Uri::from_parts(parts).ok()
    }
}

/// The rest of a path below the path of an endpoint; `None` if it is not below it.
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
        let mut request = Request::new(axum::body::Body::empty());
        *request.uri_mut() = uri.parse().unwrap();
        aliases.resolve(&mut request);
        let alias = request.extensions().get::<Resource>().map_or("", |resource| resource.0.path());
        (request.uri() != uri).then(|| (alias.to_owned(), request.uri().to_string()))
    }

    #[test]
    fn the_longest_path_counts_and_segments_are_whole() {
        let some = |alias: &str, uri: &str| Some((alias.to_owned(), uri.to_owned()));
        for (own, aliases, uri, expected) in [
            ("/mcp", &["/api/http"][..], "/api/http", some("/api/http", "/mcp")),
            ("/mcp", &["/api/http"], "/api/http/workspaces?a=b%2F", some("/api/http", "/mcp/workspaces?a=b%2F")),
            ("/mcp", &["/api/http"], "https://h/api/http/", some("/api/http", "https://h/mcp")),
            ("/mcp", &["/api/http"], "/api/http/?a=b", some("/api/http", "/mcp?a=b")),
            ("/mcp", &["/api/http"], "/mcp/", some("", "/mcp")),
            ("/mcp", &["/api/http"], "/mcp//", None),
            ("/mcp", &["/api/http"], "/mcp/workspaces/", None),
            ("/mcp", &[], "/token/", None),
            (
                "/mcp",
                &["/api/http"],
                "/.well-known/oauth-protected-resource/api/http/",
                some("", "/.well-known/oauth-protected-resource/api/http"),
            ),
            ("/mcp", &[], "/.well-known/oauth-protected-resource/", None),
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
