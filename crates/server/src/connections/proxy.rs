//! The PROXY protocol, versions 1 and 2 (<https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>): the client's
//! address from a layer-4 proxy. No byte after the header is read, since TLS follows.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// The signature of version 2.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The maximum length of a version 1 header, with its line end.
const LONGEST_LINE: usize = 107;
/// The maximum length of the addresses and extensions of version 2; proxies send a few hundred bytes at most.
const LONGEST_BINARY: usize = 4096;

/// Why a connection has no usable header.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    /// The connection ended, or could not be read.
    #[error("the connection ended within the header of the PROXY protocol")]
    Read(#[from] io::Error),
    /// The connection does not begin with a header.
    #[error("the connection does not begin with a header of the PROXY protocol")]
    Missing,
    /// The header is malformed.
    #[error("the header of the PROXY protocol is malformed")]
    Malformed,
}

/// Reads the header. `None` if it is a connection of the proxy itself (LOCAL), or the address is unknown.
pub(super) async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<SocketAddr>, ProxyError> {
    // The length of the shortest header.
    let mut begin = [0; SIGNATURE.len()];
    stream.read_exact(&mut begin).await?;
    if begin == SIGNATURE {
        let (kind, length) = (stream.read_u16().await?, usize::from(stream.read_u16().await?));
        if length > LONGEST_BINARY {
            return Err(ProxyError::Malformed);
        }
        let mut content = vec![0; length];
        stream.read_exact(&mut content).await?;
        return binary(kind.to_be_bytes(), &content);
    }
    if !begin.starts_with(b"PROXY ") {
        return Err(ProxyError::Missing);
    }
    let mut text = begin.to_vec();
    while !text.ends_with(b"\n") {
        if text.len() == LONGEST_LINE {
            return Err(ProxyError::Malformed);
        }
        text.push(stream.read_u8().await?);
    }
    line(&text)
}

/// Parses version 1: `PROXY TCP4 198.51.100.1 192.0.2.1 4711 443`, and a line end.
fn line(text: &[u8]) -> Result<Option<SocketAddr>, ProxyError> {
    let text = std::str::from_utf8(text).ok().and_then(|text| text.strip_prefix("PROXY ")?.strip_suffix("\r\n"));
    let parts: Vec<&str> = text.unwrap_or_default().split(' ').collect();
    let named = match *parts.as_slice() {
        ["UNKNOWN", ..] => return Ok(None),
        ["TCP4", from, to, port, to_port] => addresses::<Ipv4Addr>(from, to, port, to_port),
        ["TCP6", from, to, port, to_port] => addresses::<Ipv6Addr>(from, to, port, to_port),
        _ => None,
    };
    named.map(Some).ok_or(ProxyError::Malformed)
}

fn addresses<A: FromStr + Into<IpAddr>>(from: &str, to: &str, port: &str, to_port: &str) -> Option<SocketAddr> {
    let _: (A, u16) = (to.parse().ok()?, number(to_port)?);
    Some(SocketAddr::new(from.parse::<A>().ok()?.into(), number(port)?))
}

