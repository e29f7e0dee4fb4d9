//! The paths that are routed to an endpoint: its own and no others, so that several endpoints can share a host.

use portcullis_api::McpEndpoint;
use portcullis_core::{
    PublicUrl,
    endpoint_paths::{AI_CATALOG, CONSOLE, RESERVED, ROOT_RESOURCE_METADATA, has_console},
    public_url::PublicUrlError,
};
use std::collections::BTreeSet;

/// A path that is routed to the endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Path {
    /// This path only.
    Exact(String),
    /// This path, and the paths below it.
    Prefix(String),
}

impl Path {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Exact(path) | Self::Prefix(path) => path,
        }
    }
}

/// Every path of an endpoint.
pub(super) fn paths(endpoint: &McpEndpoint, url: &PublicUrl) -> Vec<Path> {
    let base = url.base_path();
    let mut paths = vec![Path::Prefix(url.path().to_owned()), Path::Exact(url.resource_metadata_path())];
    for alias in endpoint.spec.path_aliases.iter().map(|path| url.at_path(path)) {
        paths.extend([Path::Prefix(alias.path().to_owned()), Path::Exact(alias.resource_metadata_path())]);
    }
    if endpoint.spec.external_issuer.is_none() {
        paths.push(Path::Exact(url.issuer_metadata_path()));
        paths.extend(RESERVED.map(|reserved| {
            let path = format!("{base}{}", reserved.path);
            if reserved.below { Path::Prefix(path) } else { Path::Exact(path) }
        }));
        if has_console(url, &endpoint.spec.path_aliases) {
            paths.push(Path::Prefix(format!("{base}{CONSOLE}")));
        }
    }
    if base.is_empty() {
        // Clients of MCP revision 2025-06-18 try this path if the 401 response does not name one.
        paths.push(Path::Exact(ROOT_RESOURCE_METADATA.to_owned()));
        paths.push(Path::Exact(AI_CATALOG.to_owned()));
    }
    paths
}

/// A URL that would be routed to both endpoints, if there is one: only one of them can serve it.
pub fn shared_url(one: &McpEndpoint, other: &McpEndpoint) -> Result<Option<String>, PublicUrlError> {
    let (url, other_url): (PublicUrl, PublicUrl) = (one.spec.url.parse()?, other.spec.url.parse()?);
    if url.origin() != other_url.origin() {
        return Ok(None);
    }
    let others = paths(other, &other_url);
    let others: BTreeSet<&str> = others.iter().map(Path::text).collect();
    // Old clients always try the root path; new ones learn the path from the 401 response.
    let shared = paths(one, &url)
        .into_iter()
        .find(|path| ![ROOT_RESOURCE_METADATA, AI_CATALOG].contains(&path.text()) && others.contains(path.text()));
    Ok(shared.map(|path| format!("{}{}", url.origin(), path.text())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn endpoint(spec: &Value) -> McpEndpoint {
        serde_json::from_value(json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "McpEndpoint", "metadata": {"name": "agents"}, "spec": spec,
        }))
        .unwrap()
    }

    #[test]
    fn endpoints_of_one_host_share_no_path_where_their_issuers_differ() {
        let at = |url: &str| endpoint(&json!({"url": url}));
        let external =
            |url: &str| endpoint(&json!({"url": url, "externalIssuer": {"issuerUrl": "https://idp.example.com"}}));
        let alias = |url: &str, alias: &str| endpoint(&json!({"url": url, "pathAliases": [alias]}));
        for (one, other, shared) in vec![
            (at("https://h/a/mcp"), at("https://h/b/mcp"), None),
            (at("https://h/a/mcp"), at("https://h/mcp"), None),
            (at("https://h/a/mcp"), at("https://h/a/b/mcp"), None),
            (at("https://h/mcp"), at("https://g/mcp"), None),
            (at("https://h/mcp"), at("https://h:8443/mcp"), None),
            (at("https://h/mcp"), at("https://h/mcp"), Some("https://h/mcp")),
            // Both have the same issuer, and therefore the same paths of the issuer.
            (at("https://h/one"), at("https://h/two"), Some("https://h/.well-known/oauth-authorization-server")),
            (external("https://h/one"), external("https://h/two"), None),
            (external("https://h/one"), at("https://h/two"), None),
            (alias("https://h/a/mcp", "/old"), at("https://h/b/mcp"), None),
            (alias("https://h/a/mcp", "/b/mcp"), at("https://h/b/mcp"), Some("https://h/b/mcp")),
            (alias("https://h/a/mcp", "/old"), alias("https://h/b/mcp", "/old"), Some("https://h/old")),
        ] {
            assert_eq!(shared_url(&one, &other).unwrap().as_deref(), shared, "{} {}", one.spec.url, other.spec.url);
            assert_eq!(shared_url(&other, &one).unwrap().is_some(), shared.is_some());
        }
    }

    #[test]
    fn well_known_documents_are_at_inserted_paths() {
        let url: PublicUrl = "https://h/a/mcp".parse().unwrap();
        let endpoint = endpoint(&json!({"url": "https://h/a/mcp", "pathAliases": ["/api/x/http"]}));
        let paths = paths(&endpoint, &url);
        for path in [
            "/.well-known/oauth-protected-resource/a/mcp",
            "/.well-known/oauth-authorization-server/a",
            "/.well-known/oauth-protected-resource/api/x/http",
        ] {
            assert!(paths.contains(&Path::Exact(path.to_owned())), "{path}");
        }
        assert!(paths.contains(&Path::Prefix("/api/x/http".to_owned())));
        assert!(!paths.iter().any(|path| path.text() == ROOT_RESOURCE_METADATA), "that is another endpoint's");
    }
}
