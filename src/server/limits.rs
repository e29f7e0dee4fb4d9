//! How much is admitted: requests at once, and requests per second of each client.

use super::problem::Problem;
use crate::config::Limits;
use governor::{
    Quota, RateLimiter, clock::MonotonicClock, middleware::NoOpMiddleware, state::keyed::DashMapStateStore,
};
use http::StatusCode;
use std::{
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How soon a request that found every place taken may try again.
const BUSY_RETRY: Duration = Duration::from_secs(1);

/// How many clients may register themselves from one address per minute; many people may be behind it.
const REGISTRATIONS_PER_MINUTE: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// The limits of one server. Outlives a reload that leaves them as they were.
pub struct Limiters {
    limits: Limits,
    places: Arc<Semaphore>,
    by_client: Rate<String>,
    by_address: Rate<IpAddr>,
    registrations: Rate<IpAddr>,
}

impl Limiters {
    pub fn new(limits: &Limits) -> Self {
        Self {
            places: Arc::new(Semaphore::new(limits.max_concurrent_requests as usize)),
            by_client: Rate::new(limits),
            by_address: Rate::new(limits),
            registrations: Rate::of(Quota::per_minute(REGISTRATIONS_PER_MINUTE), MonotonicClock),
            limits: limits.clone(),
        }
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
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

    /// Counts a request of this client.
    pub fn count_client(&self, client_id: &String) -> Result<(), Problem> {
        self.by_client.count(client_id).map_err(|wait| self.too_many("this client", wait))
    }

    /// Counts a request from this address.
    pub fn count_address(&self, address: IpAddr) -> Result<(), Problem> {
        self.by_address.count(&network(address)).map_err(|wait| self.too_many("this address", wait))
    }

    /// Counts a client that registers itself from this address.
    pub fn count_registration(&self, address: IpAddr) -> Result<(), Problem> {
        self.registrations.count(&network(address)).map_err(|wait| {
            let message = format!(
                "{REGISTRATIONS_PER_MINUTE} clients may register from one address per minute; try again after the time in Retry-After"
            );
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message).retry_after(wait)
        })
    }

    /// Forgets those who have not come for long.
    pub fn tidy(&self) {
        self.by_client.tidy();
        self.by_address.tidy();
        self.registrations.tidy();
    }

    fn too_many(&self, who: &str, wait: Duration) -> Problem {
        let Limits { requests_per_second, burst, .. } = self.limits;
        let message = format!(
            "{who} may make {requests_per_second} requests per second, {burst} at once; try again after the time in Retry-After"
        );
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message).retry_after(wait)
    }
}

/// What counts as one address: an IPv6 host may use every address of its network.
fn network(address: IpAddr) -> IpAddr {
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
        // Zero is refused when the configuration is read.
        let at_least_one = |count| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(limits.requests_per_second)).allow_burst(at_least_one(limits.burst));
        Self::of(quota, clock)
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
        let limiters = Limiters::new(&limits());
        let first = limiters.enter().unwrap();
        let _second = limiters.enter().unwrap();
        assert_eq!(limiters.enter().unwrap_err().reason(), "busy");
        drop(first);
        assert!(limiters.enter().is_ok());
    }

    #[test]
    fn an_ipv6_network_counts_as_one() {
        let limiters = Limiters::new(&limits());
        for host in 1..=3_u16 {
            limiters.count_address(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, host, 0, 0, host))).unwrap();
        }
        let fourth = limiters.count_address(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 4, 0, 0, 4)));
        assert_eq!(fourth.unwrap_err().reason(), "rate_limited");
        limiters.count_address(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 1, 0, 0, 1))).unwrap();
    }
}
