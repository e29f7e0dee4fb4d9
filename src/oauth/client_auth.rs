//! How a client proves itself at the token endpoint: `client_secret_basic` or `client_secret_post`
//! (RFC 6749 §2.3.1).

use super::token::{Parameters, TokenError};
use crate::{
    api::ClientType,
    config::{ClientVerifier, Clients, SecretHash, SecretVerifier},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderValue;
use jiff::Timestamp;
use std::{borrow::Cow, collections::BTreeSet};
use url::form_urlencoded;

/// The clients, and one more that nobody can be: an unknown id is checked against it, so that it takes as long to
/// refuse as a wrong secret.
pub(super) struct ClientAuthenticator {
    clients: Clients,
    nobody: ClientVerifier,
}

impl ClientAuthenticator {
    pub fn new(clients: Clients) -> Self {
        let nobody = ClientVerifier {
            client_id: "nobody".to_owned(),
            display_name: String::new(),
            client_type: ClientType::Confidential,
            grants: Vec::new(),
            scopes: BTreeSet::new(),
            registered_at: None,
            redirect_uris: Vec::new(),
            secrets: vec![SecretVerifier { hash: SecretHash::of("nobody", ""), expires_at: None }],
            private_key_jwt: None,
        };
        Self { clients, nobody }
    }

    pub fn clients(&self) -> &Clients {
        &self.clients
    }

    /// The client that makes the request.
    pub fn authenticate(
        &self,
        authorization: Option<&HeaderValue>,
        parameters: &Parameters<'_>,
        now: Timestamp,
    ) -> Result<&ClientVerifier, TokenError> {
        let (id, secret) = credentials(authorization, parameters)?;
        let known = self.clients.get(&id);
        let verified = known.unwrap_or(&self.nobody).verifies(&secret, now);
        known.filter(|_| verified).ok_or(TokenError::WrongCredentials)
    }
}

type Credentials<'a> = (Cow<'a, str>, Cow<'a, str>);

fn credentials<'a>(
    authorization: Option<&'a HeaderValue>,
    parameters: &'a Parameters<'_>,
) -> Result<Credentials<'a>, TokenError> {
    let posted_id = parameters.get("client_id");
    let posted_secret = parameters.get("client_secret");
    match (authorization, posted_secret) {
        (Some(_), Some(_)) => Err(TokenError::TwoCredentials),
        (Some(header), None) => {
            let (id, secret) = basic(header).ok_or(TokenError::MalformedBasic)?;
            if posted_id.is_some_and(|posted| posted != id) {
                return Err(TokenError::TwoCredentials);
            }
            Ok((id.into(), secret.into()))
        }
        (None, Some(secret)) => Ok((posted_id.ok_or(TokenError::Missing("client_id"))?.into(), secret.into())),
        (None, None) => Err(TokenError::NoCredentials),
    }
}

/// Id and secret, each form-urlencoded before they were joined.
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
    // Parsed as the name of a lone pair; the two separators cannot stand in an encoded text.
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
