//! One caller, one address or one agent takes all it can get.

use crate::{
    hoarding::{ELSEWHERE, call_and_never_read, connect, first_line, head, tool, withhold_the_last_byte},
    stage::{RIVAL_SECRET, SECRET, Stage},
};
use futures::future::join_all;
use portcullis_core::quantity::Span;
use serde_json::{Value, json};
use std::{net::SocketAddr, time::Duration};
use tokio::{io::AsyncWriteExt as _, time::timeout};

/// The memory of the server: what it has by default in a cluster.
const MEMORY: u64 = 128 << 20;
/// The largest body here.
const LARGEST: usize = 1 << 20;
/// Long enough for a slow machine.
const PATIENCE: Duration = Duration::from_secs(30);

async fn stage() -> Stage {
    Stage::with(|setup| {
        setup.workspaces = true;
        setup.memory = MEMORY;
        setup.config.limits.request_timeout = Span::from_secs(20);
    })
    .await
}

fn address(stage: &Stage) -> SocketAddr {
    stage.origin.strip_prefix("http://").unwrap().parse().unwrap()
}

async fn token(stage: &Stage, client: &str, secret: &str) -> String {
    let form = [("grant_type", "client_credentials"), ("client_id", client), ("client_secret", secret)];
    stage.token(&form).await.json()["access_token"].as_str().unwrap().to_owned()
}

/// The token of the attacker, and that of another caller.
async fn tokens(stage: &Stage) -> (String, String) {
    (token(stage, "backend", SECRET).await, token(stage, "rival", RIVAL_SECRET).await)
}

async fn call(stage: &Stage, token: &str, name: &str, arguments: Value) -> Value {
    let answer = stage.call_at(0, token, "tools/call", json!({"name": name, "arguments": arguments})).await;
    answer.json()["result"].clone()
}

/// A workspace with a file of `size` bytes.
async fn workspace(stage: &Stage, token: &str, size: usize) {
    let made = call(stage, token, "create_workspace", json!({"template": "blank", "name": "web"})).await;
    assert_eq!(made["structuredContent"]["status"], "running", "{made}");
    let line = format!("head -c {size} /dev/zero | tr '\\0' x | fold -w 99 > large");
    let run = call(stage, token, "run_command", json!({"workspace": "web", "command": line})).await;
    assert_eq!(run["structuredContent"]["exit_code"], 0, "{run}");
}

fn read_large() -> Value {
    json!({"workspace": "web", "path": "large", "max_bytes": LARGEST})
}

/// Another caller's small and large requests are answered.
async fn others_are_served(stage: &Stage, token: &str) {
    let served = async {
        assert_eq!(call(stage, token, "whoami", json!({})).await["isError"], false);
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"x": "x".repeat(LARGEST - 200)}});
        let large = stage.http.post(format!("{}/mcp", stage.origin)).bearer_auth(token).json(&message);
        assert_eq!(stage.send(large.header("Accept", "application/json")).await.status, 200);
    };
    timeout(PATIENCE, served).await.unwrap();
}

/// Sixty bodies of the largest size come but for their last byte, with one token → another caller's bodies are read
/// meanwhile, and each of the sixty ends in its time.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_without_their_last_byte() {
    let stage = stage().await;
    let (attacker, other) = tokens(&stage).await;
    let to = address(&stage);
    let withheld = join_all((0..60).map(|_| withhold_the_last_byte(to, ELSEWHERE, &attacker, LARGEST))).await;
    others_are_served(&stage, &other).await;
    let ends = timeout(PATIENCE, join_all(withheld.into_iter().map(first_line))).await.expect("each ends in its time");
    assert!(ends.iter().all(|line| [" 408 ", " 503 ", " 504 "].iter().any(|end| line.contains(end))), "{ends:?}");
    stage.stop().await;
}

/// Sixty bodies come in chunks, so that the server cannot know how much will come, and never end → another caller's
/// bodies are read meanwhile, and each of the sixty ends in its time.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_unknown_length_that_never_end() {
    let stage = stage().await;
    let (attacker, other) = tokens(&stage).await;
    let mut open = Vec::new();
    for _ in 0..60 {
        let mut stream = connect(address(&stage), ELSEWHERE).await;
        let chunked = head(&attacker, 0).replace("Content-Length: 0", "Transfer-Encoding: chunked");
        let request = format!("{chunked}10000\r\n{}\r\n", " ".repeat(1 << 16));
        let _ = timeout(Duration::from_millis(500), stream.write_all(request.as_bytes())).await;
        open.push(stream);
    }
    others_are_served(&stage, &other).await;
    let ends = timeout(PATIENCE, join_all(open.into_iter().map(first_line))).await.expect("each ends in its time");
    assert!(ends.iter().all(|line| [" 408 ", " 503 ", " 504 "].iter().any(|end| line.contains(end))), "{ends:?}");
    stage.stop().await;
}

