//! The freshness of the in-memory copy: whether it was ever complete, and when the API server last answered.

use jiff::Timestamp;
use portcullis_core::clock::Clock;
use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicUsize, Ordering},
};

/// The freshness, for the server's readiness and a metric.
pub struct Health {
    /// The number of kinds that have not been listed yet.
    unlisted: AtomicUsize,
    /// When the API server last answered, in milliseconds.
    heard: AtomicI64,
    /// `None`: memory is the only copy.
    clock: Option<Arc<dyn Clock>>,
}

impl Health {
    /// Memory is the only copy, and always fresh.
    #[must_use]
    pub fn local() -> Self {
        Self { unlisted: AtomicUsize::new(0), heard: AtomicI64::new(0), clock: None }
    }

    /// A copy of an API server. It is complete once this many `kinds` have been listed.
    #[must_use]
    pub fn remote(kinds: usize, clock: Arc<dyn Clock>) -> Self {
        let heard = AtomicI64::new(clock.now().as_millisecond());
        Self { unlisted: AtomicUsize::new(kinds), heard, clock: Some(clock) }
    }

    /// Whether every kind was listed once. After that, the server keeps serving while the API server cannot be reached.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.unlisted.load(Ordering::Acquire) == 0
    }

    /// The time since the last answer of the API server, in seconds; `None` if memory is the only copy.
    #[must_use]
    pub fn stale_seconds(&self) -> Option<f64> {
        let now = self.clock.as_ref()?.now();
        let heard = Timestamp::from_millisecond(self.heard.load(Ordering::Relaxed)).ok()?;
        Some(now.duration_since(heard).as_secs_f64().max(0.0))
    }

    /// The API server answered.
    pub fn heard(&self) {
        if let Some(clock) = &self.clock {
            self.heard.fetch_max(clock.now().as_millisecond(), Ordering::Relaxed);
        }
    }

    /// One more kind was listed for the first time.
    pub fn listed(&self) {
        self.unlisted.fetch_sub(1, Ordering::AcqRel);
    }
}
