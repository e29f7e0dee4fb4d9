//! How much is admitted: connections and requests at once, and requests per second.

use super::{exhausted::Exhausted, problem::Problem};
use crate::{config::Limits, oauth::Caller};
use governor::{
    Quota, RateLimiter, clock::MonotonicClock, middleware::NoOpMiddleware, state::keyed::DashMapStateStore,
};
use http::StatusCode;
use std::{
    hash::{Hash, Hasher},
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// How soon a request that found every place taken may try again.
const BUSY_RETRY: Duration = Duration::from_secs(1);

/// How many clients may register themselves from one address per minute; many people may be behind it.
const REGISTRATIONS_PER_MINUTE: u32 = 10;

/// The limits of one server. Outlives a reload that leaves them as they were.
///
/// Rates are meant for all servers together; each has its share of them, rounded up.
pub struct Limiters {
    limits: Limits,
    places: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    by_caller: Rate<Who>,
    by_address: Rate<IpAddr>,
    registrations: Rate<IpAddr>,
    exhausted: Exhausted,
}

/// A client on behalf of a user: who acts for two has two rates.
#[derive(Clone)]
struct Who(Arc<Caller>);

impl Who {
    fn key(&self) -> (&str, &str) {
        (&self.0.client_id, &self.0.subject)
    }
}

impl PartialEq for Who {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Who {}

impl Hash for Who {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl Limiters {
    /// Keeps of `previous` the places whose number stays: those that are taken are still taken.
    pub fn new(limits: &Limits, previous: Option<&Self>) -> Self {
        let kept = |count: fn(&Limits) -> u32, places: fn(&Self) -> &Arc<Semaphore>| {
            let same = previous.filter(|previous| count(&previous.limits) == count(limits)).map(places);
            same.map_or_else(|| Arc::new(Semaphore::new(count(limits) as usize)), Arc::clone)
        };
        Self {
            places: kept(|limits| limits.max_concurrent_requests, |limiters| &limiters.places),
            connections: kept(|limits| limits.max_connections, |limiters| &limiters.connections),
            by_caller: Rate::new(limits),
            by_address: Rate::new(limits),
            registrations: Rate::of(Quota::per_minute(share(REGISTRATIONS_PER_MINUTE, limits)), MonotonicClock),
            exhausted: Exhausted::default(),
            limits: limits.clone(),
        }
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The places for connections.
    pub fn connections(&self) -> &Arc<Semaphore> {
        &self.connections
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        (self.limits.max_connections as usize).saturating_sub(self.connections.available_permits())
    }

    /// A place among the requests that are worked on, until it is dropped.
    pub fn enter(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            let message = format!(
                "the server is working on {} requests, as many as it may; try again",
                self.limits.max_concurrent_requests
            );
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message).retry_after(BUSY_RETRY)
        })
    }

    /// Counts a request of this client on behalf of its user.
    pub fn count_caller(&self, caller: &Arc<Caller>) -> Result<(), Problem> {
        self.by_caller.count(&Who(Arc::clone(caller))).map_err(|wait| self.too_many("this client", wait))
    }

    /// Counts a request from this address.
    pub fn count_address(&self, address: IpAddr) -> Result<(), Problem> {
        let network = network(address);
        self.by_address.count(&network).map_err(|wait| {
            self.exhausted.note(network, wait, Instant::now());
            self.too_many("this address", wait)
        })
    }

    /// Refuses if the rate of this address has nothing left. Counts nothing.
    pub fn check_address(&self, address: IpAddr) -> Result<(), Problem> {
        self.exhausted
            .wait(network(address), Instant::now())
            .map_or(Ok(()), |wait| Err(self.too_many("this address", wait)))
    }

    /// Counts a client that registers itself from this address.
    pub fn count_registration(&self, address: IpAddr) -> Result<(), Problem> {
        self.registrations.count(&network(address)).map_err(|wait| {
            let message = format!(
                "{} clients may register from one address per minute{}; try again after the time in Retry-After",
                share(REGISTRATIONS_PER_MINUTE, &self.limits),
                self.shared()
            );
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message).retry_after(wait)
        })
    }

    /// Forgets those who have not come for long.
    pub fn tidy(&self) {
        self.by_caller.tidy();
        self.by_address.tidy();
        self.registrations.tidy();
        self.exhausted.tidy(Instant::now());
    }

    fn too_many(&self, who: &str, wait: Duration) -> Problem {
        let message = format!(
            "{who} may make {} requests per second, {} at once{}; try again after the time in Retry-After",
            share(self.limits.requests_per_second, &self.limits),
            share(self.limits.burst, &self.limits),
            self.shared()
        );
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message).retry_after(wait)
    }

    fn shared(&self) -> String {
        match self.limits.servers {
            0 | 1 => String::new(),
            servers => format!(", at each of {servers} servers"),
        }
    }
}

/// This server's share of a rate, at least one.
fn share(of_all: u32, limits: &Limits) -> NonZeroU32 {
    // Zero servers are refused when the configuration is read.
    NonZeroU32::new(of_all.div_ceil(limits.servers.max(1))).unwrap_or(NonZeroU32::MIN)
}

/// What counts as one address: an IPv6 host may use every address of its network.
pub fn network(address: IpAddr) -> IpAddr {
    const NETWORK: u128 = u128::MAX << 64;
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & NETWORK)),
    }
}

/// A token bucket per key: `burst` tokens, filled up at the rate.
struct Rate<K: Hash + Eq + Clone, C: governor::clock::Clock = MonotonicClock> {
    limiter: RateLimiter<K, DashMapStateStore<K>, C, NoOpMiddleware<C::Instant>>,
}

