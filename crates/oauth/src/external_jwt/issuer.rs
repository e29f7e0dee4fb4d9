//! Tokens of one issuer that this endpoint trusts: an external authorization server, or a Kubernetes cluster.

use crate::external_jwt::{
    ALGORITHMS, Claims, FetchFailure, Format, JwtError, KeyCache, NoKey, Policy, Published, Token,
};
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use portcullis_core::report::chain;
use std::{error::Error, fmt::Debug};

/// How long keys are used without another fetch. `verify::REVERIFY` relies on it.
const FRESH: SignedDuration = SignedDuration::from_mins(5);

const FORMAT: Format = Format { max_length: 16 << 10, algorithms: &ALGORITHMS };

/// The source of an issuer's keys.
#[async_trait]
pub trait KeySource: Debug + Send + Sync {
    /// The name of the issuer, for the log.
    fn name(&self) -> String;

    /// Fetches the keys from the issuer. The error is for the log.
    async fn fetch(&self) -> Result<Published, Box<dyn Error + Send + Sync>>;
}

/// Verifies the tokens of one issuer.
#[derive(Debug)]
pub struct IssuerKeys {
    source: Box<dyn KeySource>,
    cache: KeyCache<Failure>,
}

/// The text of an error and its sources.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
struct Failure(String);

impl FetchFailure for Failure {
    fn timeout() -> Self {
        Self("no answer in time".to_owned())
    }
}

/// The content of a verified token.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The header's `typ`, in lower case and without `application/`; `jwt` if it is absent (RFC 7519 §5.1).
    pub typ: String,
    /// The claims.
    pub claims: Claims,
}

impl IssuerKeys {
    /// The keys of the issuer behind `source`. Sends no request.
    #[must_use]
    pub fn new(source: impl KeySource + 'static) -> Self {
        Self { cache: KeyCache::new(source.name(), FRESH), source: Box::new(source) }
    }

    /// Checks that the issuer signed `token` for `audience`, and that it is valid at `now`.
    pub async fn verify(&self, token: &str, audience: &str, now: Timestamp) -> Result<Verified, JwtError> {
        let token = Token::parse(token, &FORMAT)?;
        let fetch = async || self.source.fetch().await.map_err(|error| Failure(chain(&*error)));
        let found = self.cache.find(&token.header, now, fetch).await.map_err(|none| match none {
            NoKey::Unknown => JwtError::Key,
            NoKey::Unavailable(_) => JwtError::Unavailable,
        })?;
        let claims: Claims = token.claims(&found.key)?;
        let policy = Policy {
            issuer: &found.issuer,
            audience,
            ignores_trailing_slash: true,
            expiry_leeway: 0,
            requires_issued_at: false,
        };
        claims.check(&policy, now)?;
        Ok(Verified { typ: token.typ().unwrap_or_else(|| "jwt".to_owned()), claims })
    }
}
