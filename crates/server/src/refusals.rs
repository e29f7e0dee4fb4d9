//! Refused requests in the audit trail, sampled: the first refusal of each network and reason is an event at once;
//! after that, there is at most one event a minute, with a count. A flood of refusals fills neither the log nor the
//! memory.

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use portcullis_core::ip_ranges::network;
use portcullis_oauth::Caller;
use portcullis_telemetry::{
    audit::{Event, RequestContext},
    metrics::Route,
};
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// The minimum time between two events for one network and reason.
const EVERY: SignedDuration = SignedDuration::from_mins(1);
/// The maximum number of entries. At the limit, further networks share one entry for each reason.
const CAPACITY: usize = 4096;

/// The refused part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RefusedPart {
    /// The whole request.
    Request,
    /// Its access token.
    AccessToken,
    /// Its form.
    Form,
}

/// One refusal.
#[derive(Clone)]
pub(crate) struct RefusedRequest {
    pub what: RefusedPart,
    pub from: RequestContext,
    pub route: Route,
    pub reason: &'static str,
    pub status: StatusCode,
    /// The caller, if the request was authenticated.
    pub caller: Option<Arc<Caller>>,
}

/// The refusals of the last minute.
#[derive(Default)]
pub(crate) struct Refusals {
    seen: Mutex<HashMap<RefusalKey, RefusalCount>>,
}

/// The key of sampling. `network` is absent if the client's address is unknown, and beyond the capacity.
#[derive(Clone, PartialEq, Eq, Hash)]
struct RefusalKey {
    network: Option<IpAddr>,
    what: RefusedPart,
    reason: &'static str,
}

struct RefusalCount {
    /// When the last event was emitted.
    since: Timestamp,
    /// The number of refusals since then.
    held_back: u64,
    last: RefusedRequest,
}

impl Refusals {
    /// Emits an event, or counts the refusal for the next one.
    pub(crate) fn note(&self, refusal: &RefusedRequest, now: Timestamp) {
        if let Some(count) = self.count(refusal, now) {
            refusal.emit(count);
        }
    }

    /// The number of refusals that an event now stands for; `None` if no event is due.
    fn count(&self, refusal: &RefusedRequest, now: Timestamp) -> Option<u64> {
        let mut key =
            RefusalKey { network: refusal.from.address.map(network), what: refusal.what, reason: refusal.reason };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Do not search for an entry to evict: this would be most expensive during a flood of refusals.
        if seen.len() >= CAPACITY && !seen.contains_key(&key) {
            key.network = None;
        }
        let Some(entry) = seen.get_mut(&key) else {
            seen.insert(key, RefusalCount { since: now, held_back: 0, last: refusal.clone() });
            return Some(1);
        };
        entry.held_back = entry.held_back.saturating_add(1);
        entry.last = refusal.clone();
        if now.duration_since(entry.since) < EVERY {
            return None;
        }
        entry.since = now;
        Some(std::mem::take(&mut entry.held_back))
    }

    /// Emits the pending events of the last minute, and drops networks without refusals in it.
    pub(crate) fn tidy(&self, now: Timestamp) {
        for (last, count) in self.due(now) {
            last.emit(count);
        }
    }

    fn due(&self, now: Timestamp) -> Vec<(RefusedRequest, u64)> {
        let mut due = Vec::new();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, entry| {
            if now.duration_since(entry.since) < EVERY {
                return true;
            }
            entry.since = now;
            let count = std::mem::take(&mut entry.held_back);
            if count > 0 {
                due.push((entry.last.clone(), count));
            }
            count > 0
        });
        due
    }
}

impl RefusedRequest {
    fn emit(&self, count: u64) {
        let Self { what, from, route, reason, status, caller } = self;
        let (route, status) = (format!("{route:?}"), u64::from(status.as_u16()));
        let route = route.as_str();
        match what {
            RefusedPart::Request => Event::RequestRefused {
                from,
                route,
                reason,
                status,
                client_id: caller.as_deref().map(|caller| &*caller.client_id),
                user: caller.as_deref().map(|caller| &*caller.subject),
                grant: caller.as_deref().and_then(|caller| caller.grant.as_deref()),
                count,
            }
            .emit(),
            RefusedPart::AccessToken => Event::AccessTokenRefused { from, route, reason, count }.emit(),
            RefusedPart::Form => Event::FormRefused { from, route, reason, count }.emit(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn refusal(address: u32, reason: &'static str) -> RefusedRequest {
        let address = Some(Ipv4Addr::from_bits(address).into());
        let from = RequestContext { address, ..RequestContext::UNKNOWN };
        let status = StatusCode::TOO_MANY_REQUESTS;
        RefusedRequest { what: RefusedPart::Request, from, route: Route::Mcp, reason, status, caller: None }
    }

    #[test]
    fn the_first_is_an_event_and_the_others_are_counted() {
        let refusals = Refusals::default();
        let count = |address, reason, second| refusals.count(&refusal(address, reason), at(second));
        assert_eq!(count(1, "rate_limited", 0), Some(1));
        assert_eq!((count(1, "rate_limited", 1), count(1, "rate_limited", 59)), (None, None));
        assert_eq!(count(2, "rate_limited", 59), Some(1), "another address");
        assert_eq!(count(1, "busy", 59), Some(1), "another reason");
        assert_eq!(count(1, "rate_limited", 60), Some(3), "with those that were held back");
        assert_eq!(count(1, "rate_limited", 61), None);
        let due =
            |second| refusals.due(at(second)).into_iter().map(|(last, count)| (last.reason, count)).collect::<Vec<_>>();
        assert!(due(119).is_empty(), "not within a minute");
        assert_eq!(due(120), [("rate_limited", 1)], "none is lost when the flood ends");
        assert!(due(180).is_empty());
        assert_eq!(refusals.seen.lock().unwrap().len(), 0, "nobody is remembered for ever");
    }

    #[test]
    fn many_addresses_share_an_entry_beyond_the_capacity() {
        let refusals = Refusals::default();
        let events = (0..100_000).filter(|address| refusals.count(&refusal(*address, "busy"), at(0)).is_some()).count();
        assert_eq!(events, CAPACITY + 1);
        assert_eq!(refusals.seen.lock().unwrap().len(), CAPACITY + 1);
    }
}
