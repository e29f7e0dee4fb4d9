//! What the tools promise: schemas, results, errors.

use crate::mcp_edge::endpoint::{EVERYTHING, endpoint};
use portcullis_core::Scope;
use serde_json::{Value, json};

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
        let mut arguments = arguments.clone();
        let mut surplus = arguments.clone();
        surplus["surplus"] = json!(1);
        let said = endpoint.failed(name, surplus).await;
        assert!(said.contains("there is no argument \"surplus\""), "{said}");
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
        let text = result["content"][0]["text"].as_str().unwrap();
        match serde_json::from_str::<Value>(text) {
            // ChatGPT reads the text of these two.
            Ok(json) => assert!(["search", "fetch"].contains(name) && json == result["structuredContent"], "{name}"),
            Err(_) => assert!(!text.is_empty() && !["search", "fetch"].contains(name), "{name}"),
        }
        assert!(!result["structuredContent"].to_string().contains(":null"), "{name}: {result}");
        assert_eq!(result["content"].as_array().unwrap().len(), 1, "{name}");
    }
    for tool in &tools {
        assert!(calls.iter().any(|call| tool["name"] == call.0), "{tool} was not called");
        assert!(!tool["title"].as_str().unwrap().is_empty() && !tool["description"].as_str().unwrap().is_empty());
        for hint in ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"] {
            assert!(tool["annotations"][hint].is_boolean(), "{tool}");
        }
        for (name, property) in tool["inputSchema"]["properties"].as_object().unwrap() {
            assert!(property["description"].is_string(), "{} of {} is not described", name, tool["name"]);
        }
    }
    for changing in ["move_path", "remove_path", "write_file", "edit_file"] {
        let tool = tools.iter().find(|tool| tool["name"] == changing).unwrap();
        assert_eq!(tool["annotations"]["destructiveHint"], true, "{tool}");
    }
    let run = tools.iter().find(|tool| tool["name"] == "run_command").unwrap();
    assert_eq!(run["inputSchema"]["properties"]["timeout_seconds"]["maximum"], 55);
    let output = tools.iter().find(|tool| tool["name"] == "process_output").unwrap();
    assert_eq!(output["inputSchema"]["properties"]["wait_seconds"]["maximum"], 55);
}

/// A list of tools is in every model's context, and goes through converters of many clients.
#[tokio::test]
async fn the_list_is_short_and_in_the_form_that_converters_accept() {
    let endpoint = endpoint(EVERYTHING).await;
    let mut listed = endpoint.ask("2025-11-25", "tools/list", json!({})).await.json();
    let tools = listed["result"]["tools"].as_array_mut().unwrap();
    for tool in tools.iter() {
        for schema in [&tool["inputSchema"], &tool["outputSchema"]] {
            assert_eq!(schema["type"], "object");
            assert!(schema["properties"].is_object(), "{schema}");
            check_schema(schema);
        }
    }
    let size = |tools: &[Value]| serde_json::to_vec(tools).unwrap().len();
    let whole = size(tools);
    for tool in tools.iter_mut() {
        tool.as_object_mut().unwrap().remove("outputSchema");
    }
    let inputs = size(tools);
    assert!(inputs <= 20 * 1024 && whole <= 30 * 1024, "{inputs} bytes without output schemas, {whole} with");
}

fn check_schema(schema: &Value) {
    let members = schema.as_object().unwrap();
    for keyword in members.keys() {
        let known = ["type", "properties", "required", "items", "enum", "description", "default", "minimum", "maximum"];
        let more = ["minLength", "maxLength", "additionalProperties"];
        assert!(known.contains(&keyword.as_str()) || more.contains(&keyword.as_str()), "{keyword}: {schema}");
    }
    assert!(schema["type"].is_string(), "{schema}");
    assert!(members.get("additionalProperties").is_none_or(Value::is_object), "{schema}");
    for inner in schema["properties"].as_object().into_iter().flatten().map(|(_, inner)| inner) {
        check_schema(inner);
    }
    for inner in [members.get("items"), members.get("additionalProperties")].into_iter().flatten() {
        check_schema(inner);
    }
}

