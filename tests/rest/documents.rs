//! What the interface says of itself: to programs and to people.

use crate::rest::stage::{Stage, answered};
use serde_json::{Value, json};

/// All operations of the document.
fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, item)| {
            item.as_object().unwrap().iter().map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_tool_is_an_operation_and_the_documents_are_public() {
    let stage = Stage::start().await;
    let document = answered(stage.client.get(format!("{}/openapi.json", stage.url))).await;
    assert_eq!(document.status, 200);
    assert_eq!(document.headers["access-control-allow-origin"], "*", "there is no origin list in this manifest");
    let document = document.body;
    assert_eq!((&document["openapi"], &document["servers"][0]["url"]), (&json!("3.1.0"), &json!(stage.url)));

    // As the tools say it over MCP.
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let tools = answered(stage.client.post(&stage.url).bearer_auth(&stage.token).json(&message)).await.body;
    let mut tools: Vec<&str> =
        tools["result"]["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    let operations = operations(&document);
    let mut ids: Vec<&str> =
        operations.iter().map(|(_, _, operation)| operation["operationId"].as_str().unwrap()).collect();
    tools.sort_unstable();
    ids.sort_unstable();
    assert_eq!(ids, tools);

    for (path, method, operation) in &operations {
        let parameters = operation["parameters"].as_array().unwrap();
        let in_path: Vec<&str> = parameters
            .iter()
            .filter(|parameter| parameter["in"] == "path" && parameter["required"] == true)
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        let named: Vec<&str> =
            path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}')).collect();
        assert_eq!(in_path, named, "{method} {path}: the tool has an argument for each segment");
        let body = &operation["requestBody"]["content"]["application/json"]["schema"]["properties"];
        assert!(named.iter().all(|name| body.get(name).is_none()), "{method} {path}");
    }
    let flows = &document["components"]["securitySchemes"]["oauth"]["flows"];
    let issuer = stage.url.strip_suffix("/mcp").unwrap();
    assert_eq!(flows["clientCredentials"]["tokenUrl"], format!("{issuer}/token"));

    let page = answered(stage.client.get(format!("{}/reference", stage.url))).await;
    let html = page.body.as_str().unwrap();
    assert_eq!(page.status, 200);
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-") && !html.contains("<script"), "{policy}");
    for (path, method, _) in operations {
        let line = format!("{} {path}", method.to_uppercase());
        assert!(html.contains(&line), "{line}");
    }
}
