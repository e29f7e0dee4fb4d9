//! The official conformance suite's judgement of the MCP edge, at the two revisions for which it says what a server
//! must do. Many of its scenarios call tools, prompts and resources of fixed names: `fixture` has them, behind the
//! product's own edge.

use crate::script;

mod fixture;
mod rounds;
mod tables;

use axum::{Extension, Router, extract::Request, routing::any};
use fixture::Fixture;
use portcullis_config::ServerConfig;
use portcullis_oauth::Caller;
use script::Script;
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio_util::sync::CancellationToken;

/// They need the server to ask the client something within a session of the old revisions. There are no sessions here.
const NEED_SESSIONS: [&str; 4] =
    ["elicitation-sep1034-defaults", "elicitation-sep1330-enums", "tools-call-elicitation", "tools-call-sampling"];

/// The fixture behind the edge, for as long as the test runs. What the server's door does is done here: it puts in who
/// calls.
async fn serve_fixture() -> String {
    let config = json!({
        "endpoint": "conformance", "url": "http://127.0.0.1:8080/mcp",
        "accessTokenLifetime": "15m", "refreshTokenLifetime": "720h", "refreshTokenIdle": "168h",
        "tools": {"allow": ["*"], "deny": []},
        "cors": {"allowedOrigins": [], "maxAge": "1h", "answeredHere": true},
        "limits": {
            "requestTimeout": "60s", "maxConcurrentRequests": 100, "requestsPerSecond": 10, "burst": 20,
            "maxBodySize": "1Mi"
        },
        "access": {"allowedCidrs": [], "trustedProxies": []}
    });
    let config: ServerConfig = serde_json::from_value(config).unwrap();
    let caller = Caller {
        client_id: "conformance".to_owned(),
        subject: "client:conformance".to_owned(),
        user_name: None,
        grant: None,
        scopes: BTreeSet::new(),
        issued_at: "2030-01-02T02:49:05Z".parse().unwrap(),
        expires_at: "2030-01-02T03:04:05Z".parse().unwrap(),
    };
    let endpoint = Arc::new(portcullis_mcp::Endpoint::offering(&config, Fixture::default(), CancellationToken::new()));
    let answer = move |request: Request| async move { endpoint.answer(request).await };
    let router: Router = Router::new().route("/mcp", any(answer)).layer(Extension(Arc::new(caller)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

/// What the suite said.
#[derive(Debug, Default, PartialEq)]
struct Verdict {
    /// How many scenarios are required. What the suite runs beside them, it runs for information.
    required: usize,
    /// Those that failed, and why.
    failed: BTreeMap<String, Vec<String>>,
    /// What it would like better.
    warnings: Vec<String>,
}

async fn judge(url: &str, revision: &str) -> Verdict {
    let mut suite = Script::start("clients/conformance.mjs", &[], &[]).await;
    let done = suite.must("server", json!({"url": url, "revision": revision})).await;
    let required: Vec<String> = serde_json::from_value(done["required"].clone()).unwrap();
    let mut verdict = Verdict { required: required.len(), ..Verdict::default() };
    for scenario in required {
        let checks = done["scenarios"][&scenario].as_array();
        let checks = checks.unwrap_or_else(|| panic!("{scenario} was not run:\n{}", done["text"]));
        assert!(!checks.is_empty(), "{scenario} checked nothing");
        for check in checks {
            let id = check["id"].as_str().unwrap().to_owned();
            match check["status"].as_str().unwrap() {
                "SUCCESS" | "INFO" => {}
                "WARNING" => verdict.warnings.push(id),
                status => {
                    let why = format!("{status} {id}: {}", check["errorMessage"]);
                    verdict.failed.entry(scenario.clone()).or_default().push(why);
                }
            }
        }
    }
    verdict
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_the_current_revision_requires() {
    let verdict = judge(&serve_fixture().await, "2026-07-28").await;
    assert_eq!(verdict, Verdict { required: 37, ..Verdict::default() });
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_the_revision_before_requires_but_what_needs_sessions() {
    let verdict = judge(&serve_fixture().await, "2025-11-25").await;
    assert_eq!(verdict.required, 30);
    assert_eq!(verdict.failed.keys().collect::<Vec<_>>(), NEED_SESSIONS, "{verdict:#?}");
    assert_eq!(verdict.warnings, ["server-sse-multiple-streams-session"], "{verdict:#?}");
}
