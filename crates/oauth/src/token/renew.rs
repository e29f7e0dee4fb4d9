//! The grant type `refresh_token` (RFC 6749 §6): each refresh token is exchanged for one successor, and its reuse ends
//! the grant (RFC 9700 §4.14.2).

use crate::token::{AuthorizationServer, OAuthError, TokenRequest, TokenResponse};
use crate::{
    grant::{self, GrantLookup, GrantsError},
    refresh::{Decision, Invalid, Presented},
    scopes,
};
use jiff::Timestamp;
use portcullis_core::{Scope, client::Grant, grant::RevocationReason, report::chain};
use portcullis_telemetry::audit::Event;
use rand::CryptoRng;
use std::{collections::BTreeSet, sync::Arc};

/// The maximum number of attempts of a write that conflicts with another one.
const ATTEMPTS: u32 = 5;

impl AuthorizationServer {
    pub(super) async fn renew(
        &self,
        request: &TokenRequest<'_>,
        rng: &mut (dyn CryptoRng + Send),
    ) -> Result<TokenResponse, OAuthError> {
        request.may_use(Grant::RefreshToken)?;
        let presented = self.refresh.read(request.required("refresh_token")?).ok_or(Invalid::Unknown)?;
        let mut grant = match self.grants.find(presented.grant()) {
            GrantLookup::Present(grant) => grant,
            GrantLookup::Deleted => return Err(Invalid::Revoked.into()),
            GrantLookup::Unknown => self.read_grant(presented.grant(), request.now).await?,
        };
        // The provider is asked once; its answer is valid for all attempts.
        let mut checked = None;
        for _ in 0..ATTEMPTS {
            let scopes = self.renewable(request, &presented, &grant)?;
            let next = match self.refresh.decide(&presented, &grant, request.now) {
                Decision::Invalid(why) => return Err(why.into()),
                Decision::Replayed => {
                    self.end(request, &grant.name, &grant.user.id, RevocationReason::RefreshTokenReplayed).await;
                    return Err(Invalid::Revoked.into());
                }
                Decision::Repeat(token) => {
                    Self::note(request, &grant, "repeated");
                    return self.issue_for(request, &grant, &scopes, Some(token), rng);
                }
                Decision::Rotate(token) => token,
            };
            let evidence = self.review(&grant, request.from, request.now).await?;
            checked = self.recheck(&grant, request.from, request.now, rng).await?.or(checked);
            let evidence = checked.clone().or(evidence);
            match self.grants.rotate(&grant, next.state(request.now), evidence).await {
                Ok(grant) => {
                    Self::note(request, &grant, "rotated");
                    return self.issue_for(request, &grant, &scopes, Some(next), rng);
                }
                // Another server wrote the grant first, or this copy was outdated: what is stored decides.
                Err(GrantsError::Conflict) => grant = self.read_grant(&grant.name, request.now).await?,
                Err(GrantsError::NotFound) => return Err(Invalid::Revoked.into()),
                Err(error) => {
                    tracing::warn!(grant = grant.name, error = chain(&error), "a refresh token could not be rotated");
                    return Err(OAuthError::Unavailable);
                }
            }
        }
        tracing::warn!(grant = grant.name, "a refresh token could not be rotated: the grant kept changing");
        Err(OAuthError::Unavailable)
    }

    /// The scopes of the response: no more than the user approves and the client may have at present.
    fn renewable(
        &self,
        request: &TokenRequest<'_>,
        presented: &Presented,
        grant: &grant::Grant,
    ) -> Result<BTreeSet<Scope>, OAuthError> {
        if grant.client_id != request.client_id() || !self.refresh.belongs(presented, grant) {
            return Err(Invalid::Unknown.into());
        }
        if let Some(ended) = self.ended(&grant.user.id, grant.signed_in_at) {
            request.mark_audited();
            Event::RefreshTokenRefused {
                from: request.from,
                client_id: &grant.client_id,
                user: &grant.user.id,
                grant: &grant.name,
                reason: ended.reason(),
            }
            .emit();
            return Err(OAuthError::AccessEnded(ended));
        }
        let allowed = &grant.scopes & &request.client.verifier.scopes;
        Ok(scopes::granted(request.parameters.get("scope"), &allowed)?)
    }

    async fn read_grant(&self, name: &str, now: Timestamp) -> Result<Arc<grant::Grant>, OAuthError> {
        self.find_at_store(name, now).await?.ok_or_else(|| Invalid::Revoked.into())
    }

    fn note(request: &TokenRequest<'_>, grant: &grant::Grant, outcome: &'static str) {
        Event::GrantRefreshed {
            from: request.from,
            client_id: &grant.client_id,
            user: &grant.user.id,
            grant: &grant.name,
            outcome,
        }
        .emit();
    }
}
