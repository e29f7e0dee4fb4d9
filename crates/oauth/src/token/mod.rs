//! `POST /token`: the token endpoint (RFC 6749 §3.2) with the grant types `authorization_code`, `refresh_token` and
//! `client_credentials` (§4.1, §6, §4.4) and the `resource` parameter (RFC 8707). The grant types for users have files
//! of their own.

mod redeem;
mod renew;
mod workload;

use crate::{
    AuthorizationServer,
    client::Client,
    client_auth,
    error::{OAuthError, no_store},
    grant,
    jwt::Subject,
    parameters::Parameters,
    refresh::RefreshToken,
    scopes,
    workload::GRANT_TYPE,
};
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, header};
use jiff::Timestamp;
use portcullis_core::{
    Scope,
    client::{ClientType, Grant},
    scope,
};
use portcullis_telemetry::audit::{Event, RequestContext};
use rand::CryptoRng;
use serde::Serialize;
use std::{
    collections::BTreeSet,
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

/// The maximum size of a request to an endpoint of this server, in bytes.
pub const MAX_BODY: usize = 64 << 10;

/// The parameters that are read; others are ignored (RFC 6749 §3.2).
const NAMES: [&str; 7] = ["grant_type", "scope", "code", "code_verifier", "redirect_uri", "refresh_token", "assertion"];

/// The grant types of clients that authenticate.
const GRANT_TYPES: [&str; 3] = ["authorization_code", "refresh_token", "client_credentials"];

/// A successful response (RFC 6749 §5.1).
#[derive(Serialize)]
pub struct TokenResponse {
    access_token: String,
    token_type: &'static str,
    expires_in: u64,
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
}

impl fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenResponse").field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// A request to the token endpoint from an authenticated client.
struct TokenRequest<'a> {
    client: &'a Client,
    parameters: &'a Parameters<'a>,
    from: &'a RequestContext,
    now: Timestamp,
    /// Whether an event more specific than `token.refused` was emitted.
    audited: AtomicBool,
}

/// The grant type, the origin and the time of a token request, for the issued token and its audit event.
#[derive(Clone, Copy)]
struct Issue<'a> {
    grant_type: Option<&'a str>,
    from: &'a RequestContext,
    now: Timestamp,
}

impl<'a> From<&TokenRequest<'a>> for Issue<'a> {
    fn from(request: &TokenRequest<'a>) -> Self {
        let TokenRequest { parameters, from, now, .. } = *request;
        Self { grant_type: parameters.get("grant_type"), from, now }
    }
}

impl TokenRequest<'_> {
    fn client_id(&self) -> &str {
        &self.client.verifier.client_id
    }

    fn required(&self, name: &'static str) -> Result<&str, OAuthError> {
        self.parameters.get(name).ok_or(OAuthError::Missing(name))
    }

    /// Records that an event more specific than `token.refused` was emitted.
    fn mark_audited(&self) {
        self.audited.store(true, Ordering::Relaxed);
    }

    /// Checks that the client may use this grant type.
    fn may_use(&self, grant: Grant) -> Result<(), OAuthError> {
        if self.client.verifier.grants.contains(&grant) { Ok(()) } else { Err(OAuthError::UnauthorizedClient(grant)) }
    }
}

impl AuthorizationServer {
    /// Handles one request to the token endpoint. `from` is for audit events.
    pub async fn token(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        from: &RequestContext,
        now: Timestamp,
        rng: &mut (dyn CryptoRng + Send),
    ) -> Result<TokenResponse, OAuthError> {
        let parameters = form(headers, body, &NAMES)?;
        let grant_type = parameters.get("grant_type").ok_or(OAuthError::Missing("grant_type"))?;
        if grant_type == GRANT_TYPE {
            return self.exchange(&parameters, from, now, rng).await;
        }
        // The client is authenticated first, whatever the request is.
        let client = self.authenticate(headers, &parameters, from, now).await?;
        let request =
            TokenRequest { client: &client, parameters: &parameters, from, now, audited: AtomicBool::new(false) };
        let result = self.token_for(&request, grant_type, rng).await;
        if let Err(error) = &result
            && !request.audited.load(Ordering::Relaxed)
        {
            let grant_type = GRANT_TYPES.into_iter().find(|known| *known == grant_type);
            Event::TokenRefused { from, grant_type, client_id: request.client_id(), reason: error.reason() }.emit();
        }
        result
    }

