//! The limits: concurrent connections and requests, their memory, and requests per second.

use crate::{connections::Connections, exhausted::Exhausted, problem::HttpProblem};
use governor::{
    Quota, RateLimiter, clock::MonotonicClock, middleware::NoOpMiddleware, state::keyed::DashMapStateStore,
};
use http::StatusCode;
use portcullis_budget::{Account, Holder, Holders, Pool, Taken, Unavailable};
use portcullis_config::{
    ServerLimits,
    memory::{Division, open_requests},
};
use portcullis_core::ip_ranges::network;
use portcullis_oauth::Caller;
use std::{
    hash::{BuildHasher as _, Hash, Hasher, RandomState},
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// `Retry-After` if all permits are taken.
const BUSY_RETRY: Duration = Duration::from_secs(1);
/// The maximum time that a request waits for memory.
const MEMORY_WAIT: Duration = Duration::from_secs(30);
/// The share of an address before authentication, and of a user over all clients: three quarters. Many users may share
/// one address.
const WIDE: u64 = 3;
/// The share of one client of one user: half.
const NARROW: u64 = 1;

/// The dynamic registrations per minute from one address, which many users may share.
const REGISTRATIONS_PER_MINUTE: u32 = 10;

/// The limits of one server. A reload that does not change them keeps this object.
///
/// Rates apply to all servers together; each server enforces its share, rounded up.
pub(crate) struct Limiters {
    limits: ServerLimits,
    permits: Arc<Pool>,
    open: Arc<Pool>,
    memory: Arc<Pool>,
    connections: Arc<Connections>,
    keys: RandomState,
    rate_by_caller: KeyedRateLimit<CallerKey>,
    rate_by_address: KeyedRateLimit<IpAddr>,
    registrations: KeyedRateLimit<IpAddr>,
    exhausted: Exhausted,
}

/// A client on behalf of a user. A client of two users has two rates.
#[derive(Clone)]
struct CallerKey(Arc<Caller>);

impl CallerKey {
    fn key(&self) -> (&str, &str) {
        (&self.0.client_id, &self.0.subject)
    }
}

impl PartialEq for CallerKey {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for CallerKey {}

impl Hash for CallerKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl Limiters {
    /// The limits of a process with a memory limit of `memory` bytes. Keeps the pools of `previous` that have the same
    /// size, with everything taken from them.
    pub(crate) fn new(limits: &ServerLimits, memory: u64, previous: Option<&Self>) -> Self {
        let division = Division::of(limits, memory);
        if let Some(problem) = division.problem() {
            tracing::error!(problem, "large requests will be refused");
        }
        let pool = |size: u64, pool: fn(&Self) -> &Arc<Pool>| {
            let same = previous.map(pool).filter(|pool| pool.total() == size);
            same.map_or_else(|| Pool::new(size), Arc::clone)
        };
        let most = limits.max_connections as usize;
        let connections = previous.map(|previous| &previous.connections).filter(|open| open.most() == most);
        Self {
            permits: pool(limits.max_concurrent_requests.into(), |limiters| &limiters.permits),
            open: pool(open_requests(limits).into(), |limiters| &limiters.open),
            memory: pool(division.budget, |limiters| &limiters.memory),
            connections: connections.map_or_else(|| Connections::new(most), Arc::clone),
            keys: previous.map(|previous| previous.keys.clone()).unwrap_or_default(),
            rate_by_caller: KeyedRateLimit::new(limits),
            rate_by_address: KeyedRateLimit::new(limits),
            registrations: KeyedRateLimit::of(
                Quota::per_minute(share(REGISTRATIONS_PER_MINUTE, limits)),
                MonotonicClock,
            ),
            exhausted: Exhausted::default(),
            limits: limits.clone(),
        }
    }

    pub(crate) fn limits(&self) -> &ServerLimits {
        &self.limits
    }

    /// The open connections.
    pub(crate) fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    /// The memory budget that requests share.
    pub(crate) fn memory(&self) -> &Arc<Pool> {
        &self.memory
    }

    /// Takes a permit for a concurrent request, which is returned on drop. It counts for the address at first; see
    /// [`Self::identify`].
    pub(crate) fn enter(&self, address: Option<IpAddr>) -> Result<Taken, HttpProblem> {
        self.permits.try_take(1, self.address(address)).map_err(|why| match why {
            Unavailable::Share => busy("this address has reached its share of the concurrent requests"),
            Unavailable::Taken => {
                busy(&format!("the limit of {} concurrent requests is reached", self.limits.max_concurrent_requests))
            }
        })
    }

    /// Transfers the permit from the address to the client and its user. Returns the memory account of the request.
    pub(crate) fn identify(
        &self,
        permit: &mut Taken,
        caller: &Caller,
        started: Instant,
    ) -> Result<Account, HttpProblem> {
        let user = Holder { key: self.keys.hash_one(("user", &caller.subject)), shares: WIDE };
        let both = ("client", &caller.subject, &caller.client_id);
        let client = Holder { key: self.keys.hash_one(both), shares: NARROW };
        let holders = [Some(user), Some(client)];
        permit.pass_to(holders).map_err(|_| {
            busy("this client has reached its share of the concurrent requests for this user: wait for some of them to end")
        })?;
        let wait = MEMORY_WAIT.min(self.limits.request_timeout.as_duration() / 2);
        Ok(Account::new(Arc::clone(&self.memory), holders, started + wait))
    }

    /// Takes a permit for a request that does not require a token.
    pub(crate) fn enter_open(&self, address: Option<IpAddr>) -> Result<Taken, HttpProblem> {
        let why = "too many requests without a token are in progress";
        self.open.try_take(1, self.address(address)).map_err(|_| busy(why))
    }

    /// The holder for requests of an address. Requests with an unknown address share one.
    pub(crate) fn address(&self, address: Option<IpAddr>) -> Holders {
        let address = network(address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)));
        [Some(Holder { key: self.keys.hash_one(address), shares: WIDE }), None]
    }

    /// Counts a request of this client on behalf of its user.
    pub(crate) fn count_caller(&self, caller: &Arc<Caller>) -> Result<(), HttpProblem> {
        self.rate_by_caller.count(&CallerKey(Arc::clone(caller))).map_err(|wait| self.too_many("this client", wait))
    }

    /// Counts a request from this address.
    pub(crate) fn count_address(&self, address: IpAddr) -> Result<(), HttpProblem> {
        let network = network(address);
        self.rate_by_address.count(&network).map_err(|wait| {
            self.exhausted.note(network, wait, Instant::now());
            self.too_many("this address", wait)
        })
    }

    /// Refuses if the rate of this address is exhausted. Does not count a request.
    pub(crate) fn check_address(&self, address: IpAddr) -> Result<(), HttpProblem> {
        self.exhausted
            .wait(network(address), Instant::now())
            .map_or(Ok(()), |wait| Err(self.too_many("this address", wait)))
    }

    /// Counts a dynamic registration from this address.
    pub(crate) fn count_registration(&self, address: IpAddr) -> Result<(), HttpProblem> {
        self.registrations.count(&network(address)).map_err(|wait| {
            let message = format!(
                "{} clients may register from one address per minute{}; try again after the time in Retry-After",
                share(REGISTRATIONS_PER_MINUTE, &self.limits),
                self.shared()
            );
            HttpProblem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message).retry_after(wait)
        })
    }

    /// Drops callers and addresses without recent requests.
    pub(crate) fn tidy(&self) {
        self.rate_by_caller.tidy();
        self.rate_by_address.tidy();
        self.registrations.tidy();
        self.exhausted.tidy(Instant::now());
    }

    fn too_many(&self, who: &str, wait: Duration) -> HttpProblem {
        let message = format!(
            "{who} may make {} requests per second, {} at once{}; try again after the time in Retry-After",
            share(self.limits.requests_per_second, &self.limits),
            share(self.limits.burst, &self.limits),
            self.shared()
        );
        HttpProblem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message).retry_after(wait)
    }

    fn shared(&self) -> String {
        match self.limits.servers {
            0 | 1 => String::new(),
            servers => format!(", at each of {servers} servers"),
        }
    }
}

