//! The metadata documents of a protected resource (RFC 9728) and of its authorization server (RFC 8414), and what a
//! client must check in them.

use portcullis_core::{PublicUrl, loopback::is_secure};
use serde::Deserialize;
use url::Url;

/// Why a metadata document cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// The document is about another resource (RFC 9728 §3.3).
    #[error(
        "the protected resource metadata is that of {found}, not of {expected}; use the URL {found}, or ask an administrator to correct spec.url or spec.pathAliases of the McpEndpoint"
    )]
    OtherResource {
        /// The resource in the document.
        found: String,
        /// The URL of the endpoint.
        expected: String,
    },
    /// The resource has no authorization server.
    #[error("the protected resource metadata names no authorization server, so no token can be requested")]
    NoAuthorizationServer,
    /// The document is about another issuer (RFC 8414 §3.3).
    #[error("the authorization server metadata is that of the issuer {found}, not of {expected}")]
    OtherIssuer {
        /// The issuer in the document.
        found: String,
        /// The issuer that the resource names.
        expected: String,
    },
    /// A URL is neither https nor of a loopback address.
    #[error(
        "{name} is {url:?}; it must begin with https://, or with http:// and a loopback address if the endpoint does"
    )]
    Insecure {
        /// The name of the member.
        name: &'static str,
        /// The URL.
        url: String,
    },
    /// The authorization server has no sign-in for users.
    #[error(
        "this endpoint has no sign-in for users; ask an administrator for an entry in spec.login, or use --client-id with --client-secret-file"
    )]
    NoSignIn,
    /// The authorization server does not support PKCE with S256.
    #[error("the authorization server does not support PKCE with S256, which a sign-in needs")]
    NoPkce,
}

/// The members of the protected resource metadata that a client uses.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ResourceMetadata {
    pub resource: String,
    #[serde(default)]
    authorization_servers: Vec<String>,
    #[serde(default)]
    pub scopes_supported: Vec<String>,
}

impl ResourceMetadata {
    /// Checks the document of `endpoint`, and returns the issuer of its authorization server.
    pub(super) fn issuer(&self, endpoint: &PublicUrl) -> Result<Url, MetadataError> {
        let expected = endpoint.resource();
        if self.resource.strip_suffix('/').unwrap_or(&self.resource) != expected {
            return Err(MetadataError::OtherResource { found: self.resource.clone(), expected });
        }
        let issuer = self.authorization_servers.first().ok_or(MetadataError::NoAuthorizationServer)?;
        secure("authorization_servers", issuer, endpoint)
    }
}

/// The members of the authorization server metadata that a client uses.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct ServerMetadata {
    issuer: String,
    authorization_endpoint: Option<String>,
    token_endpoint: String,
    revocation_endpoint: Option<String>,
    registration_endpoint: Option<String>,
    #[serde(default)]
    response_types_supported: Vec<String>,
    #[serde(default)]
    code_challenge_methods_supported: Vec<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// An authorization server after all checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationServer {
    /// The issuer, exactly as the server spells it.
    pub issuer: String,
    /// The authorization endpoint, if users can sign in.
    pub authorization: Option<Url>,
    /// The token endpoint.
    pub token: Url,
    /// The revocation endpoint (RFC 7009).
    pub revocation: Option<Url>,
    /// The registration endpoint (RFC 7591).
    pub registration: Option<Url>,
    /// Whether every authorization response has `iss` (RFC 9207).
    pub sends_iss: bool,
}

impl ServerMetadata {
    /// Checks the document of `issuer`. Endpoints of sign-ins are left out if the server has no sign-in.
    pub(super) fn check(self, issuer: &Url, endpoint: &PublicUrl) -> Result<AuthorizationServer, MetadataError> {
        // A URL type adds the slash of an empty path.
        if self.issuer != issuer.as_str() && self.issuer != issuer.as_str().trim_end_matches('/') {
            return Err(MetadataError::OtherIssuer { found: self.issuer, expected: issuer.to_string() });
        }
        let url = |name, text: Option<String>| text.map(|text| secure(name, &text, endpoint)).transpose();
        let signs_in = self.response_types_supported.iter().any(|kind| kind == "code");
        if signs_in && !self.code_challenge_methods_supported.iter().any(|method| method == "S256") {
            return Err(MetadataError::NoPkce);
        }
        Ok(AuthorizationServer {
            authorization: url("authorization_endpoint", self.authorization_endpoint.filter(|_| signs_in))?,
            token: secure("token_endpoint", &self.token_endpoint, endpoint)?,
            revocation: url("revocation_endpoint", self.revocation_endpoint)?,
            registration: url("registration_endpoint", self.registration_endpoint)?,
            sends_iss: self.authorization_response_iss_parameter_supported,
            issuer: self.issuer,
        })
    }
}

