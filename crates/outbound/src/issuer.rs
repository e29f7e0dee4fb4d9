//! The metadata and the keys of an issuer, such as an OpenID provider or an external authorization server (RFC 8414,
//! OpenID Connect Discovery 1.0, RFC 7517). Every call sends requests; the callers cache.

use crate::{HttpClient, RequestError, ResponseError};
use http::StatusCode;
use portcullis_core::loopback::is_secure;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use url::Url;

/// The members of an issuer's metadata that a caller uses.
pub trait IssuerMetadata: DeserializeOwned {
    /// The issuer.
    fn issuer(&self) -> &str;

    /// The URLs that get secrets or have keys.
    fn endpoints(&self) -> Vec<&str>;
}

/// The possible URLs of the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WellKnown {
    /// The URL of OpenID Connect Discovery 1.0 §4.
    OpenId,
    /// The URLs of the MCP specification, in its order: RFC 8414 §3.1, then OpenID Connect Discovery with the well-known
    /// path inserted, then with the well-known path appended.
    Any,
}

/// A client of one issuer.
#[derive(Clone, Debug)]
pub struct IssuerClient {
    issuer: String,
    http: HttpClient,
}

/// Why the metadata or the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// The issuer is not a URL.
    #[error("issuerUrl is not a URL")]
    Url(#[from] url::ParseError),
    /// There is no response.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The response is not the expected document.
    #[error(transparent)]
    Response(#[from] ResponseError),
    /// None of the possible URLs has a document.
    #[error("no metadata at {urls}; check issuerUrl")]
    NotFound {
        /// The URLs.
        urls: String,
        /// The status of the last response.
        status: StatusCode,
    },
    /// The document is about another issuer.
    #[error("the metadata names the issuer {found:?} and not {expected:?}; write issuerUrl exactly as in the metadata")]
    OtherIssuer {
        /// The issuer in the document.
        found: String,
        /// The issuer of the client.
        expected: String,
    },
    /// A URL of the document is neither https, nor http on a loopback address like the issuer.
    #[error("the metadata has an endpoint that is not https")]
    Insecure,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

impl IssuerClient {
    /// A client of `issuer`. Sends no request.
    #[must_use]
    pub fn new(issuer: String, http: HttpClient) -> Self {
        Self { issuer, http }
    }

    /// The issuer.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Fetches and checks the metadata.
    pub async fn metadata<M: IssuerMetadata>(&self, at: WellKnown) -> Result<M, IssuerError> {
        let urls = self.urls(at)?;
        let mut status = StatusCode::NOT_FOUND;
        for url in &urls {
            let answer = self.http.send(self.http.get(url)).await?;
            status = answer.status();
            if !status.is_client_error() && !status.is_redirection() {
                let metadata: M = answer.object()?;
                return self.check(&metadata).map(|()| metadata);
            }
        }
        Err(IssuerError::NotFound { urls: urls.join(", "), status })
    }

    /// Checks that the metadata is the issuer's own, and that its endpoints are safe for secrets.
    pub fn check(&self, metadata: &impl IssuerMetadata) -> Result<(), IssuerError> {
        // Otherwise, the document could be another issuer's (RFC 8414 §3.3, OpenID Connect Discovery 1.0 §4.3).
        if metadata.issuer() != self.issuer {
            let found = metadata.issuer().to_owned();
            return Err(IssuerError::OtherIssuer { found, expected: self.issuer.clone() });
        }
        let allows_http = self.issuer.starts_with("http://");
        let is_safe = |endpoint: &str| Url::parse(endpoint).is_ok_and(|endpoint| is_secure(&endpoint, allows_http));
        if metadata.endpoints().into_iter().all(is_safe) { Ok(()) } else { Err(IssuerError::Insecure) }
    }

    /// Fetches the key set at `jwks_uri`, which is from checked metadata.
    pub async fn keys(&self, jwks_uri: &str) -> Result<Vec<Value>, IssuerError> {
        let KeySet { keys } = self.http.send(self.http.get(jwks_uri)).await?.object()?;
        Ok(keys)
    }

    fn urls(&self, at: WellKnown) -> Result<Vec<String>, url::ParseError> {
        // OpenID Connect Discovery 1.0 §4.1: a trailing slash of the issuer is removed first.
        let appended = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        if at == WellKnown::OpenId {
            return Ok(vec![appended]);
        }
        let url = Url::parse(&self.issuer)?;
        let origin = url.origin().ascii_serialization();
        let path = url.path().trim_end_matches('/');
        let mut urls = vec![
            format!("{origin}/.well-known/oauth-authorization-server{path}"),
            format!("{origin}/.well-known/openid-configuration{path}"),
            appended,
        ];
        urls.dedup();
        Ok(urls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outbound;

    #[derive(Deserialize)]
    struct Metadata {
        issuer: String,
        jwks_uri: String,
    }

    impl IssuerMetadata for Metadata {
        fn issuer(&self) -> &str {
            &self.issuer
        }

        fn endpoints(&self) -> Vec<&str> {
            vec![&self.jwks_uri]
        }
    }

    fn client(issuer: &str) -> IssuerClient {
        let _ = rustls::crypto::ring::default_provider().install_default();
        IssuerClient::new(issuer.to_owned(), Outbound::new().unwrap().trusted(None).unwrap())
    }

    #[test]
    fn metadata_has_the_urls_of_the_specifications() {
        let appended = "https://idp.example/realms/a/.well-known/openid-configuration";
        for issuer in ["https://idp.example/realms/a", "https://idp.example/realms/a/"] {
            assert_eq!(client(issuer).urls(WellKnown::OpenId).unwrap(), [appended]);
            assert_eq!(
                client(issuer).urls(WellKnown::Any).unwrap(),
                [
                    "https://idp.example/.well-known/oauth-authorization-server/realms/a",
                    "https://idp.example/.well-known/openid-configuration/realms/a",
                    appended,
                ]
            );
        }
        assert_eq!(client("https://idp.example").urls(WellKnown::Any).unwrap().len(), 2);
        assert!(matches!(client("idp").urls(WellKnown::Any), Err(url::ParseError::RelativeUrlWithoutBase)));
    }

    #[test]
    fn only_the_issuers_own_metadata_with_safe_endpoints_is_accepted() {
        let check = |issuer: &str, found: &str, jwks_uri: &str| {
            client(issuer).check(&Metadata { issuer: found.to_owned(), jwks_uri: jwks_uri.to_owned() })
        };
        let (public, local) = ("https://idp.example", "http://localhost:8080");
        assert!(check(public, public, "https://keys.example/jwks").is_ok());
        assert!(check(local, local, "http://127.0.0.1:8080/jwks").is_ok());
        assert!(matches!(check(public, "https://idp.example/", public), Err(IssuerError::OtherIssuer { .. })));
        for (issuer, jwks_uri) in [
            (public, "http://localhost/jwks"),
            (local, "http://idp.example/jwks"),
            (public, "ftp://idp.example"),
            (public, ""),
        ] {
            assert!(matches!(check(issuer, issuer, jwks_uri), Err(IssuerError::Insecure)), "{issuer} {jwks_uri}");
        }
    }
}
