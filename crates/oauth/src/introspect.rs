//! `POST /introspect`: the metadata of a confidential client's own token (RFC 7662). The response for any other token
//! is only `active: false`, without a user or a reason.

use crate::{
    AuthorizationServer,
    error::{OAuthError, no_store},
    grant::GrantLookup,
    refresh::Decision,
    token::form,
};
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::HeaderMap;
use jiff::Timestamp;
use portcullis_core::{client::ClientType, scope};
use portcullis_telemetry::audit::RequestContext;
use serde::Serialize;

/// `token_type_hint` is not needed: access tokens and refresh tokens have different formats.
const NAMES: [&str; 1] = ["token"];

/// A response (RFC 7662 §2.2).
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Introspection {
    active: bool,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    about: Option<About>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct About {
    scope: String,
    client_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type: Option<&'static str>,
    exp: i64,
    iat: i64,
    sub: String,
    aud: String,
    iss: String,
}

impl AuthorizationServer {
    /// Handles one request.
    pub async fn introspect(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        from: &RequestContext,
        now: Timestamp,
    ) -> Result<Introspection, OAuthError> {
        let parameters = form(headers, body, &NAMES)?;
        let client = self.authenticate(headers, &parameters, from, now).await?;
        if client.verifier.client_type != ClientType::Confidential {
            return Err(OAuthError::PublicClient);
        }
        let token = parameters.get("token").ok_or(OAuthError::Missing("token"))?;
        let about = match self.about_refresh_token(token, now) {
            Some(about) => Some(about),
            None => self.about_access_token(token, now).await,
        };
        let about = about.filter(|about| about.client_id == client.verifier.client_id);
        Ok(Introspection { active: about.is_some(), about })
    }

    async fn about_access_token(&self, token: &str, now: Timestamp) -> Option<About> {
        let caller = self.bearer_of(token, now).await.ok()?;
        Some(About {
            scope: scope::join(&caller.scopes),
            client_id: caller.client_id.clone(),
            username: caller.user_name.clone(),
            token_type: Some("Bearer"),
            exp: caller.expires_at.as_second(),
            iat: caller.issued_at.as_second(),
            sub: caller.subject.clone(),
            aud: self.resource.clone(),
            iss: self.issuer.clone(),
        })
    }

    fn about_refresh_token(&self, token: &str, now: Timestamp) -> Option<About> {
        let presented = self.refresh.read(token)?;
        let GrantLookup::Present(grant) = self.grants.find(presented.grant()) else { return None };
        if self.ended(&grant.user.id, grant.signed_in_at).is_some() {
            return None;
        }
        let Decision::Rotate(_) = self.refresh.decide(&presented, &grant, now) else { return None };
        let state = grant.refresh.as_ref()?;
        let ends = self.refresh.idle_at(state).min(grant.expires_at);
        Some(About {
            scope: scope::join(&grant.scopes),
            client_id: grant.client_id.clone(),
            username: Some(grant.user.name.clone()),
            token_type: None,
            exp: ends.as_second(),
            iat: state.rotated_at.as_second(),
            sub: grant.user.id.clone(),
            aud: self.resource.clone(),
            iss: self.issuer.clone(),
        })
    }
}

impl IntoResponse for Introspection {
    fn into_response(self) -> Response {
        (no_store(), Json(self)).into_response()
    }
}

#[cfg(test)]
mod tests;
