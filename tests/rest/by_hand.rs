//! Every operation once, and what refusals are.

use crate::rest::stage::{Answer, Stage, answered};
use http::Method;
use serde_json::{Value, json};

const GET: Method = Method::GET;
const POST: Method = Method::POST;
const PUT: Method = Method::PUT;
const PATCH: Method = Method::PATCH;
const DELETE: Method = Method::DELETE;

#[tokio::test(flavor = "multi_thread")]
async fn a_workspaces_life() {
    let stage = Stage::start().await;
    let id = stage.workspace("web").await;
    let done = async |method: Method, path: &str, body: Option<Value>| {
        let answer = stage.send(method.clone(), path, body).await;
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.body);
        assert_eq!(answer.headers["content-type"], "application/json", "{method} {path}");
        answer.body
    };
    assert_eq!(done(GET, "/whoami", None).await["client_id"], "ci-agent");
    assert_eq!(done(GET, "/workspaces?status=running&limit=1", None).await["workspaces"][0]["id"], id);
    assert_eq!(done(GET, "/workspaces?query=nothing", None).await["workspaces"], json!([]));
    assert_eq!(done(GET, &format!("/workspaces/{id}"), None).await["name"], "web");
    assert!(
        done(GET, "/templates", None).await["templates"].as_array().unwrap().iter().any(|it| it["name"] == "blank")
    );
    assert_eq!(done(GET, "/templates/blank", None).await["name"], "blank");

    let file = json!({"path": "src/a.txt", "content": "one\ntwo\n"});
    assert_eq!(done(PUT, "/workspaces/web/files/content", Some(file)).await["created"], true);
    let edit = json!({"path": "src/a.txt", "old_text": "two", "new_text": "three"});
    assert_eq!(done(PATCH, "/workspaces/web/files/content", Some(edit)).await["replacements"], 1);
    let read = done(GET, "/workspaces/web/files/content?path=src/a.txt&start_line=2", None).await;
    assert_eq!(read["content"], "three\n");
    let found = done(POST, "/workspaces/web/files/search", Some(json!({"pattern": "thr.e"}))).await;
    assert_eq!(found["matches"].as_array().unwrap().len(), 1, "{found}");
    let listed = done(GET, "/workspaces/web/files?path=src", None).await;
    assert_eq!(listed["entries"].as_array().unwrap().len(), 1, "{listed}");
    done(POST, "/workspaces/web/files/move", Some(json!({"from": "src/a.txt", "to": "b.txt"}))).await;
    done(DELETE, "/workspaces/web/files?path=b.txt", None).await;
    done(DELETE, "/workspaces/web/files?path=src&recursive=true", None).await;

    let background = json!({"command": "read line; echo got $line", "background": true});
    let started = done(POST, "/workspaces/web/execute", Some(background)).await;
    let process = format!("/workspaces/web/processes/{}", started["process_id"]);
    done(POST, &format!("{process}/input"), Some(json!({"text": "hello\n"}))).await;
    let output = done(GET, &format!("{process}/output?wait_seconds=5&offset=0"), None).await;
    assert_eq!(output["output"], "got hello\n", "{output}");
    assert_eq!(done(GET, "/workspaces/web/processes", None).await["processes"].as_array().unwrap().len(), 1);
    done(DELETE, &process, None).await;
    done(GET, "/workspaces/web/usage", None).await;
    done(GET, "/workspaces/web/logs?lines=5", None).await;

    let results = done(GET, "/search?query=web", None).await;
    let found =
        results["results"].as_array().unwrap().iter().find(|hit| hit["title"].as_str().unwrap().contains("web"));
    let key = found.unwrap()["id"].as_str().unwrap();
    assert_eq!(done(GET, &format!("/fetch?id={key}"), None).await["id"], key);

    assert_eq!(done(POST, "/workspaces/web/stop", None).await["status"], "stopped");
    assert_eq!(done(POST, "/workspaces/web/start", None).await["status"], "running");
    assert_eq!(done(POST, "/workspaces/web/restart", None).await["status"], "running");
    assert_eq!(done(DELETE, "/workspaces/web", None).await["deleted"]["id"], id);
}

