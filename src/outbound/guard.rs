//! What a server may reach when somebody who is not trusted names the place (server-side request forgery): hosts by
//! name, over https, at public addresses.
//!
//! Two checks, both pure. [`admit`] holds a URL against the rules that need no network; [`is_public`] holds every
//! address that its host has against the registries of special-purpose addresses (RFC 6890 and its successors). Who
//! connects must connect to an address that was checked, and must not look the name up a second time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use url::{Host, Url};

/// The most characters of a URL that is fetched.
const MAX_URL: usize = 2048;

/// Names that are never public (RFC 6761, RFC 6762, RFC 8375, RFC 9476, ICANN's `internal`, and the Services of a
/// cluster as its own resolver completes them).
const PRIVATE_SUFFIXES: [&str; 10] =
    ["localhost", "local", "internal", "localdomain", "home.arpa", "onion", "alt", "test", "invalid", "svc"];

/// Why a URL is not fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No URL at all, or one that is too long.
    #[error("it is no URL of at most 2048 characters")]
    Malformed,
    /// Another scheme than https.
    #[error("it must begin with https://")]
    Scheme,
    /// Another port than 443.
    #[error("it must not name a port; documents are fetched from port 443 only")]
    Port,
    /// With a user name or password.
    #[error("it must have no user information")]
    UserInformation,
    /// With a fragment.
    #[error("it must have no fragment")]
    Fragment,
    /// An address instead of a name.
    #[error("its host must be a name, not an address")]
    Address,
    /// A name that cannot be public.
    #[error("its host must be the full name of a public host")]
    Name,
}

/// Reads a URL that may be fetched.
pub fn admit(text: &str) -> Result<Url, Refused> {
    if text.len() > MAX_URL {
        return Err(Refused::Malformed);
    }
    let url = Url::parse(text).map_err(|_| Refused::Malformed)?;
    if url.scheme() != "https" {
        return Err(Refused::Scheme);
    }
    // The parser has turned every spelling of an address, such as `0x7f.1` and `2130706433`, into an address.
    let Some(Host::Domain(host)) = url.host() else { return Err(Refused::Address) };
    if !is_public_name(host) {
        return Err(Refused::Name);
    }
    // It has left out `:443` too.
    if url.port().is_some() {
        return Err(Refused::Port);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refused::UserInformation);
    }
    if url.fragment().is_some() {
        return Err(Refused::Fragment);
    }
    Ok(url)
}

fn is_public_name(host: &str) -> bool {
    // With a dot at the end it would be another name to compare, and the same to look up.
    let dotted = host.contains('.') && !host.ends_with('.');
    let under = |suffix: &str| host.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    dotted && !PRIVATE_SUFFIXES.into_iter().any(under)
}

/// Whether an address belongs to the public internet: not to this machine, not to a private network, not to a
/// registry's special purpose, and not to one of those in an IPv6 disguise.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// The special-purpose addresses of IPv4, as network and prefix length (IANA's registry, and what clouds use besides).
const SPECIAL_V4: [(Ipv4Addr, u32); 17] = [
    (Ipv4Addr::UNSPECIFIED, 8),            // this network (RFC 791)
    (Ipv4Addr::new(10, 0, 0, 0), 8),       // private (RFC 1918)
    (Ipv4Addr::new(100, 64, 0, 0), 10),    // carrier-grade NAT (RFC 6598); Alibaba's metadata are there too
    (Ipv4Addr::new(127, 0, 0, 0), 8),      // loopback (RFC 1122)
    (Ipv4Addr::new(168, 63, 129, 16), 32), // Azure's own service, which only its machines reach
    (Ipv4Addr::new(169, 254, 0, 0), 16),   // link-local (RFC 3927): cloud metadata
    (Ipv4Addr::new(172, 16, 0, 0), 12),    // private
    (Ipv4Addr::new(192, 0, 0, 0), 24),     // protocol assignments (RFC 6890); Oracle's metadata
    (Ipv4Addr::new(192, 0, 2, 0), 24),     // documentation (RFC 5737)
    (Ipv4Addr::new(192, 31, 196, 0), 24),  // AS112 (RFC 7535)
    (Ipv4Addr::new(192, 52, 193, 0), 24),  // AMT (RFC 7450)
    (Ipv4Addr::new(192, 88, 99, 0), 24),   // 6to4 relays, given up (RFC 7526)
    (Ipv4Addr::new(192, 168, 0, 0), 16),   // private
    (Ipv4Addr::new(192, 175, 48, 0), 24),  // AS112 (RFC 7534)
    (Ipv4Addr::new(198, 18, 0, 0), 15),    // benchmarking (RFC 2544)
    (Ipv4Addr::new(198, 51, 100, 0), 24),  // documentation
    (Ipv4Addr::new(203, 0, 113, 0), 24),   // documentation
];

