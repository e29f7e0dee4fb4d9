//! `POST /revoke`: a client revokes a user's consent (RFC 7009). Refresh tokens and access tokens represent the grant
//! behind them, so revoking either ends the grant and all its tokens.

use crate::{
    AuthorizationServer,
    error::OAuthError,
    grant::{Grant, GrantLookup},
    token::form,
};
use http::HeaderMap;
use jiff::Timestamp;
use portcullis_core::{grant::RevocationReason, report::chain};
use portcullis_telemetry::audit::{Event, RequestContext};
use std::sync::Arc;

/// `token_type_hint` is not needed: access tokens and refresh tokens have different formats.
const NAMES: [&str; 1] = ["token"];

impl AuthorizationServer {
    /// Handles one request. An invalid token is not an error (RFC 7009 §2.2).
    pub async fn revoke(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        from: &RequestContext,
        now: Timestamp,
    ) -> Result<(), OAuthError> {
        let parameters = form(headers, body, &NAMES)?;
        let client = self.authenticate(headers, &parameters, from, now).await?;
        let client_id = client.verifier.client_id.as_str();
        let token = parameters.get("token").ok_or(OAuthError::Missing("token"))?;
        let Some(name) = self.grant_behind(token, client_id, now).await? else { return Ok(()) };
        if let Err(error) = self.grants.revoke(&name, RevocationReason::ByClient, now).await {
            tracing::warn!(grant = name, error = chain(&error), "a grant could not be revoked");
            return Err(OAuthError::Unavailable);
        }
        Event::GrantRevoked { from, client_id, user: None, grant: &name, reason: RevocationReason::ByClient }.emit();
        Ok(())
    }

    /// Reads a grant that is not in memory, for a genuine token: another server may have created it a moment ago.
    pub(super) async fn find_at_store(&self, name: &str, now: Timestamp) -> Result<Option<Arc<Grant>>, OAuthError> {
        if self.missing.has(name, now) {
            return Ok(None);
        }
        let found = self.grants.read(name).await.map_err(|error| {
            tracing::warn!(grant = name, error = chain(&error), "a grant could not be read");
            OAuthError::Unavailable
        })?;
        if found.is_none() {
            self.missing.note(name, now);
        }
        Ok(found)
    }

    /// The grant behind a token; `None` if there is none any more.
    async fn grant_behind(&self, token: &str, client_id: &str, now: Timestamp) -> Result<Option<String>, OAuthError> {
        const OTHER_CLIENT: OAuthError = OAuthError::InvalidGrant("the token was issued to another client");
        if let Some(presented) = self.refresh.read(token) {
            let grant = match self.grants.find(presented.grant()) {
                GrantLookup::Present(grant) => Some(grant),
                GrantLookup::Deleted => None,
                GrantLookup::Unknown => self.find_at_store(presented.grant(), now).await?,
            };
            let Some(grant) = grant.filter(|grant| self.refresh.belongs(&presented, grant)) else { return Ok(None) };
            return if grant.client_id == client_id { Ok(Some(grant.name.clone())) } else { Err(OTHER_CLIENT) };
        }
        match self.tokens.verify(token, now) {
            Err(_) => Ok(None),
            Ok(caller) if caller.client_id != client_id => Err(OTHER_CLIENT),
            Ok(caller) => caller.grant.map(Some).ok_or(OAuthError::UnsupportedTokenType),
        }
    }
}

#[cfg(test)]
mod tests;
