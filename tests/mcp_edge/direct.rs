//! Plain tool calls are answered without rmcp's transport, with the same bytes.

use crate::mcp_edge::endpoint::{Answer, BOTH, EVERYTHING, Endpoint, JSON, LEGACY, endpoint};
use serde_json::{Value, json};

/// The answer to a plain call, and to one that has a member more, which rmcp ignores.
async fn both_ways(endpoint: &Endpoint, headers: &[(&'static str, &'static str)], call: &Value) -> [Answer; 2] {
    let mut surplus = call.clone();
    surplus["surplus"] = json!(true);
    let headers = [&[JSON], headers].concat();
    [endpoint.send(&headers, call.to_string()).await, endpoint.send(&headers, surplus.to_string()).await]
}

#[tokio::test]
async fn a_plain_call_is_answered_as_rmcp_answers_it() {
    let endpoint = endpoint(EVERYTHING).await;
    endpoint
        .ask(
            "2025-11-25",
            "tools/call",
            json!({"name": "create_workspace",
        "arguments": {"template": "blank", "name": "web"}}),
        )
        .await;
    let file = "\u{1F980} \"quoted\\\" \u{1} line\n".repeat(1000);
    for call in [
        json!({"name": "write_file", "arguments": {"workspace": "web", "path": "a.txt", "content": file}}),
        json!({"name": "write_file", "arguments": {"workspace": "web", "path": "a.svg", "content": "<svg/>"}}),
    ] {
        endpoint.ask("2025-11-25", "tools/call", call).await;
    }
    let params = [
        json!({"name": "whoami"}),
        json!({"name": "whoami", "arguments": null, "_meta": null}),
        json!({"name": "whoami", "arguments": {}, "_meta": {"example.com/trace": {"a": [1]}}}),
        json!({"name": "whoami", "arguments": {"surplus": 1}}),
        json!({"name": "whoami", "arguments": []}),
        json!({"name": "whoami", "_meta": 7}),
        json!({"name": "whoami", "_meta": {"progressToken": {}}}),
        json!({"name": "list_workspaces", "arguments": {"limit": 10.0}}),
        json!({"name": "get_workspace", "arguments": {"workspace": "none"}}),
        json!({"name": "read_file", "arguments": {"workspace": "web", "path": "a.txt"}}),
        json!({"name": "read_file", "arguments": {"workspace": "web", "path": "a.svg"}}),
        json!({"name": "no_such_tool", "arguments": {}}),
        json!({"name": "Whoami"}),
    ];
    for params in params {
        for id in [json!(1), json!(-7), json!(1.0), json!(1.5), json!("a\"\u{e9}"), json!(u64::MAX), json!(null)] {
            let call = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
            for headers in [&[BOTH][..], &[("accept", "application/json")], &[]] {
                let [plain, by_rmcp] = both_ways(&endpoint, headers, &call).await;
                assert_eq!((plain.status, &plain.text), (by_rmcp.status, &by_rmcp.text), "{call} {headers:?}");
                assert_eq!(plain.headers.get("content-type"), by_rmcp.headers.get("content-type"), "{call}");
            }
        }
    }
}

#[tokio::test]
async fn what_rmcp_refuses_is_refused() {
    let endpoint = endpoint(EVERYTHING).await;
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "whoami"}});
    let revisions = LEGACY.iter().chain(&["2026-07-28", "2024-11-05", "2020-02-02", "nonsense", ""]);
    for revision in revisions {
        let [plain, by_rmcp] = both_ways(&endpoint, &[BOTH, ("mcp-protocol-version", revision)], &call).await;
        assert_eq!((plain.status, plain.text), (by_rmcp.status, by_rmcp.text), "{revision}");
    }
    for host in
        ["evil.example", "localhost", "LOCALHOST:80", "localhost:99999", "localhost:", "localhostx", "[::1]:1", ""]
    {
        let [plain, by_rmcp] = both_ways(&endpoint, &[BOTH, ("host", host)], &call).await;
        assert_eq!((plain.status, plain.text), (by_rmcp.status, by_rmcp.text), "{host}");
    }
}
