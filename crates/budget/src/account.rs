//! The request memory that one request holds.

use crate::{Holders, Pool, SMALL, Taken};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::{Instant, timeout_at};

/// The memory of one request. It is released when the last clone is dropped: after the response is sent.
#[derive(Clone, Debug)]
pub struct Account(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// `None`: memory is not counted.
    pool: Option<Arc<Pool>>,
    holders: Holders,
    wait_until: Instant,
    held: Mutex<Option<Taken>>,
}

/// Why a request cannot have memory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoMemory {
    /// The request needs more than the whole budget.
    #[error(
        "the request needs {needed} bytes of memory, and this server has {budget} for requests: send or request less at \
         a time, or raise spec.deployment.resources.limits.memory"
    )]
    TooLarge {
        /// The memory that the request needs, in bytes.
        needed: u64,
        /// The size of the whole budget, in bytes.
        budget: u64,
    },
    /// The wait timed out: other requests, perhaps of the same caller, hold the memory.
    #[error("the memory of this server is in use by other requests; try again in a moment")]
    Busy,
}

impl Account {
    /// An account for these holders. [`Self::charge`] stops waiting for memory at `wait_until`.
    #[must_use]
    pub fn new(pool: Arc<Pool>, holders: Holders, wait_until: Instant) -> Self {
        Self(Arc::new(Inner { pool: Some(pool), holders, wait_until, held: Mutex::default() }))
    }

    /// An account that is not limited, and counts nothing.
    #[must_use]
    pub fn unlimited() -> Self {
        let holders = Holders::default();
        Self(Arc::new(Inner { pool: None, holders, wait_until: Instant::now(), held: Mutex::default() }))
    }

    /// A separate account with the same holders and deadline, settled on its own.
    #[must_use]
    pub fn separate(&self) -> Self {
        let Inner { pool, holders, wait_until, .. } = &*self.0;
        let (pool, holders, wait_until) = (pool.clone(), *holders, *wait_until);
        Self(Arc::new(Inner { pool, holders, wait_until, held: Mutex::default() }))
    }

    /// Takes `bytes` more, and waits until they are available. Fails at once if the whole budget is smaller.
    pub async fn charge(&self, bytes: u64) -> Result<(), NoMemory> {
        let Some(pool) = &self.0.pool else { return Ok(()) };
        if bytes > pool.total() {
            return Err(NoMemory::TooLarge { needed: bytes, budget: pool.total() });
        }
        let taken = timeout_at(self.0.wait_until, pool.take(bytes, self.0.holders)).await;
        let taken = taken.map_err(|_| NoMemory::Busy)?;
        let mut held = self.held();
        match held.as_mut() {
            Some(held) => held.merge(taken),
            None => *held = Some(taken),
        }
        Ok(())
    }

    /// Releases all memory except `bytes`, the size that is still in use; releases everything if that is at most
    /// [`SMALL`].
    pub fn settle(&self, bytes: u64) {
        let mut held = self.held();
        if bytes <= SMALL {
            *held = None;
        } else if let Some(held) = held.as_mut() {
            held.shrink_to(bytes);
        }
    }

    /// The number of bytes that the account holds.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.held().as_ref().map_or(0, Taken::units)
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Option<Taken>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Holder;
    use std::time::Duration;

    #[tokio::test]
    async fn memory_is_charged_waited_for_and_given_back() {
        const WAIT: Duration = Duration::from_millis(50);
        let pool = Pool::new(1 << 20);
        let account = |key| {
            let holders = [Some(Holder { key, shares: 1 }), None];
            Account::new(Arc::clone(&pool), holders, Instant::now() + WAIT)
        };
        let first = account(1);
        let all = first.charge((1 << 20) + 1).await.unwrap_err();
        assert!(matches!(all, NoMemory::TooLarge { budget: 0x10_0000, .. }), "{all}");
        first.charge(600 << 10).await.unwrap();
        let begun = Instant::now();
        let second = account(2);
        assert_eq!(second.charge(600 << 10).await, Err(NoMemory::Busy));
        assert!(begun.elapsed() >= WAIT, "it waits first");
        first.settle(100 << 10);
        assert_eq!((first.bytes(), pool.free()), (100 << 10, 924 << 10));
        account(2).charge(600 << 10).await.unwrap();
        first.settle(SMALL);
        assert_eq!(first.bytes(), 0, "the permit covers small ones");
        let clone = first.clone();
        first.charge(64 << 10).await.unwrap();
        drop(first);
        assert_eq!(clone.bytes(), 64 << 10, "until the last clone is dropped");
        drop(clone);
        assert_eq!(pool.free(), 1 << 20);
        Account::unlimited().charge(u64::MAX).await.unwrap();
    }
}
