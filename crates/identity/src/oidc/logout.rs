//! Back-channel logout: the token that a provider sends when a session ends (OpenID Connect Back-Channel Logout 1.0).

use crate::error::SignInError;
use crate::oidc::{
    Oidc,
    claims::UserClaims as _,
    id_token::{self, Expected, IdTokenError},
};
use jiff::Timestamp;
use portcullis_oauth::external_jwt::Token;

/// The sessions that a logout token ends, and the time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// The user (`sub`).
    pub(crate) subject: Option<String>,
    /// The session (`sid`); absent if all sessions of the user ended.
    pub(crate) session: Option<String>,
    /// The time of the logout, never in the future.
    pub(crate) at: Timestamp,
}

impl Oidc {
    /// Verifies a logout token of this provider (§2.6). A replayed token has no further effect: it ends only sessions
    /// that began before its `iat`.
    pub(crate) async fn ended(&self, token: &str, now: Timestamp) -> Result<Ended, SignInError> {
        let refused = |error: IdTokenError| SignInError::mismatch(&self.title, error);
        let token = Token::parse(token, &id_token::FORMAT).map_err(|error| refused(error.into()))?;
        let metadata = self.discovery.metadata(now).await?;
        let key = self.keys.find(&metadata.issuer, &metadata.jwks_uri, &token.header, now).await?;
        let expected = Expected { issuer: &metadata.issuer, client_id: &self.client_id, nonce: None, now };
        let claims = id_token::verify_logout(&token, &key, &expected).map_err(refused)?;
        let made = claims.time("iat").unwrap_or(now);
        Ok(Ended { subject: claims.subject(), session: claims.text("sid").map(ToOwned::to_owned), at: made.min(now) })
    }
}
