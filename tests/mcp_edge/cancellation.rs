//! Progress and cancellation of commands.

use crate::mcp_edge::endpoint::{EVERYTHING, Endpoint, LEGACY, STATELESS, endpoint, message};
use serde_json::{Value, json};
use std::{path::Path, time::Duration};

#[tokio::test]
async fn progress_comes_to_those_who_ask_for_it() {
    let endpoint = endpoint(EVERYTHING).await;
    endpoint.done("create_workspace", json!({"template": "blank", "name": "web"})).await;
    let line = "for i in 1 2 3; do echo line $i; sleep 0.6; done";
    for revision in [STATELESS, "2025-11-25"] {
        let params = json!({
            "name": "run_command",
            "arguments": {"workspace": "web", "command": line},
            "_meta": {"progressToken": "p"}
        });
        let answer = endpoint.ask(revision, "tools/call", params.clone()).await;
        assert_eq!(answer.headers["content-type"], "text/event-stream", "{}", answer.text);
        let messages: Vec<Value> = answer
            .text
            .lines()
            .filter_map(|line| line.strip_prefix("data:"))
            .filter_map(|data| serde_json::from_str(data).ok())
            .collect();
        let (last, progress) = messages.split_last().unwrap();
        assert_eq!(last["result"]["structuredContent"]["stdout"], "line 1\nline 2\nline 3\n");
        assert!(!progress.is_empty());
        let mut before = 0.0;
        for message in progress {
            assert_eq!(
                (&message["method"], &message["params"]["progressToken"]),
                (&json!("notifications/progress"), &json!("p"))
            );
            assert!(message["params"]["progress"].as_f64().unwrap() > before);
            before = message["params"]["progress"].as_f64().unwrap();
        }
        assert!(progress[0]["params"]["message"].as_str().unwrap().starts_with("line 1\n"));

        // A client that cannot read event streams gets its answer in one piece.
        let (headers, body) = message(revision, "tools/call", params);
        let headers: Vec<(&str, &str)> = headers
            .iter()
            .map(|(name, value)| (*name, if *name == "accept" { "application/json" } else { value }))
            .collect();
        let answer = endpoint.send(&headers, body.to_string()).await;
        assert_eq!(answer.headers["content-type"], "application/json");
        assert_eq!(answer.json()["result"]["structuredContent"]["exit_code"], 0);
    }
}

/// A command that runs until it is ended, called by a client that goes away as soon as it does. Answers with the ids of
/// its processes.
async fn abandoned(endpoint: &Endpoint, pids: &Path, revision: &str, meta: &Value) -> Vec<u32> {
    let line =
        "sleep 300 & echo $$ > pids.new; echo $! >> pids.new; mv pids.new pids; while :; do echo x; sleep 0.1; done";
    let arguments = json!({"workspace": "web", "command": line, "timeout_seconds": 50});
    let params = json!({"name": "run_command", "arguments": arguments, "_meta": meta});
    let call = endpoint.ask(revision, "tools/call", params);
    let until_begun = async {
        while !pids.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    // Dropping the call closes the connection.
    tokio::select! {
        answer = call => panic!("it ended: {}", answer.text),
        () = until_begun => {}
    }
    let begun = std::fs::read_to_string(pids).unwrap().lines().map(|pid| pid.parse().unwrap()).collect();
    std::fs::remove_file(pids).unwrap();
    begun
}

/// Waits until processes have ended, which they must well before the command's own timeout.
async fn ended(processes: &[u32]) {
    let ended = async {
        while processes.iter().any(|pid| runs(*pid)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), ended).await.is_ok(), "it still runs");
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_command_along() {
    let endpoint = endpoint(EVERYTHING).await;
    let made = endpoint.done("create_workspace", json!({"template": "blank", "name": "web"})).await;
    let pids = Path::new(made["home"].as_str().unwrap()).join("pids");
    assert!(pids.starts_with(endpoint.state.path().canonicalize().unwrap()));
    for meta in [json!({}), json!({"progressToken": 1})] {
        ended(&abandoned(&endpoint, &pids, STATELESS, &meta).await).await;
    }
}

#[tokio::test]
async fn with_an_older_revision_the_command_goes_on_until_it_is_cancelled() {
    let endpoint = endpoint(EVERYTHING).await;
    let made = endpoint.done("create_workspace", json!({"template": "blank", "name": "web"})).await;
    let pids = Path::new(made["home"].as_str().unwrap()).join("pids");
    for revision in LEGACY {
        for meta in [json!({}), json!({"progressToken": 1})] {
            let processes = abandoned(&endpoint, &pids, revision, &meta).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(processes.iter().all(|pid| runs(*pid)), "{revision} {meta}: a lost connection cancels nothing");
            let cancel = async |id: u32| {
                let (mut headers, _) = message(revision, "notifications/cancelled", json!({}));
                let body = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}});
                headers.retain(|(name, _)| *name != "mcp-method");
                let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
                endpoint.send(&headers, body.to_string()).await.status
            };
            assert_eq!(cancel(7).await, 202);
            assert!(processes.iter().all(|pid| runs(*pid)), "another request is meant");
            assert_eq!(cancel(1).await, 202);
            ended(&processes).await;
        }
    }
}

/// Whether a process is there and no zombie.
fn runs(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with('Z'))
}
