//! An endpoint on a socket, and a client for it.

use axum::{Extension, Router, extract::Request, routing::any};
use http::{HeaderMap, StatusCode};
use portcullis_config::ServerConfig;
use portcullis_core::{Scope, clock::SystemClock, rng::rng};
use portcullis_oauth::Caller;
use portcullis_tools::Registry;
use portcullis_workspaces::{
    Workspaces,
    local::{LocalOptions, LocalWorkspaces},
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

pub const STATELESS: &str = "2026-07-28";
pub const LEGACY: [&str; 3] = ["2025-03-26", "2025-06-18", "2025-11-25"];
pub const EVERYTHING: &[Scope] = &Scope::ALL;

/// A served endpoint.
pub struct Endpoint {
    pub url: String,
    pub client: reqwest::Client,
    server: tokio::task::JoinHandle<()>,
    pub state: TempDir,
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub fn config(change: impl FnOnce(&mut Value)) -> ServerConfig {
    let mut config = json!({
        "endpoint": "agents",
        "url": "http://127.0.0.1:8080/mcp",
        "accessTokenLifetime": "15m",
        "refreshTokenLifetime": "720h", "refreshTokenIdle": "168h",
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

pub async fn endpoint_with(config: ServerConfig, scopes: &[Scope], with_workspaces: bool) -> Endpoint {
    endpoint_behind(config, scopes, |local| with_workspaces.then_some(local)).await
}

/// An endpoint whose workspaces `choose` makes of local ones.
pub async fn endpoint_behind(
    config: ServerConfig,
    scopes: &[Scope],
    choose: impl FnOnce(Arc<dyn Workspaces>) -> Option<Arc<dyn Workspaces>>,
) -> Endpoint {
    let state = tempfile::tempdir().unwrap();
    let options =
        LocalOptions { state_dir: state.path().to_owned(), path: "/usr/bin:/bin".into(), user: "nobody".into() };
    let backend = LocalWorkspaces::open(options, Arc::new(SystemClock), rng()).await.unwrap();
    let backend = choose(Arc::new(backend));
    let caller = Caller {
        client_id: "tester".to_owned(),
        subject: "client:tester".to_owned(),
        user_name: None,
        grant: None,
        scopes: scopes.iter().copied().collect::<BTreeSet<_>>(),
        issued_at: "2030-01-02T02:49:05Z".parse().unwrap(),
        expires_at: "2030-01-02T03:04:05Z".parse().unwrap(),
    };
    let tools = Arc::new(Registry::new(&config, backend));
    let endpoint = Arc::new(portcullis_mcp::Endpoint::new(&config, tools, CancellationToken::new()));
    let answer = move |request: Request| async move { endpoint.answer(request).await };
    let router: Router = Router::new().route("/mcp", any(answer)).layer(Extension(Arc::new(caller)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    // For reqwest's clients: nobody else has chosen one in this process.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Endpoint { url, client: reqwest::Client::new(), server, state }
}

pub async fn endpoint(scopes: &[Scope]) -> Endpoint {
    endpoint_with(config(|_| {}), scopes, true).await
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    /// The message; where the call took long, that of the last event.
    pub fn json(&self) -> Value {
        let event = self.text.lines().filter_map(|line| line.strip_prefix("data:")).next_back();
        serde_json::from_str(event.unwrap_or(&self.text)).unwrap_or_else(|error| panic!("{error}: {:?}", self.text))
    }

    /// HTTP status and the JSON-RPC error's code.
    pub fn refusal(&self) -> (u16, i64) {
        let body = self.json();
        assert_eq!(body["jsonrpc"], "2.0");
        (self.status.as_u16(), body["error"]["code"].as_i64().unwrap_or_else(|| panic!("no error: {body}")))
    }
}

impl Endpoint {
    pub async fn send(&self, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Answer {
        let mut request = self.client.post(&self.url).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Answer { status, headers, text: response.text().await.unwrap() }
    }

    /// Sends a request as a client of `revision` does.
    pub async fn ask(&self, revision: &str, method: &str, params: Value) -> Answer {
        let (headers, body) = message(revision, method, params);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.send(&headers, body.to_string()).await
    }

    pub async fn call(&self, tool: &str, arguments: Value) -> Value {
        let answer = self.ask("2025-11-25", "tools/call", json!({"name": tool, "arguments": arguments})).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let result = answer.json()["result"].take();
        assert_ne!(result, Value::Null, "{}", answer.text);
        result
    }

    /// Calls a tool that must succeed.
    pub async fn done(&self, tool: &str, arguments: Value) -> Value {
        let mut result = self.call(tool, arguments).await;
        assert_eq!(result["isError"], false, "{result}");
        result["structuredContent"].take()
    }

    /// Calls a tool that must fail, and returns what it says.
    pub async fn failed(&self, tool: &str, arguments: Value) -> String {
        let result = self.call(tool, arguments).await;
        assert_eq!(result["isError"], true, "{result}");
        assert_eq!(result.get("structuredContent"), None, "an error has no result to hold against the schema");
        result["content"][0]["text"].as_str().unwrap().to_owned()
    }
}

pub fn message(revision: &str, method: &str, mut params: Value) -> (Vec<(&'static str, String)>, Value) {
    let mut headers = vec![
        ("content-type", "application/json".to_owned()),
        ("accept", "application/json, text/event-stream".to_owned()),
    ];
    if method != "initialize" {
        headers.push(("mcp-protocol-version", revision.to_owned()));
    }
    if revision == STATELESS {
        headers.push(("mcp-method", method.to_owned()));
        if let Some(name) = params["name"].as_str().or(params["uri"].as_str()) {
            headers.push(("mcp-name", name.to_owned()));
        }
        let meta = &mut params["_meta"];
        meta["io.modelcontextprotocol/protocolVersion"] = json!(revision);
        meta["io.modelcontextprotocol/clientInfo"] = json!({"name": "tester", "version": "1"});
        meta["io.modelcontextprotocol/clientCapabilities"] = json!({});
    }
    (headers, json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
}

pub const JSON: (&str, &str) = ("content-type", "application/json");
pub const BOTH: (&str, &str) = ("accept", "application/json, text/event-stream");
pub const WHOAMI: &str = r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"whoami"}}"#;
