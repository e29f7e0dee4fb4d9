//! OpenID Connect Back-Channel Logout 1.0: what a provider says when a session at it ends.

use crate::error::SignInError;
use crate::oidc::{
    Oidc,
    claims::UserClaims as _,
    id_token::{self, Expected, IdTokenError},
};
use jiff::Timestamp;
use portcullis_oauth::external_jwt::Token;

/// Whose session ended, and when.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// The user (`sub`).
    pub(crate) subject: Option<String>,
    /// The session (`sid`); without it all of the user's.
    pub(crate) session: Option<String>,
    /// When: never in the future.
    pub(crate) at: Timestamp,
}

impl Oidc {
    /// What a logout token says that is this provider's, for us, and of now (§2.6). One that comes twice says the same twice:
    /// it ends what began until it was made.
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