fn is_public_v4(address: Ipv4Addr) -> bool {
    let within = |(network, length): &(Ipv4Addr, u32)| {
        (address.to_bits() ^ network.to_bits()).checked_shr(32 - length).unwrap_or(0) == 0
    };
    // Above 224.0.0.0 are multicast (RFC 5771), what is reserved (RFC 1112), and broadcast.
    address.octets()[0] < 224 && !SPECIAL_V4.iter().any(within)
}

/// The parts of `2000::/3`, the only public space of IPv6, that are for special purposes.
const SPECIAL_V6: [(Ipv6Addr, u32); 6] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23), // protocol assignments (RFC 2928): Teredo, ORCHID, …
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32), // documentation (RFC 3849)
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // 6to4 (RFC 3056): an IPv4 address in disguise
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48), // AS112 (RFC 7534)
    (Ipv6Addr::new(0x3ffe, 0, 0, 0, 0, 0, 0, 0), 16), // 6bone, given back (RFC 3701)
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20), // documentation (RFC 9637)
];

fn is_public_v6(address: Ipv6Addr) -> bool {
    let within = |(network, length): &(Ipv6Addr, u32)| {
        (address.to_bits() ^ network.to_bits()).checked_shr(128 - length).unwrap_or(0) == 0
    };
    // Outside of 2000::/3 are unspecified, loopback, mapped and compatible IPv4, NAT64, discard, segment routing, unique
    // local, link-local, site-local and multicast addresses.
    address.segments()[0] & 0xe000 == 0x2000 && !SPECIAL_V6.iter().any(within)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        let rows: [(&str, &[&str], bool); 27] = [
            (
                "public",
                &["1.1.1.1", "8.8.8.8", "160.79.104.10", "223.255.255.255", "192.0.1.1", "198.17.255.255"],
                true,
            ),
            (
                "next to private",
                &["9.255.255.255", "11.0.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255"],
                true,
            ),
            ("next to CGNAT", &["100.63.255.255", "100.128.0.0"], true),
            ("public, IPv6", &["2606:4700::1111", "2607:6bc0::10", "2a00:1450:4001::1", "2001:200::1"], true),
            ("private", &["10.0.0.0", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1"], false),
            ("loopback", &["127.0.0.1", "127.255.255.255", "::1"], false),
            ("unspecified, and this network", &["0.0.0.0", "0.1.2.3", "::"], false),
            ("link-local", &["169.254.0.1", "fe80::1", "febf::1"], false),
            ("CGNAT", &["100.64.0.1", "100.127.255.255"], false),
            ("protocol assignments", &["192.0.0.1", "192.0.0.170", "2001:1::1", "2001:20::1"], false),
            ("benchmarking", &["198.18.0.1", "198.19.255.255", "2001:2::1"], false),
            ("documentation", &["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff:0fff::1"], false),
            ("multicast", &["224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"], false),
            ("reserved, and broadcast", &["240.0.0.1", "255.255.255.255"], false),
            ("6to4 relays", &["192.88.99.1"], false),
            ("AS112 and AMT", &["192.31.196.1", "192.52.193.1", "192.175.48.1", "2620:4f:8000::1"], false),
            ("unique local", &["fc00::1", "fd12:3456::1"], false),
            ("site-local", &["fec0::1"], false),
            ("IPv4-mapped", &["::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:8.8.8.8"], false),
            ("IPv4-compatible", &["::127.0.0.1", "::8.8.8.8"], false),
            ("NAT64", &["64:ff9b::10.0.0.1", "64:ff9b::8.8.8.8"], false),
            ("local NAT64", &["64:ff9b:1::1", "64:ff9b:1:ffff::a9fe:a9fe"], false),
            ("6to4", &["2002:7f00:1::1", "2002:a00:1::1", "2002:808:808::1"], false),
            ("Teredo", &["2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001::1"], false),
            ("discard, and segment routing", &["100::1", "5f00::1"], false),
            ("metadata of clouds", &["169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192"], false),
            (
                "metadata of clouds, rarer",
                &["168.63.129.16", "fd00:ec2::254", "fd20:ce::254", "fe80::a9fe:a9fe"],
                false,
            ),
        ];
        for (what, addresses, public) in rows {
            for address in addresses {
                assert_eq!(is_public(address.parse().unwrap()), public, "{what}: {address}");
            }
        }
    }

    #[test]
    fn urls_are_admitted_by_what_they_say() {
        use Refused::{Address, Fragment, Malformed, Name, Port, Scheme, UserInformation};
        for (text, expected) in [
            ("https://claude.ai/oauth/client.json", None),
            ("https://CLAUDE.ai:443/oauth/client.json?v=2", None),
            ("https://xn--mnchen-3ya.example.com/client", None),
            ("http://claude.ai/client", Some(Scheme)),
            ("ftp://claude.ai/client", Some(Scheme)),
            ("file:///etc/passwd", Some(Scheme)),
            ("gopher://claude.ai/", Some(Scheme)),
            ("//claude.ai/client", Some(Malformed)),
            ("https://", Some(Malformed)),
            ("https://claude.ai:8443/client", Some(Port)),
            ("https://claude.ai:6443/", Some(Port)),
            ("https://user@claude.ai/", Some(UserInformation)),
            ("https://claude.ai@evil.example.com/", Some(UserInformation)),
            ("https://:x@claude.ai/", Some(UserInformation)),
            ("https://claude.ai/#a", Some(Fragment)),
            ("https://127.0.0.1/", Some(Address)),
            ("https://127.1/", Some(Address)),
            ("https://2130706433/", Some(Address)),
            ("https://0x7f000001/", Some(Address)),
            ("https://0x7f.1/", Some(Address)),
            ("https://0177.0.0.1/", Some(Address)),
            ("https://017700000001/", Some(Address)),
            ("https://8.8.8.8/", Some(Address)),
            ("https://127.0.0.1./", Some(Address)),
            ("https://①②⑦.⓪.⓪.①/", Some(Address)),
            ("https://127。0。0。1/", Some(Address)),
            ("https://%31%32%37.0.0.1/", Some(Address)),
            ("https://[::1]/", Some(Address)),
            ("https://[::ffff:127.0.0.1]/", Some(Address)),
            ("https://[2606:4700::1111]/", Some(Address)),
            ("https://[fe80::1%25eth0]/", Some(Malformed)),
            ("https://999.1.1.1/", Some(Malformed)),
            ("https://localhost/", Some(Name)),
            ("https://kubernetes/", Some(Name)),
            ("https://claude.ai./", Some(Name)),
            ("https://a.localhost/", Some(Name)),
            ("https://kubernetes.default.svc.cluster.local/", Some(Name)),
            ("https://kubernetes.default.svc/", Some(Name)),
            ("https://metadata.google.internal/", Some(Name)),
            ("https://printer.local/", Some(Name)),
            ("https://router.home.arpa/", Some(Name)),
            ("https://notlocal.example.com/", None),
            ("https://mylocal.ai/", None),
        ] {
            assert_eq!(admit(text).err(), expected, "{text}");
        }
        let long = format!("https://claude.ai/{}", "a".repeat(MAX_URL));
        assert_eq!(admit(&long).err(), Some(Malformed));
    }

    proptest! {
        #[test]
        fn whatever_is_admitted_is_a_name_at_the_usual_port(
            text in "\\PC{0,60}|https://[a-z0-9.@:\\[\\]%x\\\\/#?-]{0,40}|https://(0x[0-9a-f]{1,8}|[0-9]{1,10}|[0-9.]{3,15})/"
        ) {
            if let Ok(url) = admit(&text) {
                prop_assert_eq!((url.scheme(), url.port(), url.username(), url.password()), ("https", None, "", None));
                prop_assert!(matches!(url.host(), Some(Host::Domain(host)) if host.contains('.')));
            }
        }

        #[test]
        fn no_disguise_makes_an_address_public(address in any::<Ipv4Addr>()) {
            let [a, b, c, d] = address.octets();
            let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            for disguise in [address.to_ipv6_mapped(), Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low)] {
                prop_assert!(is_public(IpAddr::V4(address)) || !is_public(IpAddr::V6(disguise)), "{}", disguise);
            }
        }
    }
}
