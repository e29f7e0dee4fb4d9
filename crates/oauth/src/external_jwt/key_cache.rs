//! The cached keys of one issuer: fetched when first needed, and fetched again when they are old or a token names an
//! unknown key, since issuers rotate keys (OpenID Connect Core §10.1.1).
//!
//! One caller fetches; callers with a known key do not wait for it. While the issuer cannot be reached, the known keys
//! stay in use. A fetch that fails, or that does not return the wanted key, pauses all fetches, so that tokens with
//! made-up keys cannot be used to flood the issuer, and no caller waits for the same failure twice.

use crate::external_jwt::{KeySet, VerifyingKey};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{DecodingKey, Header};
use serde_json::Value;
use std::{
    fmt::Display,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};
use tokio::{sync::Mutex, time::timeout};

/// How long no other fetch follows one that failed or did not return the wanted key.
const PAUSE: SignedDuration = SignedDuration::from_secs(10);
/// How long a caller with a known but old key waits for newer keys.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(2);
/// The maximum number of keys of one issuer.
const MAX_KEYS: usize = 1024;

/// The issuer and the keys that it publishes.
#[derive(Clone, Debug)]
pub struct Published {
    /// The `iss` of its tokens.
    pub issuer: String,
    /// The JSON Web Keys, unchanged.
    pub keys: Vec<Value>,
}

/// Why the keys could not be fetched. The text is for the log.
pub trait FetchFailure: Clone + Display {
    /// The issuer did not answer in time.
    fn timeout() -> Self;
}

/// Why there is no key for a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoKey<E> {
    /// The issuer does not publish the key.
    #[error("the issuer publishes no such key")]
    Unknown,
    /// The issuer cannot be reached.
    #[error("the issuer's keys cannot be fetched: {0}")]
    Unavailable(E),
}

/// The keys of one issuer.
#[derive(Debug)]
pub struct KeyCache<E> {
    /// The issuer's name in the log.
    name: String,
    /// How long keys are used without another fetch. A key that the issuer withdraws verifies nothing after this,
    /// unless the issuer cannot be reached.
    fresh: SignedDuration,
    state: RwLock<State<E>>,
    /// Held by the caller that fetches. The state is not locked during a fetch.
    fetching: Mutex<()>,
}

#[derive(Debug)]
struct State<E> {
    issuer: Arc<str>,
    keys: KeySet,
    fetched_at: Option<Timestamp>,
    /// When the last fetch ended, if it failed or did not return the wanted key.
    in_vain_at: Option<Timestamp>,
    failure: Option<E>,
    /// The number of completed fetches.
    fetches: u64,
}

/// A key, and the issuer that publishes it.
#[derive(Clone, Debug)]
pub struct IssuerKey {
    /// The key.
    pub key: Arc<DecodingKey>,
    /// The `iss` of its tokens.
    pub issuer: Arc<str>,
}

/// The cached data for one header.
struct Known<E> {
    key: Option<IssuerKey>,
    is_fresh: bool,
    is_paused: bool,
    failure: Option<E>,
    fetches: u64,
}

impl<E: FetchFailure> KeyCache<E> {
    /// An empty cache for the keys of an issuer, which the log calls `name`.
    #[must_use]
    pub fn new(name: String, fresh: SignedDuration) -> Self {
        let state = State {
            issuer: Arc::default(),
            keys: KeySet::default(),
            fetched_at: None,
            in_vain_at: None,
            failure: None,
            fetches: 0,
        };
        Self { name, fresh, state: RwLock::new(state), fetching: Mutex::default() }
    }

    /// The key that signed a token with this header. `fetch` requests the keys from the issuer.
    pub async fn find(
        &self,
        header: &Header,
        now: Timestamp,
        fetch: impl AsyncFnOnce() -> Result<Published, E>,
    ) -> Result<IssuerKey, NoKey<E>> {
        let known = self.lookup(header, now);
        match known.key {
            Some(key) if known.is_fresh || known.is_paused => return Ok(key),
            Some(_) => {
                // One caller fetches; the others continue with the known key.
                if let Ok(_fetching) = self.fetching.try_lock() {
                    let fetched = timeout(REFRESH_TIMEOUT, fetch()).await.unwrap_or_else(|_| Err(E::timeout()));
                    self.update(fetched, header, now);
                }
            }
            None => {
                let _fetching = self.fetching.lock().await;
                let current = self.lookup(header, now);
                // Callers that waited use the result of the first one, or its failure.
                let waited = current.fetches != known.fetches;
                if current.key.is_none() && !current.is_paused && !waited {
                    self.update(fetch().await, header, now);
                }
            }
        }
        let known = self.lookup(header, now);
        known.key.ok_or_else(|| known.failure.map_or(NoKey::Unknown, NoKey::Unavailable))
    }

    fn update(&self, fetched: Result<Published, E>, header: &Header, now: Timestamp) {
        if let Err(failure) = &fetched {
            let issuer = &self.name;
            tracing::warn!(issuer, reason = %failure, "the keys of an issuer could not be fetched; known keys stay in use");
        }
        let fetched = fetched.map(|Published { issuer, keys }| (issuer, KeySet::read(keys.into_iter().take(MAX_KEYS))));
        let mut state = self.write();
        state.fetches += 1;
        match fetched {
            Ok((issuer, keys)) => {
                state.in_vain_at = keys.find(header).is_none().then_some(now);
                (state.issuer, state.keys) = (issuer.into(), keys);
                state.fetched_at = Some(now);
                state.failure = None;
            }
            Err(failure) => {
                state.in_vain_at = Some(now);
                state.failure = Some(failure);
            }
        }
    }

    fn lookup(&self, header: &Header, now: Timestamp) -> Known<E> {
        let state = self.read();
        let within = |since: Option<Timestamp>, span| since.is_some_and(|at| now.duration_since(at).abs() < span);
        let key = state.keys.find(header).map(|VerifyingKey { verifier, .. }| IssuerKey {
            key: Arc::clone(verifier),
            issuer: Arc::clone(&state.issuer),
        });
        Known {
            key,
            is_fresh: within(state.fetched_at, self.fresh),
            is_paused: within(state.in_vain_at, PAUSE),
            failure: state.failure.clone(),
            fetches: state.fetches,
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State<E>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State<E>> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
