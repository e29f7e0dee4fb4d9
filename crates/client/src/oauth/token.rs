//! Requests to the token endpoint (RFC 6749 §3.2) and the revocation endpoint (RFC 7009).

use super::callback::printable;
use crate::credentials::{StoredClient, StoredTokens};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use portcullis_outbound::{HttpClient, RequestError, ResponseError};
use reqwest::RequestBuilder;
use serde::Deserialize;
use url::form_urlencoded::byte_serialize;

/// The credential that a client exchanges for tokens.
#[derive(Clone, Copy)]
pub(super) enum TokenGrant<'a> {
    /// An authorization code, with the PKCE verifier (RFC 7636).
    Code {
        /// The code.
        code: &'a str,
        /// The redirect URI of the authorization request.
        redirect_uri: &'a str,
        /// The PKCE verifier.
        verifier: &'a str,
    },
    /// A refresh token.
    Refresh(&'a str),
    /// The client's own authority.
    ClientCredentials {
        /// The scopes to request.
        scope: Option<&'a str>,
    },
}

/// Why there are no tokens. The messages contain no secret.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The request failed without a response.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The server refused the request (RFC 6749 §5.2).
    #[error("the authorization server refused: {text}")]
    Refused {
        /// The error code, such as `invalid_grant`.
        code: String,
        /// The description of the server, with the code.
        text: String,
    },
    /// The response cannot be parsed.
    #[error(transparent)]
    Response(#[from] ResponseError),
    /// The tokens are of a type that cannot be used.
    #[error("the authorization server issued a token of the type {0:?}; this command supports only Bearer")]
    TokenType(String),
}

impl TokenError {
    /// Whether the grant or the client has ended, so that only a new sign-in helps.
    #[must_use]
    pub fn ends_access(&self) -> bool {
        matches!(self, Self::Refused { code, .. }
            if matches!(code.as_str(), "invalid_grant" | "invalid_client" | "unauthorized_client"))
    }

    /// Whether the server does not know the client (any more).
    #[must_use]
    pub fn is_unknown_client(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if code == "invalid_client")
    }
}

#[derive(Deserialize)]
struct TokenResponse {
    access_token: String,
    token_type: String,
    expires_in: Option<i64>,
    refresh_token: Option<String>,
    scope: Option<String>,
}

#[derive(Deserialize)]
struct ErrorResponse {
    error: String,
    error_description: Option<String>,
}

/// Requests tokens for `resource` (RFC 8707).
pub(super) async fn request(
    http: &HttpClient,
    token_endpoint: &str,
    client: &StoredClient,
    grant: TokenGrant<'_>,
    resource: &str,
    now: Timestamp,
) -> Result<StoredTokens, TokenError> {
    let mut form = vec![("resource", resource)];
    match grant {
        TokenGrant::Code { code, redirect_uri, verifier } => form.extend([
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier),
        ]),
        TokenGrant::Refresh(token) => form.extend([("grant_type", "refresh_token"), ("refresh_token", token)]),
        TokenGrant::ClientCredentials { scope } => {
            form.push(("grant_type", "client_credentials"));
            form.extend(scope.map(|scope| ("scope", scope)));
        }
    }
    let answer = http.send(authenticated(http.post(token_endpoint), client, form)).await?;
    check(answer.status(), || answer.object_of_any_status())?;
    tokens(answer.object()?, now)
}

/// Exchanges the refresh token. The new tokens keep the old refresh token if the server sends no successor.
pub(crate) async fn refresh(
    http: &HttpClient,
    token_endpoint: &str,
    client: &StoredClient,
    refresh_token: &str,
    resource: &str,
    now: Timestamp,
) -> Result<StoredTokens, TokenError> {
    let grant = TokenGrant::Refresh(refresh_token);
    let mut tokens = request(http, token_endpoint, client, grant, resource, now).await?;
    tokens.refresh_token.get_or_insert_with(|| refresh_token.to_owned());
    Ok(tokens)
}

/// An access token of a confidential client, on its own authority (RFC 6749 §4.4).
pub async fn client_credentials(
    http: &HttpClient,
    token_endpoint: &str,
    (id, secret): (&str, &str),
    scope: Option<&str>,
    resource: &str,
    now: Timestamp,
) -> Result<String, TokenError> {
    let client = StoredClient { id: id.to_owned(), secret: Some(secret.to_owned()), registered: false };
    let grant = TokenGrant::ClientCredentials { scope };
    Ok(request(http, token_endpoint, &client, grant, resource, now).await?.access_token)
}

