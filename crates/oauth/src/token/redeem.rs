//! The grant type `authorization_code` (RFC 6749 §4.1.3, RFC 7636 §4.6): exchanges a code for a grant, once.

use crate::token::{AuthorizationServer, OAuthError, TokenRequest, TokenResponse};
use crate::{
    code::Code,
    grant::{self, GrantLookup, GrantsError},
    pkce,
    refresh::Owner,
    users::UserStatus,
};
use portcullis_core::{client::Grant, grant::RevocationReason, report::chain};
use portcullis_telemetry::audit::Event;
use rand::CryptoRng;
use std::sync::Arc;

/// Maximum number of active grants per user and client. A client has one per machine, and one more per start if it does
/// not store its tokens. Another grant revokes the oldest.
pub(super) const MAX_GRANTS: usize = 20;

/// Maximum number of revocations per redemption. Concurrent servers, and grants from before the limit, can leave more
/// surplus grants; later redemptions revoke those.
const MAX_ENDED: usize = 10;

/// The message for every error of a code itself: the client need not know more.
const INVALID: &str =
    "the authorization code is unknown, has expired or was redeemed before; let the user approve again";

impl AuthorizationServer {
    pub(super) async fn redeem(
        &self,
        request: &TokenRequest<'_>,
        rng: &mut (dyn CryptoRng + Send),
    ) -> Result<TokenResponse, OAuthError> {
        request.may_use(Grant::AuthorizationCode)?;
        let code = Code::open(request.required("code")?, &self.sealer, request.now)
            .map_err(|_| OAuthError::InvalidGrant(INVALID))?;
        // Checked before the code is used up: a client that cannot prove that the code is its own does not invalidate
        // the code.
        if let Err(why) = self.check_code(request, &code) {
            request.mark_audited();
            Event::CodeRefused {
                from: request.from,
                client_id: request.client_id(),
                user: &code.consent.user.id,
                grant: &code.grant_name(),
                reason: why.reason(),
            }
            .emit();
            return Err(why);
        }
        let (grant, refresh) = self.consented(request, &code, rng).await?;
        self.issue_for(request, &grant, &grant.scopes, refresh, rng)
    }

    /// The checks of RFC 6749 §4.1.3, and the proof of RFC 7636.
    fn check_code(&self, request: &TokenRequest<'_>, code: &Code) -> Result<(), OAuthError> {
        if code.consent.client_id != request.client_id() {
            return Err(OAuthError::InvalidGrant("the authorization code was made for another client"));
        }
        // Clients of OAuth 2.1 do not send it, since PKCE protects more; if it is sent, it must match.
        if request.parameters.get("redirect_uri").is_some_and(|uri| uri != code.consent.redirect_uri) {
            return Err(OAuthError::InvalidGrant("the redirect_uri is not the one of the authorization request"));
        }
        if !pkce::verifies(&code.consent.challenge, request.required("code_verifier")?) {
            return Err(OAuthError::InvalidGrant("the code_verifier does not match the code_challenge"));
        }
        if code.consent.resource != self.resource {
            return Err(OAuthError::InvalidTarget(self.resource.clone()));
        }
        match self.users.status_of(&code.consent.user.id, code.consent.evidence.as_ref()) {
            // A code is at most a minute old: what its evidence lacks is checked at the first refresh.
            UserStatus::Valid | UserStatus::Unproven => {}
            UserStatus::Unavailable => return Err(OAuthError::LoginUnavailable),
            UserStatus::Missing => return Err(OAuthError::UserGone),
            UserStatus::Ended(reason) => return Err(OAuthError::UserEnded(reason)),
        }
        if let Some(ended) = self.ended(&code.consent.user.id, code.consent.signed_in_at) {
            return Err(OAuthError::AccessEnded(ended));
        }
        // The user signed out everywhere after the consent, or the provider ended all sessions of the user.
        if self.session_ended(&code.consent.user.id, None, code.consent.signed_in_at) {
            return Err(OAuthError::InvalidGrant("the user signed out since; let the user sign in and approve again"));
        }
        Ok(())
    }

