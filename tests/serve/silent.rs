//! Calls that take long and say nothing, through a proxy that gives up on what is silent.

use crate::serve::stage::Server;
use portcullis_core::quantity::Span;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, timeout},
};

/// How long the proxy waits for a byte of an answer.
const IDLE: Duration = Duration::from_secs(30);
/// How long the command says nothing.
const SILENCE: u64 = 110;

/// Hands bytes on between clients and `server`, and closes a connection when for [`IDLE`] none came from the server.
async fn proxy(server: SocketAddr) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (client, _) = listener.accept().await.unwrap();
            connections.spawn(async move {
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = TcpStream::connect(server).await.unwrap().into_split();
                let requests = async { tokio::io::copy(&mut from_client, &mut to_server).await.map(drop) };
                let answers = async {
                    let mut buffer = [0; 4096];
                    while let Ok(count) = timeout(IDLE, from_server.read(&mut buffer)).await {
                        match count? {
                            0 => break,
                            count => to_client.write_all(&buffer[..count]).await?,
                        }
                    }
                    std::io::Result::Ok(())
                };
                let _ = tokio::select! { ended = requests => ended, ended = answers => ended };
            });
        }
    });
    (address, tasks)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_command_ends_well_behind_an_impatient_proxy() {
    let server = Server::with(|config| config.limits.request_timeout = Span::from_secs(150)).await;
    let token = server.token().await;
    server.tool(&token, "create_workspace", &json!({"template": "blank", "name": "web"})).await;
    let (proxy, _tasks) = proxy(server.address).await;
    let http = Client::builder().timeout(Duration::from_secs(150)).no_proxy().build().unwrap();
    let command = json!({"command": format!("sleep {SILENCE}; echo well"), "timeout_seconds": SILENCE + 20});
    let mut arguments = command.clone();
    arguments["workspace"] = json!("web");
    let ask = |path: &str, body: Value, accept: &str, revision: &str| {
        let request =
            http.post(format!("http://{proxy}{path}")).bearer_auth(&token).json(&body).header("accept", accept);
        let request = match revision {
            "" => request,
            "2026-07-28" => request
                .header("mcp-protocol-version", revision)
                .header("mcp-method", "tools/call")
                .header("mcp-name", "run_command"),
            _ => request.header("mcp-protocol-version", revision),
        };
        async move {
            let begin = Instant::now();
            let response = request.send().await.unwrap();
            assert!(begin.elapsed() < Duration::from_secs(20), "the head comes when the work has begun");
            assert_eq!(response.status(), StatusCode::OK);
            let text = response.text().await.unwrap();
            assert!(begin.elapsed() >= Duration::from_secs(SILENCE));
            text
        }
    };
    let call = |meta: Value| {
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": "run_command", "arguments": arguments, "_meta": meta}})
    };
    let both = "application/json, text/event-stream";
    let newest = json!({"progressToken": 1, "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {}});
    let (streamed, newest, plain, rest) = tokio::join!(
        ask("/mcp", call(json!({"progressToken": 1})), both, "2025-11-25"),
        ask("/mcp", call(newest), both, "2026-07-28"),
        ask("/mcp", call(json!({})), "application/json", "2025-06-18"),
        ask("/mcp/workspaces/web/execute", command, "application/json", ""),
    );
    for text in [streamed, newest] {
        assert!(text.lines().filter(|line| line.starts_with(':')).count() >= 7, "{text}");
        let mut data = text.lines().filter_map(|line| line.strip_prefix("data:"));
        let answer: Value = serde_json::from_str(data.next_back().unwrap()).unwrap();
        assert_eq!(answer["result"]["structuredContent"]["stdout"], "well\n", "{text}");
    }
    assert!(plain.starts_with(&" ".repeat(7)) && rest.starts_with(&" ".repeat(7)), "{plain} {rest}");
    let plain: Value = serde_json::from_str(&plain).unwrap();
    assert_eq!(plain["result"]["structuredContent"]["stdout"], "well\n");
    assert_eq!(serde_json::from_str::<Value>(&rest).unwrap()["stdout"], "well\n");
    server.stop().await;
}

/// Refusals have a status of their own: nothing has begun yet.
#[tokio::test]
async fn what_is_refused_has_its_own_status() {
    let server = Server::start().await;
    let token = server.token().await;
    for (workspace, body, status) in [
        ("nowhere", json!({"command": "true"}), 404),
        ("nowhere", json!({"command": 7}), 400),
        ("web", json!({"command": "true", "cwd": "/no/such/folder"}), 404),
    ] {
        if workspace == "web" {
            server.tool(&token, "create_workspace", &json!({"template": "blank", "name": "web"})).await;
        }
        let path = format!("/mcp/workspaces/{workspace}/execute");
        let response =
            server.request(reqwest::Method::POST, &path).bearer_auth(&token).json(&body).send().await.unwrap();
        assert_eq!(response.status(), status, "{body}");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
    }
    server.stop().await;
}
