//! Rate limits on password guessing: per account and per address.
//!
//! The first few wrong passwords have no effect; each further one doubles the wait before the next attempt. The wait of
//! an address grows up to 15 minutes. The wait of an account is at most 30 seconds, and does not apply to an
//! address from which the account signed in recently. An attacker with many addresses is limited to a few thousand
//! attempts a day and cannot lock the user out.
//!
//! An attempt is charged before the password is verified, and a success is refunded: a hundred simultaneous attempts
//! count as a hundred. The number of entries is bounded, and entries expire.

use jiff::{SignedDuration, Timestamp};
use portcullis_core::ip_ranges::network;
use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// The maximum number of entries in each table.
const CAPACITY: usize = 10_000;

const ACCOUNT: Rule =
    Rule { free: 5, longest: SignedDuration::from_secs(30), memory: SignedDuration::from_mins(15), capacity: CAPACITY };
const ADDRESS: Rule = Rule {
    free: 10,
    longest: SignedDuration::from_mins(15),
    memory: SignedDuration::from_hours(1),
    capacity: CAPACITY,
};
/// How long an address remains familiar after a sign-in.
const FAMILIAR: SignedDuration = SignedDuration::from_hours(30 * 24);

/// The limits for accounts or for addresses.
#[derive(Clone, Copy, Debug)]
struct Rule {
    /// The number of wrong attempts without a wait.
    free: u32,
    /// The longest wait.
    longest: SignedDuration,
    /// The time after the last wrong attempt when the entry expires.
    memory: SignedDuration,
    /// The maximum number of entries.
    capacity: usize,
}

/// The recent failures, and the familiar addresses.
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<Tables>);

/// A login, and a user name in it.
type Account = (String, String);

#[derive(Debug, Default)]
struct Tables {
    accounts: HashMap<Account, Failures>,
    addresses: HashMap<IpAddr, Failures>,
    /// The time of the last sign-in of each account from each address.
    familiar: HashMap<(Account, IpAddr), Timestamp>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Timestamp,
}

impl Failures {
    /// The time when another attempt is allowed.
    fn open_at(&self, rule: &Rule) -> Timestamp {
        let Some(beyond) = self.count.checked_sub(rule.free) else { return self.last };
        let wait =
            1_i64.checked_shl(beyond).filter(|seconds| *seconds > 0).map_or(rule.longest, SignedDuration::from_secs);
        self.last.saturating_add(wait.min(rule.longest)).unwrap_or(self.last)
    }
}

impl Throttle {
    /// Charges an attempt, or returns the wait before the next one. An attempt that must wait is not charged.
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

    /// Refunds a charged attempt whose password was not verified.
    pub(super) fn undone(&self, login: &str, user: &str, address: IpAddr) {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Tables { accounts, addresses, .. } = &mut *guard;
        let both = [accounts.get_mut(&account(login, user)), addresses.get_mut(&network(address))];
        for failures in both.into_iter().flatten() {
            failures.count = failures.count.saturating_sub(1);
        }
    }

