//! Fair sharing of units between callers: permits for requests, or bytes of memory.
//!
//! A holder that has units may take more as long as its new total is at most `shares` times the units that then stay
//! free. This is the dynamic threshold of shared buffers (Choudhury and Hahne, IEEE/ACM ToN 6(2), 1998): one holder
//! with one share gets half of the units, two get a third each, and some units always stay free for the next holder. A
//! holder without units may take all that are free.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::oneshot;

/// A caller that takes units, identified by a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The hash of the caller's identity.
    pub key: u64,
    /// The weight of the holder: it may hold at most `shares` times the free units.
    pub shares: u64,
}

/// The holders that the same units are counted for, such as a user and one of the user's clients.
pub type Holders = [Option<Holder>; 2];

/// Why units are not available now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// Other holders have the units.
    Taken,
    /// The holder has reached its share.
    Share,
}

/// A pool of units that holders share.
#[derive(Debug)]
pub struct Pool {
    total: u64,
    state: Mutex<PoolState>,
}

#[derive(Debug, Default)]
struct PoolState {
    free: u64,
    held: HashMap<u64, u64>,
    waiting: VecDeque<Waiting>,
    next: u64,
}

#[derive(Debug)]
struct Waiting {
    id: u64,
    units: u64,
    holders: Holders,
    granted: oneshot::Sender<()>,
}

/// Units that were taken. Dropping them returns them to the pool.
#[derive(Debug)]
pub struct Taken {
    pool: Arc<Pool>,
    units: u64,
    holders: Holders,
}

impl Pool {
    /// A pool of `total` units, all free.
    #[must_use]
    pub fn new(total: u64) -> Arc<Self> {
        Arc::new(Self { total, state: Mutex::new(PoolState { free: total, ..PoolState::default() }) })
    }

    /// The total number of units.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The number of free units.
    #[must_use]
    pub fn free(&self) -> u64 {
        self.state().free
    }

    /// Takes units if they are available now.
    pub fn try_take(self: &Arc<Self>, units: u64, holders: Holders) -> Result<Taken, Unavailable> {
        self.state().take(units, &holders)?;
        Ok(Taken { pool: Arc::clone(self), units, holders })
    }

    /// Takes units as soon as they are available, in the order of the calls. A holder that waits for its own share does
    /// not block other holders. Never completes if `units` exceeds [`Self::total`].
    pub async fn take(self: &Arc<Self>, units: u64, holders: Holders) -> Taken {
        let (granted, grant) = oneshot::channel();
        let id = {
            let mut state = self.state();
            if state.waiting.is_empty() && state.take(units, &holders).is_ok() {
                return Taken { pool: Arc::clone(self), units, holders };
            }
            let id = state.next;
            state.next += 1;
            state.waiting.push_back(Waiting { id, units, holders, granted });
            state.serve();
            id
        };
        let mut ticket = Ticket { pool: self, id, units, holders, open: true };
        // The sender is dropped only after it has sent.
        let _ = grant.await;
        ticket.open = false;
        Taken { pool: Arc::clone(self), units, holders }
    }

    fn state(&self) -> MutexGuard<'_, PoolState> {
        // No code panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PoolState {
    fn check(&self, units: u64, holders: &Holders) -> Result<(), Unavailable> {
        let left = self.free.saturating_sub(units);
        for holder in holders.iter().flatten() {
            let held = self.held.get(&holder.key).copied().unwrap_or(0);
            if held > 0 && held + units > left.saturating_mul(holder.shares) {
                return Err(Unavailable::Share);
            }
        }
        if units > self.free { Err(Unavailable::Taken) } else { Ok(()) }
    }

    fn take(&mut self, units: u64, holders: &Holders) -> Result<(), Unavailable> {
        self.check(units, holders)?;
        self.free -= units;
        for holder in holders.iter().flatten() {
            *self.held.entry(holder.key).or_insert(0) += units;
        }
        Ok(())
    }

    fn give(&mut self, units: u64, holders: &Holders) {
        self.free += units;
        for holder in holders.iter().flatten() {
            if let Some(held) = self.held.get_mut(&holder.key) {
                *held = held.saturating_sub(units);
                if *held == 0 {
                    self.held.remove(&holder.key);
                }
            }
        }
    }

    /// Grants available units to waiting callers. The first caller that waits for units of other holders blocks all
    /// callers behind it; otherwise large requests would starve.
    fn serve(&mut self) {
        let mut index = 0;
        while let Some(next) = self.waiting.get(index) {
            let (units, holders) = (next.units, next.holders);
            match self.take(units, &holders) {
                Ok(()) => {
                    // If the receiver was dropped, its ticket returns the units.
                    if let Some(waiting) = self.waiting.remove(index) {
                        let _ = waiting.granted.send(());
                    }
                }
                Err(Unavailable::Share) => index += 1,
                Err(Unavailable::Taken) => return,
            }
        }
    }
}

/// A position in the queue. If it is dropped before the caller has its units, it leaves the queue or returns them.
struct Ticket<'a> {
    pool: &'a Pool,
    id: u64,
    units: u64,
    holders: Holders,
    open: bool,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let mut state = self.pool.state();
        match state.waiting.iter().position(|waiting| waiting.id == self.id) {
            Some(index) => drop(state.waiting.remove(index)),
            None => state.give(self.units, &self.holders),
        }
        state.serve();
    }
}

