//! Two users: neither sees, names, guesses or reaches the other's workspace by any tool. The table is the registry
//! itself, so that a new tool cannot be forgotten.

use crate::stage::{Stage, caller};
use portcullis::{api::Scope, tools::Definition};
use serde_json::{Map, Value, json};

/// What is nobody's.
const NOTHING: &str = "nothing-here";

/// The tools that name no workspace in an argument `workspace`, and how they are called by somebody who looks for the
/// other's.
fn without_workspace(tool: &str, target: &str) -> Option<Vec<Value>> {
    Some(match tool {
        "whoami" | "list_templates" => vec![json!({})],
        "get_template" => vec![json!({"template": "blank"}), json!({"template": target})],
        "list_workspaces" => vec![json!({}), json!({"query": target}), json!({"status": "running"})],
        "create_workspace" => vec![json!({"template": "blank", "name": target})],
        "search" => vec![json!({"query": target}), json!({"query": "xyzzy notes.txt ann workspace"})],
        "fetch" => vec![
            json!({"id": format!("workspace:{target}")}),
            json!({"id": format!("file:{target}/notes.txt")}),
            json!({"id": format!("file:{target}//etc/passwd")}),
        ],
        _ => return None,
    })
}

/// Arguments for a tool that works in a workspace: those that it must have.
fn arguments(definition: &Definition, target: &str, process_id: &Value) -> Value {
    let required = definition.input_schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    let value = |name: &str| match name {
        "workspace" => json!(target),
        "process_id" => process_id.clone(),
        "path" | "from" => json!("notes.txt"),
        "to" => json!("moved.txt"),
        "command" => json!("cat notes.txt; rm -rf ."),
        "pattern" | "old_text" => json!("xyzzy"),
        "content" | "text" | "new_text" => json!("gone"),
        _ => panic!("{}: say in this test what to give for {name}", definition.name),
    };
    let names = required.iter().filter_map(Value::as_str);
    Value::Object(names.map(|name| (name.to_owned(), value(name))).collect::<Map<_, _>>())
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_of_two_users_meets_the_other() {
    let stage = Stage::new().await;
    let (ann, bob) = (caller("ann", &Scope::ALL), caller("bob", &Scope::ALL));
    let plan = stage.done(&ann, "create_workspace", json!({"template": "blank", "name": "secret-plan"})).await;
    stage.done(&bob, "create_workspace", json!({"template": "blank", "name": "own"})).await;
    let at = |extra: Value| {
        let mut arguments = json!({"workspace": "secret-plan"});
        arguments.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        arguments
    };
    stage.done(&ann, "write_file", at(json!({"path": "notes.txt", "content": "the word is xyzzy\n"}))).await;
    let run = at(json!({"command": "sleep 300 # xyzzy", "background": true}));
    let process = stage.done(&ann, "run_command", run).await["process_id"].clone();
    let before = stage.done(&ann, "get_workspace", at(json!({}))).await;

    let id = plan["id"].as_str().unwrap();
    for definition in stage.definitions() {
        let tool = definition.name;
        let in_workspace = definition.input_schema["properties"].get("workspace").is_some();
        for target in ["secret-plan", id] {
            let calls = match without_workspace(tool, target) {
                Some(calls) => calls,
                None if in_workspace => vec![arguments(&definition, target, &process)],
                None => panic!("{tool}: say in this test how it could reach a workspace"),
            };
            for arguments in calls {
                let theirs = stage.call(&bob, tool, arguments.clone()).await;
                let blind = serde_json::from_str(&arguments.to_string().replace(target, NOTHING)).unwrap();
                if in_workspace || tool == "fetch" {
                    let nobodys = stage.call(&bob, tool, blind).await;
                    let theirs = theirs.unwrap_err();
                    assert_eq!(theirs.replace(target, NOTHING), nobodys.unwrap_err(), "{tool} {arguments}");
                    assert!(theirs.contains("there is no workspace"), "{tool}: {theirs}");
                    continue;
                }
                let said = theirs.map_or_else(|error| error, |answer| answer.to_string());
                // That he was told it himself is no secret.
                let asked = arguments.to_string();
                for secret in ["secret-plan", id, "xyzzy", "notes.txt", "local:ann"] {
                    assert!(asked.contains(secret) || !said.contains(secret), "{tool} {arguments}: {said}");
                }
                if tool == "create_workspace" {
                    let made: Value = serde_json::from_str(&said).unwrap();
                    assert_ne!(made["id"], plan["id"], "a name is taken for its owner only");
                    stage.done(&bob, "delete_workspace", json!({"workspace": target})).await;
                }
            }
        }
    }

    assert_eq!(stage.done(&ann, "get_workspace", at(json!({}))).await, before);
    let read = stage.done(&ann, "read_file", at(json!({"path": "notes.txt"}))).await;
    assert_eq!(read["content"], "the word is xyzzy\n");
    let processes = stage.done(&ann, "list_processes", at(json!({}))).await;
    assert_eq!(
        (&processes["processes"][0]["process_id"], &processes["processes"][0]["running"]),
        (&process, &json!(true))
    );
    let found = stage.done(&ann, "search", json!({"query": "xyzzy"})).await;
    assert_eq!(found["results"][0]["id"], "file:secret-plan/notes.txt", "it can be found, by her");
    stage.backend.shutdown().await;
}