    async fn token_for(
        &self,
        request: &TokenRequest<'_>,
        grant_type: &str,
        rng: &mut (dyn CryptoRng + Send),
    ) -> Result<TokenResponse, OAuthError> {
        if !request.parameters.are_for(&self.resources) {
            return Err(OAuthError::InvalidTarget(self.resource.clone()));
        }
        match grant_type {
            "authorization_code" => self.redeem(request, rng).await,
            "refresh_token" => self.renew(request, rng).await,
            "client_credentials" => self.client_credentials(request, rng),
            _ => Err(OAuthError::UnsupportedGrant),
        }
    }

    fn client_credentials(
        &self,
        request: &TokenRequest<'_>,
        rng: &mut (dyn CryptoRng + Send),
    ) -> Result<TokenResponse, OAuthError> {
        request.may_use(Grant::ClientCredentials)?;
        let client = &request.client.verifier;
        if client.client_type != ClientType::Confidential {
            return Err(OAuthError::UnauthorizedClient(Grant::ClientCredentials));
        }
        let scopes = scopes::granted(request.parameters.get("scope"), &client.scopes)?;
        self.issue(request.into(), &Subject::client(&client.client_id, &scopes), None, rng)
    }

    /// Issues an access token for a user's grant, with a refresh token if there is one.
    fn issue_for(
        &self,
        request: &TokenRequest<'_>,
        grant: &grant::Grant,
        scopes: &BTreeSet<Scope>,
        refresh: Option<RefreshToken>,
        rng: &mut (dyn CryptoRng + Send),
    ) -> Result<TokenResponse, OAuthError> {
        let subject = Subject {
            client_id: &grant.client_id,
            id: grant.user.id.as_str().into(),
            name: Some(&grant.user.name),
            grant: Some(&grant.name),
            scopes,
        };
        self.issue(request.into(), &subject, refresh, rng)
    }

    fn issue(
        &self,
        request: Issue<'_>,
        subject: &Subject<'_>,
        refresh: Option<RefreshToken>,
        rng: &mut (dyn CryptoRng + Send),
    ) -> Result<TokenResponse, OAuthError> {
        let access_token = self.tokens.issue(subject, request.now, rng)?;
        Event::TokenIssued {
            from: request.from,
            grant_type: request.grant_type,
            client_id: subject.client_id,
            user: subject.grant.map(|_| subject.id.as_ref()),
            grant: subject.grant,
            scopes: subject.scopes,
        }
        .emit();
        Ok(TokenResponse {
            access_token,
            token_type: "Bearer",
            expires_in: self.tokens.lifetime().as_secs(),
            scope: scope::join(subject.scopes),
            refresh_token: refresh.map(|token| token.as_str().to_owned()),
        })
    }
}

impl IntoResponse for TokenResponse {
    fn into_response(self) -> Response {
        (no_store(), Json(self)).into_response()
    }
}

/// The parameters of a form: `names`, and those for client authentication.
pub(super) fn form<'a>(
    headers: &HeaderMap,
    body: &'a [u8],
    names: &[&'static str],
) -> Result<Parameters<'a>, OAuthError> {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(OAuthError::NotAForm);
    }
    let names: Vec<&'static str> = names.iter().chain(&client_auth::NAMES).copied().collect();
    Ok(Parameters::parse(body, &names)?)
}

#[cfg(test)]
mod audit;
#[cfg(test)]
mod tests;
