//! Access tokens of an external authorization server (RFC 9068, and the deviations of real servers). The endpoint is
//! only a resource server.
//!
//! While the issuer cannot be reached, tokens with known keys are still accepted. A token with an unknown key is then
//! answered with 503 instead of 401: after a 401, a client would let its user sign in again, at an issuer that is down.

use crate::{
    Caller,
    external_jwt::{IssuerKeys, JwtError, KeySource, Published, Verified},
};
use async_trait::async_trait;
use jiff::Timestamp;
use portcullis_core::authorization::ExternalIssuer;
use portcullis_outbound::HttpClient;
use serde::Deserialize;
use serde_json::Value;
use std::{collections::BTreeSet, error::Error};
use url::Url;

/// The prefix of user ids from an external issuer. User ids from a login begin with the login's name instead.
pub(super) const USER_PREFIX: &str = "external:";

/// Verifies the tokens of one issuer for one endpoint.
#[derive(Debug)]
pub struct ExternalTokens {
    audience: String,
    username_claim: String,
    keys: IssuerKeys,
}

impl ExternalTokens {
    /// A verifier for tokens of `issuer` at the endpoint `resource`. Sends no request.
    #[must_use]
    pub fn new(issuer: &ExternalIssuer, resource: String, client: HttpClient) -> Self {
        Self {
            audience: issuer.audience.clone().unwrap_or(resource),
            username_claim: issuer.username_claim.clone(),
            keys: IssuerKeys::new(Discovery { issuer: issuer.issuer_url.clone(), client }),
        }
    }

    /// Verifies a presented token.
    pub async fn verify(&self, token: &str, now: Timestamp) -> Result<Caller, JwtError> {
        let verified = self.keys.verify(token, &self.audience, now).await?;
        self.caller(&verified, now)
    }

    fn caller(&self, Verified { typ, claims }: &Verified, now: Timestamp) -> Result<Caller, JwtError> {
        // Keycloak and others issue access tokens with the type `JWT`, like ID tokens, which have other claims.
        let is_id_token = || {
            let kind = claims.text("typ").is_some_and(|kind| !kind.eq_ignore_ascii_case("Bearer"));
            kind || ["at_hash", "c_hash", "s_hash"].iter().any(|claim| claims.get(claim).is_some())
        };
        match typ.as_str() {
            "at+jwt" => {}
            "jwt" if !is_id_token() => {}
            _ => return Err(JwtError::Type),
        }
        let words: Vec<&str> = match claims.get("scope").or_else(|| claims.get("scp")) {
            Some(Value::String(words)) => words.split_ascii_whitespace().collect(),
            Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).collect(),
            _ => return Err(JwtError::Type),
        };
        let client = claims.text("client_id").or_else(|| claims.text("azp"));
        let subject = claims.text("sub").ok_or(JwtError::MissingClaim("sub"))?;
        Ok(Caller {
            client_id: client.ok_or(JwtError::Claim("it has neither client_id nor azp"))?.to_owned(),
            subject: format!("{USER_PREFIX}{subject}"),
            user_name: claims.text(&self.username_claim).map(ToOwned::to_owned),
            grant: None,
            // A scope that is unknown here grants nothing.
            scopes: words.into_iter().filter_map(|word| word.parse().ok()).collect::<BTreeSet<_>>(),
            issued_at: claims.time("iat").unwrap_or(now),
            expires_at: claims.time("exp").ok_or(JwtError::MissingClaim("exp"))?,
        })
    }
}

/// The issuer's metadata and keys, over HTTPS.
#[derive(Debug)]
struct Discovery {
    issuer: String,
    client: HttpClient,
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

/// Why the keys of a reachable issuer cannot be fetched.
#[derive(Debug, thiserror::Error)]
enum DiscoveryError {
    #[error("issuerUrl is not a URL")]
    Url(#[from] url::ParseError),
    #[error("no metadata at {0}; check issuerUrl")]
    NotFound(String),
    #[error("the metadata names the issuer {found:?} and not {wanted:?}; write issuerUrl exactly as it does")]
    OtherIssuer { found: String, wanted: String },
    #[error("the keys are not served over https")]
    PlainKeys,
}

impl Discovery {
    /// The possible URLs of the metadata, in the order of the MCP specification: RFC 8414 §3.1, then OpenID Connect
    /// Discovery with the well-known path inserted, then with the well-known path appended (§4).
    fn urls(&self) -> Result<Vec<String>, url::ParseError> {
        let url = Url::parse(&self.issuer)?;
        let origin = url.origin().ascii_serialization();
        let path = url.path().trim_end_matches('/');
        let mut urls = vec![
            format!("{origin}/.well-known/oauth-authorization-server{path}"),
            format!("{origin}/.well-known/openid-configuration{path}"),
            format!("{origin}{path}/.well-known/openid-configuration"),
        ];
        urls.dedup();
        Ok(urls)
    }

    async fn metadata(&self) -> Result<Metadata, Box<dyn Error + Send + Sync>> {
        let urls = self.urls().map_err(DiscoveryError::Url)?;
        for url in &urls {
            let answer = self.client.send(self.client.get(url)).await?;
            if !answer.status().is_client_error() && !answer.status().is_redirection() {
                return Ok(answer.object()?);
            }
        }
        Err(DiscoveryError::NotFound(urls.join(", ")).into())
    }
}

#[async_trait]
impl KeySource for Discovery {
    fn name(&self) -> String {
        self.issuer.clone()
    }

    async fn fetch(&self) -> Result<Published, Box<dyn Error + Send + Sync>> {
        let Metadata { issuer, jwks_uri } = self.metadata().await?;
        if issuer != self.issuer {
            // Otherwise, it could be another issuer's document (RFC 8414 §3.3).
            return Err(DiscoveryError::OtherIssuer { found: issuer, wanted: self.issuer.clone() }.into());
        }
        if jwks_uri.starts_with("http://") && !issuer.starts_with("http://") {
            return Err(DiscoveryError::PlainKeys.into());
        }
        let KeySet { keys } = self.client.send(self.client.get(&jwks_uri)).await?.object()?;
        Ok(Published { issuer, keys })
    }
}

#[cfg(test)]
mod tests;
