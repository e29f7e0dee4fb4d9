//! What the protocol promises: errors, headers, revisions, who may call what.

use crate::mcp_edge::endpoint::{
    BOTH, EVERYTHING, Endpoint, JSON, LEGACY, STATELESS, WHOAMI, config, endpoint, endpoint_with, message,
};
use portcullis_core::Scope;
use portcullis_tools::Registry;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn what_is_no_message_gets_a_json_rpc_error() {
    let endpoint = endpoint(EVERYTHING).await;
    for (body, code) in [
        ("", -32700),
        ("{\"jsonrpc\"", -32700),
        ("<xml/>", -32700),
        ("[]", -32600),
        (&format!("[{}]", vec![WHOAMI; 51].join(",")), -32600),
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
async fn parameters_have_names_in_every_method() {
    let endpoint = endpoint(EVERYTHING).await;
    let methods = [
        ("initialize", json!(["2025-11-25", {}, {"name": "tester", "version": "1"}])),
        ("ping", json!([])),
        ("tools/list", json!([null])),
        ("tools/call", json!(["whoami", {}])),
        ("tools/call", json!([null, "whoami", {}, null])),
        ("tools/call", json!([{"name": "whoami"}])),
        ("tools/call", json!("whoami")),
        ("prompts/list", json!([])),
        ("prompts/get", json!(["start_project", {}])),
        ("resources/list", json!([])),
        ("resources/templates/list", json!([])),
        ("resources/read", json!(["workspace://web/"])),
        ("resources/subscribe", json!(["workspace://web/"])),
        ("completion/complete", json!([{"type": "ref/prompt", "name": "start_project"}, ["goal", ""]])),
        ("server/discover", json!([])),
        ("subscriptions/listen", json!([{}])),
        ("notifications/initialized", json!([])),
        ("notifications/cancelled", json!([1, "why"])),
        ("no/such/method", json!([])),
    ];
    for revision in LEGACY.into_iter().chain([STATELESS]) {
        for (method, params) in &methods {
            let (headers, mut body) = message(revision, method, json!({}));
            body["params"] = params.clone();
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let answer = endpoint.send(&headers, body.to_string()).await;
            assert_eq!(answer.refusal(), (400, -32602), "{revision} {method} {params}");
            let answer = answer.json();
            assert_eq!(answer["id"], 1, "{revision} {method} {params}");
            let said = answer["error"]["message"].as_str().unwrap();
            assert!(said.starts_with("params must be an object"), "{said}");
        }
    }
    let batch = format!(r#"[{WHOAMI}, {{"jsonrpc":"2.0","id":2,"method":"tools/call","params":["whoami", {{}}]}}]"#);
    let answers = endpoint.send(&[JSON, BOTH], batch).await.json();
    assert_eq!(answers[0]["result"]["structuredContent"]["client_id"], "tester");
    assert_eq!((&answers[1]["id"], &answers[1]["error"]["code"]), (&json!(2), &json!(-32602)));
}

#[tokio::test]
async fn batches_are_answered_where_the_revision_has_them() {
    let endpoint = endpoint(EVERYTHING).await;
    let batch = format!(
        r#"[{WHOAMI}, {{"jsonrpc":"2.0","method":"notifications/initialized"}}, {{"jsonrpc":"2.0","id":2,"method":"ping"}},
            {{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{{"name":"no_such_tool"}}}}, 7]"#
    );
    for headers in [&[JSON, BOTH][..], &[JSON, BOTH, ("mcp-protocol-version", "2025-03-26")]] {
        let answer = endpoint.send(headers, batch.clone()).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.headers["content-type"]),
            (200, &"application/json".parse().unwrap())
        );
        let answers = answer.json();
        let ids: Vec<&Value> = answers.as_array().unwrap().iter().map(|answer| &answer["id"]).collect();
        assert_eq!(ids, [&json!("a"), &json!(2), &json!(3), &Value::Null]);
        assert_eq!(answers[0]["result"]["structuredContent"]["client_id"], "tester");
        assert_eq!((&answers[2]["error"]["code"], &answers[3]["error"]["code"]), (&json!(-32602), &json!(-32600)));
    }
    let notes = r#"[{"jsonrpc":"2.0","method":"notifications/initialized"}]"#;
    let answer = endpoint.send(&[JSON, BOTH], notes).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (202, ""));
    for revision in ["2025-06-18", "2025-11-25", STATELESS] {
        let answer = endpoint.send(&[JSON, BOTH, ("mcp-protocol-version", revision)], batch.clone()).await;
        assert_eq!(answer.refusal(), (400, -32600), "{revision}");
    }
}