#[tokio::test]
async fn results_are_text_for_models_and_json_for_programs() {
    let endpoint = endpoint(EVERYTHING).await;
    endpoint.done("create_workspace", json!({"template": "blank", "name": "web"})).await;
    let line = "printf 'one\\n\\033[31mred\\033[0m\\n10%%\\r100%%\\n'; echo \"oops\" >&2; exit 3";
    let ran = endpoint.call("run_command", json!({"workspace": "web", "command": line})).await;
    let duration = &ran["structuredContent"]["duration_ms"];
    let expected = format!("exit code 3, {duration} ms\none\nred\n100%\n--- stderr\noops\n");
    assert_eq!(ran["content"][0]["text"], expected);
    assert_eq!(ran["structuredContent"]["stdout"], "one\nred\n100%\n");
    let raw = endpoint.done("run_command", json!({"workspace": "web", "command": line, "raw": true})).await;
    assert_eq!(raw["stdout"], "one\n\u{1b}[31mred\u{1b}[0m\n10%\r100%\n");

    let content = (1..=5000).fold(String::new(), |text, number| text + "line " + &number.to_string() + "\n");
    let file = |content: &str, append: bool| json!({"workspace": "web", "path": "big/d0/f", "content": content, "append": append});
    let (first, rest) = content.split_at(30_000);
    endpoint.done("write_file", file(first, false)).await;
    endpoint.done("write_file", file(rest, true)).await;
    let (mut read, mut next) = (String::new(), json!(null));
    loop {
        let arguments = json!({"workspace": "web", "path": "big/d0/f", "start_line": next});
        let part = endpoint.call("read_file", arguments).await;
        let text = part["content"][0]["text"].as_str().unwrap().to_owned();
        let part = &part["structuredContent"];
        assert_eq!(part["total_lines"], 5000);
        let content = part["content"].as_str().unwrap();
        assert!(text.starts_with(content) && text.len() < 50_000);
        read.push_str(content);
        next = part["next_start_line"].clone();
        if next.is_null() {
            break;
        }
        assert!(text.ends_with(&format!("continue with start_line {next}]")), "{}", &text[content.len()..]);
    }
    assert_eq!(read, content);
    let found =
        endpoint.call("search_files", json!({"workspace": "web", "pattern": "line 4999$", "path": "big"})).await;
    assert_eq!(found["content"][0]["text"], "big/d0/f:4999:line 4999\n");
    let usage = endpoint.done("workspace_usage", json!({"workspace": "web"})).await;
    assert!(usage["memory"]["used"].is_u64() && usage["disk"]["limit"].is_u64(), "{usage}");
}

#[tokio::test]
async fn a_command_that_takes_longer_runs_on_where_that_is_wanted() {
    let endpoint = endpoint(EVERYTHING).await;
    endpoint.done("create_workspace", json!({"template": "blank", "name": "web"})).await;
    let line = "echo begun; sleep 3; echo done; exit 7";
    let arguments = json!({"workspace": "web", "command": line, "timeout_seconds": 1.0, "on_timeout": "background"});
    let ran = endpoint.call("run_command", arguments).await;
    let (text, result) = (ran["content"][0]["text"].as_str().unwrap(), &ran["structuredContent"]);
    assert_eq!((&result["stdout"], result.get("exit_code")), (&json!("begun\n"), None), "{result}");
    let id = &result["process_id"];
    let said =
        format!("still running as process {id}, for an hour at most; do not run it again; process_output has the rest");
    assert!(text.contains(&said), "{text}");
    let mut rest = String::new();
    loop {
        let arguments = json!({"workspace": "web", "process_id": id, "wait_seconds": 20, "offset": rest.len()});
        let output = endpoint.done("process_output", arguments).await;
        rest.push_str(output["output"].as_str().unwrap());
        if output["running"] == false {
            assert_eq!(output["exit_code"], 7);
            let file = output["stdout_file"].as_str().unwrap();
            assert_eq!(std::fs::read_to_string(file).unwrap(), "begun\ndone\n");
            break;
        }
    }
    assert_eq!(rest, "done\n");
    let listed = endpoint.done("list_processes", json!({"workspace": "web"})).await;
    assert_eq!(listed["processes"][0]["command"], line);
    let logs = endpoint.done("workspace_logs", json!({"workspace": "web"})).await;
    assert!(logs["lines"].to_string().contains("(echo) ended with exit code 7"), "{logs}");
}

