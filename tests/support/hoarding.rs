//! What a client does that takes all it can get, over connections as they are.

use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

/// An address of this machine that is not the one that others come from.
pub const ELSEWHERE: &str = "127.0.0.2";

/// A connection from an address of this machine.
pub async fn connect(to: SocketAddr, from: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    // Small, so that little is sent that is not read.
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind(SocketAddr::new(from.parse::<IpAddr>().unwrap(), 0)).unwrap();
    socket.connect(to).await.unwrap()
}

/// The message that calls a tool.
pub fn tool(name: &str, arguments: &Value) -> String {
    let params = json!({"name": name, "arguments": arguments});
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).to_string()
}

/// The head of a request to the endpoint with a body of this length.
pub fn head(token: &str, length: usize) -> String {
    format!(
        "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Accept: application/json\r\nMCP-Protocol-Version: 2025-06-18\r\nContent-Length: {length}\r\n\r\n"
    )
}

/// Sends a request, and reads nothing of its answer.
pub async fn call_and_never_read(to: SocketAddr, from: &str, token: &str, body: &str) -> TcpStream {
    let mut stream = connect(to, from).await;
    let request = format!("{}{body}", head(token, body.len()));
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Sends a request of `length` bytes but for the last one.
pub async fn withhold_the_last_byte(to: SocketAddr, from: &str, token: &str, length: usize) -> TcpStream {
    let mut stream = connect(to, from).await;
    stream.write_all(head(token, length).as_bytes()).await.unwrap();
    let body = vec![b' '; length - 1];
    // The server need not read it.
    let _ = tokio::time::timeout(std::time::Duration::from_millis(500), stream.write_all(&body)).await;
    stream
}

/// The first line that comes back, once the connection is closed or the answer has begun.
pub async fn first_line(mut stream: TcpStream) -> String {
    let mut answer = vec![0; 64];
    let count = stream.read(&mut answer).await.unwrap_or(0);
    answer.truncate(count);
    String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
}
