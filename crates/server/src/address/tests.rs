use crate::address::*;
use http::HeaderValue;
use proptest::prelude::*;

const PEER: &str = "203.0.113.9";
const PROXY: &str = "10.0.0.1";

fn headers(lines: &[(&str, &[u8])]) -> HeaderMap {
    let line = |(name, value): &(&str, &[u8])| {
        (HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value).unwrap())
    };
    lines.iter().map(line).collect()
}

fn trusted() -> Vec<IpNet> {
    ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap()).into()
}

fn client_of(peer: &str, lines: &[(&str, &[u8])], trusted: &[IpNet]) -> Option<IpAddr> {
    Origin::of(peer.parse().unwrap(), &headers(lines), trusted).client
}

/// Headers that an attacker or a misconfigured proxy could send, and the resulting client.
#[test]
fn header_tricks() {
    const XFF: &str = "X-Forwarded-For";
    const FWD: &str = "Forwarded";
    type Row<'a> = (&'a str, &'a [(&'a str, &'a [u8])], Option<&'a str>);
    let long = [&b"1.1.1.1,".repeat(5000)[..], b"198.51.100.1"].concat();
    let long_element = [&b"for=\""[..], &b"x".repeat(30_000), b"\", for=198.51.100.1"].concat();
    let rows: &[Row<'_>] = &[
        // An untrusted peer can send any header.
        (PEER, &[], Some(PEER)),
        (PEER, &[(XFF, b"198.51.100.1")], Some(PEER)),
        (PEER, &[(XFF, b"10.0.0.1")], Some(PEER)),
        (PEER, &[(FWD, b"for=198.51.100.1")], Some(PEER)),
        (PEER, &[(XFF, b"198.51.100.1"), (FWD, b"for=198.51.100.1")], Some(PEER)),
        (PEER, &[(XFF, b"junk"), (FWD, b"junk")], Some(PEER)),
        // No header, or other headers with addresses.
        (PROXY, &[], Some(PROXY)),
        (PROXY, &[("X-Real-IP", b"198.51.100.1")], Some(PROXY)),
        (PROXY, &[("True-Client-IP", b"198.51.100.1"), ("CF-Connecting-IP", b"198.51.100.1")], Some(PROXY)),
        (PROXY, &[("X-Client-IP", b"198.51.100.1"), ("X-Cluster-Client-IP", b"198.51.100.1")], Some(PROXY)),
        (PROXY, &[("X-Real-IP", b"198.51.100.2"), (XFF, b"198.51.100.1")], Some("198.51.100.1")),
        // X-Forwarded-For: the right-most address that is not a proxy.
        (PROXY, &[(XFF, b"198.51.100.1")], Some("198.51.100.1")),
        (PROXY, &[("x-FORWARDED-for", b"198.51.100.1")], Some("198.51.100.1")),
        (PROXY, &[(XFF, b"1.1.1.1, 198.51.100.1")], Some("198.51.100.1")),
        (PROXY, &[(XFF, b"1.1.1.1, 198.51.100.1,10.2.3.4")], Some("198.51.100.1")),
        (PROXY, &[(XFF, b"1.1.1.1"), (XFF, b"198.51.100.1, 10.2.3.4")], Some("198.51.100.1")),
        (PROXY, &[(XFF, b"198.51.100.1"), (XFF, b"10.2.3.4"), (XFF, b"10.2.3.5")], Some("198.51.100.1")),
        (PROXY, &[(XFF, b"10.9.9.9, 198.51.100.1")], Some("198.51.100.1")),
        (PROXY, &[(XFF, b"10.0.0.7")], Some("10.0.0.7")),
        (PROXY, &[(XFF, b"junk, 198.51.100.1")], Some("198.51.100.1")),
        (PROXY, &[(XFF, b"\xff\xfe"), (XFF, b"198.51.100.1")], Some("198.51.100.1")),
        (PROXY, &[(XFF, &long)], Some("198.51.100.1")),
        // X-Forwarded-For with an invalid address.
        (PROXY, &[(XFF, b"unknown")], None),
        (PROXY, &[(XFF, b"")], None),
        (PROXY, &[(XFF, b"198.51.100.1"), (XFF, b"")], None),
        (PROXY, &[(XFF, b"1.1.1.1, ")], None),
        (PROXY, &[(XFF, b",,,")], None),
        (PROXY, &[(XFF, b"198.51.100.1 198.51.100.2")], None),
        (PROXY, &[(XFF, b"198.51.100.1;")], None),
        (PROXY, &[(XFF, b"\"198.51.100.1\"")], None),
        (PROXY, &[(XFF, b"localhost")], None),
        (PROXY, &[(XFF, b"198.51.100.256")], None),
        (PROXY, &[(XFF, b"198.51.100.01")], None),
        (PROXY, &[(XFF, b"3325256705")], None),
        (PROXY, &[(XFF, b"0xc6336401")], None),
        (PROXY, &[(XFF, b"198.51.100.1/32")], None),
        (PROXY, &[(XFF, b"198.51.100.1\xa0")], None),
        (PROXY, &[(XFF, "１９８.51.100.1".as_bytes())], None),
        // White space, ports, IPv6.
        (PROXY, &[(XFF, b" \t 198.51.100.1 \t ")], Some("198.51.100.1")),
        (PROXY, &[(XFF, b"198.51.100.1:4711")], Some("198.51.100.1")),
        (PROXY, &[(XFF, b"198.51.100.1:")], None),
        (PROXY, &[(XFF, b"198.51.100.1:port")], None),
        (PROXY, &[(XFF, b"198.51.100.1:1:2")], None),
        (PROXY, &[(XFF, b"2001:db8::5")], Some("2001:db8::5")),
        (PROXY, &[(XFF, b"[2001:db8::5]")], Some("2001:db8::5")),
        (PROXY, &[(XFF, b"[2001:db8::5]:443")], Some("2001:db8::5")),
        (PROXY, &[(XFF, b"[2001:db8::5")], None),
        (PROXY, &[(XFF, b"[2001:db8::5]443")], None),
        (PROXY, &[(XFF, b"[198.51.100.1]")], None),
        (PROXY, &[(XFF, b"fe80::1%eth0")], None),
        (PROXY, &[(XFF, b"::ffff:198.51.100.1")], Some("198.51.100.1")),
        (PROXY, &[(XFF, b"198.51.100.1, ::ffff:10.2.3.4")], Some("198.51.100.1")),
        ("::ffff:10.0.0.1", &[(XFF, b"::ffff:198.51.100.1")], Some("198.51.100.1")),
        ("::ffff:203.0.113.9", &[(XFF, b"198.51.100.1")], Some(PEER)),
        ("fd00::1", &[(XFF, b"2001:db8::5, fd00::2")], Some("2001:db8::5")),
        // Forwarded: the same.
        (PROXY, &[(FWD, b"for=198.51.100.1")], Some("198.51.100.1")),
        (PROXY, &[(FWD, b"FOR=\"198.51.100.1:4711\";proto=https;by=10.0.0.1")], Some("198.51.100.1")),
        (PROXY, &[(FWD, b"for=\"198.51.100.1:_port\"")], Some("198.51.100.1")),
        (PROXY, &[(FWD, b"for=\"[2001:db8::1]:443\"")], Some("2001:db8::1")),
        (PROXY, &[(FWD, b"for=1.1.1.1, for=198.51.100.1, for=10.2.3.4")], Some("198.51.100.1")),
        (PROXY, &[(FWD, b"for=1.1.1.1"), (FWD, b"for=198.51.100.1")], Some("198.51.100.1")),
        (PROXY, &[(FWD, b"for=\"unclosed"), (FWD, b"for=198.51.100.1")], Some("198.51.100.1")),
        (PROXY, &[(FWD, b"for=\"1.1.1.1, for=2.2.2.2\", for=198.51.100.1")], Some("198.51.100.1")),
        (PROXY, &[(FWD, b"for=\"198.51.\\100.1\"")], Some("198.51.100.1")),
        (PROXY, &[(FWD, &long_element)], Some("198.51.100.1")),
        (PROXY, &[(FWD, b"for=\"unclosed, for=198.51.100.1")], None),
        (PROXY, &[(FWD, b"for=unknown")], None),
        (PROXY, &[(FWD, b"for=198.51.100.1, for=unknown")], None),
        (PROXY, &[(FWD, b"for=_hidden")], None),
        (PROXY, &[(FWD, b"for=198.51.100.1, proto=https")], None),
        (PROXY, &[(FWD, b"by=198.51.100.1")], None),
        (PROXY, &[(FWD, b"for=198.51.100.1;for=198.51.100.2")], None),
        (PROXY, &[(FWD, b"for=198.51.100.1, ")], None),
        (PROXY, &[(FWD, b"198.51.100.1")], None),
        (PROXY, &[(FWD, b"")], None),
        (PROXY, &[(FWD, b"for=198.51.100.1\xff")], None),
        // Both: one of them comes from the client, and it is unknown which one.
        (PROXY, &[(XFF, b"198.51.100.1"), (FWD, b"for=198.51.100.1;proto=https")], Some("198.51.100.1")),
        (PROXY, &[(XFF, b"198.51.100.1, 10.2.3.4"), (FWD, b"for=198.51.100.1")], Some("198.51.100.1")),
        (PROXY, &[(XFF, b"198.51.100.1"), (FWD, b"for=198.51.100.2")], None),
        (PROXY, &[(XFF, b"198.51.100.2"), (FWD, b"for=198.51.100.1")], None),
        (PROXY, &[(XFF, b"198.51.100.1"), (FWD, b"for=unknown")], None),
        (PROXY, &[(XFF, b""), (FWD, b"for=198.51.100.1")], None),
        (PROXY, &[(XFF, b"198.51.100.1"), (FWD, b"")], None),
        (PROXY, &[(XFF, b"10.0.0.7"), (FWD, b"for=10.0.0.8")], None),
    ];
    assert!(rows.len() >= 40);
    for (peer, lines, expected) in rows {
        let expected = expected.map(|address| address.parse::<IpAddr>().unwrap());
        let shown: Vec<_> =
            lines.iter().map(|(name, value)| format!("{name}: {:.80}", value.escape_ascii().to_string())).collect();
        assert_eq!(client_of(peer, lines, &trusted()), expected, "{peer} {shown:?}");
    }
}