/// Parses a number of digits only; `parse` alone would accept a sign.
fn number(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Parses version 2: version and command, family and transport; then the addresses, then extensions.
fn binary([command, family]: [u8; 2], content: &[u8]) -> Result<Option<SocketAddr>, ProxyError> {
    let named = match (command, family) {
        (0x21, 0x11) => v4(content),
        (0x21, 0x21) => v6(content),
        // LOCAL, or an address that is not TCP over IP: unspecified, UDP, Unix sockets.
        (0x20, _) | (0x21, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => return Ok(None),
        _ => None,
    };
    named.map(Some).ok_or(ProxyError::Malformed)
}

/// The client's address: the first of two addresses, and the first of the two ports after them.
fn v4(content: &[u8]) -> Option<SocketAddr> {
    let (from, port) = (content.first_chunk::<4>()?, content.get(8..12)?.first_chunk::<2>()?);
    Some(SocketAddr::new(Ipv4Addr::from(*from).into(), u16::from_be_bytes(*port)))
}

fn v6(content: &[u8]) -> Option<SocketAddr> {
    let (from, port) = (content.first_chunk::<16>()?, content.get(32..36)?.first_chunk::<2>()?);
    Some(SocketAddr::new(Ipv6Addr::from(*from).into(), u16::from_be_bytes(*port)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The result of a read from `bytes`, and the rest of the bytes.
    fn parse(bytes: &[u8]) -> (Result<Option<SocketAddr>, ProxyError>, &[u8]) {
        let mut rest = bytes;
        let read = futures::executor::block_on(read(&mut rest));
        (read, rest)
    }

    fn version_2(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&SIGNATURE, &[command, family][..], &length, content].concat()
    }

    #[test]
    fn the_client_is_the_one_that_the_proxy_names() {
        let v4 = [198, 51, 100, 1, 192, 0, 2, 1, 0x12, 0x67, 1, 187];
        let v6 = [&[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5][..], &[0; 16], &[1, 187, 1, 187]].concat();
        for (header, expected) in [
            (b"PROXY TCP4 198.51.100.1 192.0.2.1 4711 443\r\n".to_vec(), Some("198.51.100.1:4711")),
            (b"PROXY TCP6 2001:db8::5 2001:db8::1 443 443\r\n".to_vec(), Some("[2001:db8::5]:443")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec(), None),
            (version_2(0x21, 0x11, &v4), Some("198.51.100.1:4711")),
            (version_2(0x21, 0x11, &[&v4[..], &[4, 0, 1, 0]].concat()), Some("198.51.100.1:4711")),
            (version_2(0x21, 0x21, &v6), Some("[2001:db8::5]:443")),
            (version_2(0x20, 0x11, &v4), None),
            (version_2(0x20, 0x00, &[]), None),
            (version_2(0x21, 0x00, &[]), None),
            (version_2(0x21, 0x31, &[0; 216]), None),
        ] {
            let bytes = [&header[..], b"what follows"].concat();
            let (read, rest) = parse(&bytes);
            assert_eq!(read.unwrap(), expected.map(|text| text.parse().unwrap()), "{header:?}");
            assert_eq!(rest, b"what follows", "{header:?}");
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        for header in [
            b"".as_slice(),
            b"GET / HTTP/1.1\r\n\r\n",
            b"proxy TCP4 198.51.100.1 192.0.2.1 4711 443\r\n",
            b"PROXY TCP4 198.51.100.1 192.0.2.1 4711 443\n",
            b"PROXY TCP4 198.51.100.1 192.0.2.1 4711 443",
            b"PROXY TCP4 198.51.100.1 192.0.2.1 4711\r\n",
            b"PROXY TCP4 198.51.100.1 192.0.2.1 4711 443 5\r\n",
            b"PROXY TCP4  198.51.100.1 192.0.2.1 4711 443\r\n",
            b"PROXY TCP4 2001:db8::5 2001:db8::1 4711 443\r\n",
            b"PROXY TCP6 198.51.100.1 192.0.2.1 4711 443\r\n",
            b"PROXY TCP4 198.51.100.1 192.0.2.1 +471 443\r\n",
            b"PROXY TCP4 198.51.100.1 192.0.2.1 65536 443\r\n",
            b"PROXY TCP4 198.51.100.256 192.0.2.1 4711 443\r\n",
            b"PROXY UDP4 198.51.100.1 192.0.2.1 4711 443\r\n",
            b"PROXY TCP4 \xff 192.0.2.1 4711 443\r\n",
            long.as_bytes(),
            &version_2(0x21, 0x11, &[198, 51, 100, 1]),
            &version_2(0x21, 0x21, &[0; 35]),
            &version_2(0x11, 0x11, &[0; 12]),
            &version_2(0x22, 0x11, &[0; 12]),
            &version_2(0x21, 0x41, &[0; 12]),
            &version_2(0x20, 0x11, &[0; LONGEST_BINARY + 1]),
            &SIGNATURE,
        ] {
            assert!(parse(header).0.is_err(), "{}", header.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn whatever_a_connection_begins_with_nothing_panics_and_no_more_than_a_header_is_read(
            tail in prop::collection::vec(any::<u8>(), 0..300),
            begin in prop_oneof![Just(&b""[..]), Just(&b"PROXY TCP4 1.1.1.1 "[..]), Just(&SIGNATURE[..])],
        ) {
            let bytes = [begin, &tail].concat();
            let (read, rest) = parse(&bytes);
            if read.is_ok() {
                let header = &bytes[..bytes.len() - rest.len()];
                prop_assert!(header.starts_with(&SIGNATURE) || (header.starts_with(b"PROXY ") && header.ends_with(b"\r\n")));
            }
        }
    }
}
