//! The clock. All other code gets a [`Clock`] as an argument, so that tests of tokens, rotation and expiry are exact;
//! `clippy.toml` bans the system clock elsewhere.

use futures::future::BoxFuture;
use jiff::Timestamp;

/// Wall-clock time, and timers that follow it.
pub trait Clock: Send + Sync + 'static {
    /// The current time.
    fn now(&self) -> Timestamp;

    /// Waits until [`Clock::now`] reaches `deadline`; returns at once if it already has.
    fn sleep_until(&self, deadline: Timestamp) -> BoxFuture<'_, ()>;
}

/// The system clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this module is the one place")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep_until(&self, deadline: Timestamp) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // Sleep in steps: a monotonic timer does not notice that a laptop was suspended or that the wall clock was
            // set.
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
