//! The provider's keys (RFC 7517): fetched when they are needed, kept, and fetched anew when they are old or a token
//! names one that is not among them, since providers rotate (OpenID Connect Core §10.1.1).
//!
//! While the provider cannot be reached, the known keys stay in use. No caller waits for another caller's failure twice:
//! a failed fetch pauses all fetches.

use crate::error::SignInError;
use crate::oidc::discovery::Failure;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{
    Algorithm, DecodingKey, Header,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use portcullis_outbound::HttpClient;
use serde::Deserialize;
use serde_json::Value;
use std::{
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};
use tokio::{sync::Mutex, time::timeout};

/// How long keys are kept without looking again. A key that the provider withdraws counts no longer than this.
const FRESH: SignedDuration = SignedDuration::from_hours(1);
/// How long after a failed fetch, or one that did not bring the wanted key, there is no other.
const PAUSE: SignedDuration = SignedDuration::from_secs(10);
/// How long a caller with a known but old key waits for newer keys.
const PATIENCE: Duration = Duration::from_secs(2);
/// RFC 7518 §3.3.
const MIN_RSA_BITS: usize = 2048;

/// Fetches and keeps them.
pub(super) struct Keys {
    provider: String,
    client: HttpClient,
    state: RwLock<State>,
    /// Held by the one caller that fetches.
    fetching: Mutex<()>,
}

#[derive(Default)]
struct State {
    keys: Vec<Jwk>,
    fetched_at: Option<Timestamp>,
    /// When a fetch failed or brought no suitable key.
    in_vain_at: Option<Timestamp>,
    failure: Option<Failure>,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

impl Keys {
    pub(super) fn new(provider: String, client: HttpClient) -> Self {
        Self { provider, client, state: RwLock::default(), fetching: Mutex::default() }
    }

    /// The key that a token with this header is signed with.
    pub(super) async fn find(&self, url: &str, header: &Header, now: Timestamp) -> Result<DecodingKey, SignInError> {
        let known = self.look(header);
        if known.is_some() && (self.is_fresh(now) || self.is_paused(now)) {
            return self.usable(known);
        }
        if known.is_some() {
            // One caller fetches; the others go on with what is known.
            if let Ok(_fetching) = self.fetching.try_lock()
                && timeout(PATIENCE, self.fetch(url, header, now)).await.is_err()
            {
                self.fail(Failure::Unreachable("its keys did not arrive in time".to_owned()), now);
            }
        } else {
            // Those who waited find what the first one fetched, or that it failed.
            let _fetching = self.fetching.lock().await;
            if self.look(header).is_none() && !self.is_paused(now) {
                self.fetch(url, header, now).await;
            }
        }
        self.usable(self.look(header))
    }

    async fn fetch(&self, url: &str, header: &Header, now: Timestamp) {
        match self.download(url).await {
            Ok(keys) => {
                let in_vain_at = select(&keys, header).is_none().then_some(now);
                *self.write() = State { keys, fetched_at: Some(now), in_vain_at, failure: None };
            }
            Err(error) => self.fail(Failure::of(&error), now),
        }
    }

    async fn download(&self, url: &str) -> Result<Vec<Jwk>, SignInError> {
        let answer = self.client.send(self.client.get(url)).await;
        let answer = answer.map_err(|error| SignInError::unanswered(&self.provider, error))?;
        let set: KeySet = answer.object().map_err(|error| SignInError::unusable(&self.provider, error))?;
        // RFC 7517 §5: keys that cannot be understood are ignored.
        Ok(set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect())
    }

    fn fail(&self, failure: Failure, now: Timestamp) {
        tracing::warn!(provider = self.provider, %failure, "the provider's keys could not be fetched; known keys stay in use");
        let mut state = self.write();
        state.in_vain_at = Some(now);
        state.failure = Some(failure);
    }

    fn look(&self, header: &Header) -> Option<Jwk> {
        select(&self.read().keys, header).cloned()
    }

    fn is_fresh(&self, now: Timestamp) -> bool {
        self.read().fetched_at.is_some_and(|since| now.duration_since(since) < FRESH)
    }

    fn is_paused(&self, now: Timestamp) -> bool {
        self.read().in_vain_at.is_some_and(|since| now.duration_since(since) < PAUSE)
    }

    fn usable(&self, key: Option<Jwk>) -> Result<DecodingKey, SignInError> {
        let unknown = "the token is signed with a key that the provider does not publish";
        let key = key.ok_or_else(|| match self.read().failure.clone() {
            Some(failure) => failure.told(&self.provider),
            None => SignInError::unexpected(&self.provider, unknown),
        })?;
        DecodingKey::from_jwk(&key).map_err(|error| SignInError::unexpected(&self.provider, error))
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
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
            AlgorithmParameters::RSA(key),
            Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512,
        ) => rsa_bits(&key.n) >= MIN_RSA_BITS,
        (AlgorithmParameters::EllipticCurve(key), Algorithm::ES256) => key.curve == EllipticCurve::P256,
        (AlgorithmParameters::EllipticCurve(key), Algorithm::ES384) => key.curve == EllipticCurve::P384,
        (AlgorithmParameters::OctetKeyPair(key), Algorithm::EdDSA) => key.curve == EllipticCurve::Ed25519,
        _ => false,
    };
    signs && meant && kind
}

/// The length of an RSA modulus, without leading zeros; 0 if it cannot be read.
fn rsa_bits(modulus: &str) -> usize {
    let bytes = URL_SAFE_NO_PAD.decode(modulus).unwrap_or_default();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let first = bytes.get(zeros).map_or(0, |byte| byte.leading_zeros() as usize);
    (bytes.len() - zeros) * 8 - first
}
