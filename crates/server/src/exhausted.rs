//! The addresses that have exhausted their rate, with the time until they have a token again. A request can be refused
//! by its address before a signature is verified. It is not counted, since many clients with valid tokens can share one
//! address.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{PoisonError, RwLock},
    time::Duration,
};
use tokio::time::Instant;

/// Maximum number of addresses. For other addresses signatures are verified before a request is refused.
const CAPACITY: usize = 1 << 14;

/// The exhausted addresses, each with the time of its next token.
#[derive(Default)]
pub(crate) struct Exhausted(RwLock<HashMap<IpAddr, Instant>>);

impl Exhausted {
    /// Records that the rate of `address` is exhausted for `wait`.
    pub(crate) fn note(&self, address: IpAddr, wait: Duration, now: Instant) {
        let mut addresses = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if addresses.len() >= CAPACITY {
            addresses.retain(|_, until| now < *until);
        }
        if addresses.len() < CAPACITY {
            addresses.insert(address, now + wait);
        }
    }

    /// The time until the rate of `address` allows a request, if it allows none now.
    pub(crate) fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let until = *self.0.read().unwrap_or_else(PoisonError::into_inner).get(&address)?;
        until.checked_duration_since(now).filter(|wait| !wait.is_zero())
    }

    /// Removes expired entries.
    pub(crate) fn tidy(&self, now: Instant) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).retain(|_, until| now < *until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn an_address_is_refused_for_as_long_as_its_rate_has_nothing_left() {
        let exhausted = Exhausted::default();
        let [one, other] = [1, 2].map(|last| IpAddr::V4(Ipv4Addr::new(198, 51, 100, last)));
        let start = Instant::now();
        let after = |millis| start + Duration::from_millis(millis);
        exhausted.note(one, Duration::from_millis(300), start);
        let waits = [one, other].map(|address| exhausted.wait(address, after(100)));
        assert_eq!(waits, [Some(Duration::from_millis(200)), None]);
        assert_eq!(exhausted.wait(one, after(300)), None);
        for number in 0..2 * u32::try_from(CAPACITY).unwrap() {
            exhausted.note(IpAddr::V4(Ipv4Addr::from_bits(number)), Duration::from_secs(1), after(300));
        }
        assert_eq!(exhausted.0.read().unwrap().len(), CAPACITY);
        exhausted.tidy(after(1300));
        assert!(exhausted.0.read().unwrap().is_empty());
    }
}
