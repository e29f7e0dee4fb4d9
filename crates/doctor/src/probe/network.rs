//! Addresses and connections.

use crate::observation::{ConnectFailure, ConnectionAttempt};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use tokio::{net::TcpStream, task::JoinSet, time::timeout};

/// The timeout for resolving a name.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// The timeout of a connection attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The most addresses that are tried.
const MAX_ADDRESSES: usize = 16;

/// The addresses of a host, without duplicates, or why there are none.
pub(super) async fn lookup(host: &str) -> Result<Vec<IpAddr>, String> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let resolved = timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((host, 0))).await;
    let resolved = resolved.map_err(|_| "the name server did not answer in time".to_owned())?;
    let mut addresses = Vec::new();
    for address in resolved.map_err(|error| error.to_string())? {
        if !addresses.contains(&address.ip()) && addresses.len() < MAX_ADDRESSES {
            addresses.push(address.ip());
        }
    }
    if addresses.is_empty() { Err("the name has no address".to_owned()) } else { Ok(addresses) }
}

/// Connects to each address at the same time, and closes the connections. The order is that of the addresses.
pub(super) async fn connect(addresses: &[IpAddr], port: u16) -> Vec<ConnectionAttempt> {
    let mut attempts = JoinSet::new();
    for (position, address) in addresses.iter().enumerate() {
        let address = SocketAddr::new(*address, port);
        attempts.spawn(async move {
            let failure = match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(_)) => None,
                Ok(Err(error)) => Some(failure(&error)),
                Err(_) => Some(ConnectFailure::Timeout),
            };
            (position, ConnectionAttempt { address, failure })
        });
    }
    let mut attempts = attempts.join_all().await;
    attempts.sort_unstable_by_key(|(position, _)| *position);
    attempts.into_iter().map(|(_, attempt)| attempt).collect()
}

fn failure(error: &io::Error) -> ConnectFailure {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ConnectFailure::Refused,
        io::ErrorKind::TimedOut => ConnectFailure::Timeout,
        _ => ConnectFailure::Other(error.to_string()),
    }
}
