//! Queues of keys to reconcile. A key is in the queue at most once, however often it is sent: so the length of the queue
//! is bounded by the number of objects, and a burst of events does not fill memory.

use futures::{Stream, stream};
use indexmap::IndexSet;
use std::{
    convert::Infallible,
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// The queue; clones share it.
pub(crate) struct Queue<T>(Arc<Inner<T>>);

struct Inner<T> {
    /// Unordered: the scheduler behind the queue delays and orders keys itself.
    keys: Mutex<IndexSet<T>>,
    sent: Notify,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self(Arc::new(Inner { keys: Mutex::default(), sent: Notify::new() }))
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl<T: Eq + Hash> Queue<T> {
    /// Enqueues `key`. Does nothing if it is in the queue already.
    pub(crate) fn send(&self, key: T) {
        self.keys().insert(key);
        self.0.sent.notify_one();
    }

    /// The next key.
    async fn next(&self) -> T {
        loop {
            let sent = self.0.sent.notified();
            if let Some(key) = self.keys().pop() {
                return key;
            }
            sent.await;
        }
    }

    /// An endless stream of keys, for one consumer.
    pub(crate) fn into_stream(self) -> impl Stream<Item = Result<T, Infallible>> {
        stream::unfold(self, async |queue| Some((Ok(queue.next().await), queue)))
    }

    fn keys(&self) -> MutexGuard<'_, IndexSet<T>> {
        self.0.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt as _, StreamExt as _};

    #[tokio::test]
    async fn each_key_waits_once() {
        let queue = Queue::default();
        for _ in 0..10_000 {
            queue.send("a");
            queue.send("b");
        }
        assert_eq!(queue.keys().len(), 2);
        let mut keys = Box::pin(queue.clone().into_stream());
        let mut taken = vec![keys.next().await.unwrap().unwrap(), keys.next().await.unwrap().unwrap()];
        taken.sort_unstable();
        assert_eq!(taken, ["a", "b"]);
        assert!(keys.next().now_or_never().is_none());
        queue.send("a");
        assert_eq!(keys.next().await, Some(Ok("a")), "again, since it was taken");
    }

    #[tokio::test]
    async fn a_key_that_is_sent_later_wakes_the_consumer() {
        let queue = Queue::default();
        let mut keys = Box::pin(queue.clone().into_stream());
        let waiting = tokio::spawn(async move { keys.next().await });
        tokio::task::yield_now().await;
        queue.send(7);
        assert_eq!(waiting.await.unwrap(), Some(Ok(7)));
    }
}
