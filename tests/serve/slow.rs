//! Who is slow, and who is only quiet.

use crate::serve::stage::{PATIENCE, Server, answer_to};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

#[tokio::test]
async fn a_connection_is_kept_for_longer_than_proxies_keep_it() {
    let server = Server::start().await;
    let request = format!("GET /jwks.json HTTP/1.1\r\nhost: {}\r\n\r\n", server.address);
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
    }
    // hyper's own limit for heads would close it after 30 seconds.
    let closed = tokio::time::timeout(Duration::from_secs(32), stream.read_u8()).await;
    assert!(closed.is_err(), "{closed:?}");
    let last = request.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n");
    assert!(answer_to(stream, last.as_bytes()).await.starts_with("HTTP/1.1 200 "));
    server.stop().await;
}

#[tokio::test]
async fn half_a_head_is_not_waited_for() {
    let server = Server::start().await;
    let stream = TcpStream::connect(server.address).await.unwrap();
    let answer = tokio::time::timeout(PATIENCE, answer_to(stream, b"GET /jwks.json HTTP/1.1\r\nhost: h\r\n")).await;
    assert_eq!(answer.expect("it is closed before a new connection would be"), "");
    server.stop().await;
}

#[tokio::test]
async fn heads_have_a_largest_size() {
    let server = Server::start().await;
    for (headers, expected) in [
        (format!("x-large: {}\r\n", "x".repeat(60_000)), "200"),
        (format!("x-large: {}\r\n", "x".repeat(70_000)), "431"),
        ("x-many: y\r\n".repeat(90), "200"),
        ("x-many: y\r\n".repeat(110), "431"),
    ] {
        let request = format!("GET /jwks.json HTTP/1.1\r\nhost: h\r\nconnection: close\r\n{headers}\r\n");
        let answer = answer_to(TcpStream::connect(server.address).await.unwrap(), request.as_bytes()).await;
        // What was not read of a large one may reset the connection before the answer is read.
        let status = answer.split(' ').nth(1).unwrap_or("431");
        assert_eq!(status, expected, "{} bytes", headers.len());
    }
    server.stop().await;
}