fn busy(why: &str) -> HttpProblem {
    HttpProblem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", format!("{why}; try again")).retry_after(BUSY_RETRY)
}

/// This server's share of a rate, at least one.
fn share(of_all: u32, limits: &ServerLimits) -> NonZeroU32 {
    // A configuration with zero servers is refused.
    NonZeroU32::new(of_all.div_ceil(limits.servers.max(1))).unwrap_or(NonZeroU32::MIN)
}

/// A token bucket per key: `burst` tokens, refilled at the rate.
struct KeyedRateLimit<K: Hash + Eq + Clone, C: governor::clock::Clock = MonotonicClock> {
    limiter: RateLimiter<K, DashMapStateStore<K>, C, NoOpMiddleware<C::Instant>>,
}

impl<K: Hash + Eq + Clone> KeyedRateLimit<K> {
    fn new(limits: &ServerLimits) -> Self {
        Self::with_clock(limits, MonotonicClock)
    }
}

impl<K: Hash + Eq + Clone, C: governor::clock::Clock> KeyedRateLimit<K, C> {
    fn with_clock(limits: &ServerLimits, clock: C) -> Self {
        let (rate, burst) = (share(limits.requests_per_second, limits), share(limits.burst, limits));
        Self::of(Quota::per_second(rate).allow_burst(burst), clock)
    }

