//! The clock. Everything else is handed a [`Clock`], so that tests of tokens, rotation and expiry are exact; `clippy.toml`
//! bans the system's clock elsewhere.

use futures::future::BoxFuture;
use jiff::Timestamp;

/// Wall-clock time, and waiting by it.
pub trait Clock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// Completes once [`Clock::now`] has reached `deadline`; at once when it already has.
    fn sleep_until(&self, deadline: Timestamp) -> BoxFuture<'_, ()>;
}

/// The machine's own clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this module is the one place")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep_until(&self, deadline: Timestamp) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // In steps: a monotonic timer does not notice that a laptop slept or that the wall clock was set.
            const STEP: std::time::Duration = std::time::Duration::from_mins(1);
            loop {
                let left = deadline.duration_since(self.now());
                let Ok(left) = std::time::Duration::try_from(left) else { return };
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(STEP)).await;
            }
        })
    }
}