/// Thirty of the largest reads are asked for, and nothing of the answers is read → others are served meanwhile, and the
/// connections are closed at the deadline of their requests.
#[tokio::test(flavor = "multi_thread")]
async fn readers_that_do_not_read() {
    let stage = Stage::with(|setup| {
        setup.workspaces = true;
        setup.memory = MEMORY;
        setup.config.limits.request_timeout = Span::from_secs(5);
    })
    .await;
    let (attacker, other) = tokens(&stage).await;
    workspace(&stage, &attacker, LARGEST).await;
    let message = tool("read_file", &read_large());
    let to = address(&stage);
    let readers = join_all((0..30).map(|_| call_and_never_read(to, ELSEWHERE, &attacker, &message))).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    others_are_served(&stage, &other).await;
    // Far beyond the deadline of all, their places and their memory are free again.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let free = async {
        while call(&stage, &attacker, "read_file", read_large()).await["isError"] != false {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(PATIENCE, free).await.expect("what they held is free again");
    drop(readers);
    stage.stop().await;
}

/// Twelve of the largest reads at once, with one token → each is answered or told to come again, and another caller is
/// served meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn the_largest_reads_at_once() {
    let stage = Stage::with(|setup| {
        setup.workspaces = true;
        setup.memory = MEMORY;
    })
    .await;
    let (attacker, other) = tokens(&stage).await;
    workspace(&stage, &attacker, LARGEST).await;
    let reads = join_all((0..12).map(|_| call(&stage, &attacker, "read_file", read_large())));
    let (reads, ()) =
        timeout(PATIENCE, async { tokio::join!(reads, others_are_served(&stage, &other)) }).await.unwrap();
    let (answered, refused): (Vec<_>, Vec<_>) = reads.iter().partition(|read| read["isError"] == false);
    assert!(!answered.is_empty());
    let told = |read: &&Value| read["content"][0]["text"].as_str().is_some_and(|text| text.contains("try again"));
    assert!(refused.iter().all(told), "{refused:?}");
    stage.stop().await;
}

/// More than a megabyte of a file is asked for at once → refused, with how to read on.
#[tokio::test]
async fn a_read_of_more_than_is_allowed() {
    let stage = stage().await;
    let (attacker, _) = tokens(&stage).await;
    let read = json!({"workspace": "web", "path": "large", "max_bytes": 16 << 20});
    let refused = call(&stage, &attacker, "read_file", read).await;
    let text = refused["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("give 1 to 1048576") && text.contains("next_start_line"), "{text}");
    stage.stop().await;
}

/// The agent in a workspace was replaced, and answers without end → its answer is cut off, with an error that says so,
/// and others are served meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_end() {
    let stage = stage().await;
    let (attacker, other) = tokens(&stage).await;
    let asks = ["read_file", "list_files", "search_files"].into_iter().cycle().take(24);
    let ask = |name: &'static str| {
        let mut arguments = json!({"workspace": "evil-endless"});
        match name {
            "read_file" => arguments["path"] = "large".into(),
            "search_files" => arguments["pattern"] = "x".into(),
            _ => {}
        }
        call(&stage, &attacker, name, arguments)
    };
    let answers = join_all(asks.map(ask));
    let (answers, ()) =
        timeout(PATIENCE, async { tokio::join!(answers, others_are_served(&stage, &other)) }).await.unwrap();
    for answer in answers {
        let text = answer["content"][0]["text"].as_str().unwrap();
        assert!(text.contains("sent more than the") && text.contains("was replaced"), "{text}");
    }
    stage.stop().await;
}

/// The agent in a workspace was replaced, and answers a command with a line without end → its answer is cut off, with an
/// error that says so, and others are served meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_without_end() {
    let stage = stage().await;
    let (attacker, other) = tokens(&stage).await;
    let command = json!({"workspace": "evil-endless", "command": "true"});
    let answers = join_all((0..24).map(|_| call(&stage, &attacker, "run_command", command.clone())));
    let (answers, ()) =
        timeout(PATIENCE, async { tokio::join!(answers, others_are_served(&stage, &other)) }).await.unwrap();
    for answer in answers {
        let text = answer["content"][0]["text"].as_str().unwrap();
        assert!(text.contains("sent more than the"), "{text}");
    }
    stage.stop().await;
}

/// The agent in a workspace was replaced, and never answers → each call ends in its time, and others are served
/// meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_never_answers() {
    let stage = Stage::with(|setup| {
        setup.workspaces = true;
        setup.config.limits.request_timeout = Span::from_secs(3);
    })
    .await;
    let (attacker, other) = tokens(&stage).await;
    let ask = || {
        let params = json!({"name": "list_files", "arguments": {"workspace": "evil-silent"}});
        stage.call_at(0, &attacker, "tools/call", params)
    };
    let answers = join_all((0..60).map(|_| ask()));
    let (answers, ()) =
        timeout(PATIENCE, async { tokio::join!(answers, others_are_served(&stage, &other)) }).await.unwrap();
    let ends = answers.iter().map(|answer| answer.status.as_u16());
    assert!(ends.clone().all(|status| status == 504 || status == 503), "{:?}", ends.collect::<Vec<_>>());
    stage.stop().await;
}

