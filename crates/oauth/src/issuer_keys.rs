//! The keys of an issuer elsewhere (RFC 7517): fetched when first needed, kept, and fetched anew when they are old or a
//! token names one that is not among them, since issuers rotate.
//!
//! While the issuer cannot be reached the known keys go on. Asking is limited, so that tokens with made-up keys cannot
//! be used to flood the issuer.

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{
    Algorithm, DecodingKey, Header,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse},
};
use portcullis_core::report::chain;
use serde_json::Value;
use std::{
    error::Error,
    fmt::Debug,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio::{sync::Mutex, time::timeout};

/// How long keys are kept without looking again. One that the issuer withdraws verifies nothing after this, unless the
/// issuer cannot be reached.
pub(super) const FRESH: SignedDuration = SignedDuration::from_mins(5);
/// How long after asking nobody asks again.
const PAUSE: SignedDuration = SignedDuration::from_secs(10);
/// How long whoever has a known key waits for news about it.
const PATIENCE: Duration = Duration::from_secs(2);
/// The shortest modulus of an RSA key, in base64url: 2048 bits (RFC 7518 §3.3).
const MIN_MODULUS: usize = 341;

/// What an issuer publishes.
#[derive(Clone, Debug)]
pub struct Published {
    /// What it calls itself.
    pub issuer: String,
    /// Its JSON Web Keys, as they came.
    pub keys: Vec<Value>,
}

/// From where keys are fetched.
#[async_trait]
pub trait KeySource: Debug + Send + Sync {
    /// Asks the issuer. The error is for the log.
    async fn fetch(&self) -> Result<Published, Box<dyn Error + Send + Sync>>;
}

/// Why there is no key for a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    /// The issuer does not publish it.
    #[error("the issuer publishes no such key")]
    Unknown,
    /// The issuer cannot be asked.
    #[error("the issuer's keys cannot be fetched: {0}")]
    Unavailable(String),
}

/// Fetches and keeps the keys of one issuer.
#[derive(Debug)]
pub struct IssuerKeys {
    source: Box<dyn KeySource>,
    state: RwLock<State>,
    /// Held by whoever asks the issuer.
    asking: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    issuer: Arc<str>,
    keys: Vec<Key>,
    fetched_at: Option<Timestamp>,
    asked_at: Option<Timestamp>,
    failure: Option<String>,
}

#[derive(Clone, Debug)]
struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    verifier: Arc<DecodingKey>,
}

/// A key, and what the issuer that publishes it calls itself.
#[derive(Clone, Debug)]
pub struct Found {
    /// The key.
    pub key: Arc<DecodingKey>,
    /// The issuer.
    pub issuer: Arc<str>,
}

impl IssuerKeys {
    /// Of the issuer behind `source`. Asks nothing yet.
    #[must_use]
    pub fn new(source: impl KeySource + 'static) -> Self {
        Self { source: Box::new(source), state: RwLock::default(), asking: Mutex::default() }
    }

    /// The key that a token with this header is signed with.
    pub async fn find(&self, header: &Header, now: Timestamp) -> Result<Found, NoKey> {
        let known = self.look(header, now);
        match known.found {
            Some(found) if known.fresh || known.asked_lately => return Ok(found),
            Some(_) => {
                // One asks; the others go on with what is known.
                if let Ok(asking) = self.asking.try_lock() {
                    let _ =
                        timeout(PATIENCE, self.ask(now)).await.inspect_err(|_| self.failed(now, "no answer in time"));
                    drop(asking);
                }
            }
            None => {
                let _asking = self.asking.lock().await;
                let known = self.look(header, now);
                if known.found.is_none() && !known.asked_lately {
                    self.ask(now).await;
                }
            }
        }
        let known = self.look(header, now);
        known.found.ok_or_else(|| known.failure.map_or(NoKey::Unknown, NoKey::Unavailable))
    }

    async fn ask(&self, now: Timestamp) {
        match self.source.fetch().await {
            Ok(Published { issuer, keys }) => {
                // RFC 7517 §5: keys that cannot be understood are ignored.
                let keys = keys.into_iter().filter_map(Key::read).collect();
                let (fetched_at, asked_at) = (Some(now), Some(now));
                let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
                *state = State { issuer: issuer.into(), keys, fetched_at, asked_at, failure: None };
            }
            Err(error) => self.failed(now, &chain(&*error)),
        }
    }

    fn failed(&self, now: Timestamp, why: &str) {
        tracing::warn!(reason = why, "the keys of an issuer could not be fetched; those that are known stay in force");
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.asked_at = Some(now);
        state.failure = Some(why.to_owned());
    }

    fn look(&self, header: &Header, now: Timestamp) -> Known {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let within = |since: Option<Timestamp>, span| since.is_some_and(|at| now.duration_since(at).abs() < span);
        let mut suitable = state.keys.iter().filter(|key| key.algorithms.contains(&header.alg));
        let key = match &header.kid {
            Some(kid) => suitable.find(|key| key.id.as_ref() == Some(kid)),
            // A token that does not say: where there is one key only that it can be.
            None => suitable.next().filter(|_| suitable.next().is_none()),
        };
        Known {
            found: key.map(|key| Found { key: Arc::clone(&key.verifier), issuer: Arc::clone(&state.issuer) }),
            fresh: within(state.fetched_at, FRESH),
            asked_lately: within(state.asked_at, PAUSE),
            failure: state.failure.clone(),
        }
    }
}

struct Known {
    found: Option<Found>,
    fresh: bool,
    asked_lately: bool,
    failure: Option<String>,
}

impl Key {
    /// `None` for what is for something else, or too weak.
    fn read(value: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        if jwk.common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
            return None;
        }
        let mut algorithms = match &jwk.algorithm {
            AlgorithmParameters::RSA(key) if key.n.len() >= MIN_MODULUS => vec![Algorithm::RS256, Algorithm::PS256],
            AlgorithmParameters::EllipticCurve(key) => match key.curve {
                EllipticCurve::P256 => vec![Algorithm::ES256],
                EllipticCurve::P384 => vec![Algorithm::ES384],
                _ => return None,
            },
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => vec![Algorithm::EdDSA],
            _ => return None,
        };
        if let Some(only) = jwk.common.key_algorithm {
            algorithms.retain(|algorithm| only.to_string().parse() == Ok(*algorithm));
        }
        let verifier = Arc::new(DecodingKey::from_jwk(&jwk).ok()?);
        (!algorithms.is_empty()).then_some(Self { id: jwk.common.key_id, algorithms, verifier })
    }
}
