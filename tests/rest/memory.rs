//! What a large file costs the server on its way: a few times its size, so that a limit of memory can follow from the
//! limit of bodies.

use crate::rest::stage::Stage;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Method;
use serde_json::{Value, json};
use std::fs;

const LARGE: usize = 16 * 1024 * 1024;
/// How much more than before there may be in memory afterwards: above all, what was read of the program meanwhile.
const GIVEN_BACK: u64 = 16 * 1024 * 1024;
/// The most that a file may be in memory, in sizes of the request that brings it.
const MOST: f64 = 3.5;

/// A line of the server's status, in bytes.
fn memory(server: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{server}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// How much more memory the server had at most while it answered, in sizes of the request.
async fn peak(stage: &Stage, method: Method, path: &str, body: Value) -> f64 {
    let (server, size) = (stage.server(), body.to_string().len() as u64);
    // Begins the peak anew: proc(5).
    fs::write(format!("/proc/{server}/clear_refs"), "5").unwrap();
    let before = memory(server, "VmRSS");
    let answer = stage.send(method, path, Some(body)).await;
    assert!(answer.status.is_success() && answer.body.get("error").is_none(), "{}", answer.body);
    let more = memory(server, "VmHWM").saturating_sub(before);
    let after = memory(server, "VmRSS");
    assert!(after < before + GIVEN_BACK, "{before} bytes before and {after} after it");
    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    let times = more as f64 / size as f64;
    times
}

#[tokio::test]
async fn a_large_file_is_a_few_times_in_memory() {
    let stage = Stage::start().await;
    stage.workspace("web").await;
    let content = STANDARD.encode(vec![7; LARGE]);
    let file = json!({"workspace": "web", "path": "large", "content": content, "encoding": "base64"});
    let call =
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "write_file", "arguments": file}});
    let by_mcp = peak(&stage, Method::POST, "", call).await;
    eprintln!("write_file of 16 MiB: {by_mcp:.1} times the request");
    // The agent, which is a part of the server only here, has its share of them.
    assert!(by_mcp <= MOST, "{by_mcp}");
}
