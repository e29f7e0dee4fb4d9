//! Whether a grant's user may still use it: checked at each refresh against the login's present rules.

use crate::{AuthorizationServer, OAuthError, grant::Grant, users::UserStatus};
use jiff::Timestamp;
use portcullis_core::{
    grant::{LoginEvidence, RevocationReason},
    report::chain,
};
use portcullis_telemetry::audit::{Event, RequestContext};

impl AuthorizationServer {
    /// Checks the user of a grant that is about to be refreshed. Returns new evidence if the grant should store it.
    pub(super) async fn review(
        &self,
        grant: &Grant,
        from: &RequestContext,
        now: Timestamp,
    ) -> Result<Option<LoginEvidence>, OAuthError> {
        let user_id = &grant.user.id;
        match self.users.status_of(user_id, grant.evidence.as_ref()) {
            UserStatus::Valid => Ok(None),
            UserStatus::Unavailable => Err(OAuthError::LoginUnavailable),
            UserStatus::Missing => Err(OAuthError::UserGone),
            UserStatus::Ended(reason) => Err(self.end_access(grant, reason, from, now).await),
            // The rule is newer than the sign-in, so it is not known whether the user satisfies it.
            UserStatus::Unproven if grant.evidence.is_some() => {
                Err(self.end_access(grant, RevocationReason::NotAllowed, from, now).await)
            }
            UserStatus::Unproven => self.users.assumed_evidence(user_id).map(Some).ok_or(OAuthError::UserGone),
        }
    }

    /// Revokes a grant whose user may no longer use it. The refresh is refused even if the write fails.
    pub(super) async fn end_access(
        &self,
        grant: &Grant,
        reason: RevocationReason,
        from: &RequestContext,
        now: Timestamp,
    ) -> OAuthError {
        if let Err(error) = self.grants.revoke(&grant.name, reason, now).await {
            tracing::error!(grant = grant.name, error = chain(&error), "a grant could not be revoked");
        }
        let Grant { client_id, user, name, .. } = grant;
        Event::GrantRevoked { from, client_id, user: Some(&user.id), grant: name, reason }.emit();
        OAuthError::UserEnded(reason)
    }
}
