//! Peers that send forwarding headers without being trusted, such as an ingress controller that is missing in
//! `trustedProxies`: all clients behind it have one address. Every peer can send such headers, so their content is not
//! kept. Only peers with private addresses are reported: a proxy in the cluster has one, a client on the internet does
//! not.

use crate::address::{FORWARDED_FOR, contains};
use http::{HeaderMap, header};
use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use portcullis_core::ip_ranges::is_public;
use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

/// The maximum number of remembered peers.
const MOST: usize = 4;
/// The time for which a peer is remembered after its last request.
const WINDOW: SignedDuration = SignedDuration::from_mins(15);

/// The sender of a forwarding header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// A peer in the cluster or another private network.
    Private(IpAddr),
    /// A peer on the internet.
    Public,
}

impl Sender {
    /// The sender of forwarding headers; `None` if the peer is trusted, or sends no such headers.
    pub(crate) fn of(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Option<Self> {
        let forwards = headers.contains_key(FORWARDED_FOR) || headers.contains_key(header::FORWARDED);
        let peer = peer.to_canonical();
        (forwards && !contains(trusted, peer)).then(|| if is_public(peer) { Self::Public } else { Self::Private(peer) })
    }
}

/// The recent senders.
#[derive(Debug, Default)]
pub(crate) struct Untrusted(Mutex<Vec<(IpAddr, Timestamp)>>);

impl Untrusted {
    /// Records the sender of forwarding headers. If the lock is held, the request is not recorded.
    pub(crate) fn note(&self, sender: Sender, now: Timestamp) {
        let (Sender::Private(peer), Ok(mut seen)) = (sender, self.0.try_lock()) else { return };
        if let Some((_, last)) = seen.iter_mut().find(|(known, _)| *known == peer) {
            *last = now;
            return;
        }
        seen.retain(|(_, last)| now.duration_since(*last) < WINDOW);
        if seen.len() < MOST {
            seen.push((peer, now));
        }
    }

    /// The addresses of recent senders as networks, without those that have become trusted.
    pub(crate) fn recent(&self, now: Timestamp, trusted: &[IpNet]) -> Vec<IpNet> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = seen.iter().filter(|(_, last)| now.duration_since(*last) < WINDOW).map(|(peer, _)| *peer);
        let mut networks: Vec<IpNet> = recent.filter(|peer| !contains(trusted, *peer)).map(IpNet::from).collect();
        networks.sort();
        networks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), http::HeaderValue::from_static("198.51.100.7"))])
    }

    #[test]
    fn only_private_peers_that_are_not_trusted_are_named() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        let of = |peer: &str, name| Sender::of(peer.parse().unwrap(), &headers(name), &trusted);
        let private = |peer: &str| Some(Sender::Private(peer.parse().unwrap()));
        assert_eq!(of("192.168.0.1", "x-forwarded-for"), private("192.168.0.1"));
        assert_eq!(of("::ffff:192.168.0.1", "forwarded"), private("192.168.0.1"));
        assert_eq!(of("fd00::1", "forwarded"), private("fd00::1"));
        assert_eq!(of("10.1.2.3", "x-forwarded-for"), None);
        assert_eq!(of("192.168.0.1", "x-real-ip"), None);
        assert_eq!(of("8.8.8.8", "x-forwarded-for"), Some(Sender::Public));
    }

    #[test]
    fn few_are_remembered_and_not_for_long() {
        let untrusted = Untrusted::default();
        let at = |minutes: i64| Timestamp::from_second(minutes * 60).unwrap();
        untrusted.note(Sender::Public, at(0));
        assert_eq!(untrusted.recent(at(0), &[]), []);
        for last in 0..100 {
            untrusted.note(Sender::Private(format!("192.168.0.{last}").parse().unwrap()), at(0));
        }
        untrusted.note(Sender::Private("192.168.0.0".parse().unwrap()), at(10));
        assert_eq!(untrusted.recent(at(10), &[]).len(), MOST);
        let trusted = vec!["192.168.0.1/32".parse().unwrap()];
        assert_eq!(untrusted.recent(at(10), &trusted).len(), MOST - 1);
        assert_eq!(untrusted.recent(at(20), &[]), ["192.168.0.0/32".parse().unwrap()]);
        untrusted.note(Sender::Private("192.168.7.7".parse().unwrap()), at(20));
        assert_eq!(untrusted.recent(at(20), &[]).len(), 2, "there is room again");
    }
}
