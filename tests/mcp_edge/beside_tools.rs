//! Prompts, resources, completion and subscriptions.

use crate::mcp_edge::endpoint::{EVERYTHING, STATELESS, config, endpoint, endpoint_with};
use portcullis_core::Scope;
use serde_json::{Value, json};

#[tokio::test]
async fn files_of_workspaces_are_resources() {
    let endpoint = endpoint(EVERYTHING).await;
    let made = endpoint.done("create_workspace", json!({"template": "blank", "name": "web"})).await;
    let home = format!("workspace://{}/", made["id"].as_str().unwrap());
    endpoint.done("write_file", json!({"workspace": "web", "path": "src/a b.txt", "content": "text\n"})).await;
    let bytes = json!({"workspace": "web", "path": "raw", "content": "AP8A", "encoding": "base64"});
    endpoint.done("write_file", bytes).await;
    let line = "seq 1 15000 > long; seq 1 60000 > longest";
    endpoint.done("run_command", json!({"workspace": "web", "command": line})).await;
    for revision in ["2025-11-25", STATELESS] {
        let listed = endpoint.ask(revision, "resources/list", json!({})).await.json();
        let listed = &listed["result"]["resources"];
        assert_eq!((&listed[0]["uri"], listed.as_array().unwrap().len()), (&json!(home), 1), "{listed}");
        let templates = endpoint.ask(revision, "resources/templates/list", json!({})).await.json();
        assert_eq!(templates["result"]["resourceTemplates"][0]["uriTemplate"], "workspace://{workspace}/{+path}");

        let read = async |uri: &str| {
            // The header Mcp-Name of the current revision carries the URI.
            endpoint.ask(revision, "resources/read", json!({"uri": uri})).await.json()
        };
        let text = read("workspace://web/src/a%20b.txt").await;
        let content = &text["result"]["contents"][0];
        assert_eq!((&content["text"], &content["mimeType"]), (&json!("text\n"), &json!("text/plain")), "{text}");
        assert_eq!(read("workspace://web/raw").await["result"]["contents"][0]["blob"], "AP8A");
        // More than read_file gives by itself, and more than a resource may have.
        let long = read("workspace://web/long").await;
        assert_eq!(long["result"]["contents"][0]["text"].as_str().map(str::len), Some(78_894), "{revision}");
        let longest = read("workspace://web/longest").await;
        assert!(longest["error"]["message"].as_str().unwrap().contains("too large for a resource"), "{longest}");
        let folder = read(&home).await;
        let entries: Value = serde_json::from_str(folder["result"]["contents"][0]["text"].as_str().unwrap()).unwrap();
        assert!(entries["entries"].as_array().unwrap().len() >= 2, "{entries}");
        let gone = if revision == STATELESS { -32602 } else { -32002 };
        for uri in ["workspace://web/none", "workspace://api/raw", "file:///etc/hosts"] {
            assert_eq!(read(uri).await["error"]["code"], gone, "{revision} {uri}");
        }
    }
}

