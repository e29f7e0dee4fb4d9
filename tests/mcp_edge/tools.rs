//! What the tools promise: schemas, results, errors, progress, cancellation.

use crate::endpoint::{EVERYTHING, Endpoint, LEGACY, STATELESS, endpoint, message};
use portcullis::api::Scope;
use serde_json::{Value, json};
use std::{path::Path, time::Duration};

/// In the place of the id of the process that was started.
const PROCESS: u32 = 1;

#[tokio::test]
async fn every_tool_keeps_its_promises() {
    let endpoint = endpoint(EVERYTHING).await;
    let listed = endpoint.ask("2025-11-25", "tools/list", json!({})).await.json();
    let tools = listed["result"]["tools"].as_array().unwrap().clone();
    let web = json!({"workspace": "web"});
    let at = |more: Value| {
        let mut arguments = web.clone();
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        arguments
    };
    let calls = [
        ("whoami", json!({})),
        ("list_templates", json!({})),
        ("get_template", json!({"template": "blank"})),
        ("create_workspace", json!({"template": "blank", "name": "web"})),
        ("list_workspaces", json!({"status": "running", "limit": 10})),
        ("get_workspace", web.clone()),
        ("run_command", at(json!({"command": "git --version || true"}))),
        ("run_command", at(json!({"command": "cat", "background": true}))),
        ("list_processes", web.clone()),
        ("send_input", at(json!({"process_id": PROCESS, "text": "hello\n"}))),
        ("process_output", at(json!({"process_id": PROCESS, "wait_seconds": 20}))),
        ("stop_process", at(json!({"process_id": PROCESS}))),
        ("run_command", at(json!({"command": "seq 1 100000; exit 3", "timeout_seconds": 50}))),
        ("write_file", at(json!({"path": "src/a.txt", "content": "one\ntwo\n", "mode": "600"}))),
        ("edit_file", at(json!({"path": "src/a.txt", "old_text": "two", "new_text": "three"}))),
        ("read_file", at(json!({"path": "src/a.txt", "start_line": 2}))),
        ("list_files", at(json!({"depth": 2}))),
        ("search_files", at(json!({"pattern": "thr[e]+", "glob": "*.txt"}))),
        ("search", json!({"query": "three"})),
        ("fetch", json!({"id": "file:web/src/a.txt"})),
        ("move_path", at(json!({"from": "src/a.txt", "to": "b/c.txt"}))),
        ("remove_path", at(json!({"path": "b", "recursive": true}))),
        ("workspace_usage", web.clone()),
        ("workspace_logs", at(json!({"lines": 2}))),
        ("restart_workspace", web.clone()),
        ("stop_workspace", web.clone()),
        ("start_workspace", web.clone()),
        ("delete_workspace", web.clone()),
    ];
    let mut process = Value::Null;
    for (name, arguments) in &calls {
        let tool = tools.iter().find(|tool| tool["name"] == *name).unwrap();
        let input = jsonschema::draft202012::new(&tool["inputSchema"]).unwrap();
        assert!(input.is_valid(arguments), "{name}");
        assert!(!input.is_valid(&json!({"surplus": 1})), "{name}");
        let mut arguments = arguments.clone();
        if arguments.get("process_id").is_some() {
            arguments["process_id"] = process.clone();
        }
        let result = endpoint.call(name, arguments).await;
        assert_eq!(result["isError"], false, "{name}: {result}");
        if *name == "run_command" && process.is_null() {
            process = result["structuredContent"]["process_id"].clone();
        }
        let output = jsonschema::draft202012::new(&tool["outputSchema"]).unwrap();
        let errors: Vec<_> = output.iter_errors(&result["structuredContent"]).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?} {result}");
        let text: Value = serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
        assert_eq!(text, result["structuredContent"], "{name}");
        assert_eq!(result["content"].as_array().unwrap().len(), 1, "{name}");
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
    let output = tools.iter().find(|tool| tool["name"] == "process_output").unwrap();
    assert_eq!(output["inputSchema"]["properties"]["wait_seconds"]["maximum"], 55);
}

