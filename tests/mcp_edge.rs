//! The MCP endpoint over a real socket, as clients of all four revisions meet it. The caller is put in by the test,
//! as the server's token check does it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use axum::{Extension, Router};
use http::{HeaderMap, StatusCode};
use portcullis::{
    ambient::{SystemClock, rng},
    api::Scope,
    config::ServerConfig,
    mcp,
    oauth::Caller,
    workspaces::{
        Workspaces,
        local::{LocalOptions, LocalWorkspaces},
    },
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const STATELESS: &str = "2026-07-28";
const LEGACY: [&str; 3] = ["2025-03-26", "2025-06-18", "2025-11-25"];
const EVERYTHING: &[Scope] = &Scope::ALL;

/// A served endpoint.
struct Endpoint {
    url: String,
    client: reqwest::Client,
    server: tokio::task::JoinHandle<()>,
    state: TempDir,
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn config(change: impl FnOnce(&mut Value)) -> ServerConfig {
    let mut config = json!({
        "endpoint": "agents",
        "url": "http://127.0.0.1:8080/mcp",
        "accessTokenLifetime": "15m",
        "tools": {"allow": ["*"], "deny": []},
        "cors": {"allowedOrigins": [], "maxAge": "1h", "answeredHere": true},
        "limits": {
            "requestTimeout": "60s", "maxConcurrentRequests": 100, "requestsPerSecond": 10, "burst": 20,
            "maxBodySize": "64Ki"
        },
        "access": {"allowedCidrs": [], "trustedProxies": []}
    });
    change(&mut config);
    serde_json::from_value(config).unwrap()
}

async fn endpoint_with(config: ServerConfig, scopes: &[Scope], with_workspaces: bool) -> Endpoint {
    let state = tempfile::tempdir().unwrap();
    let options =
        LocalOptions { state_dir: state.path().to_owned(), path: "/usr/bin:/bin".into(), user: "nobody".into() };
    let backend = LocalWorkspaces::open(options, Arc::new(SystemClock), rng()).await.unwrap();
    let backend = with_workspaces.then(|| Arc::new(backend) as Arc<dyn Workspaces>);
    let caller = Caller {
        client_id: "tester".to_owned(),
        subject: "client:tester".to_owned(),
        scopes: scopes.iter().copied().collect::<BTreeSet<_>>(),
        expires_at: "2030-01-02T03:04:05Z".parse().unwrap(),
    };
    let router: Router = mcp::router(&config, backend, CancellationToken::new()).layer(Extension(Arc::new(caller)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Endpoint { url, client: reqwest::Client::new(), server, state }
}

async fn endpoint(scopes: &[Scope]) -> Endpoint {
    endpoint_with(config(|_| {}), scopes, true).await
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {:?}", self.text))
    }

    /// HTTP status and the JSON-RPC error's code.
    fn refusal(&self) -> (u16, i64) {
        let body = self.json();
        assert_eq!(body["jsonrpc"], "2.0");
        (self.status.as_u16(), body["error"]["code"].as_i64().unwrap_or_else(|| panic!("no error: {body}")))
    }
}

impl Endpoint {
    async fn send(&self, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Answer {
        let mut request = self.client.post(&self.url).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Answer { status, headers, text: response.text().await.unwrap() }
    }

    /// Sends a request as a client of `revision` does.
    async fn ask(&self, revision: &str, method: &str, params: Value) -> Answer {
        let (headers, body) = message(revision, method, params);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.send(&headers, body.to_string()).await
    }

    async fn call(&self, tool: &str, arguments: Value) -> Value {
        let answer = self.ask("2025-11-25", "tools/call", json!({"name": tool, "arguments": arguments})).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let result = answer.json()["result"].take();
        assert_ne!(result, Value::Null, "{}", answer.text);
        result
    }

    /// Calls a tool that must succeed.
    async fn done(&self, tool: &str, arguments: Value) -> Value {
        let mut result = self.call(tool, arguments).await;
        assert_eq!(result["isError"], false, "{result}");
        result["structuredContent"].take()
    }

    /// Calls a tool that must fail, and returns what it says.
    async fn failed(&self, tool: &str, arguments: Value) -> String {
        let result = self.call(tool, arguments).await;
        assert_eq!(result["isError"], true, "{result}");
        assert_eq!(result.get("structuredContent"), None, "an error has no result to hold against the schema");
        result["content"][0]["text"].as_str().unwrap().to_owned()
    }
}

fn message(revision: &str, method: &str, mut params: Value) -> (Vec<(&'static str, String)>, Value) {
    let mut headers = vec![
        ("content-type", "application/json".to_owned()),
        ("accept", "application/json, text/event-stream".to_owned()),
    ];
    if method != "initialize" {
        headers.push(("mcp-protocol-version", revision.to_owned()));
    }
    if revision == STATELESS {
        headers.push(("mcp-method", method.to_owned()));
        if let Some(name) = params["name"].as_str() {
            headers.push(("mcp-name", name.to_owned()));
        }
        let meta = &mut params["_meta"];
        meta["io.modelcontextprotocol/protocolVersion"] = json!(revision);
        meta["io.modelcontextprotocol/clientInfo"] = json!({"name": "tester", "version": "1"});
        meta["io.modelcontextprotocol/clientCapabilities"] = json!({});
    }
    (headers, json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
}

const JSON: (&str, &str) = ("content-type", "application/json");
const BOTH: (&str, &str) = ("accept", "application/json, text/event-stream");
const WHOAMI: &str = r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"whoami"}}"#;

#[tokio::test]
async fn what_is_no_message_gets_a_json_rpc_error() {
    let endpoint = endpoint(EVERYTHING).await;
    for (body, code) in [
        ("", -32700),
        ("{\"jsonrpc\"", -32700),
        ("<xml/>", -32700),
        ("[]", -32600),
        (&format!("[{WHOAMI}]"), -32600),
        ("{}", -32600),
        ("7", -32600),
        (r#"{"jsonrpc":"2.0","id":1}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":true,"method":"tools/list"}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, -32600),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}"#, -32602),
    ] {
        let answer = endpoint.send(&[JSON, BOTH], body.to_owned()).await;
        assert_eq!(answer.refusal(), (400, code), "{body}");
        assert_eq!(answer.headers["content-type"], "application/json", "{body}");
    }
    let wrong = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","arguments":[]}}"#;
    assert_eq!(endpoint.send(&[JSON, BOTH], wrong).await.refusal().1, -32602);
    let answer = endpoint.send(&[JSON, BOTH], "{").await;
    assert_eq!(answer.json()["id"], Value::Null);
}

#[tokio::test]
async fn headers_are_read_generously_and_refused_clearly() {
    let endpoint = endpoint(EVERYTHING).await;
    for accept in [
        &[][..],
        &[("accept", "application/json")],
        &[("accept", "*/*")],
        &[BOTH],
        &[("accept", "text/event-stream"), ("accept", "application/json;q=0.9")],
    ] {
        for content_type in ["application/json", "Application/JSON; charset=utf-8"] {
            let headers = [&[("content-type", content_type)], accept].concat();
            let answer = endpoint.send(&headers, WHOAMI).await;
            assert_eq!(answer.status, 200, "{headers:?} {}", answer.text);
            assert_eq!(answer.headers["content-type"], "application/json");
            assert_eq!(answer.json()["id"], "a");
        }
    }
    assert_eq!(endpoint.send(&[JSON, ("accept", "text/html")], WHOAMI).await.refusal(), (406, -32600));
    assert_eq!(endpoint.send(&[("content-type", "text/plain"), BOTH], WHOAMI).await.refusal(), (415, -32600));
    assert_eq!(endpoint.send(&[BOTH], WHOAMI).await.refusal(), (415, -32600));
    let large = format!("{WHOAMI}{}", " ".repeat(64 * 1024));
    assert_eq!(endpoint.send(&[JSON, BOTH], large).await.refusal(), (413, -32600));
    let wrong_host = endpoint.send(&[JSON, BOTH, ("host", "evil.example")], WHOAMI).await;
    assert_eq!(wrong_host.refusal(), (403, -32600));
    let wrong_revision = endpoint.send(&[JSON, BOTH, ("mcp-protocol-version", "2020-02-02")], WHOAMI).await;
    assert_eq!(wrong_revision.refusal(), (400, -32600));
    assert_eq!(wrong_revision.json()["id"], "a");
    let any_port = endpoint.send(&[JSON, BOTH, ("host", "localhost:9")], WHOAMI).await;
    assert_eq!(any_port.status, 200);
    for method in [reqwest::Method::GET, reqwest::Method::HEAD, reqwest::Method::DELETE, reqwest::Method::PUT] {
        let response = endpoint.client.request(method.clone(), &endpoint.url).send().await.unwrap();
        assert_eq!(response.status(), 405, "{method}");
        assert_eq!(response.headers()["allow"], "POST", "{method}");
    }
}

#[tokio::test]
async fn the_three_older_revisions_are_spoken() {
    let endpoint = endpoint(EVERYTHING).await;
    for revision in LEGACY {
        let params =
            json!({"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        let answer = endpoint.ask(revision, "initialize", params).await;
        let result = &answer.json()["result"];
        assert_eq!(result["protocolVersion"], revision);
        assert_eq!(result["serverInfo"]["name"], "portcullis");
        assert_eq!(result["serverInfo"]["version"], env!("CARGO_PKG_VERSION"));
        assert!(result["instructions"].as_str().unwrap().contains("run_command"));
        assert!(answer.headers.get("mcp-session-id").is_none());

        let initialized = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        let answer = endpoint.send(&[JSON, BOTH, ("mcp-protocol-version", revision)], initialized).await;
        assert_eq!(answer.status, 202);

        let tools = endpoint.ask(revision, "tools/list", json!({})).await.json();
        assert_eq!(tools["result"]["tools"].as_array().unwrap().len(), 9);
        assert_eq!(tools["result"].get("resultType"), None);
        let answer = endpoint.ask(revision, "tools/call", json!({"name": "whoami"})).await.json();
        assert_eq!(answer["result"]["structuredContent"]["client_id"], "tester");
        assert_eq!(answer["result"].get("resultType"), None);
        assert_eq!(endpoint.ask(revision, "ping", json!({})).await.json()["result"], json!({}));
        assert_eq!(endpoint.ask(revision, "no/such", json!({})).await.json()["error"]["code"], -32601);
    }
    // A newer or a much older client is offered one of these.
    for asked in ["2024-11-05", "2099-01-01"] {
        let params = json!({"protocolVersion": asked, "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
        let answer = endpoint.ask("2025-11-25", "initialize", params).await.json();
        assert_eq!(answer["result"]["protocolVersion"], "2025-11-25", "{asked}");
    }
}

#[tokio::test]
async fn the_stateless_revision_is_spoken() {
    let endpoint = endpoint(EVERYTHING).await;
    let discovered = endpoint.ask(STATELESS, "server/discover", json!({})).await.json();
    assert_eq!(discovered["result"]["supportedVersions"], json!(mcp::PROTOCOL_VERSIONS));
    assert_eq!(discovered["result"]["resultType"], "complete");
    assert_eq!(discovered["result"]["cacheScope"], "private");

    let listed = endpoint.ask(STATELESS, "tools/list", json!({})).await.json();
    assert_eq!(listed["result"]["cacheScope"], "private");
    assert!(listed["result"]["ttlMs"].as_u64().unwrap() > 0);
    assert_eq!(listed["result"]["resultType"], "complete");

    let called = endpoint.ask(STATELESS, "tools/call", json!({"name": "whoami"})).await;
    assert_eq!((called.status.as_u16(), &called.json()["result"]["resultType"]), (200, &json!("complete")));

    assert_eq!(endpoint.ask(STATELESS, "no/such", json!({})).await.refusal(), (404, -32601));
    assert_eq!(endpoint.ask(STATELESS, "ping", json!({})).await.refusal(), (404, -32601));
    assert_eq!(endpoint.ask(STATELESS, "tools/list", json!({"cursor": "x"})).await.refusal().1, -32602);

    // Headers must say what the body says.
    let (headers, body) = message(STATELESS, "tools/call", json!({"name": "whoami"}));
    for (name, value) in [
        ("mcp-method", Some("tools/list")),
        ("mcp-method", None),
        ("mcp-name", Some("run_command")),
        ("mcp-name", None),
    ] {
        let mut changed: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        changed.retain(|header| header.0 != name);
        changed.extend(value.map(|value| (name, value)));
        assert_eq!(endpoint.send(&changed, body.to_string()).await.refusal(), (400, -32020), "{name} {value:?}");
    }
    let mut other = body.clone();
    other["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2025-11-25");
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(endpoint.send(&headers, other.to_string()).await.refusal(), (400, -32020));

    let (headers, body) = message(STATELESS, "tools/list", json!({}));
    let body = body.to_string().replace(STATELESS, "2030-01-01");
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (*name, if value == STATELESS { "2030-01-01" } else { value })).collect();
    assert_eq!(endpoint.send(&headers, body).await.refusal(), (400, -32022));
}

#[tokio::test]
async fn only_what_is_listed_can_be_called() {
    let deny = config(|config| config["tools"] = json!({"allow": ["who*", "*_workspace"], "deny": ["delete_*"]}));
    let endpoint = endpoint_with(deny, EVERYTHING, true).await;
    let names = async |endpoint: &Endpoint| {
        let listed = endpoint.ask("2025-11-25", "tools/list", json!({})).await.json();
        let tools = listed["result"]["tools"].as_array().unwrap().clone();
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        names(&endpoint).await,
        ["whoami", "get_workspace", "create_workspace", "start_workspace", "stop_workspace"]
    );
    for revision in [STATELESS, "2025-11-25"] {
        let params = |name: &str| json!({"name": name, "arguments": {"workspace": "x"}});
        let hidden = endpoint.ask(revision, "tools/call", params("delete_workspace")).await;
        let absent = endpoint.ask(revision, "tools/call", params("remove_workspace")).await;
        assert_eq!(hidden.refusal().1, -32602);
        assert_eq!(hidden.status, absent.status);
        assert_eq!(hidden.text.replace("delete", "remove"), absent.text);
    }

    let bare = endpoint_with(config(|_| {}), EVERYTHING, false).await;
    assert_eq!(names(&bare).await, ["whoami"]);
}

#[tokio::test]
async fn a_missing_scope_hides_a_tool_and_asks_for_it_when_called() {
    let endpoint = endpoint(&[Scope::WorkspacesRead]).await;
    for revision in [STATELESS, "2025-11-25", "2025-03-26"] {
        let listed = endpoint.ask(revision, "tools/list", json!({})).await.json();
        let tools = listed["result"]["tools"].as_array().unwrap().clone();
        let names: Vec<&str> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["whoami", "list_workspaces", "get_workspace"]);

        for (tool, scope) in [
            ("list_templates", "workspaces:read templates:read"),
            ("create_workspace", "workspaces:read workspaces:write"),
            ("start_workspace", "workspaces:read workspaces:write"),
            ("stop_workspace", "workspaces:read workspaces:write"),
            ("delete_workspace", "workspaces:read workspaces:write"),
            ("run_command", "workspaces:read workspaces:exec"),
        ] {
            let answer = endpoint.ask(revision, "tools/call", json!({"name": tool, "arguments": {}})).await;
            assert_eq!(answer.status, 403, "{tool}");
            assert_eq!(answer.json()["id"], 1);
            let challenge = answer.headers["www-authenticate"].to_str().unwrap();
            assert!(challenge.starts_with("Bearer error=\"insufficient_scope\", "), "{challenge}");
            assert!(challenge.contains(&format!("scope=\"{scope}\"")), "{challenge}");
            let metadata = "resource_metadata=\"http://127.0.0.1:8080/.well-known/oauth-protected-resource/mcp\"";
            assert!(challenge.contains(metadata), "{challenge}");
        }
    }
}

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
        ("list_workspaces", json!({"status": "asleep"}), "unknown variant `asleep`, expected `running` or `stopped`"),
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

#[tokio::test]
async fn nobody_is_served_without_a_caller() {
    let router = mcp::router(&config(|_| {}), None, CancellationToken::new());
    let request = axum::extract::Request::post("/mcp")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(axum::body::Body::from(WHOAMI))
        .unwrap();
    let response = tower::ServiceExt::oneshot(router, request).await.unwrap();
    assert_eq!(response.status(), 500);
}
