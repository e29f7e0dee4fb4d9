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
use portcullis_outbound::{
    HttpClient,
    issuer::{IssuerClient, IssuerMetadata, WellKnown},
};
use serde::Deserialize;
use serde_json::Value;
use std::{collections::BTreeSet, error::Error};

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
            keys: IssuerKeys::new(IssuerClient::new(issuer.issuer_url.clone(), client)),
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

#[async_trait]
impl KeySource for IssuerClient {
    fn name(&self) -> String {
        self.issuer().to_owned()
    }

    async fn fetch(&self) -> Result<Published, Box<dyn Error + Send + Sync>> {
        let Metadata { issuer, jwks_uri } = self.metadata(WellKnown::Any).await?;
        Ok(Published { issuer, keys: self.keys(&jwks_uri).await? })
    }
}

#[cfg(test)]
mod tests;
