//! The provider's keys (RFC 7517): fetched when they are needed, kept for a while, and fetched anew when a token names
//! one that is not among them, since providers rotate (OpenID Connect Core §10.1.1).

use crate::{identity::error::SignInError, outbound::HttpClient};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{
    Algorithm, DecodingKey, Header,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;

/// How long they are kept. A key that the provider withdraws counts no longer than this.
const FRESH: SignedDuration = SignedDuration::from_hours(1);
/// How long after asking in vain nobody asks again.
const PAUSE: SignedDuration = SignedDuration::from_secs(10);

/// Fetches and keeps them.
pub(super) struct Keys {
    provider: String,
    client: HttpClient,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    keys: Vec<Jwk>,
    fetched_at: Option<Timestamp>,
    in_vain_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

impl Keys {
    pub(super) fn new(provider: String, client: HttpClient) -> Self {
        Self { provider, client, state: Mutex::default() }
    }

    /// The key that a token with this header is signed with.
    pub(super) async fn find(&self, url: &str, header: &Header, now: Timestamp) -> Result<DecodingKey, SignInError> {
        let mut state = self.state.lock().await;
        let lately = |since: Option<Timestamp>, span| since.is_some_and(|since| now.duration_since(since) < span);
        if lately(state.fetched_at, FRESH) {
            if let Some(key) = select(&state.keys, header) {
                return self.usable(key);
            }
            if lately(state.in_vain_at, PAUSE) {
                return Err(self.unknown());
            }
        }
        state.keys = self.fetch(url).await?;
        state.fetched_at = Some(now);
        let found = select(&state.keys, header).map(|key| self.usable(key));
        state.in_vain_at = found.is_none().then_some(now);
        found.unwrap_or_else(|| Err(self.unknown()))
    }

    async fn fetch(&self, url: &str) -> Result<Vec<Jwk>, SignInError> {
        let answer = self.client.send(self.client.get(url)).await;
        let answer = answer.map_err(|error| SignInError::unanswered(&self.provider, error))?;
        let set: KeySet = answer.json().map_err(|error| SignInError::unusable(&self.provider, error))?;
        // RFC 7517 §5: keys that cannot be understood are ignored.
        Ok(set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect())
    }

    fn usable(&self, key: &Jwk) -> Result<DecodingKey, SignInError> {
        DecodingKey::from_jwk(key).map_err(|error| SignInError::unexpected(&self.provider, error))
    }

    fn unknown(&self) -> SignInError {
        SignInError::unexpected(&self.provider, "the ID token is signed with a key that the provider does not publish")
    }
}

/// The key of that name. A token without one is taken where there is one key only that it can be.
pub(super) fn select<'a>(keys: &'a [Jwk], header: &Header) -> Option<&'a Jwk> {
    let mut suitable = keys.iter().filter(|key| suits(key, header.alg));
    match &header.kid {
        Some(kid) => suitable.find(|key| key.common.key_id.as_ref() == Some(kid)),
        None => suitable.next().filter(|_| suitable.next().is_none()),
    }
}

/// Whether the algorithm can be verified with the key, and is what the key is for.
fn suits(key: &Jwk, algorithm: Algorithm) -> bool {
    let signs = key.common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature);
    let meant = key.common.key_algorithm.is_none_or(|meant| meant == KeyAlgorithm::from(algorithm));
    let kind = match (&key.algorithm, algorithm) {
        (
            AlgorithmParameters::RSA(_),
            Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512,
        ) => true,
        (AlgorithmParameters::EllipticCurve(key), Algorithm::ES256) => key.curve == EllipticCurve::P256,
        (AlgorithmParameters::EllipticCurve(key), Algorithm::ES384) => key.curve == EllipticCurve::P384,
        (AlgorithmParameters::OctetKeyPair(key), Algorithm::EdDSA) => key.curve == EllipticCurve::Ed25519,
        _ => false,
    };
    signs && meant && kind
}