fn assert_problem(answer: &Answer, status: u16, reason: &str, said: &str) {
    let what = format!("{} {}", answer.status, answer.body);
    assert_eq!(answer.status, status, "{what}");
    assert_eq!(answer.headers["content-type"], "application/problem+json", "{what}");
    assert_eq!((&answer.body["type"], &answer.body["status"]), (&json!("about:blank"), &json!(status)), "{what}");
    assert_eq!(answer.body["reason"], reason, "{what}");
    assert!(answer.body["detail"].as_str().unwrap().contains(said), "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_told_as_a_problem() {
    let stage = Stage::start().await;
    stage.workspace("web").await;
    stage.workspace("down").await;
    stage.send(POST, "/workspaces/down/stop", None).await;
    for (method, path, body, (status, reason, said)) in [
        (GET, "/nothing", None, (404, "not_found", "openapi.json")),
        (GET, "/workspaces/web/", None, (404, "not_found", "openapi.json")),
        (PUT, "/workspaces", None, (405, "method_not_allowed", "GET, HEAD, POST")),
        (GET, "/workspaces/web/execute", None, (405, "method_not_allowed", "POST")),
        (GET, "/workspaces/api", None, (404, "not_found", "\"web\"")),
        (GET, "/workspaces/..%2Fweb", None, (404, "not_found", "there is no workspace")),
        (GET, "/workspaces?limit=many", None, (400, "invalid_arguments", "limit: \"many\"")),
        (GET, "/workspaces?colour=red", None, (400, "invalid_arguments", "there is no argument \"colour\"")),
        (POST, "/workspaces", Some(json!([])), (400, "invalid_arguments", "a JSON object")),
        (POST, "/workspaces", Some(json!({"template": "blank"})), (400, "invalid_arguments", "name is missing")),
        (
            POST,
            "/workspaces",
            Some(json!({"template": "blank", "name": "My App"})),
            (422, "invalid_value", "such as \"my-app\""),
        ),
        (POST, "/workspaces", Some(json!({"template": "blank", "name": "web"})), (409, "name_taken", "\"web\"")),
        (POST, "/workspaces", Some(json!({"template": "no", "name": "x"})), (404, "not_found", "template")),
        (
            POST,
            "/workspaces/web/execute",
            Some(json!({"command": "true", "workspace": "down"})),
            (400, "invalid_arguments", "workspace: it is in the path already"),
        ),
        (POST, "/workspaces/down/execute", Some(json!({"command": "true"})), (409, "not_running", "start_workspace")),
        (
            POST,
            "/workspaces/web/execute",
            Some(json!({"command": "true", "timeout_seconds": 100_000})),
            (422, "invalid_value", "timeout_seconds"),
        ),
        (GET, "/workspaces/web/files/content?path=none", None, (404, "not_found", "none")),
        (GET, "/workspaces/web/processes/x/output", None, (400, "invalid_arguments", "process_id")),
        (DELETE, "/workspaces/web/processes/77", None, (404, "not_found", "77")),
    ] {
        let answer = stage.send(method.clone(), path, body).await;
        println!("{method} {path}");
        assert_problem(&answer, status, reason, said);
        assert_eq!(answer.headers.contains_key("allow"), status == 405);
    }

    let url = format!("{}/workspaces/web/execute", stage.url);
    let post = || stage.client.post(&url).bearer_auth(&stage.token);
    let json = "application/json";
    for (request, (status, reason)) in [
        (post().body("{}"), (415, "unsupported_media_type")),
        (post().header("content-type", "text/plain").body("{}"), (415, "unsupported_media_type")),
        (post().header("content-type", json).body("{"), (400, "invalid_arguments")),
        (post().header("content-type", json).body(" ".repeat(33 << 20)), (413, "too_large")),
        (post().header("origin", "https://evil.example").body("{}"), (403, "origin_not_allowed")),
        (stage.client.post(&url).body("{}"), (401, "unauthenticated")),
        (stage.client.post(&url).bearer_auth("forged"), (401, "unauthenticated")),
    ] {
        let answer = answered(request).await;
        assert_problem(&answer, status, reason, "");
        assert_eq!(answer.headers.contains_key("www-authenticate"), status == 401);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_that_is_missing_is_asked_for() {
    let mut stage = Stage::start().await;
    stage.workspace("web").await;
    stage.token = stage.token_for(Some("workspaces:read")).await;
    assert_eq!(stage.send(GET, "/workspaces/web", None).await.status, 200);
    for (method, path, needed) in [
        (POST, "/workspaces", "workspaces:write"),
        (DELETE, "/workspaces/web", "workspaces:write"),
        (POST, "/workspaces/web/execute", "workspaces:exec"),
        (GET, "/workspaces/web/files", "files:read"),
        (PUT, "/workspaces/web/files/content", "files:write"),
        (GET, "/templates", "templates:read"),
    ] {
        let answer = stage.send(method, path, None).await;
        assert_problem(&answer, 403, "insufficient_scope", needed);
        let challenge = answer.headers["www-authenticate"].to_str().unwrap();
        assert!(challenge.starts_with("Bearer error=\"insufficient_scope\", "), "{challenge}");
        let asked = challenge.split("scope=\"").nth(1).unwrap().split('"').next().unwrap();
        let mut asked: Vec<&str> = asked.split(' ').collect();
        asked.sort_unstable();
        let mut expected = ["workspaces:read", needed];
        expected.sort_unstable();
        assert_eq!(asked, expected);
    }
}