/// Parses a URL that gets secrets. Plain http is for loopback addresses, if the endpoint is at one too.
pub(super) fn secure(name: &'static str, text: &str, endpoint: &PublicUrl) -> Result<Url, MetadataError> {
    let insecure = || MetadataError::Insecure { name, url: text.to_owned() };
    let url = Url::parse(text).map_err(|_| insecure())?;
    if is_secure(&url, !endpoint.is_https()) { Ok(url) } else { Err(insecure()) }
}

/// The URL of an issuer's metadata: the well-known part comes before the issuer's path (RFC 8414 §3.1).
pub(super) fn server_metadata_url(issuer: &Url) -> Url {
    let path = issuer.path().trim_end_matches('/').to_owned();
    let mut url = issuer.clone();
    url.set_path(&format!("/.well-known/oauth-authorization-server{path}"));
    url
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn endpoint(url: &str) -> PublicUrl {
        url.parse().unwrap()
    }

    fn resource(document: Value) -> ResourceMetadata {
        serde_json::from_value(document).unwrap()
    }

    #[test]
    fn a_resource_document_must_be_about_the_endpoint() {
        let url = endpoint("https://h.example.com/team/mcp");
        for (name, servers, expected) in [
            ("https://h.example.com/team/mcp", json!(["https://h.example.com/team"]), Ok("https://h.example.com/team")),
            ("https://h.example.com/team/mcp/", json!(["https://a.example.com"]), Ok("https://a.example.com/")),
            ("https://evil.example.com/team/mcp", json!(["https://h.example.com"]), Err("https://evil")),
            ("https://h.example.com/team", json!(["https://h.example.com"]), Err("https://h.example.com/team")),
            ("https://h.example.com/team/mcp", json!([]), Err("no authorization server")),
            ("https://h.example.com/team/mcp", json!(["http://127.0.0.1:1"]), Err("must begin with https://")),
        ] {
            let found = resource(json!({"resource": name, "authorization_servers": servers})).issuer(&url);
            match expected {
                Ok(issuer) => assert_eq!(found.unwrap().as_str(), issuer, "{name}"),
                Err(part) => assert!(found.unwrap_err().to_string().contains(part), "{name}"),
            }
        }
    }

    #[test]
    fn the_well_known_part_comes_before_the_path() {
        for (issuer, expected) in [
            ("https://h.example.com", "https://h.example.com/.well-known/oauth-authorization-server"),
            ("https://h.example.com/a/b", "https://h.example.com/.well-known/oauth-authorization-server/a/b"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/.well-known/oauth-authorization-server"),
        ] {
            assert_eq!(server_metadata_url(&issuer.parse().unwrap()).as_str(), expected);
        }
    }

    fn server() -> Value {
        json!({
            "issuer": "https://h.example.com/team",
            "authorization_endpoint": "https://h.example.com/team/authorize",
            "token_endpoint": "https://h.example.com/team/token",
            "revocation_endpoint": "https://h.example.com/team/revoke",
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": true,
        })
    }

    fn checked(change: impl FnOnce(&mut Value)) -> Result<AuthorizationServer, MetadataError> {
        let mut document = server();
        change(&mut document);
        let metadata: ServerMetadata = serde_json::from_value(document).unwrap();
        metadata.check(&"https://h.example.com/team".parse().unwrap(), &endpoint("https://h.example.com/team/mcp"))
    }

    #[test]
    fn a_server_document_must_be_that_of_the_issuer_and_secure() {
        let server = checked(|_| {}).unwrap();
        assert_eq!(server.issuer, "https://h.example.com/team");
        assert_eq!(server.token.as_str(), "https://h.example.com/team/token");
        assert!(server.sends_iss && server.registration.is_none() && server.authorization.is_some());

        let without_sign_in = checked(|document| document["response_types_supported"] = json!([])).unwrap();
        assert_eq!(without_sign_in.authorization, None);

        for (member, value, part) in [
            ("issuer", json!("https://evil.example.com/team"), "that of the issuer"),
            ("issuer", json!("https://h.example.com/team/"), "that of the issuer"),
            ("token_endpoint", json!("http://h.example.com/token"), "token_endpoint is"),
            ("token_endpoint", json!("http://127.0.0.1/token"), "token_endpoint is"),
            ("revocation_endpoint", json!("file:///x"), "revocation_endpoint is"),
            ("authorization_endpoint", json!("javascript:alert(1)"), "authorization_endpoint is"),
            ("registration_endpoint", json!("no URL"), "registration_endpoint is"),
            ("code_challenge_methods_supported", json!(["plain"]), "PKCE"),
        ] {
            let error = checked(|document| document[member] = value.clone()).unwrap_err().to_string();
            assert!(error.contains(part), "{member} {value}: {error}");
        }
    }

    #[test]
    fn plain_http_is_for_loopback_endpoints() {
        let local = endpoint("http://127.0.0.1:8080/mcp");
        assert!(secure("x", "http://localhost:8080/token", &local).is_ok());
        assert!(secure("x", "https://h.example.com/token", &local).is_ok());
        assert!(secure("x", "http://h.example.com/token", &local).is_err());
        assert!(secure("x", "http://127.0.0.1/token", &endpoint("https://h.example.com/mcp")).is_err());
    }
}
