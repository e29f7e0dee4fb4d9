//! Reconciles at a given time: rotations, ends of overlaps, repeated verification. Uses the injected [`Clock`].

use futures::future;
use jiff::Timestamp;
use portcullis_core::clock::Clock;
use std::{
    collections::HashMap,
    hash::Hash,
    mem,
    sync::{Mutex, PoisonError},
};
use tokio::sync::Notify;

/// When to reconcile each key again.
#[derive(Debug)]
pub struct RequeueTimes<T> {
    times: Mutex<HashMap<T, Timestamp>>,
    changed: Notify,
}

impl<T> Default for RequeueTimes<T> {
    fn default() -> Self {
        Self { times: Mutex::default(), changed: Notify::new() }
    }
}

impl<T: Eq + Hash + Clone> RequeueTimes<T> {
    /// Sets the time at which to requeue `key`, and replaces an earlier one; `None`: never.
    pub fn set(&self, key: &T, time: Option<Timestamp>) {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match time {
            Some(time) => times.insert(key.clone(), time),
            None => times.remove(key),
        };
        drop(times);
        if before != time {
            self.changed.notify_one();
        }
    }

    /// Calls `wake` with each key at its time. Never completes; drop it to stop.
    pub async fn run(&self, clock: &dyn Clock, mut wake: impl FnMut(T)) {
        loop {
            let earliest = {
                let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
                times.values().min().copied()
            };
            let due = async {
                match earliest {
                    Some(time) => clock.sleep_until(time).await,
                    None => future::pending().await,
                }
            };
            tokio::select! {
                () = due => self.take_due(clock.now()).into_iter().for_each(&mut wake),
                () = self.changed.notified() => {}
            }
        }
    }

    fn take_due(&self, now: Timestamp) -> Vec<T> {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let (due, later) = mem::take(&mut *times).into_iter().partition(|(_, time)| *time <= now);
        *times = later;
        let due: HashMap<T, Timestamp> = due;
        due.into_keys().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt as _, future::BoxFuture};
    use tokio::sync::watch;

    struct ManualClock(watch::Sender<Timestamp>);

    impl Clock for ManualClock {
        fn now(&self) -> Timestamp {
            *self.0.borrow()
        }

        fn sleep_until(&self, deadline: Timestamp) -> BoxFuture<'_, ()> {
            let mut time = self.0.subscribe();
            async move {
                let _ = time.wait_for(|now| *now >= deadline).await;
            }
            .boxed()
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[tokio::test]
    async fn each_key_wakes_at_its_last_set_time_and_once() {
        let clock = ManualClock(watch::Sender::new(at(0)));
        let requeues = RequeueTimes::default();
        let mut woken = Vec::new();
        requeues.set(&"early", Some(at(10)));
        requeues.set(&"late", Some(at(20)));
        requeues.set(&"moved", Some(at(10)));
        requeues.set(&"moved", Some(at(30)));
        requeues.set(&"cancelled", Some(at(10)));
        requeues.set(&"cancelled", None);
        let mut seen = |second: i64| {
            clock.0.send_replace(at(second));
            // Whatever is due is woken without waiting.
            for _ in 0..4 {
                assert!(requeues.run(&clock, |key| woken.push(key)).now_or_never().is_none());
            }
            mem::take(&mut woken)
        };
        assert_eq!(seen(9), Vec::<&str>::new());
        assert_eq!(seen(10), ["early"]);
        assert_eq!(seen(29), ["late"]);
        assert_eq!(seen(31), ["moved"]);
        assert_eq!(seen(1000), Vec::<&str>::new());
    }

    #[tokio::test]
    async fn a_time_set_while_waiting_counts() {
        let clock = ManualClock(watch::Sender::new(at(0)));
        let requeues = RequeueTimes::default();
        let mut woken = Vec::new();
        {
            let mut run = Box::pin(requeues.run(&clock, |key| woken.push(key)));
            assert!((&mut run).now_or_never().is_none());
            requeues.set(&"now", Some(at(0)));
            assert!((&mut run).now_or_never().is_none());
        }
        assert_eq!(woken, ["now"]);
    }
}