/// One token takes every place, with commands that only wait → half of the places stay free for others, and the rest of
/// its requests are refused with 503.
#[tokio::test(flavor = "multi_thread")]
async fn every_place_for_one_token() {
    let stage = Stage::with(|setup| {
        setup.workspaces = true;
        setup.config.limits.max_concurrent_requests = 20;
    })
    .await;
    let (attacker, other) = tokens(&stage).await;
    workspace(&stage, &attacker, 1).await;
    let wait = || {
        let arguments = json!({"workspace": "web", "command": "sleep 3"});
        stage.call_at(0, &attacker, "tools/call", json!({"name": "run_command", "arguments": arguments}))
    };
    let waits = join_all((0..40).map(|_| wait()));
    let served = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        others_are_served(&stage, &other).await;
    };
    let (waits, ()) = tokio::join!(waits, served);
    let refused = waits.iter().filter(|answer| answer.status == 503).count();
    assert_eq!(refused, 30, "ten of twenty places are its share");
    stage.stop().await;
}

/// One address sends forms whose bodies never come, more than the server reads at once → another address gets its
/// tokens meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn every_form_for_one_address() {
    let stage = Stage::with(|setup| setup.config.limits.max_concurrent_requests = 20).await;
    let mut open = Vec::new();
    for path in ["/token", "/register", "/revoke", "/login"].iter().cycle().take(120) {
        let mut stream = connect(address(&stage), ELSEWHERE).await;
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\nx"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        open.push(stream);
    }
    let (_, other) = timeout(PATIENCE, tokens(&stage)).await.unwrap();
    assert_eq!(stage.status(&other).await, 200);
    let ends = timeout(PATIENCE, join_all(open.into_iter().map(first_line))).await.expect("each ends in its time");
    assert!(ends.iter().filter(|line| line.contains(" 503 ")).count() >= 120 - 80, "{ends:?}");
    stage.stop().await;
}

/// One address opens more connections than the server keeps, and says nothing on them → another one is served at once.
#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_without_end() {
    let stage = Stage::with(|setup| setup.config.limits.max_connections = 100).await;
    let (_, other) = tokens(&stage).await;
    let mut open = Vec::new();
    for _ in 0..300 {
        open.push(connect(address(&stage), ELSEWHERE).await);
    }
    let fresh = reqwest::Client::builder().no_proxy().build().unwrap();
    for _ in 0..5 {
        let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
        let request = fresh.post(format!("{}/mcp", stage.origin)).bearer_auth(&other).json(&ping);
        let answer = timeout(Duration::from_secs(10), stage.send(request.header("Accept", "application/json"))).await;
        assert_eq!(answer.expect("it waits for no idle connection").status, 200);
    }
    drop(open);
    stage.stop().await;
}

/// One address sends 150 heads of sixty kilobytes that never end → the server reads few of them at once, and another
/// address is served.
#[tokio::test(flavor = "multi_thread")]
async fn long_heads_that_never_end() {
    let stage = Stage::start().await;
    let (_, other) = tokens(&stage).await;
    let mut open = Vec::new();
    for _ in 0..150 {
        let mut stream = connect(address(&stage), ELSEWHERE).await;
        let head = format!("GET /login HTTP/1.1\r\nHost: h\r\nX-Long: {}", "x".repeat(60_000));
        let _ = timeout(Duration::from_millis(500), stream.write_all(head.as_bytes())).await;
        open.push(stream);
    }
    let (tokens, status) = tokio::join!(timeout(PATIENCE, tokens(&stage)), stage.status(&other));
    assert!(tokens.is_ok() && status == 200);
    let closed = timeout(PATIENCE, join_all(open.into_iter().map(first_line))).await.unwrap();
    assert!(closed.iter().all(String::is_empty), "{closed:?}");
    stage.stop().await;
}

/// Requests are sent one after the other on one connection, and no answer is read → the connection is closed at the
/// deadline, and others are served meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn requests_whose_answers_are_not_read() {
    let stage = Stage::with(|setup| setup.config.limits.request_timeout = Span::from_secs(3)).await;
    let (attacker, other) = tokens(&stage).await;
    let body = tool("whoami", &json!({}));
    let request = format!("{}{body}", head(&attacker, body.len())).repeat(100);
    let mut stream = connect(address(&stage), ELSEWHERE).await;
    let flood = async { while stream.write_all(request.as_bytes()).await.is_ok() {} };
    let served = async {
        for _ in 0..10 {
            others_are_served(&stage, &other).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let (closed, ()) = tokio::join!(timeout(PATIENCE, flood), served);
    closed.expect("the connection is closed");
    stage.stop().await;
}
