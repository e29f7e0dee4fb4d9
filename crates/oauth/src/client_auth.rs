//! Client authentication: `client_secret_basic` or `client_secret_post` (RFC 6749 §2.3.1), `private_key_jwt` (RFC 7523
//! §2.2), or only the id for a public client.

use crate::{
    AuthorizationServer,
    client::{Client, ClientError},
    clients::assertion::{self, ASSERTION_TYPE, AssertionError},
    error::OAuthError,
    grant::GrantsError,
    metadata::TOKEN_PATH,
    parameters::Parameters,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use jiff::Timestamp;
use portcullis_config::{ClientVerifier, SecretHash, SecretVerifier};
use portcullis_core::{client::ClientType, report::chain};
use portcullis_telemetry::audit::{Event, RequestContext};
use std::{
    borrow::Cow,
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};
use url::form_urlencoded;

/// The parameters for client authentication.
pub(super) const NAMES: [&str; 4] = ["client_id", "client_secret", "client_assertion", "client_assertion_type"];

/// A client that does not exist: an unknown id is verified against it, so that the refusal takes as long as that of a
/// wrong secret.
static UNKNOWN_CLIENT: LazyLock<ClientVerifier> = LazyLock::new(|| ClientVerifier {
    client_id: "nobody".to_owned(),
    display_name: String::new(),
    client_type: ClientType::Confidential,
    grants: Vec::new(),
    scopes: BTreeSet::new(),
    registered_at: None,
    redirect_uris: Vec::new(),
    secrets: vec![SecretVerifier { hash: SecretHash::of("nobody", ""), expires_at: None }],
    private_key_jwt: None,
});

/// The credentials that a client presents.
enum Credentials<'a> {
    Secret {
        id: Cow<'a, str>,
        secret: Cow<'a, str>,
    },
    /// A JWT that the client signed (RFC 7523 §2.2).
    Assertion {
        id: Cow<'a, str>,
        assertion: &'a str,
    },
    /// Only the id of the client.
    Id(&'a str),
}

impl AuthorizationServer {
    /// Authenticates the client that makes the request. A failure is recorded as an audit event.
    pub(super) async fn authenticate(
        &self,
        headers: &HeaderMap,
        parameters: &Parameters<'_>,
        from: &RequestContext,
        now: Timestamp,
    ) -> Result<Arc<Client>, OAuthError> {
        let credentials = Credentials::of(headers, parameters)?;
        let id = match &credentials {
            Credentials::Secret { id, .. } | Credentials::Assertion { id, .. } => id.as_ref(),
            Credentials::Id(id) => id,
        };
        let known = match self.directory.find(id, now).await {
            Ok(client) => Some(client),
            Err(ClientError::Unknown(_)) => None,
            Err(error @ ClientError::Document(_)) => return Err(OAuthError::Document(error.to_string())),
            Err(error @ ClientError::Unavailable(_)) => {
                tracing::warn!(error = chain(&error), "a client could not be looked up");
                return Err(OAuthError::Unavailable);
            }
        };
        let verifier = known.as_ref().map_or(&*UNKNOWN_CLIENT, |client| &client.verifier);
        let proof = match &credentials {
            Credentials::Secret { secret, .. } if verifier.verifies(secret, now) => Ok(()),
            Credentials::Id(_) if verifier.client_type == ClientType::Public => Ok(()),
            Credentials::Id(_) if known.is_some() => Err(OAuthError::NoSecret),
            Credentials::Assertion { assertion, .. } if known.is_some() => self.prove(assertion, verifier, now).await,
            _ => Err(OAuthError::WrongCredentials),
        };
        if let Err(OAuthError::Unavailable) = proof {
            // Nothing is wrong with the assertion: the client may be authentic.
            return Err(OAuthError::Unavailable);
        }
        let refused = match (known, proof) {
            (Some(client), Ok(())) => return Ok(client),
            (known, proof) => {
                // An unknown id is not recorded: it may be a misplaced secret.
                let client_id = known.as_ref().map(|client| client.verifier.client_id.as_str());
                let why = proof.err().unwrap_or(OAuthError::WrongCredentials);
                Event::ClientRefused { from, client_id, reason: why.reason() }.emit();
                why
            }
        };
        Err(refused)
    }

    /// Verifies a client's assertion. All servers together accept it once.
    async fn prove(&self, assertion: &str, client: &ClientVerifier, now: Timestamp) -> Result<(), OAuthError> {
        let token_endpoint = format!("{}{TOKEN_PATH}", self.issuer);
        let assertions = &self.published.assertions;
        let mark = assertions.verify(assertion, client, [&self.issuer, &token_endpoint], now).await?;
        match self.grants.consume(&mark).await {
            Ok(()) => Ok(()),
            Err(GrantsError::Exists) => Err(AssertionError::Used.into()),
            Err(error) => {
                tracing::warn!(
                    error = chain(&error),
                    "could not determine whether a client's assertion was used before"
                );
                assertions.forget(&mark);
                Err(OAuthError::Unavailable)
            }
        }
    }
}

impl<'a> Credentials<'a> {
    fn of(headers: &'a HeaderMap, parameters: &'a Parameters<'_>) -> Result<Self, OAuthError> {
        let mut authorization = headers.get_all(AUTHORIZATION).iter();
        let header = authorization.next();
        if authorization.next().is_some() {
            return Err(OAuthError::TwoCredentials);
        }
        let posted_id = parameters.get("client_id");
        let posted_secret = parameters.get("client_secret");
        let asserts = parameters.get("client_assertion").or(parameters.get("client_assertion_type")).is_some();
        match (header, posted_secret, asserts) {
            (Some(header), None, false) => {
                let (id, secret) = basic(header).ok_or(OAuthError::MalformedBasic)?;
                if posted_id.is_some_and(|posted| posted != id) {
                    return Err(OAuthError::TwoCredentials);
                }
                Ok(Self::Secret { id: id.into(), secret: secret.into() })
            }
            (None, Some(secret), false) => Ok(Self::Secret {
                id: posted_id.ok_or(OAuthError::Missing("client_id"))?.into(),
                secret: secret.into(),
            }),
            (None, None, true) => Self::assertion(parameters, posted_id),
            (None, None, false) => posted_id.map(Self::Id).ok_or(OAuthError::NoCredentials),
            _ => Err(OAuthError::TwoCredentials),
        }
    }

    fn assertion(parameters: &'a Parameters<'_>, posted_id: Option<&'a str>) -> Result<Self, OAuthError> {
        let required = |name| parameters.get(name).ok_or(OAuthError::Missing(name));
        if required("client_assertion_type")? != ASSERTION_TYPE {
            return Err(OAuthError::UnsupportedAssertion);
        }
        let assertion = required("client_assertion")?;
        let id = match posted_id {
            Some(id) => Cow::Borrowed(id),
            None => assertion::subject(assertion).ok_or(AssertionError::Malformed)?.into(),
        };
        Ok(Self::Assertion { id, assertion })
    }
}

/// The id and the secret, each of which was form-urlencoded before they were joined.
fn basic(header: &HeaderValue) -> Option<(String, String)> {
    let (scheme, encoded) = header.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return None;
    }
    let joined = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = joined.split_once(':')?;
    Some((form_decoded(id)?, form_decoded(secret)?))
}

fn form_decoded(text: &str) -> Option<String> {
    // Parsed as the name of a single pair. The two separators cannot occur in an encoded text, so they are taken
    // literally.
    let text = text.replace('&', "%26").replace('=', "%3D");
    if text.is_empty() {
        return Some(text);
    }
    form_urlencoded::parse(text.as_bytes()).next().map(|(name, _)| name.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_credentials_are_form_encoded_inside() {
        for (joined, expected) in [
            ("claude:secret", Some(("claude", "secret"))),
            ("a%3Ab:p%2Bq%25+r", Some(("a:b", "p+q% r"))),
            ("claude:a:b", Some(("claude", "a:b"))),
            ("claude:base64==&x", Some(("claude", "base64==&x"))),
            ("claude:", Some(("claude", ""))),
            ("claude", None),
        ] {
            let header = HeaderValue::try_from(format!("basic {}", STANDARD.encode(joined))).unwrap();
            let expected = expected.map(|(id, secret)| (id.to_owned(), secret.to_owned()));
            assert_eq!(basic(&header), expected, "{joined}");
        }
        for text in ["Basic", "Basic %%%", "Bearer abc"] {
            assert_eq!(basic(&HeaderValue::from_static(text)), None, "{text}");
        }
    }
}