    /// Records that the password of a charged attempt was correct.
    pub(super) fn succeeded(&self, login: &str, user: &str, address: IpAddr, now: Timestamp) {
        let (account, address) = (account(login, user), network(address));
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        guard.accounts.remove(&account);
        // Refund only this attempt: otherwise, an attacker with one valid account could reset the limit for guesses at
        // others.
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

/// Removes the entry with the lowest worth.
fn evict<K: Eq + Hash + Clone, V, W: Ord>(table: &mut HashMap<K, V>, worth: impl Fn(&V) -> W) {
    if let Some(least) = table.iter().min_by_key(|(_, value)| worth(value)).map(|(key, _)| key.clone()) {
        table.remove(&least);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: &str = "192.0.2.1";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn seconds(wait: Duration) -> u64 {
        assert_eq!(wait.subsec_nanos(), 0);
        wait.as_secs()
    }

    /// Makes `times` attempts with a wrong password, each as early as allowed. Returns the waits in between.
    fn guess(throttle: &Throttle, user: &str, addresses: &[&str], times: usize, now: &mut i64) -> Vec<u64> {
        let mut waits = Vec::new();
        for time in 0..times {
            let address: IpAddr = addresses[time % addresses.len()].parse().unwrap();
            let wait = throttle.begin("local", user, address, at(*now)).err().map_or(0, seconds);
            waits.push(wait);
            if wait > 0 {
                *now += i64::try_from(wait).unwrap();
                assert_eq!(throttle.begin("local", user, address, at(*now)), Ok(()), "after {wait} s it is open");
            }
        }
        waits
    }

    #[test]
    fn an_address_waits_longer_and_longer() {
        let (throttle, mut now) = (Throttle::default(), 0);
        let mut waits = Vec::new();
        for user in 0..24 {
            waits.extend(guess(&throttle, &format!("user-{user}"), &[HOME], 1, &mut now));
        }
        assert_eq!(waits[..10], [0; 10], "ten are free");
        assert_eq!(waits[10..], [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900, 900]);
    }

    #[test]
    fn an_account_waits_half_a_minute_at_most_wherever_it_is_guessed_from() {
        let (throttle, mut now) = (Throttle::default(), 0);
        let everywhere: Vec<String> = (0..100).map(|n| format!("198.51.100.{n}")).collect();
        let everywhere: Vec<&str> = everywhere.iter().map(String::as_str).collect();
        let waits = guess(&throttle, "ada", &everywhere, 14, &mut now);
        assert_eq!(waits, [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 30, 30, 30, 30]);
        assert_eq!(throttle.begin("local", "bob", HOME.parse().unwrap(), at(now)), Ok(()), "others do not wait");
        assert_eq!(throttle.begin("other", "ada", HOME.parse().unwrap(), at(now)), Ok(()), "nor another login's ada");
    }

    #[test]
    fn an_owner_is_not_locked_out_where_she_signed_in_before() {
        let (throttle, home) = (Throttle::default(), HOME.parse().unwrap());
        throttle.begin("local", "ada", home, at(0)).unwrap();
        throttle.succeeded("local", "ada", home, at(0));
        let mut now = 1;
        let elsewhere: Vec<String> = (0..50).map(|n| format!("198.51.100.{n}")).collect();
        guess(&throttle, "ada", &elsewhere.iter().map(String::as_str).collect::<Vec<_>>(), 20, &mut now);
        let stranger = "203.0.113.1".parse().unwrap();
        assert_eq!(throttle.begin("local", "ada", stranger, at(now)).map_err(seconds), Err(30));
        assert_eq!(throttle.begin("local", "ada", home, at(now)), Ok(()));
        // Her own address is still limited, in case the attacker shares it.
        let waits = guess(&throttle, "ada", &[HOME], 12, &mut now);
        assert!(waits.last() > Some(&1), "{waits:?}");
    }

    #[test]
    fn tries_at_the_same_instant_all_count() {
        let throttle = Throttle::default();
        let tries =
            |n: usize| (0..n).filter(|_| throttle.begin("local", "ada", HOME.parse().unwrap(), at(0)).is_ok()).count();
        assert_eq!(tries(100), 5);
    }

    #[test]
    fn a_right_password_clears_the_account_and_pays_back_its_own_try_only() {
        let (throttle, home, mut now) = (Throttle::default(), HOME.parse().unwrap(), 0);
        guess(&throttle, "ada", &[HOME], 4, &mut now);
        throttle.begin("local", "ada", home, at(now)).unwrap();
        throttle.succeeded("local", "ada", home, at(now));
        assert_eq!(guess(&throttle, "ada", &["198.51.100.1"], 5, &mut now), [0; 5], "the account is clear");
        let mut others = Vec::new();
        for user in 0..7 {
            others.extend(guess(&throttle, &format!("user-{user}"), &[HOME], 1, &mut now));
        }
        assert_eq!(others, [0, 0, 0, 0, 0, 0, 1], "the address has paid for four");
    }

    #[test]
    fn a_try_that_found_no_room_costs_nothing() {
        let throttle = Throttle::default();
        for _ in 0..100 {
            throttle.begin("local", "ada", HOME.parse().unwrap(), at(0)).unwrap();
            throttle.undone("local", "ada", HOME.parse().unwrap());
        }
    }

    #[test]
    fn all_is_forgotten_after_a_while() {
        let (throttle, mut now) = (Throttle::default(), 0);
        guess(&throttle, "ada", &[HOME], 14, &mut now);
        let last = now;
        let open =
            |second: i64, address: &str| throttle.begin("local", "ada", address.parse().unwrap(), at(second)).is_ok();
        assert!(!open(last + 1, HOME));
        assert!(open(last + 3600, HOME), "the address after an hour");
    }

    #[test]
    fn a_customers_ipv6_network_and_a_mapped_address_are_one_address() {
        for (one, other, same) in [
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
            ("::ffff:192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
        ] {
            assert_eq!(network(one.parse().unwrap()) == network(other.parse().unwrap()), same, "{one} {other}");
        }
    }

    #[test]
    fn memory_is_bounded_and_gives_up_what_matters_least() {
        let rule = Rule { capacity: 3, ..ACCOUNT };
        let mut table = HashMap::new();
        for (name, second) in [("often", 0), ("often", 1), ("once", 2), ("later", 3), ("new", 4)] {
            charge(&mut table, name, &rule, at(second));
        }
        let mut names: Vec<&str> = table.keys().copied().collect();
        names.sort_unstable();
        assert_eq!(names, ["later", "new", "often"]);
        charge(&mut table, "much later", &rule, at(10_000));
        assert_eq!(table.into_keys().collect::<Vec<_>>(), ["much later"], "what is forgotten makes room");
    }
}
