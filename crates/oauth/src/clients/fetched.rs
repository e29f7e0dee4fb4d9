//! A cache of documents that clients publish: fetched on demand, once at a time for each URL, and limited in size.
//!
//! A valid document is used for as long as its server says, within [`MIN_FRESH`] and the cache's maximum (RFC 9111). If
//! it then cannot be fetched again because the server does not answer, the last valid document is used until it is
//! [`MAX_FRESH`] old, so that another server's outage does not affect this endpoint. If the server answers that there
//! is no document, or returns an invalid one, that takes effect at once. A failure is cached for [`PAUSE`], so that a
//! client cannot be used to keep another server busy.

use jiff::{SignedDuration, Timestamp};
use portcullis_core::report::chain;
use portcullis_outbound::{Outbound, public_only::FetchError};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::Semaphore;

/// The minimum time for which a document is used without another fetch.
pub(super) const MIN_FRESH: Duration = Duration::from_mins(1);
/// The maximum time, and the maximum age of the last valid document while its server does not answer.
pub(super) const MAX_FRESH: Duration = Duration::from_hours(24);
/// The time for a server that does not specify one.
const USUAL_FRESH: Duration = Duration::from_hours(1);
/// How long no fetch of a URL follows a failed one.
const PAUSE: SignedDuration = SignedDuration::from_secs(10);
/// The maximum number of cached URLs.
const CAPACITY: usize = 256;
/// The maximum number of concurrent fetches.
const AT_ONCE: usize = 8;

/// Documents by URL, each parsed into a `T`.
pub(super) struct FetchCache<T> {
    outbound: Arc<Outbound>,
    max_bytes: usize,
    /// The maximum time for which a document is used without another fetch.
    max_fresh: Duration,
    slots: Mutex<HashMap<String, Arc<Slot<T>>>>,
    uses: AtomicU64,
    places: Semaphore,
}

/// The state of one URL. Locked during a fetch, so that other callers wait for it instead of fetching the document too.
struct Slot<T> {
    last_use: AtomicU64,
    state: tokio::sync::Mutex<State<T>>,
}

struct State<T> {
    good: Option<Good<T>>,
    failed: Option<(Timestamp, String)>,
}

struct Good<T> {
    value: Arc<T>,
    fetched_at: Timestamp,
    fresh_until: Timestamp,
}

/// Why there is no document, as a text for users.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unusable(pub String);

impl<T> FetchCache<T> {
    /// A cache of documents of at most `max_bytes`, each of which is used for at most `max_fresh` without another
    /// fetch.
    pub(super) fn new(outbound: Arc<Outbound>, max_bytes: usize, max_fresh: Duration) -> Self {
        let slots = Mutex::new(HashMap::new());
        Self { outbound, max_bytes, max_fresh, slots, uses: AtomicU64::new(0), places: Semaphore::new(AT_ONCE) }
    }

    /// The document at `url`, parsed with `read`, whose error is a text for users. A document that was fetched before
    /// `not_before` is fetched again.
    pub(super) async fn get(
        &self,
        url: &str,
        now: Timestamp,
        not_before: Option<Timestamp>,
        read: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Result<Arc<T>, Unusable> {
        let slot = self.slot(url);
        let mut state = slot.state.lock().await;
        let recent = |good: &&Good<T>| not_before.is_none_or(|since| good.fetched_at >= since);
        if let Some(good) = state.good.as_ref().filter(|good| now < good.fresh_until).filter(recent) {
            return Ok(Arc::clone(&good.value));
        }
        if let Some((failed_at, why)) = &state.failed
            && now.duration_since(*failed_at) < PAUSE
        {
            let why = why.clone();
            return state.last_good(now).ok_or(Unusable(why));
        }
        match self.fetch(url, read).await {
            Ok((value, fresh_for)) => {
                let value = Arc::new(value);
                let fresh_until = after(now, fresh_for.unwrap_or(USUAL_FRESH).clamp(MIN_FRESH, self.max_fresh));
                state.good = Some(Good { value: Arc::clone(&value), fetched_at: now, fresh_until });
                state.failed = None;
                Ok(value)
            }
            Err(failure) => {
                tracing::debug!(url = ?url, error = failure.text, "a document of a client cannot be used");
                state.failed = Some((now, failure.text.clone()));
                if failure.definite {
                    state.good = None;
                }
                state.last_good(now).ok_or(Unusable(failure.text))
            }
        }
    }

    async fn fetch(
        &self,
        url: &str,
        read: impl FnOnce(&[u8]) -> Result<T, String>,
    ) -> Result<(T, Option<Duration>), Failure> {
        let busy = || Failure { text: "too many documents are being fetched; try again".to_owned(), definite: false };
        let _place = self.places.acquire().await.map_err(|_| busy())?;
        let fetched = self.outbound.public_only().fetch(url, self.max_bytes).await.map_err(Failure::from)?;
        let value = read(&fetched.body).map_err(|text| Failure { text, definite: true })?;
        Ok((value, fetched.fresh_for))
    }

    fn slot(&self, url: &str) -> Arc<Slot<T>> {
        // A poisoned map is consistent: no code panics between two writes to it.
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let use_ = self.uses.fetch_add(1, Ordering::Relaxed);
        if let Some(slot) = slots.get(url) {
            slot.last_use.store(use_, Ordering::Relaxed);
            return Arc::clone(slot);
        }
        if slots.len() >= CAPACITY {
            // Failures are evicted first, then the least recently used URL.
            let worth = |slot: &Slot<T>| {
                let good = slot.state.try_lock().is_ok_and(|state| state.good.is_some());
                (good, slot.last_use.load(Ordering::Relaxed))
            };
            let least = slots.iter().min_by_key(|(_, slot)| worth(slot)).map(|(url, _)| url.clone());
            least.map(|url| slots.remove(&url));
        }
        let state = tokio::sync::Mutex::new(State { good: None, failed: None });
        let slot = Arc::new(Slot { last_use: AtomicU64::new(use_), state });
        slots.insert(url.to_owned(), Arc::clone(&slot));
        slot
    }
}

impl<T> State<T> {
    fn last_good(&self, now: Timestamp) -> Option<Arc<T>> {
        let good = self.good.as_ref()?;
        (now < after(good.fetched_at, MAX_FRESH)).then(|| Arc::clone(&good.value))
    }
}

struct Failure {
    text: String,
    definite: bool,
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        Self { text: chain_for_people(&error), definite: error.is_definite() }
    }
}

/// The error itself is for users; its sources, such as the address that refused, are for the log.
fn chain_for_people(error: &FetchError) -> String {
    tracing::debug!(error = chain(error), "a fetch failed");
    error.to_string()
}

fn after(time: Timestamp, duration: Duration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}