#[tokio::test]
async fn prompts_follow_the_tools() {
    let names = |answer: Value| -> Vec<String> {
        let prompts = answer["result"]["prompts"].as_array().unwrap_or_else(|| panic!("{answer}")).clone();
        prompts.iter().map(|prompt| prompt["name"].as_str().unwrap().to_owned()).collect()
    };
    let all = ["start_project", "work_across_workspaces", "review_resource_use"];
    let every = endpoint(EVERYTHING).await;
    assert_eq!(names(every.ask(STATELESS, "prompts/list", json!({})).await.json()), all);
    let params = json!({"name": "start_project", "arguments": {"project": "a shop"}});
    let story = every.ask(STATELESS, "prompts/get", params).await.json();
    let text = story["result"]["messages"][0]["content"]["text"].as_str().unwrap();
    assert!(text.contains("create_workspace") && text.ends_with("project: a shop"), "{text}");
    let wrong = every.ask(STATELESS, "prompts/get", json!({"name": "start_project"})).await.json();
    assert_eq!(wrong["error"]["code"], -32602);

    let closed = config(|config| config["tools"]["deny"] = json!(["workspace_usage"]));
    let closed = endpoint_with(closed, EVERYTHING, true).await;
    assert_eq!(names(closed.ask(STATELESS, "prompts/list", json!({})).await.json()), all[..2]);

    let reader = endpoint(&[Scope::WorkspacesRead]).await;
    assert_eq!(names(reader.ask(STATELESS, "prompts/list", json!({})).await.json()), all[2..]);
    assert_eq!(reader.ask(STATELESS, "resources/list", json!({})).await.json()["result"]["resources"], json!([]));
    let step_up = reader.ask(STATELESS, "prompts/get", json!({"name": "work_across_workspaces"})).await;
    assert_eq!(step_up.status, 403);
    let step_up = reader.ask(STATELESS, "resources/read", json!({"uri": "workspace://web/x"})).await;
    assert_eq!(step_up.status, 403);
    assert!(step_up.headers["www-authenticate"].to_str().unwrap().contains("files:read"));
}

#[tokio::test]
async fn names_are_completed() {
    let endpoint = endpoint(EVERYTHING).await;
    for name in ["web", "worker", "api"] {
        endpoint.done("create_workspace", json!({"template": "blank", "name": name})).await;
    }
    let prompt = |name: &str| json!({"type": "ref/prompt", "name": name});
    let file = json!({"type": "ref/resource", "uri": "workspace://{workspace}/{+path}"});
    for (reference, name, typed, values) in [
        (prompt("start_project"), "template", "bl", json!(["blank"])),
        (prompt("start_project"), "project", "w", json!([])),
        (prompt("work_across_workspaces"), "workspaces", "w", json!(["web", "worker"])),
        (prompt("work_across_workspaces"), "workspaces", "api, we", json!(["api, web"])),
        (prompt("nothing"), "workspaces", "w", json!([])),
        (file.clone(), "workspace", "a", json!(["api"])),
        (file, "path", "a", json!([])),
    ] {
        let params = json!({"ref": reference, "argument": {"name": name, "value": typed}});
        let answer = endpoint.ask(STATELESS, "completion/complete", params).await.json();
        assert_eq!(answer["result"]["completion"]["values"], values, "{name} {typed}: {answer}");
    }
}

#[tokio::test]
async fn what_can_be_listened_to_is_acknowledged_and_ends_before_the_requests_time() {
    let endpoint =
        endpoint_with(config(|config| config["limits"]["requestTimeout"] = json!("2s")), EVERYTHING, true).await;
    let everything = json!({"toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true});
    let answer = endpoint.ask(STATELESS, "subscriptions/listen", json!({"notifications": everything})).await;
    let messages: Vec<Value> =
        answer.text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data:")?.trim()).ok()).collect();
    let [acknowledged, done] = &*messages else { panic!("{}", answer.text) };
    let accepted = &acknowledged["params"]["notifications"];
    assert_eq!(*accepted, json!({"toolsListChanged": true, "promptsListChanged": true}), "{acknowledged}");
    assert_eq!(done["result"]["resultType"], "complete", "{done}");

    // Revisions with sessions would be told on a stream of the session, and there is none.
    for (revision, expected) in [("2025-11-25", Value::Null), (STATELESS, json!(true))] {
        let (method, params) = if revision == STATELESS {
            ("server/discover", json!({}))
        } else {
            let client = json!({"name": "tester", "version": "1"});
            ("initialize", json!({"protocolVersion": revision, "capabilities": {}, "clientInfo": client}))
        };
        let answer = endpoint.ask(revision, method, params).await.json();
        assert_eq!(answer["result"]["capabilities"]["tools"]["listChanged"], expected, "{answer}");
    }
}