    fn of(quota: Quota, clock: C) -> Self {
        Self { limiter: RateLimiter::dashmap_with_clock(quota, clock) }
    }

    /// Takes a token, or returns the time until one is available.
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
    use governor::clock::FakeRelativeClock;
    use jiff::Timestamp;
    use portcullis_core::quantity::{ByteSize, Span};
    use std::collections::BTreeSet;

    fn limits() -> ServerLimits {
        ServerLimits {
            request_timeout: Span::from_secs(1),
            max_concurrent_requests: 2,
            requests_per_second: 2,
            burst: 3,
            max_body_size: ByteSize::from_mebibytes(1),
            ..ServerLimits::default()
        }
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_counts_for_each_alone() {
        let clock = FakeRelativeClock::default();
        let rate = KeyedRateLimit::with_clock(&limits(), clock.clone());
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

    const MEMORY: u64 = 256 << 20;

    fn caller(client_id: &str, subject: &str) -> Arc<Caller> {
        Arc::new(Caller {
            client_id: client_id.to_owned(),
            subject: subject.to_owned(),
            user_name: None,
            grant: None,
            scopes: BTreeSet::new(),
            issued_at: Timestamp::UNIX_EPOCH,
            expires_at: Timestamp::UNIX_EPOCH,
        })
    }

    #[expect(clippy::unnecessary_wraps, reason = "the limiters take addresses that may be unknown")]
    fn address(last: u8) -> Option<IpAddr> {
        Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)))
    }

    #[test]
    fn permits_are_given_back() {
        let limiters = Limiters::new(&limits(), MEMORY, None);
        let first = limiters.enter(address(1)).unwrap();
        let _second = limiters.enter(address(2)).unwrap();
        assert_eq!(limiters.enter(address(3)).unwrap_err().reason(), "busy");
        drop(first);
        assert!(limiters.enter(address(3)).is_ok());
    }

    #[tokio::test]
    async fn one_caller_and_one_address_leave_permits_to_others() {
        let limiters = Limiters::new(&ServerLimits { max_concurrent_requests: 100, ..limits() }, MEMORY, None);
        let now = Instant::now();
        let enter = |from: u8, client: &str, user: &str| {
            let mut permit = limiters.enter(address(from))?;
            limiters.identify(&mut permit, &caller(client, user), now).map(|account| (permit, account))
        };
        let fill = |from: u8, client: &str, user: &str| -> Vec<_> {
            std::iter::from_fn(|| enter(from, client, user).ok()).collect()
        };
        let first = fill(1, "agent", "ada");
        assert_eq!(first.len(), 50);
        let others: Vec<_> = (0..5).flat_map(|client| fill(1, &client.to_string(), "ada")).collect();
        assert!(first.len() + others.len() <= 76, "a user with many clients: {}", others.len());
        assert!(enter(1, "agent", "bob").is_ok(), "another user at the same address");
        drop((first, others));
        let mut unknown: Vec<_> = std::iter::from_fn(|| limiters.enter(address(1)).ok()).collect();
        assert_eq!(unknown.len(), 75);
        assert!(enter(2, "agent", "ada").is_ok(), "another address");
        limiters
            .identify(&mut unknown[0], &caller("agent", "bob"), now)
            .expect("who is known has a share of their own");
    }

    #[test]
    fn permits_outlive_a_reload_that_leaves_their_number() {
        let before = Limiters::new(&limits(), MEMORY, None);
        let _place = before.enter(address(1)).unwrap();
        let after = Limiters::new(&ServerLimits { servers: 3, ..limits() }, MEMORY, Some(&before));
        let _last = after.enter(address(2)).unwrap();
        assert_eq!(after.enter(address(3)).unwrap_err().reason(), "busy");
        assert!(Arc::ptr_eq(after.connections(), before.connections()));
        let larger = Limiters::new(&ServerLimits { max_connections: 1001, ..limits() }, MEMORY, Some(&after));
        assert!(!Arc::ptr_eq(larger.connections(), before.connections()));
    }

    #[test]
    fn servers_share_a_rate() {
        for (servers, at_once) in [(1, 3), (2, 2), (3, 1), (100, 1)] {
            let rate = KeyedRateLimit::with_clock(&ServerLimits { servers, ..limits() }, FakeRelativeClock::default());
            let passed = (0..10).filter(|_| rate.count(&"a").is_ok()).count();
            assert_eq!(passed, at_once, "{servers}");
        }
        let message = |servers| {
            let limiters =
                Limiters::new(&ServerLimits { servers, requests_per_second: 10, burst: 20, ..limits() }, MEMORY, None);
            limiters.too_many("this client", Duration::from_secs(1)).message().to_owned()
        };
        assert!(message(1).starts_with("this client may make 10 requests per second, 20 at once; "));
        assert!(
            message(4).starts_with("this client may make 3 requests per second, 5 at once, at each of 4 servers; ")
        );
    }

    #[test]
    fn a_client_has_a_rate_for_each_of_its_users() {
        let limiters = Limiters::new(&limits(), MEMORY, None);
        for _ in 0..3 {
            limiters.count_caller(&caller("agent", "ada")).unwrap();
        }
        // Another token of the same user has the same rate.
        let refused = limiters.count_caller(&caller("agent", "ada")).unwrap_err();
        assert_eq!(refused.reason(), "rate_limited");
        limiters.count_caller(&caller("agent", "bob")).unwrap();
        limiters.count_caller(&caller("other", "ada")).unwrap();
    }

    #[test]
    fn an_ipv6_network_counts_as_one() {
        let limiters = Limiters::new(&limits(), MEMORY, None);
        for host in 1..=3_u16 {
            limiters.count_address(IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, host, 0, 0, host))).unwrap();
        }
        let fourth = limiters.count_address(IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 4, 0, 0, 4)));
        assert_eq!(fourth.unwrap_err().reason(), "rate_limited");
        limiters.count_address(IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 1, 0, 0, 1))).unwrap();
    }
}
