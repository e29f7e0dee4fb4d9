//! How fresh what memory knows is: whether it was ever complete, and when the place was last heard of.

use jiff::Timestamp;
use portcullis_core::clock::Clock;
use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicUsize, Ordering},
};

/// What the server's readiness and a metric say of its state.
pub struct Health {
    /// How many kinds are still to be listed for the first time.
    unlisted: AtomicUsize,
    /// When the place last answered, in milliseconds.
    heard: AtomicI64,
    /// `None`: memory is the place itself.
    clock: Option<Arc<dyn Clock>>,
}

impl Health {
    /// Memory is the place itself.
    #[must_use]
    pub fn local() -> Self {
        Self { unlisted: AtomicUsize::new(0), heard: AtomicI64::new(0), clock: None }
    }

    /// The place is elsewhere, and `kinds` are to be listed before memory is complete.
    #[must_use]
    pub fn remote(kinds: usize, clock: Arc<dyn Clock>) -> Self {
        let heard = AtomicI64::new(clock.now().as_millisecond());
        Self { unlisted: AtomicUsize::new(kinds), heard, clock: Some(clock) }
    }

    /// Whether everything was listed once. From then on a place that cannot be reached is no reason to stop serving.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.unlisted.load(Ordering::Acquire) == 0
    }

    /// For how long the place has not been heard of, in seconds; `None` where memory is the place.
    #[must_use]
    pub fn stale_seconds(&self) -> Option<f64> {
        let now = self.clock.as_ref()?.now();
        let heard = Timestamp::from_millisecond(self.heard.load(Ordering::Relaxed)).ok()?;
        Some(now.duration_since(heard).as_secs_f64().max(0.0))
    }

    /// The place answered.
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