#[test]
fn without_trusted_proxies_only_the_peer_counts() {
    for lines in [&[("X-Forwarded-For", &b"198.51.100.1"[..])][..], &[("Forwarded", b"for=198.51.100.1")]] {
        assert_eq!(client_of(PROXY, lines, &[]), Some(PROXY.parse().unwrap()));
    }
}

#[test]
fn a_plain_hop_is_one_that_a_trusted_proxy_tells_of() {
    for (lines, plain) in [
        (&[][..], false),
        (&[("X-Forwarded-Proto", &b"https"[..])], false),
        (&[("X-Forwarded-Proto", b"http")], true),
        (&[("X-Forwarded-Proto", b" HTTP ")], true),
        (&[("X-Forwarded-Proto", b"https, http")], false),
        (&[("X-Forwarded-Proto", b"http, https")], true),
        (&[("X-Forwarded-Proto", b"")], false),
        (&[("X-Forwarded-Proto", b"ws")], false),
        (&[("X-Forwarded-Proto", b"\xff")], false),
        (&[("Forwarded", b"for=198.51.100.1;proto=http")], true),
        (&[("Forwarded", b"for=198.51.100.1;PROTO=\"HTTP\"")], true),
        (&[("Forwarded", b"for=198.51.100.1;proto=https")], false),
        (&[("Forwarded", b"proto=https, proto=http")], false),
        (&[("Forwarded", b"proto=\"http")], false),
        (&[("X-Forwarded-Proto", b"https"), ("Forwarded", b"proto=http")], true),
    ] {
        let of = |peer: &str| Origin::of(peer.parse().unwrap(), &headers(lines), &trusted()).plain;
        assert_eq!(of(PROXY), plain, "{lines:?}");
        assert!(!of(PEER), "{lines:?} of nobody in particular");
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
    assert!(!admitted(from("160.79.112.0"), &listed) && !admitted(from("::1"), &listed) && !admitted(None, &listed));
}

proptest! {
    #[test]
    fn whatever_is_forwarded_only_a_trusted_proxy_is_believed(
        value in prop::collection::vec(any::<u8>(), 0..60),
        standard in "(for|proto|by|,|;|=|\"|\\\\| |[0-9.:\\[\\]]|unknown){0,20}",
        addresses in prop::collection::vec(any::<IpAddr>(), 0..4),
    ) {
        let listed = addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let values = [HeaderValue::from_bytes(&value), HeaderValue::try_from(listed)];
        let mut headers: HeaderMap = values.into_iter().flatten().map(|value| (FORWARDED_FOR, value)).collect();
        let (peer, proxy): (IpAddr, IpAddr) = (PEER.parse().unwrap(), PROXY.parse().unwrap());
        let of = |peer, headers: &HeaderMap| Origin::of(peer, headers, &trusted()).client;
        prop_assert_eq!(of(peer, &headers), Some(peer));
        prop_assert_eq!(Origin::of(proxy, &headers, &[]).client, Some(proxy));
        let conventional = of(proxy, &headers);
        if let (Some(last), Some(found)) = (addresses.last(), conventional) {
            prop_assert!(found == last.to_canonical() || contains(&trusted(), last.to_canonical()));
        }
        headers.append(header::FORWARDED, HeaderValue::try_from(standard).unwrap());
        prop_assert_eq!(of(peer, &headers), Some(peer));
        prop_assert!(of(proxy, &headers).is_none_or(|found| Some(found) == conventional));
    }
}
