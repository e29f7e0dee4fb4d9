//! OpenID Connect Back-Channel Logout 1.0: what a provider says when a session at it ends.

use crate::error::SignInError;
use crate::oidc::{
    Oidc,
    id_token::{self, Expected},
};
use jiff::Timestamp;

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
        let refused = |rejection| SignInError::mismatch(&self.title, rejection);
        let header = id_token::header(token).map_err(refused)?;
        let metadata = self.discovery.metadata(now).await?;
        let key = self.keys.find(&metadata.jwks_uri, &header, now).await?;
        let expected = Expected { issuer: &metadata.issuer, client_id: &self.client_id, nonce: None, now };
        let claims = id_token::verify_logout(token, &header, &key, &expected).map_err(refused)?;
        let made = claims.seconds("iat").and_then(|second| Timestamp::from_second(second).ok()).unwrap_or(now);
        Ok(Ended { subject: claims.subject(), session: claims.text("sid").map(ToOwned::to_owned), at: made.min(now) })
    }
}