#[tokio::test]
async fn half_a_surrogate_pair_is_called_by_its_name() {
    let endpoint = endpoint(EVERYTHING).await;
    let call = r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"write_file",
        "arguments":{"workspace":"web","path":"f","content":"\ud800"}}}"#;
    let answer = endpoint.send(&[JSON, BOTH], call).await;
    assert_eq!(answer.refusal(), (400, -32600));
    assert_eq!(answer.json()["id"], "a");
    let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("lone surrogate, \\ud800 at byte"), "{message}");
    let answer = endpoint.send(&[JSON, BOTH], call.replace("write_file", "\\udfff")).await;
    assert_eq!(answer.refusal(), (400, -32700));
    assert!(answer.text.contains("lone surrogate"), "{}", answer.text);
}

#[tokio::test]
async fn initialize_is_about_the_revision_in_its_body() {
    let endpoint = endpoint(EVERYTHING).await;
    for header in ["2025-03-26", "2025-06-18", STATELESS, "2020-02-02", "nonsense"] {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
        let answer = endpoint.send(&[JSON, BOTH, ("mcp-protocol-version", header)], body.to_string()).await;
        assert_eq!(answer.status, 200, "{header}: {}", answer.text);
        assert_eq!(answer.json()["result"]["protocolVersion"], "2025-11-25", "{header}");
    }
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
        assert_eq!(tools["result"]["tools"].as_array().unwrap().len(), 26);
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
    assert_eq!(discovered["result"]["supportedVersions"], json!(portcullis_mcp::PROTOCOL_VERSIONS));
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
        ["whoami", "get_workspace", "create_workspace", "start_workspace", "stop_workspace", "restart_workspace"]
    );
    for revision in [STATELESS, "2025-11-25"] {
        let params = |name: &str| json!({"name": name, "arguments": {"workspace": "x"}});
        let hidden = endpoint.ask(revision, "tools/call", params("delete_workspace")).await;
        let absent = endpoint.ask(revision, "tools/call", params("remove_workspace")).await;
        assert_eq!(hidden.refusal().1, -32602);
        assert_eq!(hidden.status, absent.status);
        // The nearest name differs, and is never the hidden one.
        let before = |text: &str| text.split("; did you mean").next().unwrap().to_owned();
        assert_eq!(before(&hidden.text).replace("delete", "remove"), before(&absent.text));
        assert!(!absent.text.contains("delete_workspace"), "{}", absent.text);
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
        let reachable =
            ["whoami", "list_workspaces", "get_workspace", "workspace_usage", "workspace_logs", "search", "fetch"];
        assert_eq!(names, reachable);

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
async fn nobody_is_served_without_a_caller() {
    let config = config(|_| {});
    let tools = Arc::new(Registry::new(&config, None));
    let endpoint = portcullis_mcp::Endpoint::new(&config, tools, CancellationToken::new());
    let request = axum::extract::Request::post("/mcp")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(axum::body::Body::from(WHOAMI))
        .unwrap();
    let response = endpoint.answer(request).await;
    assert_eq!(response.status(), 500);
}

#[tokio::test]
async fn a_request_to_another_host_is_refused_with_the_remedy() {
    let config = config(|config| config["url"] = json!("https://mcp.example.com/mcp"));
    let endpoint = endpoint_with(config, EVERYTHING, false).await;
    let refused = endpoint.send(&[JSON, BOTH], WHOAMI).await;
    assert_eq!(refused.refusal(), (403, -32600));
    let said = refused.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(said.contains("send requests to https://mcp.example.com/mcp, or"), "{said}");
    assert!(said.ends_with("with the header Host: mcp.example.com"), "{said}");
    assert_eq!(endpoint.send(&[JSON, BOTH, ("host", "mcp.example.com")], WHOAMI).await.status, 200);
}
