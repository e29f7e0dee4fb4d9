//! The PROXY protocol: who is believed, and what becomes of those who do not speak it.

use crate::serve::stage::{Server, answer_to};
use portcullis_config::ServerConfig;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::net::TcpStream;

const REQUEST: &str = "GET /jwks.json HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";

async fn status(address: SocketAddr, begin: &[u8], request: &str) -> String {
    let bytes = [begin, request.as_bytes()].concat();
    let answer = answer_to(TcpStream::connect(address).await.unwrap(), &bytes).await;
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

/// Version 2, of a connection from this address.
fn version_2(from: Ipv4Addr) -> Vec<u8> {
    let addresses = [from.octets(), [192, 0, 2, 1], [0x12, 0x67, 1, 187]].concat();
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &addresses].concat()
}

fn behind(proxy: &str) -> impl FnOnce(&mut ServerConfig) {
    move |config| {
        config.access.proxy_protocol = true;
        config.access.trusted_proxies = vec![proxy.parse().unwrap()];
        config.access.allowed_cidrs = vec!["198.51.100.0/24".parse().unwrap()];
    }
}

#[tokio::test]
async fn a_proxy_says_from_whom_each_connection_is() {
    let server = Server::with(behind("127.0.0.0/8")).await;
    let named = |address: &str| format!("PROXY TCP4 {address} 192.0.2.1 4711 443\r\n").into_bytes();
    let spoofing = REQUEST.replace("connection", "x-forwarded-for: 198.51.100.7\r\nconnection");
    for (begin, request, expected) in [
        (named("198.51.100.7"), REQUEST, "200"),
        (named("203.0.113.7"), REQUEST, "403"),
        (named("203.0.113.7"), &*spoofing, "403"),
        (version_2([198, 51, 100, 7].into()), REQUEST, "200"),
        (version_2([203, 0, 113, 7].into()), REQUEST, "403"),
        // The proxy for itself, which may come from nowhere that is listed.
        (b"PROXY UNKNOWN\r\n".to_vec(), REQUEST, "403"),
        (Vec::new(), REQUEST, ""),
        (b"PROXY TCP4 198.51.100.7\r\n".to_vec(), REQUEST, ""),
    ] {
        assert_eq!(status(server.address, &begin, request).await, expected, "{}", begin.escape_ascii());
    }
    server.stop().await;
}

#[tokio::test]
async fn others_are_taken_as_they_are_and_not_believed() {
    let server = Server::with(|config| {
        behind("10.0.0.0/8")(config);
        config.access.allowed_cidrs.push("127.0.0.0/8".parse().unwrap());
    })
    .await;
    assert_eq!(status(server.address, b"", REQUEST).await, "200");
    let begin = b"PROXY TCP4 198.51.100.7 192.0.2.1 4711 443\r\n";
    assert_eq!(status(server.address, begin, REQUEST).await, "400");
    server.stop().await;
}
