//! A clock that goes only when told.

use futures::{FutureExt as _, future::BoxFuture};
use jiff::Timestamp;
use portcullis_core::clock::Clock;
use tokio::sync::watch;

pub struct ManualClock(watch::Sender<Timestamp>);

impl ManualClock {
    pub fn at(now: Timestamp) -> Self {
        Self(watch::Sender::new(now))
    }

    pub fn set(&self, now: Timestamp) {
        self.0.send_replace(now);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }

    fn sleep_until(&self, deadline: Timestamp) -> BoxFuture<'_, ()> {
        let mut time = self.0.subscribe();
        async move {
            // The sender is `self`, which outlives the borrow.
            let _ = time.wait_for(|now| *now >= deadline).await;
        }
        .boxed()
    }
}