#[tokio::test]
async fn background_processes_are_read_typed_to_and_stopped() {
    let endpoint = endpoint(EVERYTHING).await;
    endpoint.done("create_workspace", json!({"template": "blank", "name": "web"})).await;
    let line = "while read line; do echo \"got $line\"; done; echo end; exit 5";
    let started = endpoint.done("run_command", json!({"workspace": "web", "command": line, "background": true})).await;
    assert_eq!((&started["exit_code"], &started["stdout"]), (&Value::Null, &json!("")));
    let at = |more: Value| {
        let mut arguments = json!({"workspace": "web", "process_id": started["process_id"]});
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        arguments
    };
    endpoint.done("send_input", at(json!({"text": "one\n"}))).await;
    let said = endpoint.done("process_output", at(json!({"wait_seconds": 30}))).await;
    assert_eq!((&said["output"], &said["running"]), (&json!("got one\n"), &json!(true)));
    endpoint.done("send_input", at(json!({"text": "two\n", "close": true}))).await;
    let mut offset = said["next_offset"].clone();
    let mut rest = String::new();
    loop {
        let said = endpoint.done("process_output", at(json!({"wait_seconds": 30, "offset": offset}))).await;
        rest.push_str(said["output"].as_str().unwrap());
        offset = said["next_offset"].clone();
        if said["running"] == false {
            assert_eq!(said["exit_code"], 5);
            break;
        }
    }
    assert_eq!(rest, "got two\nend\n");
    let listed = endpoint.done("list_processes", json!({"workspace": "web"})).await;
    assert_eq!((&listed["processes"][0]["running"], &listed["processes"][0]["exit_code"]), (&json!(false), &json!(5)));
}

#[tokio::test]
async fn pictures_are_shown_and_other_bytes_come_in_base64() {
    let endpoint = endpoint(EVERYTHING).await;
    endpoint.done("create_workspace", json!({"template": "blank", "name": "web"})).await;
    // A red dot (PNG), and the beginning of one.
    let dot = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";
    for (path, content) in [("dot.png", dot), ("data.bin", "AAECAwQF")] {
        let arguments = json!({"workspace": "web", "path": path, "content": content, "encoding": "base64"});
        endpoint.done("write_file", arguments).await;
    }
    let shown = endpoint.call("read_file", json!({"workspace": "web", "path": "dot.png"})).await;
    assert_eq!(shown["content"][1], json!({"type": "image", "data": dot, "mimeType": "image/png"}));
    assert_eq!((&shown["structuredContent"]["content"], &shown["structuredContent"]["size"]), (&json!(""), &json!(70)));
    for arguments in [
        json!({"workspace": "web", "path": "dot.png", "max_bytes": 30}),
        json!({"workspace": "web", "path": "dot.png", "start_byte": 8}),
        json!({"workspace": "web", "path": "data.bin"}),
    ] {
        let part = endpoint.call("read_file", arguments).await;
        assert_eq!(part["content"].as_array().unwrap().len(), 1, "{part}");
        assert_eq!(part["structuredContent"]["encoding"], "base64", "{part}");
        assert_ne!(part["structuredContent"]["content"], "", "{part}");
    }
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
        ("process_output", json!({"workspace": "web", "process_id": 1, "wait_seconds": 60}), "give 0 to 55"),
        ("read_file", json!({"workspace": "web", "path": "a", "max_bytes": 0}), "give 1 to 1048576"),
        ("workspace_logs", json!({"workspace": "web", "lines": 1001}), "give 1 to 1000"),
        ("get_template", json!({"template": "node"}), "there is no template \"node\"; the templates are: \"blank\""),
        ("write_file", json!({"workspace": "web", "path": "a"}), "missing field `content`"),
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
