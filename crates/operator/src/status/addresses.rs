//! The condition `ClientAddressesKnown`: whether an untrusted proxy is in front of the servers. Then all clients share the
//! proxy's address, and one client can use up the rates of all.

use crate::servers::Report;
use crate::status::{finding, reason};
use ipnet::IpNet;
use portcullis_api::condition::{CLIENT_ADDRESSES_KNOWN, Finding};
use std::collections::BTreeSet;

/// The maximum number of networks in a message.
const SHOWN: usize = 4;

/// The condition. `None`: no server runs.
pub(super) fn client_addresses_known(servers: &[(String, Report)]) -> Option<Finding> {
    let mut reports = servers.iter().filter_map(|(_, report)| report.as_ref().ok()).peekable();
    reports.peek()?;
    let seen: BTreeSet<IpNet> = reports.flat_map(|report| report.untrusted_forwarders.iter().copied()).collect();
    if seen.is_empty() {
        let message =
            "no forwarding headers come from addresses that are not in spec.network.trustedProxies".to_owned();
        return Some(finding(CLIENT_ADDRESSES_KNOWN, Some(true), reason::NO_UNTRUSTED_FORWARDING, message));
    }
    let named: Vec<String> = seen.iter().take(SHOWN).map(ToString::to_string).collect();
    let message = format!(
        "X-Forwarded-For or Forwarded come from {}, which are not in spec.network.trustedProxies: if these are your proxies, add them there, since all clients share one rate and one throttle for passwords otherwise; if not, a client in the cluster bypasses the proxy: allow only the proxy in spec.network.ingressFrom",
        named.join(", ")
    );
    Some(finding(CLIENT_ADDRESSES_KNOWN, Some(false), reason::UNTRUSTED_FORWARDING, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_config::{LoadedRevision, Revision};

    fn server(networks: &[&str]) -> (String, Report) {
        let report = LoadedRevision {
            revision: Revision::of(b"", b"", b"", b""),
            version: "1".to_owned(),
            rejected: None,
            untrusted_forwarders: networks.iter().map(|network| network.parse().unwrap()).collect(),
        };
        ("a".to_owned(), Ok(report))
    }

    #[test]
    fn proxies_that_are_not_trusted_are_named_once() {
        assert_eq!(client_addresses_known(&[]), None);
        assert_eq!(client_addresses_known(&[("a".to_owned(), Err("away".to_owned()))]), None);
        let known = client_addresses_known(&[server(&[])]).unwrap();
        assert_eq!((known.holds, known.reason), (Some(true), reason::NO_UNTRUSTED_FORWARDING));
        let unknown =
            client_addresses_known(&[server(&["10.42.0.7/32"]), server(&["10.42.0.7/32", "fd00::7/128"])]).unwrap();
        assert_eq!((unknown.holds, unknown.reason), (Some(false), reason::UNTRUSTED_FORWARDING));
        assert!(unknown.message.contains("come from 10.42.0.7/32, fd00::7/128, which"), "{}", unknown.message);
    }
}
