//! The same endpoint at another path (`spec.pathAliases`): whoever comes there is told of that URL, and of no other.

use crate::rest::stage::{Stage, answered};
use http::Method;
use serde_json::{Value, json};

/// The URL of the metadata that a challenge names.
fn named(challenge: &str) -> &str {
    challenge.split("resource_metadata=\"").nth(1).unwrap().split('"').next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_is_a_resource_of_its_own_to_its_clients() {
    let mut stage = Stage::start().await;
    let (own, alias) = (stage.url.clone(), stage.alias());
    let mut issuers = Vec::new();
    for url in [&own, &alias] {
        // RFC 9728: the challenge names the metadata, and the metadata the very URL that the client came to.
        for path in ["", "/workspaces"] {
            let answer = answered(stage.client.post(format!("{url}{path}")).json(&json!({}))).await;
            assert_eq!(answer.status, 401, "{url}{path}");
            let challenge = answer.headers["www-authenticate"].to_str().unwrap();
            let metadata = answered(stage.client.get(named(challenge))).await.body;
            assert_eq!(metadata["resource"], **url, "{url}{path}");
            issuers.push(metadata["authorization_servers"].clone());
        }
        // RFC 8707: a token may be asked for by that name, and counts everywhere.
        stage.token = stage.token_with(&[("resource", url)]).await;
        for at in [&own, &alias] {
            let listed = answered(stage.client.get(format!("{at}/workspaces")).bearer_auth(&stage.token)).await;
            assert_eq!(listed.status, 200, "{}", listed.body);
        }
    }
    assert!(issuers.iter().all(|issuer| *issuer == issuers[0]), "{issuers:?}");
    let other = stage.try_token_with(&[("resource", &format!("{own}/other"))]).await;
    assert_eq!(other["error"], "invalid_target", "{other}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_answers_as_the_endpoint_does() {
    let mut stage = Stage::start().await;
    let (own, alias) = (stage.url.clone(), stage.alias());
    let get = async |url: String| answered(stage.client.get(url).bearer_auth(&stage.token)).await;
    for path in ["/openapi.json", "/whoami", "/workspaces?limit=1", "/nothing", "/reference"] {
        let (mut one, mut other) = (get(format!("{own}{path}")).await, get(format!("{alias}{path}")).await);
        for body in [&mut one.body, &mut other.body] {
            // Each request has its own.
            body.as_object_mut().and_then(|body| body.remove("request_id"));
        }
        assert_eq!((one.status, one.body), (other.status, other.body), "{path}");
    }
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    let answer = answered(stage.client.post(&alias).bearer_auth(&stage.token).json(&ping)).await;
    assert_eq!((answer.status.as_u16(), &answer.body["id"]), (200, &json!(1)), "{}", answer.body);
    for near in [format!("{alias}s"), alias.replace("/http", ""), alias.replace("/api", "/API")] {
        assert_eq!(get(near.clone()).await.status, 404, "{near}");
    }

    // What was made is found below the URL at which it was made, and so is what a token lacks.
    let made: Value = json!({"template": "blank", "name": "web"});
    let request = stage.client.post(format!("{alias}/workspaces")).bearer_auth(&stage.token).json(&made);
    let answer = answered(request).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    assert!(answer.headers["location"].to_str().unwrap().starts_with(&format!("{alias}/workspaces/")));
    stage.token = stage.token_for(Some("workspaces:read")).await;
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "run_command", "arguments": {"workspace": "web", "command": "true"}}});
    for (method, url, body) in [
        (Method::POST, alias.clone(), call),
        (Method::POST, format!("{alias}/workspaces/web/execute"), json!({"command": "true"})),
    ] {
        let answer = answered(stage.client.request(method, &url).bearer_auth(&stage.token).json(&body)).await;
        assert_eq!(answer.status, 403, "{url}: {}", answer.body);
        let challenge = answer.headers["www-authenticate"].to_str().unwrap();
        assert!(
            named(challenge).ends_with("/.well-known/oauth-protected-resource/api/experimental/mcp/http"),
            "{challenge}"
        );
    }
}
