//! Where a request really comes from, and whether it may.

use crate::config::AccessRules;
use http::HeaderMap;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The client's address: the peer, or, as long as that is a trusted proxy, whom it names in `X-Forwarded-For`, read
/// from the right since each proxy appends what it sees. `None`: a trusted proxy named something that is no address.
pub fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    let mut address = peer.to_canonical();
    if trusted.is_empty() {
        return Some(address);
    }
    let mut named = headers
        .get_all(FORWARDED_FOR)
        .iter()
        .rev()
        .flat_map(|value| value.to_str().unwrap_or("unreadable").rsplit(','))
        .map(str::trim);
    while contains(trusted, address) {
        let Some(name) = named.next() else { break };
        address = parse(name)?;
    }
    Some(address)
}

/// Whether somebody at this address may come.
pub fn admitted(client: Option<IpAddr>, rules: &AccessRules) -> bool {
    rules.allowed_cidrs.is_empty() || client.is_some_and(|address| contains(&rules.allowed_cidrs, address))
}

fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// An address, as some proxies write it with its port.
fn parse(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))?;
    Some(IpAddr::to_canonical(&address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    #[test]
    fn the_client_is_the_first_from_the_right_that_is_no_trusted_proxy() {
        for (peer, forwarded, trusted, expected) in [
            ("203.0.113.9", &[][..], &["10.0.0.0/8"][..], Some("203.0.113.9")),
            ("203.0.113.9", &["198.51.100.1"], &["10.0.0.0/8"], Some("203.0.113.9")),
            ("10.0.0.1", &["198.51.100.1"], &[], Some("10.0.0.1")),
            ("10.0.0.1", &["198.51.100.1"], &["10.0.0.0/8"], Some("198.51.100.1")),
            ("10.0.0.1", &["1.1.1.1, 198.51.100.1"], &["10.0.0.0/8"], Some("198.51.100.1")),
            ("10.0.0.1", &["1.1.1.1, 198.51.100.1,10.2.3.4"], &["10.0.0.0/8"], Some("198.51.100.1")),
            ("10.0.0.1", &["1.1.1.1", "198.51.100.1, 10.2.3.4"], &["10.0.0.0/8"], Some("198.51.100.1")),
            ("10.0.0.1", &["10.0.0.7"], &["10.0.0.0/8"], Some("10.0.0.7")),
            ("10.0.0.1", &[], &["10.0.0.0/8"], Some("10.0.0.1")),
            ("10.0.0.1", &["unknown"], &["10.0.0.0/8"], None),
            ("10.0.0.1", &["1.1.1.1, "], &["10.0.0.0/8"], None),
            ("10.0.0.1", &["198.51.100.1:4711"], &["10.0.0.0/8"], Some("198.51.100.1")),
            ("fd00::1", &["[2001:db8::5]:443"], &["fd00::/8"], Some("2001:db8::5")),
            ("fd00::1", &["[2001:db8::5]"], &["fd00::/8"], Some("2001:db8::5")),
            ("::ffff:10.0.0.1", &["::ffff:198.51.100.1"], &["10.0.0.0/8"], Some("198.51.100.1")),
        ] {
            let headers: HeaderMap = forwarded
                .iter()
                .map(|value| (HeaderName::from_static(FORWARDED_FOR), HeaderValue::from_static(value)))
                .collect();
            let trusted: Vec<IpNet> = trusted.iter().map(|network| network.parse().unwrap()).collect();
            let expected = expected.map(|address: &str| address.parse::<IpAddr>().unwrap());
            assert_eq!(client(peer.parse().unwrap(), &headers, &trusted), expected, "{peer} {forwarded:?} {trusted:?}");
        }
    }

    #[test]
    fn only_listed_networks_are_admitted_and_an_empty_list_admits_all() {
        let rules = |networks: &[&str]| AccessRules {
            allowed_cidrs: networks.iter().map(|network| network.parse().unwrap()).collect(),
            ..AccessRules::default()
        };
        let from = |text: &str| Some(text.parse().unwrap());
        assert!(admitted(from("203.0.113.9"), &rules(&[])) && admitted(None, &rules(&[])));
        let listed = rules(&["160.79.104.0/21", "2607:6bc0::/48"]);
        assert!(admitted(from("160.79.111.255"), &listed) && admitted(from("2607:6bc0::1"), &listed));
        assert!(
            !admitted(from("160.79.112.0"), &listed) && !admitted(from("::1"), &listed) && !admitted(None, &listed)
        );
    }

    proptest! {
        #[test]
        fn whatever_is_forwarded_only_a_trusted_proxy_is_believed(
            value in prop::collection::vec(any::<u8>(), 0..60),
            addresses in prop::collection::vec(any::<IpAddr>(), 0..4),
        ) {
            let listed = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let values = [HeaderValue::from_bytes(&value), HeaderValue::try_from(listed)];
            let headers: HeaderMap =
                values.into_iter().flatten().map(|value| (HeaderName::from_static(FORWARDED_FOR), value)).collect();
            let (peer, proxy): (IpAddr, IpAddr) = ("203.0.113.9".parse().unwrap(), "10.0.0.1".parse().unwrap());
            let trusted = ["10.0.0.0/8".parse().unwrap()];
            prop_assert_eq!(client(peer, &headers, &trusted), Some(peer));
            prop_assert_eq!(client(proxy, &headers, &[]), Some(proxy));
            if let (Some(last), Some(found)) = (addresses.last(), client(proxy, &headers, &trusted)) {
                prop_assert!(found == last.to_canonical() || contains(&trusted, last.to_canonical()));
            }
        }
    }
}