impl<K: Hash + Eq + Clone> Rate<K> {
    fn new(limits: &Limits) -> Self {
        Self::with_clock(limits, MonotonicClock)
    }
}

impl<K: Hash + Eq + Clone, C: governor::clock::Clock> Rate<K, C> {
    fn with_clock(limits: &Limits, clock: C) -> Self {
        let (rate, burst) = (share(limits.requests_per_second, limits), share(limits.burst, limits));
        Self::of(Quota::per_second(rate).allow_burst(burst), clock)
    }

    fn of(quota: Quota, clock: C) -> Self {
        Self { limiter: RateLimiter::dashmap_with_clock(quota, clock) }
    }

    /// Takes a token, or says how long to wait for one.
    fn count(&self, key: &K) -> Result<(), Duration> {
        self.limiter.check_key(key).map_err(|not_until| not_until.wait_time_from(self.limiter.clock().now()))
    }

    fn tidy(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::quantity::{ByteSize, Span};
    use governor::clock::FakeRelativeClock;
    use jiff::Timestamp;
    use std::collections::BTreeSet;

    fn limits() -> Limits {
        Limits {
            request_timeout: Span::from_secs(1),
            max_concurrent_requests: 2,
            requests_per_second: 2,
            burst: 3,
            max_body_size: ByteSize::from_mebibytes(1),
            max_connections: 1000,
            servers: 1,
        }
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_counts_for_each_alone() {
        let clock = FakeRelativeClock::default();
        let rate = Rate::with_clock(&limits(), clock.clone());
        for _ in 0..3 {
            assert_eq!(rate.count(&"a"), Ok(()));
        }
        assert_eq!(rate.count(&"a"), Err(Duration::from_millis(500)));
        assert_eq!(rate.count(&"b"), Ok(()), "another is not concerned");
        clock.advance(Duration::from_millis(500));
        assert_eq!(rate.count(&"a"), Ok(()));
        assert!(rate.count(&"a").is_err());
        clock.advance(Duration::from_mins(1));
        rate.tidy();
        assert_eq!(rate.limiter.len(), 0, "nobody is remembered for ever");
    }

    #[test]
    fn places_are_given_back() {
        let limiters = Limiters::new(&limits(), None);
        let first = limiters.enter().unwrap();
        let _second = limiters.enter().unwrap();
        assert_eq!(limiters.enter().unwrap_err().reason(), "busy");
        drop(first);
        assert!(limiters.enter().is_ok());
    }

    #[test]
    fn places_outlive_a_reload_that_leaves_their_number() {
        let before = Limiters::new(&limits(), None);
        let _place = before.enter().unwrap();
        let _connection = Arc::clone(before.connections()).try_acquire_owned().unwrap();
        let after = Limiters::new(&Limits { servers: 3, ..limits() }, Some(&before));
        let _last = after.enter().unwrap();
        assert_eq!(after.enter().unwrap_err().reason(), "busy");
        assert_eq!(after.open_connections(), 1);
        let larger = Limiters::new(&Limits { max_connections: 1001, ..limits() }, Some(&after));
        assert_eq!(larger.open_connections(), 0);
    }

    #[test]
    fn servers_share_a_rate() {
        for (servers, at_once) in [(1, 3), (2, 2), (3, 1), (100, 1)] {
            let rate = Rate::with_clock(&Limits { servers, ..limits() }, FakeRelativeClock::default());
            let passed = (0..10).filter(|_| rate.count(&"a").is_ok()).count();
            assert_eq!(passed, at_once, "{servers}");
        }
        let message = |servers| {
            let limiters = Limiters::new(&Limits { servers, requests_per_second: 10, burst: 20, ..limits() }, None);
            limiters.too_many("this client", Duration::from_secs(1)).message().to_owned()
        };
        assert!(message(1).starts_with("this client may make 10 requests per second, 20 at once; "));
        assert!(
            message(4).starts_with("this client may make 3 requests per second, 5 at once, at each of 4 servers; ")
        );
    }

    #[test]
    fn a_client_has_a_rate_for_each_of_its_users() {
        let limiters = Limiters::new(&limits(), None);
        let caller = |client_id: &str, subject: &str| {
            Arc::new(Caller {
                client_id: client_id.to_owned(),
                subject: subject.to_owned(),
                user_name: None,
                grant: None,
                scopes: BTreeSet::new(),
                issued_at: Timestamp::UNIX_EPOCH,
                expires_at: Timestamp::UNIX_EPOCH,
            })
        };
        for _ in 0..3 {
            limiters.count_caller(&caller("agent", "ada")).unwrap();
        }
        // Another token of the same user is no other user.
        let refused = limiters.count_caller(&caller("agent", "ada")).unwrap_err();
        assert_eq!(refused.reason(), "rate_limited");
        limiters.count_caller(&caller("agent", "bob")).unwrap();
        limiters.count_caller(&caller("other", "ada")).unwrap();
    }

    #[test]
    fn an_ipv6_network_counts_as_one() {
        let limiters = Limiters::new(&limits(), None);
        for host in 1..=3_u16 {
            limiters.count_address(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, host, 0, 0, host))).unwrap();
        }
        let fourth = limiters.count_address(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 4, 0, 0, 4)));
        assert_eq!(fourth.unwrap_err().reason(), "rate_limited");
        limiters.count_address(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 1, 0, 0, 1))).unwrap();
    }
}
