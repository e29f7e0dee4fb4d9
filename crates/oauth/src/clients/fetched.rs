//! What clients publish, kept for a while: fetched when it is needed, by one at a time, and never more of it than fits.
//!
//! A good document stays in force for as long as its server says, within [`MIN_FRESH`] and what the cache allows (RFC 9111).
//! If it then cannot be fetched again, because nobody answers, the last good one is taken until it is [`MAX_FRESH`] old, so
//! that another's outage does not become ours; if its server says that there is none, or a wrong one, that counts at
//! once. Of a failure nothing is kept but that it happened, for [`PAUSE`], so that a client cannot be used to keep
//! another's server busy.

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

/// The least time for which a document is taken as it is.
pub(super) const MIN_FRESH: Duration = Duration::from_mins(1);
/// The most, and how old the last good one may be while its server does not answer.
pub(super) const MAX_FRESH: Duration = Duration::from_hours(24);
/// For a server that says nothing.
const USUAL_FRESH: Duration = Duration::from_hours(1);
/// How long a URL is left alone after a failure.
const PAUSE: SignedDuration = SignedDuration::from_secs(10);
/// How many URLs are remembered.
const CAPACITY: usize = 256;
/// How many are fetched at once.
const AT_ONCE: usize = 8;

/// Documents by URL, each read into a `T`.
pub(super) struct FetchCache<T> {
    outbound: Arc<Outbound>,
    max_bytes: usize,
    /// The most time for which one is taken as it is.
    max_fresh: Duration,
    slots: Mutex<HashMap<String, Arc<Slot<T>>>>,
    uses: AtomicU64,
    places: Semaphore,
}

/// Held while it is fetched, so that whoever wants the same waits for it instead of fetching it too.
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

/// Why there is no document: what to tell people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unusable(pub String);

impl<T> FetchCache<T> {
    /// Of documents of at most `max_bytes`, each taken as it is for at most `max_fresh`.
    pub(super) fn new(outbound: Arc<Outbound>, max_bytes: usize, max_fresh: Duration) -> Self {
        let slots = Mutex::new(HashMap::new());
        Self { outbound, max_bytes, max_fresh, slots, uses: AtomicU64::new(0), places: Semaphore::new(AT_ONCE) }
    }

    /// The document at `url`, which `read` makes a `T` of, or says what is wrong with it. One that was fetched before
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
                tracing::debug!(url = ?url, error = failure.text, "what a client publishes cannot be used");
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
        // A poisoned map is whole: nothing panics between two writes to it.
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let use_ = self.uses.fetch_add(1, Ordering::Relaxed);
        if let Some(slot) = slots.get(url) {
            slot.last_use.store(use_, Ordering::Relaxed);
            return Arc::clone(slot);
        }
        if slots.len() >= CAPACITY {
            // Failures go first, then what was used longest ago.
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

/// The error itself is for people; what lies behind it, such as which address refused, is for the log.
fn chain_for_people(error: &FetchError) -> String {
    tracing::debug!(error = chain(error), "a fetch failed");
    error.to_string()
}

fn after(time: Timestamp, duration: Duration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}
