//! `POST /token`: the token endpoint (RFC 6749 §3.2) with the grant `client_credentials` (§4.4) and the `resource`
//! parameter (RFC 8707).

use super::{
    challenge::{self, Challenges},
    client_auth::ClientAuthenticator,
    jwt::{AccessTokens, SigningError, Subject},
};
use crate::{
    api::{Grant, Scope, scope},
    config::Clients,
};
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use rand::CryptoRng;
use serde::Serialize;
use serde_json::json;
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};
use url::form_urlencoded;

/// How large a request may be.
pub const MAX_BODY: usize = 64 << 10;

/// The parameters that count here; others are ignored (RFC 6749 §3.2).
const SINGLE: [&str; 4] = ["grant_type", "scope", "client_id", "client_secret"];

/// The token endpoint of one MCP endpoint.
pub struct TokenEndpoint {
    authenticator: ClientAuthenticator,
    resource: String,
}

/// A successful answer (RFC 6749 §5.1).
#[derive(Debug, Serialize)]
pub struct TokenResponse {
    access_token: String,
    token_type: &'static str,
    expires_in: u64,
    scope: String,
}

/// Why there is no token (RFC 6749 §5.2).
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Another content type.
    #[error("send the parameters as application/x-www-form-urlencoded")]
    NotAForm,
    /// A parameter is not there.
    #[error("the parameter {0} is missing")]
    Missing(&'static str),
    /// A parameter is there twice.
    #[error("the parameter {0} is there more than once")]
    Repeated(&'static str),
    /// Both ways of client authentication at once, or two ids.
    #[error("present the client's credentials once: either in the Authorization header or in the body")]
    TwoCredentials,
    /// The header is not what RFC 6749 §2.3.1 says.
    #[error("the Authorization header must be Basic with the client id and secret, form-urlencoded, joined by a colon")]
    MalformedBasic,
    /// No secret anywhere.
    #[error("the client must present its id and secret, in the Authorization header or in the body")]
    NoCredentials,
    /// Unknown client or wrong secret: not told apart.
    #[error("the client is unknown or its secret is wrong; the secret may have been rotated: read it again")]
    WrongCredentials,
    /// Another grant.
    #[error("this endpoint knows the grant type client_credentials only")]
    UnsupportedGrant,
    /// The client may not use this grant.
    #[error("the client may not use the grant client_credentials; add it to spec.grants of its OAuthClient")]
    UnauthorizedClient,
    /// An unknown scope, or none that the client may have.
    #[error("{0}")]
    InvalidScope(String),
    /// Another resource.
    #[error("the resource must be {0}")]
    InvalidTarget(String),
    /// It could not be signed.
    #[error(transparent)]
    Signing(#[from] SigningError),
}

/// The parameters of a request, each at most once, and none of them empty (RFC 6749 §3.2).
pub struct Parameters<'a> {
    single: BTreeMap<&'static str, Cow<'a, str>>,
    resources: Vec<Cow<'a, str>>,
}

impl<'a> Parameters<'a> {
    fn parse(body: &'a [u8]) -> Result<Self, TokenError> {
        let mut parameters = Self { single: BTreeMap::new(), resources: Vec::new() };
        for (name, value) in form_urlencoded::parse(body).filter(|(_, value)| !value.is_empty()) {
            if let Some(name) = SINGLE.into_iter().find(|single| *single == name) {
                if parameters.single.insert(name, value).is_some() {
                    return Err(TokenError::Repeated(name));
                }
            } else if name == "resource" {
                parameters.resources.push(value);
            }
        }
        Ok(parameters)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.single.get(name).map(AsRef::as_ref)
    }
}

impl TokenEndpoint {
    /// For these clients; `resource` is the MCP endpoint's URL.
    #[must_use]
    pub fn new(clients: Clients, resource: String) -> Self {
        Self { authenticator: ClientAuthenticator::new(clients), resource }
    }

    /// The clients.
    #[must_use]
    pub fn clients(&self) -> &Clients {
        self.authenticator.clients()
    }

    /// Answers one request.
    pub fn answer(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        tokens: &AccessTokens,
        now: Timestamp,
        rng: &mut dyn CryptoRng,
    ) -> Result<TokenResponse, TokenError> {
        if !is_form(headers) {
            return Err(TokenError::NotAForm);
        }
        let parameters = Parameters::parse(body)?;
        let client = self.authenticator.authenticate(headers.get(header::AUTHORIZATION), &parameters, now)?;
        match parameters.get("grant_type") {
            Some("client_credentials") => {}
            Some(_) => return Err(TokenError::UnsupportedGrant),
            None => return Err(TokenError::Missing("grant_type")),
        }
        if !client.grants.contains(&Grant::ClientCredentials) {
            return Err(TokenError::UnauthorizedClient);
        }
        // Clients differ about the slash at the end.
        let ours = |resource: &Cow<'_, str>| resource.strip_suffix('/').unwrap_or(resource) == self.resource;
        if !parameters.resources.iter().all(ours) {
            return Err(TokenError::InvalidTarget(self.resource.clone()));
        }
        let scopes = granted(parameters.get("scope"), &client.scopes)?;
        Ok(TokenResponse {
            access_token: tokens.issue(&Subject::client(&client.client_id, &scopes), now, rng)?,
            token_type: "Bearer",
            expires_in: tokens.lifetime().as_secs(),
            scope: scope::join(&scopes),
        })
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// What is asked for, less what the client may not have: clients ask for all that the metadata lists, and RFC 6749
/// §3.3 lets a server grant less, since the answer says what it granted.
fn granted(asked: Option<&str>, allowed: &BTreeSet<Scope>) -> Result<BTreeSet<Scope>, TokenError> {
    let Some(asked) = asked else { return Ok(allowed.clone()) };
    let asked = scope::parse(asked).map_err(|error| TokenError::InvalidScope(error.to_string()))?;
    let granted: BTreeSet<Scope> = asked.intersection(allowed).copied().collect();
    if granted.is_empty() {
        return Err(TokenError::InvalidScope(format!("the client may have these scopes: {}", scope::join(allowed))));
    }
    Ok(granted)
}

impl TokenError {
    /// The error code of RFC 6749 §5.2 and RFC 8707 §2.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotAForm | Self::Missing(_) | Self::Repeated(_) | Self::TwoCredentials => "invalid_request",
            Self::MalformedBasic | Self::NoCredentials | Self::WrongCredentials => "invalid_client",
            Self::UnsupportedGrant => "unsupported_grant_type",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::InvalidScope(_) => "invalid_scope",
            Self::InvalidTarget(_) => "invalid_target",
            Self::Signing(_) => "server_error",
        }
    }

    fn status(&self) -> StatusCode {
        match self.code() {
            "invalid_client" => StatusCode::UNAUTHORIZED,
            "server_error" => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The answer over HTTP. A 401 needs a challenge (RFC 9110 §15.5.2).
    #[must_use]
    pub fn into_response(self, challenges: &Challenges) -> Response {
        let body = Json(json!({"error": self.code(), "error_description": challenge::plain(&self.to_string())}));
        let mut response = (self.status(), no_store(), body).into_response();
        if response.status() == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenges.basic());
        }
        response
    }
}

impl IntoResponse for TokenResponse {
    fn into_response(self) -> Response {
        (no_store(), Json(self)).into_response()
    }
}

fn no_store() -> [(header::HeaderName, HeaderValue); 2] {
    [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::PRAGMA, HeaderValue::from_static("no-cache")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::ClientType,
        config::{ClientVerifier, SecretHash, SecretVerifier, SigningKeys},
    };
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use rand::{SeedableRng as _, rngs::StdRng};
    use std::time::Duration;

    const SECRET: &str = "s+c%r t";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn client(id: &str, grants: Vec<Grant>) -> ClientVerifier {
        ClientVerifier {
            client_id: id.to_owned(),
            display_name: id.to_owned(),
            client_type: ClientType::Confidential,
            grants,
            scopes: BTreeSet::from([Scope::FilesRead, Scope::WorkspacesRead]),
            registered_at: None,
            redirect_uris: Vec::new(),
            secrets: vec![
                SecretVerifier { hash: SecretHash::of(id, SECRET), expires_at: None },
                SecretVerifier { hash: SecretHash::of(id, "old"), expires_at: Some(at(500)) },
            ],
            private_key_jwt: None,
        }
    }

    fn answer(authorization: Option<&str>, body: &str, now: i64) -> Result<TokenResponse, TokenError> {
        let clients = Clients {
            clients: vec![
                client("agent", vec![Grant::ClientCredentials]),
                client("browser", vec![Grant::AuthorizationCode]),
            ],
        };
        let mut rng = StdRng::seed_from_u64(1);
        let keys = SigningKeys::generate(at(0), &mut rng).unwrap();
        let tokens = AccessTokens::new(&"https://h/mcp".parse().unwrap(), Duration::from_mins(15), &keys).unwrap();
        let mut headers = HeaderMap::new();
        headers
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded; charset=utf-8"));
        if let Some(joined) = authorization {
            let value = format!("Basic {}", STANDARD.encode(joined));
            headers.insert(header::AUTHORIZATION, HeaderValue::try_from(value).unwrap());
        }
        let endpoint = TokenEndpoint::new(clients, "https://h/mcp".to_owned());
        let answer = endpoint.answer(&headers, body.as_bytes(), &tokens, at(now), &mut rng)?;
        let verified = tokens.verify(&answer.access_token, at(now)).unwrap();
        assert_eq!(scope::join(&verified.scopes), answer.scope, "the token says what the answer says");
        Ok(answer)
    }

    const BASIC: Option<&str> = Some("agent:s%2Bc%25r+t");
    const POST: &str = "client_id=agent&client_secret=s%2Bc%25r+t";

    #[test]
    fn tokens_are_given() {
        let all = "workspaces:read files:read";
        for (name, authorization, body, scope) in [
            ("basic", BASIC, "grant_type=client_credentials".to_owned(), all),
            ("post", None, format!("grant_type=client_credentials&{POST}"), all),
            (
                "basic with the same id in the body",
                BASIC,
                "grant_type=client_credentials&client_id=agent".to_owned(),
                all,
            ),
            ("the old secret in the overlap", Some("agent:old"), "grant_type=client_credentials".to_owned(), all),
            ("one scope", BASIC, "grant_type=client_credentials&scope=files:read".to_owned(), "files:read"),
            (
                "more than it may have",
                BASIC,
                "grant_type=client_credentials&scope=files:read+files:write".to_owned(),
                "files:read",
            ),
            (
                "empty parameters count as absent",
                BASIC,
                "grant_type=client_credentials&scope=&resource=&client_secret=".to_owned(),
                all,
            ),
            ("the resource", BASIC, "grant_type=client_credentials&resource=https://h/mcp".to_owned(), all),
            (
                "the resource with a slash",
                BASIC,
                "grant_type=client_credentials&resource=https%3A%2F%2Fh%2Fmcp%2F".to_owned(),
                all,
            ),
            ("unknown parameters are ignored", BASIC, "grant_type=client_credentials&x=1&x=2".to_owned(), all),
        ] {
            let answer = answer(authorization, &body, 499).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!((answer.scope.as_str(), answer.expires_in), (scope, 900), "{name}");
        }
    }

    #[test]
    fn requests_are_refused_by_the_right_code() {
        let grant = "grant_type=client_credentials";
        for (name, authorization, body, code) in [
            ("no grant", BASIC, String::new(), "invalid_request"),
            ("other grant", BASIC, "grant_type=password".to_owned(), "unsupported_grant_type"),
            ("grant twice", BASIC, format!("{grant}&{grant}"), "invalid_request"),
            ("both ways", BASIC, format!("{grant}&{POST}"), "invalid_request"),
            ("two ids", BASIC, format!("{grant}&client_id=browser"), "invalid_request"),
            ("secret without id", None, format!("{grant}&client_secret=x"), "invalid_request"),
            ("no credentials", None, grant.to_owned(), "invalid_client"),
            ("id only", None, format!("{grant}&client_id=agent"), "invalid_client"),
            ("unknown client", Some("who:s"), grant.to_owned(), "invalid_client"),
            ("nobody", Some("nobody:"), grant.to_owned(), "invalid_client"),
            ("wrong secret", Some("agent:s"), grant.to_owned(), "invalid_client"),
            ("the old secret after the overlap", Some("agent:old"), grant.to_owned(), "invalid_client"),
            ("malformed basic", Some("agent"), grant.to_owned(), "invalid_client"),
            ("client without the grant", Some("browser:s%2Bc%25r+t"), grant.to_owned(), "unauthorized_client"),
            ("unknown scope", BASIC, format!("{grant}&scope=everything"), "invalid_scope"),
            ("none of its scopes", BASIC, format!("{grant}&scope=files:write"), "invalid_scope"),
            ("other resource", BASIC, format!("{grant}&resource=https://h/other"), "invalid_target"),
            (
                "one of two resources is another",
                BASIC,
                format!("{grant}&resource=https://h/mcp&resource=https://h/x"),
                "invalid_target",
            ),
        ] {
            let error = answer(authorization, &body, 500).expect_err(name);
            assert_eq!(error.code(), code, "{name}: {error}");
            assert!(!error.to_string().contains(SECRET), "{name}");
        }
    }
}