#[tokio::test]
async fn background_processes_are_read_typed_to_and_stopped() {
    let endpoint = endpoint(EVERYTHING).await;
    endpoint.done("create_workspace", json!({"template": "blank", "name": "web"})).await;
    let line = "while read line; do echo \"got $line\"; done; echo end; exit 5";
    let started = endpoint.done("run_command", json!({"workspace": "web", "command": line, "background": true})).await;
    assert_eq!((started.get("exit_code"), &started["stdout"]), (None, &json!("")));
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
        ("whoami", json!({"verbose": true}), "whoami: there is no argument \"verbose\". Expected arguments: none"),
        ("get_workspace", json!({}), "workspace is missing. Expected arguments: workspace (string, required)"),
        (
            "get_workspace",
            json!({"workspace": 7}),
            "workspace must be text, not the number 7. Expected arguments: workspace",
        ),
        ("get_workspace", json!({"workspace": "web"}), "you have none yet: call create_workspace"),
        (
            "list_workspaces",
            json!({"status": "asleep"}),
            "status must be one of starting, running, stopping, stopped, failed, not \"asleep\"",
        ),
        ("create_workspace", json!({"template": "blank", "name": "My App"}), "such as \"my-app\""),
        (
            "run_command",
            json!({"workspace": "web", "cmd": "ls"}),
            "there is no argument \"cmd\"; did you mean command?",
        ),
        ("run_command", json!({"workspace": "web", "command": "ls", "timeout_seconds": 3600}), "give 1 to 55"),
        ("process_output", json!({"workspace": "web", "process_id": 1, "wait_seconds": 60}), "give 0 to 55"),
        ("read_file", json!({"workspace": "web", "path": "a", "max_bytes": 0}), "give 1 to 1048576"),
        ("workspace_logs", json!({"workspace": "web", "lines": 1001}), "give 1 to 1000"),
        ("get_template", json!({"template": "node"}), "there is no template \"node\"; the templates are: \"blank\""),
        ("write_file", json!({"workspace": "web", "path": "a"}), "content is missing"),
        (
            "run_command",
            json!({"workspace": "web", "command": "ls", "timeout_seconds": 5.5}),
            "timeout_seconds must be a whole number, not 5.5",
        ),
        ("list_files", json!({"workspace": "web", "path": ["a"]}), "path must be text, not a list"),
    ] {
        let text = endpoint.failed(tool, arguments).await;
        assert!(text.contains(said), "{text}");
    }
}

#[tokio::test]
async fn null_and_empty_text_are_absence_and_the_nearest_name_is_said() {
    let endpoint = endpoint(EVERYTHING).await;
    endpoint
        .done("create_workspace", json!({"template": "blank", "name": "web", "parameters": null, "wait": null}))
        .await;
    let listed = endpoint.ask("2025-11-25", "tools/list", json!({})).await.json();
    for tool in listed["result"]["tools"].as_array().unwrap() {
        let (name, schema) = (tool["name"].as_str().unwrap(), &tool["inputSchema"]);
        let required: Vec<&Value> = schema["required"].as_array().into_iter().flatten().collect();
        for nothing in [json!(null), json!("")] {
            let mut arguments = json!({});
            for argument in schema["properties"].as_object().unwrap().keys() {
                arguments[argument] =
                    if required.contains(&&json!(argument)) { json!({"never": 1}) } else { nothing.clone() };
            }
            let result = endpoint.call(name, arguments).await;
            let text = result["content"][0]["text"].as_str().unwrap();
            // Only what is required is complained of.
            let complaints = text.matches(" must be ").count();
            assert_eq!(
                (complaints, result["isError"] == true),
                (required.len(), !required.is_empty()),
                "{name}: {text}"
            );
        }
    }
    let found =
        endpoint.done("list_workspaces", json!({"status": "", "query": "", "limit": 10.0, "cursor": null})).await;
    assert_eq!(found["workspaces"].as_array().unwrap().len(), 1);
    let answer = endpoint.ask("2025-11-25", "tools/call", json!({"name": "run_comand", "arguments": {}})).await.json();
    assert_eq!(answer["error"]["message"], "there is no tool \"run_comand\"; did you mean run_command?");
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