impl Taken {
    /// The number of units.
    #[must_use]
    pub fn units(&self) -> u64 {
        self.units
    }

    /// Returns all but `units` to the pool.
    pub fn shrink_to(&mut self, units: u64) {
        let Some(more) = self.units.checked_sub(units).filter(|more| *more > 0) else { return };
        self.units = units;
        let mut state = self.pool.state();
        state.give(more, &self.holders);
        state.serve();
    }

    /// Adds `other`, which must be of the same pool and holders.
    pub fn merge(&mut self, mut other: Self) {
        debug_assert!(Arc::ptr_eq(&self.pool, &other.pool) && self.holders == other.holders);
        self.units += std::mem::take(&mut other.units);
    }

    /// Counts the units for other holders from now on. Fails, and changes nothing, if those have reached their share.
    pub fn pass_to(&mut self, holders: Holders) -> Result<(), Unavailable> {
        let mut state = self.pool.state();
        state.give(self.units, &self.holders);
        let passed = state.take(self.units, &holders);
        if passed.is_ok() {
            self.holders = holders;
        } else {
            state.free -= self.units;
            for holder in self.holders.iter().flatten() {
                *state.held.entry(holder.key).or_insert(0) += self.units;
            }
        }
        passed
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.units > 0 {
            let mut state = self.pool.state();
            state.give(self.units, &self.holders);
            state.serve();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use std::pin::pin;

    fn holder(key: u64, shares: u64) -> Holders {
        [Some(Holder { key, shares }), None]
    }

    fn take_all(pool: &Arc<Pool>, holders: Holders) -> Vec<Taken> {
        std::iter::from_fn(|| pool.try_take(1, holders).ok()).collect()
    }

    #[test]
    fn holders_get_their_shares_and_some_units_stay_free() {
        let pool = Pool::new(100);
        let first = take_all(&pool, holder(1, 1));
        assert_eq!(first.len(), 50, "one share of one");
        let second = take_all(&pool, holder(2, 1));
        assert_eq!(second.len(), 25, "half of what the first has left");
        let third = take_all(&pool, holder(3, 3));
        assert!((17..=19).contains(&third.len()), "three times what it leaves free: {}", third.len());
        assert!(pool.try_take(1, holder(4, 1)).is_ok(), "the next one finds some free");
        drop((first, second, third));
        assert_eq!(pool.free(), 100);
        assert!(pool.state().held.is_empty(), "no holder is remembered");
        let one = Pool::new(1);
        let only = one.try_take(1, holder(1, 1)).unwrap();
        assert_eq!(one.try_take(1, holder(2, 1)).unwrap_err(), Unavailable::Taken);
        drop(only);
    }

    #[test]
    fn units_can_be_passed_on_and_given_back_in_part() {
        let pool = Pool::new(10);
        let (address, caller) =
            (holder(1, 3), [Some(Holder { key: 2, shares: 3 }), Some(Holder { key: 3, shares: 1 })]);
        let mut passed = Vec::new();
        for _ in 0..5 {
            let mut taken = pool.try_take(1, address).unwrap();
            taken.pass_to(caller).unwrap();
            passed.push(taken);
        }
        let mut beyond = pool.try_take(1, address).unwrap();
        assert_eq!(beyond.pass_to(caller), Err(Unavailable::Share));
        assert_eq!(pool.free(), 4);
        drop((beyond, passed));
        let mut part = pool.try_take(8, address).unwrap();
        part.shrink_to(3);
        part.merge(pool.try_take(1, address).unwrap());
        assert_eq!((part.units(), pool.free()), (4, 6));
        drop(part);
        assert_eq!(pool.free(), 10);
    }

    #[test]
    fn large_requests_do_not_starve_and_a_full_share_holds_up_no_one() {
        let pool = Pool::new(100);
        let held = pool.try_take(50, holder(1, 1)).unwrap();
        let mut own = pin!(pool.take(20, holder(1, 1)));
        assert!(own.as_mut().now_or_never().is_none(), "it has its share");
        let other = pool.take(40, holder(2, 1)).now_or_never().expect("another one passes it by");
        let mut large = pin!(pool.take(60, holder(3, 1)));
        assert!(large.as_mut().now_or_never().is_none());
        let mut small = pin!(pool.take(5, holder(4, 1)));
        assert!(small.as_mut().now_or_never().is_none(), "first come, first served");
        drop(other);
        assert!(large.as_mut().now_or_never().is_none());
        drop(held);
        // The first caller in the queue is served first: its share is free again.
        let own = own.now_or_never().expect("its share is free again");
        let large = large.now_or_never().expect("large ones get their turn");
        let small = small.now_or_never().expect("and then small ones");
        assert_eq!(pool.free(), 15);
        drop((own, large, small));
        assert_eq!(pool.free(), 100);
    }

    #[test]
    fn an_abandoned_wait_leaves_no_units_behind() {
        let pool = Pool::new(10);
        let held = pool.try_take(10, holder(1, 1)).unwrap();
        {
            let mut gone = pin!(pool.take(10, holder(2, 1)));
            assert!(gone.as_mut().now_or_never().is_none());
        }
        {
            let mut granted = pin!(pool.take(10, holder(3, 1)));
            assert!(granted.as_mut().now_or_never().is_none());
            drop(held);
            assert_eq!(pool.free(), 0, "granted, and not yet received");
        }
        assert_eq!(pool.free(), 10);
    }
}
