//! The recheck of a user after the sign-in: a refresh (OpenID Connect Core §12), followed by the rules of a sign-in.

use crate::error::SignInError;
use crate::oidc::{Expected, Oidc, TokenAnswer, claims::UserClaims as _};
use jiff::Timestamp;
use portcullis_core::{grant::RevocationReason, report::chain};
use portcullis_oauth::{Verdict, external_jwt::Claims};

/// The result of a recheck, and the refresh token that replaces the used one.
pub(crate) struct Refreshed {
    pub(crate) verdict: Verdict,
    pub(crate) token: Option<String>,
}

impl Oidc {
    /// Whether the rules still admit the user `subject`.
    pub(crate) async fn recheck(&self, subject: &str, token: &str, now: Timestamp) -> Refreshed {
        let mut next = None;
        let verdict = self.refresh(subject, token, &mut next, now).await.unwrap_or_else(|error| {
            tracing::warn!(provider = self.title, error = chain(&error), "a user could not be checked");
            Verdict::Unavailable
        });
        Refreshed { verdict, token: next }
    }

    async fn refresh(
        &self,
        subject: &str,
        token: &str,
        next: &mut Option<String>,
        now: Timestamp,
    ) -> Result<Verdict, SignInError> {
        let metadata = self.discovery.metadata(now).await?;
        let form = vec![("grant_type", "refresh_token"), ("refresh_token", token)];
        let answer = self.ask_for_token(&metadata, form).await?;
        if answer.status().is_client_error() && answer.status() != http::StatusCode::TOO_MANY_REQUESTS {
            return match self.token_error(&answer) {
                // The user was deleted or disabled, withdrew the consent, or has to sign in again.
                ("invalid_grant" | "interaction_required" | "login_required" | "consent_required", _) => {
                    Ok(Verdict::Refused(RevocationReason::ProviderRefused))
                }
                // The client is registered without the grant type `refresh_token`.
                ("unauthorized_client" | "unsupported_grant_type", _) => Ok(Verdict::Unsupported),
                (_, Some(error)) => Err(error),
                (_, None) => Err(SignInError::unexpected(
                    &self.title,
                    format!("its token endpoint answered {}", answer.status()),
                )),
            };
        }
        let answer: TokenAnswer = answer.object().map_err(|error| SignInError::unusable(&self.title, error))?;
        let TokenAnswer { access_token, id_token, refresh_token } = answer;
        *next = refresh_token;
        let claims = match &id_token {
            Some(id_token) => {
                let expected = Expected { issuer: &metadata.issuer, client_id: &self.client_id, nonce: None, now };
                let claims = self.verified(&metadata, id_token, &expected).await?;
                // §12.2: otherwise, the response may be about another user.
                if claims.subject().as_deref() != Some(subject) {
                    return Err(SignInError::unexpected(&self.title, "the ID token is for another user (sub)"));
                }
                claims
            }
            None => Claims::default(),
        };
        match self.account(&metadata, claims, &access_token, subject.to_owned()).await {
            Ok(account) => Ok(Verdict::Allowed(account.evidence)),
            Err(SignInError::NotAllowed { .. }) => Ok(Verdict::Refused(RevocationReason::NotAllowed)),
            Err(error) => Err(error),
        }
    }
}
