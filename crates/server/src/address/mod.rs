//! The address of the client, its transport, and the address rules.
//!
//! Only headers from trusted proxies are used: `X-Forwarded-For`, and `Forwarded` (RFC 7239). They are read from the
//! right, since each proxy appends the address that it sees. A proxy writes one of the two, and passes the other on as
//! received. So if both exist, they must lead to the same client; otherwise the address is unknown.

mod forwarded;
#[cfg(test)]
mod tests;
mod untrusted;

use http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;
use portcullis_config::AccessRules;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
pub(crate) use untrusted::{Sender, Untrusted};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The origin of a request: address and transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The client's address; `None` if trusted proxies send an invalid address, or two different ones.
    pub client: Option<IpAddr>,
    /// Whether a trusted proxy received the request over plain HTTP, by its headers.
    pub plain: bool,
}

impl Origin {
    /// An unknown origin.
    pub(crate) const UNKNOWN: Self = Self { client: None, plain: false };

    /// Determines the origin, by following the hops back from the peer.
    pub(crate) fn of(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        if !is_trusted(peer, trusted) {
            return Self { client: Some(peer.to_canonical()), plain: false };
        }
        let peer = peer.to_canonical();
        Self { client: client(peer, headers, trusted), plain: is_plain(headers) }
    }
}

/// Whether this address may use the endpoint.
pub(crate) fn admitted(client: Option<IpAddr>, rules: &AccessRules) -> bool {
    rules.allowed_cidrs.is_empty() || client.is_some_and(|address| contains(&rules.allowed_cidrs, address))
}

/// Whether the peer of a connection is a trusted proxy.
pub(crate) fn is_trusted(peer: IpAddr, trusted: &[IpNet]) -> bool {
    contains(trusted, peer.to_canonical())
}

fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    let by_convention = || {
        let values = headers.get_all(FORWARDED_FOR).iter().rev();
        let names = values.flat_map(|value| value.to_str().unwrap_or("unreadable").rsplit(','));
        follow(peer, names.map(|name| address(name.trim())), trusted)
    };
    let by_standard = || {
        let values = headers.get_all(header::FORWARDED).iter().rev();
        let hops = values.flat_map(|value| match value.to_str().ok().and_then(forwarded::parse) {
            Some(hops) => hops.into_iter().rev().map(|hop| hop.node.as_deref().and_then(address)).collect(),
            None => vec![None],
        });
        follow(peer, hops, trusted)
    };
    match (headers.contains_key(FORWARDED_FOR), headers.contains_key(header::FORWARDED)) {
        (false, false) => Some(peer),
        (true, false) => by_convention(),
        (false, true) => by_standard(),
        (true, true) => by_convention().filter(|client| by_standard() == Some(*client)),
    }
}

/// The first address from the right that is not a trusted proxy, or else the last one; `None` if a trusted proxy sends
/// an invalid address.
fn follow(peer: IpAddr, named: impl Iterator<Item = Option<IpAddr>>, trusted: &[IpNet]) -> Option<IpAddr> {
    let mut address = peer;
    let mut named = named.fuse();
    while contains(trusted, address) {
        match named.next() {
            Some(next) => address = next?,
            None => break,
        }
    }
    Some(address)
}

/// Parses an address, with or without brackets and port.
fn address(text: &str) -> Option<IpAddr> {
    let (bare, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (inside, port) = rest.split_once(']')?;
            (
                inside.parse::<Ipv6Addr>().ok()?.into(),
                if port.is_empty() { None } else { Some(port.strip_prefix(':')?) },
            )
        }
        None => match text.split_once(':') {
            Some((v4, port)) if !port.contains(':') => (v4.parse::<Ipv4Addr>().ok()?.into(), Some(port)),
            _ => (text.parse::<IpAddr>().ok()?, None),
        },
    };
    port.is_none_or(is_port).then(|| bare.to_canonical())
}

/// Whether the text is a port, or an obfuscated port (RFC 7239 §6.3).
fn is_port(text: &str) -> bool {
    match text.strip_prefix('_') {
        Some(hidden) => {
            !hidden.is_empty() && hidden.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        }
        None => (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// Whether the first hop, that of the client, was plain HTTP by one of the headers.
fn is_plain(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let conventional = text(FORWARDED_PROTO).and_then(|value| value.split(',').next()).map(str::trim);
    let standard = text(header::FORWARDED).and_then(forwarded::parse).and_then(|hops| hops.into_iter().next()?.proto);
    let is_http = |proto: &str| proto.eq_ignore_ascii_case("http");
    conventional.is_some_and(is_http) || standard.as_deref().is_some_and(is_http)
}
