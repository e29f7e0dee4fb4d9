//! The provider's keys: fetched from the `jwks_uri` of its discovery document, and cached ([`KeyCache`]).

use crate::error::SignInError;
use crate::oidc::discovery::Failure;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{DecodingKey, Header};
use portcullis_oauth::external_jwt::{FetchFailure, KeyCache, NoKey, Published};
use portcullis_outbound::issuer::IssuerClient;
use std::sync::Arc;

/// How long keys are used without another fetch.
const FRESH: SignedDuration = SignedDuration::from_hours(1);

/// Fetches and caches the keys.
pub(super) struct Keys {
    provider: String,
    issuer: IssuerClient,
    cache: KeyCache<Failure>,
}

impl FetchFailure for Failure {
    fn timeout() -> Self {
        Self::Unreachable("its keys did not arrive in time".to_owned())
    }
}

impl Keys {
    pub(super) fn new(provider: String, issuer: IssuerClient) -> Self {
        Self { cache: KeyCache::new(provider.clone(), FRESH), provider, issuer }
    }

    /// The key that signed a token with this header. The issuer `issuer` publishes its keys at `url`.
    pub(super) async fn find(
        &self,
        issuer: &str,
        url: &str,
        header: &Header,
        now: Timestamp,
    ) -> Result<Arc<DecodingKey>, SignInError> {
        let fetch = async || match self.issuer.keys(url).await {
            Ok(keys) => Ok(Published { issuer: issuer.to_owned(), keys }),
            Err(error) => Err(Failure::of(&self.provider, error)),
        };
        match self.cache.find(header, now, fetch).await {
            Ok(found) => Ok(found.key),
            Err(NoKey::Unavailable(failure)) => Err(failure.into_sign_in_error(&self.provider)),
            Err(NoKey::Unknown) => {
                let unknown = "the token is signed with a key that the provider does not publish";
                Err(SignInError::unexpected(&self.provider, unknown))
            }
        }
    }
}
