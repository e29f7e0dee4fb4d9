//! Slows guessing of passwords down: per account, and per address.
//!
//! The first few wrong passwords cost nothing; from then on each doubles the wait before the next try. The address pays
//! more: up to a quarter of an hour. An account's wait stays under half a minute, and an address from which its owner
//! signed in lately does not feel it at all. So whoever guesses from many addresses is slowed down to a few thousand
//! tries a day, and cannot lock the owner out.
//!
//! A try is charged before the password is looked at, and a right one gets its money back: a hundred tries at the same
//! instant count as a hundred. Memory is bounded, and forgets.

use jiff::{SignedDuration, Timestamp};
use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// How many of each are remembered.
const CAPACITY: usize = 10_000;

const ACCOUNT: Rule =
    Rule { free: 5, longest: SignedDuration::from_secs(30), memory: SignedDuration::from_mins(15), capacity: CAPACITY };
const ADDRESS: Rule = Rule {
    free: 10,
    longest: SignedDuration::from_mins(15),
    memory: SignedDuration::from_hours(1),
    capacity: CAPACITY,
};
/// How long an address counts as the owner's.
const FAMILIAR: SignedDuration = SignedDuration::from_hours(30 * 24);

/// How one kind of thing is slowed down.
#[derive(Clone, Copy, Debug)]
struct Rule {
    /// Wrong tries that cost nothing.
    free: u32,
    /// The longest wait.
    longest: SignedDuration,
    /// How long after the last wrong try all are forgotten.
    memory: SignedDuration,
    /// How many are remembered.
    capacity: usize,
}

/// Who tried wrong passwords lately.
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<Tables>);

/// A login and a user name in it.
type Account = (String, String);

#[derive(Debug, Default)]
struct Tables {
    accounts: HashMap<Account, Failures>,
    addresses: HashMap<IpAddr, Failures>,
    /// Where accounts signed in from, and when they did last.
    familiar: HashMap<(Account, IpAddr), Timestamp>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Timestamp,
}

impl Failures {
    /// When another try may be made.
    fn open_at(&self, rule: &Rule) -> Timestamp {
        let Some(beyond) = self.count.checked_sub(rule.free) else { return self.last };
        let wait =
            1_i64.checked_shl(beyond).filter(|seconds| *seconds > 0).map_or(rule.longest, SignedDuration::from_secs);
        self.last.saturating_add(wait.min(rule.longest)).unwrap_or(self.last)
    }
}

impl Throttle {
    /// Charges a try, or says how long to wait before one. A try that has to wait is not charged.
    pub(super) fn begin(&self, login: &str, user: &str, address: IpAddr, now: Timestamp) -> Result<(), Duration> {
        let (account, address) = (account(login, user), network(address));
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Tables { accounts, addresses, familiar } = &mut *guard;
        let known =
            familiar.get(&(account.clone(), address)).is_some_and(|since| now.duration_since(*since) < FAMILIAR);
        let by_address = wait(addresses, &address, &ADDRESS, now);
        let by_account = if known { SignedDuration::ZERO } else { wait(accounts, &account, &ACCOUNT, now) };
        let longest = by_address.max(by_account);
        if longest.is_positive() {
            return Err(longest.unsigned_abs());
        }
        charge(addresses, address, &ADDRESS, now);
        if !known {
            charge(accounts, account, &ACCOUNT, now);
        }
        Ok(())
    }

    /// The password of a charged try was right.
    pub(super) fn succeeded(&self, login: &str, user: &str, address: IpAddr, now: Timestamp) {
        let (account, address) = (account(login, user), network(address));
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        guard.accounts.remove(&account);
        // Only this try's: else one account of his own would let a guesser begin anew at the others'.
        if let Some(failures) = guard.addresses.get_mut(&address) {
            failures.count = failures.count.saturating_sub(1);
        }
        if guard.familiar.len() >= CAPACITY {
            evict(&mut guard.familiar, |since| *since);
        }
        guard.familiar.insert((account, address), now);
    }
}

fn account(login: &str, user: &str) -> Account {
    (login.to_owned(), user.to_owned())
}

/// One customer's IPv6 network counts as one address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn wait<K: Eq + Hash>(table: &HashMap<K, Failures>, key: &K, rule: &Rule, now: Timestamp) -> SignedDuration {
    let remembered = |failures: &&Failures| now.duration_since(failures.last) < rule.memory;
    table
        .get(key)
        .filter(remembered)
        .map_or(SignedDuration::ZERO, |failures| failures.open_at(rule).duration_since(now))
}

fn charge<K: Eq + Hash + Clone>(table: &mut HashMap<K, Failures>, key: K, rule: &Rule, now: Timestamp) {
    if !table.contains_key(&key) && table.len() >= rule.capacity {
        table.retain(|_, failures| now.duration_since(failures.last) < rule.memory);
        if table.len() >= rule.capacity {
            evict(table, |failures| (failures.count, failures.last));
        }
    }
    let failures = table.entry(key).or_insert(Failures { count: 0, last: now });
    if now.duration_since(failures.last) >= rule.memory {
        failures.count = 0;
    }
    *failures = Failures { count: failures.count.saturating_add(1), last: now };
}

/// Drops the one that is worth least.
fn evict<K: Eq + Hash + Clone, V, W: Ord>(table: &mut HashMap<K, V>, worth: impl Fn(&V) -> W) {
    if let Some(least) = table.iter().min_by_key(|(_, value)| worth(value)).map(|(key, _)| key.clone()) {
        table.remove(&least);
    }
}
