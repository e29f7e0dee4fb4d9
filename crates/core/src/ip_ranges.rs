//! The addresses of the public internet, by the registries of special-purpose addresses (RFC 6890 and its successors)
//! and by other addresses that clouds use. Both outbound requests and the egress of workspaces follow these tables.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The IPv4 address space.
pub const SPACE_V4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0);
/// The global unicast space of IPv6, the only public one. Outside of it are unspecified, loopback, IPv4-mapped and
/// IPv4-compatible, NAT64, discard, segment routing, unique local, link-local, site-local and multicast addresses.
pub const SPACE_V6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// The special-purpose networks within [`SPACE_V4`].
const SPECIAL_V4: [Ipv4Net; 19] = [
    v4([0, 0, 0, 0], 8),        // this network (RFC 791)
    v4([10, 0, 0, 0], 8),       // private (RFC 1918)
    v4([100, 64, 0, 0], 10),    // carrier-grade NAT (RFC 6598); Alibaba's metadata are there too
    v4([127, 0, 0, 0], 8),      // loopback (RFC 1122)
    v4([168, 63, 129, 16], 32), // Azure's own service, which only its machines reach
    v4([169, 254, 0, 0], 16),   // link-local (RFC 3927): cloud metadata
    v4([172, 16, 0, 0], 12),    // private
    v4([192, 0, 0, 0], 24),     // protocol assignments (RFC 6890); Oracle's metadata
    v4([192, 0, 2, 0], 24),     // documentation (RFC 5737)
    v4([192, 31, 196, 0], 24),  // AS112 (RFC 7535)
    v4([192, 52, 193, 0], 24),  // AMT (RFC 7450)
    v4([192, 88, 99, 0], 24),   // 6to4 relays, given up (RFC 7526)
    v4([192, 168, 0, 0], 16),   // private
    v4([192, 175, 48, 0], 24),  // AS112 (RFC 7534)
    v4([198, 18, 0, 0], 15),    // benchmarking (RFC 2544)
    v4([198, 51, 100, 0], 24),  // documentation
    v4([203, 0, 113, 0], 24),   // documentation
    v4([224, 0, 0, 0], 4),      // multicast (RFC 5771)
    v4([240, 0, 0, 0], 4),      // reserved (RFC 1112), and broadcast
];

/// The special-purpose networks within [`SPACE_V6`].
const SPECIAL_V6: [Ipv6Net; 6] = [
    v6([0x2001, 0, 0], 23),         // protocol assignments (RFC 2928): Teredo, ORCHID, …
    v6([0x2001, 0xdb8, 0], 32),     // documentation (RFC 3849)
    v6([0x2002, 0, 0], 16),         // 6to4 (RFC 3056): an IPv4 address in disguise
    v6([0x2620, 0x4f, 0x8000], 48), // AS112 (RFC 7534)
    v6([0x3ffe, 0, 0], 16),         // 6bone, given back (RFC 3701)
    v6([0x3fff, 0, 0], 20),         // documentation (RFC 9637)
];

const fn v4([a, b, c, d]: [u8; 4], length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6([a, b, c]: [u16; 3], length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), length)
}

/// Whether an address belongs to the public internet: not a loopback, private or special-purpose address, and not an
/// IPv4 address within an IPv6 address.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !SPECIAL_V4.iter().any(|network| network.contains(&address)),
        IpAddr::V6(address) => {
            SPACE_V6.contains(&address) && !SPECIAL_V6.iter().any(|network| network.contains(&address))
        }
    }
}

/// The IPv4 and IPv6 spaces, each with its networks that are not public.
#[must_use]
pub fn spaces() -> [(IpNet, Vec<IpNet>); 2] {
    [
        (SPACE_V4.into(), SPECIAL_V4.into_iter().map(IpNet::from).collect()),
        (SPACE_V6.into(), SPECIAL_V6.into_iter().map(IpNet::from).collect()),
    ]
}

/// The unit of limits for each client: an IPv4 address, or an IPv6 /64, since a host can use every address of its
/// network. An IPv4-mapped address counts as its IPv4 address.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        address @ IpAddr::V4(_) => address,
    }
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

    proptest! {
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