    /// Creates the grant. The uniqueness of its name makes the code single-use.
    async fn consented(
        &self,
        request: &TokenRequest<'_>,
        code: &Code,
        rng: &mut (dyn CryptoRng + Send),
    ) -> Result<(Arc<grant::Grant>, Option<super::RefreshToken>), OAuthError> {
        let name = code.grant_name();
        match self.grants.find(&name) {
            GrantLookup::Present(_) => return Err(self.replayed(request, code).await),
            GrantLookup::Deleted => return Err(OAuthError::InvalidGrant(INVALID)),
            GrantLookup::Unknown => {}
        }
        let client = &request.client.verifier;
        let scopes = &code.consent.scopes & &client.scopes;
        if scopes.is_empty() {
            return Err(OAuthError::InvalidGrant("the client may no longer have the scopes that the user allowed"));
        }
        let owner = Owner { client_id: &code.consent.client_id, user_id: &code.consent.user.id };
        let refresh =
            if client.grants.contains(&Grant::RefreshToken) { self.refresh.first(&name, owner, rng) } else { None };
        let grant = grant::Grant {
            name,
            client_id: code.consent.client_id.clone(),
            user: code.consent.user.clone(),
            evidence: code.consent.evidence.clone(),
            scopes,
            resource: code.consent.resource.clone(),
            created_at: request.now,
            signed_in_at: code.consent.signed_in_at,
            expires_at: request.now.saturating_add(self.grant_lifetime).unwrap_or(jiff::Timestamp::MAX),
            refresh: refresh.as_ref().map(|token| token.state(request.now)),
            revoked: None,
            last_used: None,
            version: String::new(),
        };
        match self.grants.create(grant).await {
            Ok(grant) => {
                Event::GrantCreated {
                    from: request.from,
                    client_id: &grant.client_id,
                    user: &grant.user.id,
                    grant: &grant.name,
                    scopes: &grant.scopes,
                }
                .emit();
                self.end_surplus(request, &grant).await;
                Ok((grant, refresh))
            }
            Err(GrantsError::Exists) => Err(self.replayed(request, code).await),
            Err(error) => {
                tracing::warn!(error = chain(&error), "a grant could not be created");
                Err(OAuthError::Unavailable)
            }
        }
    }

    /// Revokes the oldest grants of this user and client beyond [`MAX_GRANTS`]. If that fails, the next redemption
    /// retries.
    async fn end_surplus(&self, request: &TokenRequest<'_>, newest: &grant::Grant) {
        let mut grants = self.grants.of_user(&newest.user.id);
        grants.retain(|grant| {
            grant.client_id == newest.client_id && grant.is_active(request.now) && grant.name != newest.name
        });
        let surplus = (grants.len() + 1).saturating_sub(MAX_GRANTS).min(MAX_ENDED);
        grants.sort_by(|one, other| (one.created_at, &one.name).cmp(&(other.created_at, &other.name)));
        for grant in grants.iter().take(surplus) {
            match self.grants.revoke(&grant.name, RevocationReason::Superseded, request.now).await {
                Ok(()) => Event::GrantRevoked {
                    from: request.from,
                    client_id: &grant.client_id,
                    user: Some(&grant.user.id),
                    grant: &grant.name,
                    reason: RevocationReason::Superseded,
                }
                .emit(),
                Err(error) => {
                    tracing::warn!(
                        grant = grant.name,
                        error = chain(&error),
                        "a grant beyond the limit could not be revoked"
                    );
                }
            }
        }
    }

    /// The code may have been stolen: the grant that it created is revoked (RFC 6749 §4.1.2).
    async fn replayed(&self, request: &TokenRequest<'_>, code: &Code) -> OAuthError {
        self.end(request, &code.grant_name(), &code.consent.user.id, RevocationReason::CodeReplayed).await;
        OAuthError::InvalidGrant(INVALID)
    }

    /// Revokes a grant whose credential was replayed. If that fails, the client still gets no token.
    pub(super) async fn end(&self, request: &TokenRequest<'_>, grant: &str, user: &str, reason: RevocationReason) {
        request.mark_audited();
        let (from, client_id) = (request.from, request.client_id());
        match reason {
            RevocationReason::CodeReplayed => Event::CodeReplayed { from, client_id, user, grant },
            _ => Event::RefreshTokenReplayed { from, client_id, user, grant },
        }
        .emit();
        match self.grants.revoke(grant, reason, request.now).await {
            Ok(()) => Event::GrantRevoked { from, client_id, user: Some(user), grant, reason }.emit(),
            Err(error) => {
                tracing::error!(
                    grant,
                    error = chain(&error),
                    "a grant whose credential was replayed could not be revoked"
                );
            }
        }
    }
}
