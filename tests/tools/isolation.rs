//! Two users: neither sees, names, guesses or reaches the other's workspace by any tool. The table is the registry
//! itself, so that a new tool cannot be forgotten.

use crate::tools::{
    probing::{NOTHING, Target, names_a_workspace, probes},
    stage::{Stage, caller},
};
use portcullis_core::Scope;
use serde_json::{Value, json};

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
        let schema = serde_json::to_value(&definition.input_schema).unwrap();
        for target in ["secret-plan", id] {
            for arguments in
                probes(tool, &schema, &Target { workspace: target, process_id: &process, template: "blank" })
            {
                let theirs = stage.call(&bob, tool, arguments.clone()).await;
                let blind = serde_json::from_str(&arguments.to_string().replace(target, NOTHING)).unwrap();
                if names_a_workspace(tool, &schema) {
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
