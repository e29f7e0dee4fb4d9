//! What the tools promise: schemas, results, errors, progress, cancellation.

use crate::endpoint::{EVERYTHING, STATELESS, endpoint, message};
use portcullis::api::Scope;
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test]
async fn every_tool_keeps_its_promises() {
    let endpoint = endpoint(EVERYTHING).await;
    let listed = endpoint.ask("2025-11-25", "tools/list", json!({})).await.json();
    let tools = listed["result"]["tools"].as_array().unwrap().clone();
    let web = json!({"workspace": "web"});
    let calls = [
        ("whoami", json!({})),
        ("list_templates", json!({})),
        ("create_workspace", json!({"template": "blank", "name": "web"})),
        ("list_workspaces", json!({"status": "running", "limit": 10})),
        ("get_workspace", web.clone()),
        ("run_command", json!({"workspace": "web", "command": "git --version || true"})),
        ("run_command", json!({"workspace": "web", "command": "sleep 60", "background": true})),
        ("run_command", json!({"workspace": "web", "command": "seq 1 100000; exit 3", "timeout_seconds": 50})),
        ("stop_workspace", web.clone()),
        ("start_workspace", web.clone()),
        ("delete_workspace", web),
    ];
    for (name, arguments) in &calls {
        let tool = tools.iter().find(|tool| tool["name"] == *name).unwrap();
        let input = jsonschema::draft202012::new(&tool["inputSchema"]).unwrap();
        assert!(input.is_valid(arguments), "{name}");
        assert!(!input.is_valid(&json!({"surplus": 1})), "{name}");
        let result = endpoint.call(name, arguments.clone()).await;
        assert_eq!(result["isError"], false, "{result}");
        let output = jsonschema::draft202012::new(&tool["outputSchema"]).unwrap();
        let errors: Vec<_> = output.iter_errors(&result["structuredContent"]).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?} {result}");
        let text: Value = serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
        assert_eq!(text, result["structuredContent"], "{name}");
    }
    for tool in &tools {
        assert!(calls.iter().any(|call| tool["name"] == call.0), "{tool} was not called");
        assert!(!tool["title"].as_str().unwrap().is_empty() && !tool["description"].as_str().unwrap().is_empty());
        for hint in ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"] {
            assert!(tool["annotations"][hint].is_boolean(), "{tool}");
        }
        assert_eq!(tool["inputSchema"]["additionalProperties"], false);
        for schema in [&tool["inputSchema"], &tool["outputSchema"]] {
            assert_eq!(schema["type"], "object");
            assert!(!schema.to_string().contains("$ref"), "{schema}");
            for (name, property) in schema["properties"].as_object().unwrap() {
                assert!(property["description"].is_string(), "{} of {} is not described", name, tool["name"]);
            }
        }
    }
    let run = tools.iter().find(|tool| tool["name"] == "run_command").unwrap();
    assert_eq!(run["inputSchema"]["properties"]["timeout_seconds"]["maximum"], 55);
}

#[tokio::test]
async fn whoami_says_what_the_token_says() {
    let endpoint = endpoint(&[Scope::FilesRead, Scope::WorkspacesRead]).await;
    assert_eq!(
        endpoint.done("whoami", json!({})).await,
        json!({
            "subject": "client:tester",
            "client_id": "tester",
            "scopes": ["workspaces:read", "files:read"],
            "endpoint": "http://127.0.0.1:8080/mcp",
            "expires_at": "2030-01-02T03:04:05Z"
        })
    );
}

#[tokio::test]
async fn failures_are_results_that_help() {
    let endpoint = endpoint(EVERYTHING).await;
    for (tool, arguments, said) in [
        (
            "whoami",
            json!({"verbose": true}),
            "whoami: unknown field `verbose`, there are no fields. Expected arguments: none",
        ),
        ("get_workspace", json!({}), "missing field `workspace`. Expected arguments: workspace (string, required)"),
        ("get_workspace", json!({"workspace": 7}), "expected a string. Expected arguments: workspace"),
        ("get_workspace", json!({"workspace": "web"}), "you have none yet: call create_workspace"),
        (
            "list_workspaces",
            json!({"status": "asleep"}),
            "unknown variant `asleep`, expected one of `starting`, `running`",
        ),
        ("create_workspace", json!({"template": "blank", "name": "My App"}), "such as \"my-app\""),
        (
            "run_command",
            json!({"workspace": "web", "cmd": "ls"}),
            "unknown field `cmd`, expected one of `workspace`, `command`",
        ),
        ("run_command", json!({"workspace": "web", "command": "ls", "timeout_seconds": 3600}), "give 1 to 55"),
    ] {
        let text = endpoint.failed(tool, arguments).await;
        assert!(text.contains(said), "{text}");
    }
}

#[tokio::test]
async fn a_command_does_what_the_issue_says() {
    let endpoint = endpoint(EVERYTHING).await;
    endpoint.done("create_workspace", json!({"template": "blank", "name": "web"})).await;
    let result = endpoint
        .done(
            "run_command",
            json!({"workspace": "web", "command": "cat; echo $A >&2; exit 4", "stdin": "in", "env": {"A": "b"}}),
        )
        .await;
    assert_eq!((&result["exit_code"], &result["stdout"], &result["stderr"]), (&json!(4), &json!("in"), &json!("b\n")));
    assert_eq!((&result["timed_out"], &result["truncated"]), (&json!(false), &json!(false)));
    let result =
        endpoint.done("run_command", json!({"workspace": "web", "command": "sleep 300", "timeout_seconds": 1})).await;
    assert_eq!((&result["timed_out"], &result["exit_code"]), (&json!(true), &json!(143)));
}

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

#[tokio::test]
async fn a_client_that_goes_away_takes_its_command_along() {
    let endpoint = endpoint(EVERYTHING).await;
    let made = endpoint.done("create_workspace", json!({"template": "blank", "name": "web"})).await;
    let pids = std::path::Path::new(made["home"].as_str().unwrap()).join("pids");
    assert!(pids.starts_with(endpoint.state.path().canonicalize().unwrap()));
    for (revision, meta) in
        [(STATELESS, json!({})), ("2025-11-25", json!({})), ("2025-11-25", json!({"progressToken": 1}))]
    {
        let line = "sleep 300 & echo $$ > pids.new; echo $! >> pids.new; mv pids.new pids; while :; do echo x; sleep 0.1; done";
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
        let ended = async {
            let begun: Vec<u32> =
                std::fs::read_to_string(&pids).unwrap().lines().map(|pid| pid.parse().unwrap()).collect();
            while begun.iter().any(|pid| runs(*pid)) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        // Well before the command's own timeout.
        tokio::time::timeout(Duration::from_secs(30), ended).await.expect("it still runs");
        std::fs::remove_file(&pids).unwrap();
    }
}

/// Whether a process is there and no zombie.
fn runs(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with('Z'))
}
