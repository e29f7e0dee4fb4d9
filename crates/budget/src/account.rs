//! The memory that one request has taken of the budget.

use crate::{Holders, Pool, SMALL, Taken};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::{Instant, timeout_at};

/// The memory of one request. It is given back when the last clone is dropped: once the response is sent.
#[derive(Clone, Debug)]
pub struct Account(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// `None`: nothing is counted.
    pool: Option<Arc<Pool>>,
    holders: Holders,
    wait_until: Instant,
    held: Mutex<Option<Taken>>,
}

/// Why a request gets no memory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoMemory {
    /// It needs more than there is in all.
    #[error(
        "the request needs {needed} bytes of memory, and this server has {budget} for requests: send or ask for less at \
         a time, or raise spec.deployment.resources.limits.memory"
    )]
    TooLarge {
        /// How much it needs.
        needed: u64,
        /// How much there is.
        budget: u64,
    },
    /// Others, or other requests of the same caller, use it for too long.
    #[error("the memory of this server is in use by other requests; try again in a moment")]
    Busy,
}

impl Account {
    /// An account of these holders. `wait_until`: when waiting for memory is given up.
    #[must_use]
    pub fn new(pool: Arc<Pool>, holders: Holders, wait_until: Instant) -> Self {
        Self(Arc::new(Inner { pool: Some(pool), holders, wait_until, held: Mutex::default() }))
    }

    /// An account that counts nothing.
    #[must_use]
    pub fn unlimited() -> Self {
        let holders = Holders::default();
        Self(Arc::new(Inner { pool: None, holders, wait_until: Instant::now(), held: Mutex::default() }))
    }

    /// An account of the same request that is settled on its own.
    #[must_use]
    pub fn separate(&self) -> Self {
        let Inner { pool, holders, wait_until, .. } = &*self.0;
        let (pool, holders, wait_until) = (pool.clone(), *holders, *wait_until);
        Self(Arc::new(Inner { pool, holders, wait_until, held: Mutex::default() }))
    }

    /// Takes so many bytes more, and waits for them.
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

    /// What is in memory now is `bytes` large: gives back the rest.
    pub fn settle(&self, bytes: u64) {
        let mut held = self.held();
        if bytes <= SMALL {
            *held = None;
        } else if let Some(held) = held.as_mut() {
            held.shrink_to(bytes);
        }
    }

    /// How many bytes it has.
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