/// Revokes a token (RFC 7009). A token that is no longer valid is a success.
pub(super) async fn revoke(
    http: &HttpClient,
    revocation_endpoint: &str,
    client: &StoredClient,
    token: &str,
) -> Result<(), TokenError> {
    let request = authenticated(http.post(revocation_endpoint), client, vec![("token", token)]);
    let answer = http.send(request).await?;
    check(answer.status(), || answer.object_of_any_status())
}

/// Adds the form and the client's authentication (RFC 6749 §2.3.1).
fn authenticated<'a>(
    request: RequestBuilder,
    client: &'a StoredClient,
    mut form: Vec<(&'static str, &'a str)>,
) -> RequestBuilder {
    if let Some(secret) = &client.secret {
        return request.header(header::AUTHORIZATION, basic(&client.id, secret)).form(&form);
    }
    form.push(("client_id", &client.id));
    request.form(&form)
}

/// The Basic credentials of a client: both parts are form-encoded first (RFC 6749 §2.3.1).
fn basic(id: &str, secret: &str) -> String {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    format!("Basic {}", STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret))))
}

fn check(status: StatusCode, read: impl FnOnce() -> Result<ErrorResponse, ResponseError>) -> Result<(), TokenError> {
    // RFC 6749 §5.2 has 400 and 401; RFC 7009 §2.2.1 adds 503, which is not final.
    if !matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED) {
        return Ok(());
    }
    let Ok(ErrorResponse { error, error_description }) = read() else { return Ok(()) };
    let text = error_description.map_or_else(|| error.clone(), |description| format!("{description} ({error})"));
    Err(TokenError::Refused { code: error, text: printable(&text) })
}

fn tokens(response: TokenResponse, now: Timestamp) -> Result<StoredTokens, TokenError> {
    if !response.token_type.eq_ignore_ascii_case("bearer") {
        return Err(TokenError::TokenType(printable(&response.token_type)));
    }
    let end = |seconds: i64| now.checked_add(SignedDuration::from_secs(seconds.max(0))).unwrap_or(Timestamp::MAX);
    Ok(StoredTokens {
        access_token: response.access_token,
        refresh_token: response.refresh_token,
        expires_at: response.expires_in.map(end),
        scope: response.scope,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_credentials_are_form_encoded() {
        let text = |value: &str| String::from_utf8(STANDARD.decode(value.strip_prefix("Basic ").unwrap()).unwrap());
        assert_eq!(text(&basic("a:b", "c d+%")).unwrap(), "a%3Ab:c+d%2B%25");
    }

    #[test]
    fn a_response_becomes_tokens() {
        let read = |json: &str| tokens(serde_json::from_str(json).unwrap(), Timestamp::UNIX_EPOCH);
        let found = read(r#"{"access_token": "a", "token_type": "bearer", "expires_in": 60, "more": []}"#).unwrap();
        assert_eq!(found.expires_at, Some(Timestamp::UNIX_EPOCH + SignedDuration::from_secs(60)));
        assert_eq!(found.refresh_token, None);
        let far = read(r#"{"access_token": "a", "token_type": "Bearer", "expires_in": 9223372036854775807}"#).unwrap();
        assert_eq!(far.expires_at, Some(Timestamp::MAX));
        assert!(matches!(read(r#"{"access_token": "a", "token_type": "DPoP"}"#), Err(TokenError::TokenType(_))));
    }

    #[test]
    fn refusals_are_distinguished() {
        let refused = |status: u16, json: &str| {
            check(StatusCode::from_u16(status).unwrap(), || {
                serde_json::from_str(json).map_err(|_| ResponseError::Json { host: String::new(), line: 1, column: 1 })
            })
        };
        for (status, json, ends, unknown) in [
            (400, r#"{"error": "invalid_grant", "error_description": "It ended."}"#, true, false),
            (401, r#"{"error": "invalid_client"}"#, true, true),
            (400, r#"{"error": "invalid_target"}"#, false, false),
        ] {
            let error = refused(status, json).unwrap_err();
            assert_eq!((error.ends_access(), error.is_unknown_client()), (ends, unknown), "{json}");
        }
        // The status is reported by the next step.
        assert!(refused(503, r#"{"error": "invalid_grant"}"#).is_ok());
        assert!(refused(400, "<html>").is_ok());
    }
}
