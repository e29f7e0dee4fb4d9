//! More than was allowed.

use crate::{
    agent::{Answer, authorize, claims, parameter},
    stage::{SECRET, Stage},
};
use serde_json::{Value, json};

async fn tool(stage: &Stage, token: &str, name: &str) -> Answer {
    stage.call_at(0, token, "tools/call", json!({"name": name, "arguments": {}})).await
}

/// A scope that does not exist is asked for, or one with markup in it → the request is sent back with `invalid_scope`.
#[tokio::test]
async fn unknown_scopes() {
    let stage = Stage::start().await;
    let mut browser = stage.signed_in("ada").await;
    for scope in
        ["admin", "*", "workspaces:*", "workspaces:read admin", "WORKSPACES:READ", "<script>", "files:read,files:write"]
    {
        let page = browser.get(&authorize(&[("scope", scope)])).await;
        assert_eq!(parameter(page.location(), "error").unwrap(), "invalid_scope", "{scope}");
    }
    let form = [("grant_type", "client_credentials"), ("client_id", "backend"), ("client_secret", SECRET)];
    assert_eq!(stage.token(&[&form[..], &[("scope", "admin")]].concat()).await.error(), "invalid_scope");
    stage.stop().await;
}

/// A client asks for more than it may have → the page does not offer it, and the token does not have it.
#[tokio::test]
async fn more_than_the_client_may_have() {
    let stage = Stage::start().await;
    let mut browser = stage.signed_in("ada").await;
    let more = [("client_id", "reader"), ("scope", "workspaces:read workspaces:exec files:write")];
    let page = browser.get(&authorize(&more)).await;
    let offered = page.form("/consent").0.into_iter().filter(|(name, _)| name == "scope");
    assert_eq!(offered.map(|(_, value)| value).collect::<Vec<_>>(), ["workspaces:read"]);
    let code = parameter(&stage.consent(&mut browser, &more).await, "code").unwrap();
    let tokens = stage.redeem(&code, &[("client_id", "reader")]).await.tokens();
    assert_eq!(claims(&tokens.access)["scope"], "workspaces:read");
    let page = browser.get(&authorize(&[("client_id", "reader"), ("scope", "workspaces:exec")])).await;
    assert_eq!(parameter(page.location(), "error").unwrap(), "invalid_scope", "nothing is left");
    stage.stop().await;
}

/// The form of the consent page is sent with boxes that were not on it → refused.
#[tokio::test]
async fn boxes_that_were_not_on_the_page() {
    let stage = Stage::start().await;
    let mut browser = stage.signed_in("ada").await;
    let form = browser.get(&authorize(&[])).await.form("/consent").with("decision", "allow");
    for scope in ["workspaces:exec", "templates:read", "admin", "workspaces:read workspaces:exec", ""] {
        let page = browser.submit("/consent", &form.clone().with("scope", scope).0).await;
        assert_eq!(page.status, 400, "{scope}");
        assert!(!page.headers.contains_key("location"), "{scope}");
    }
    stage.stop().await;
}

/// The user unticks a scope → the token, its renewals and its introspection lack it, whatever the client asked for.
#[tokio::test]
async fn an_unticked_box_is_honoured() {
    let stage = Stage::start().await;
    let mut browser = stage.signed_in("ada").await;
    let form = browser.get(&authorize(&[])).await.form("/consent").without("scope").with("scope", "files:read");
    let page = browser.submit("/consent", &form.with("decision", "allow").0).await;
    let code = parameter(&stage.answered(&page), "code").unwrap();
    let tokens = stage.redeem(&code, &[("scope", "workspaces:read files:read")]).await.tokens();
    assert_eq!(claims(&tokens.access)["scope"], "files:read");
    let renewed = stage.refresh(&tokens.refresh, &[]).await;
    assert_eq!(renewed.json()["scope"], "files:read");
    stage.stop().await;
}

/// A tool is called whose scope the token lacks → 403 `insufficient_scope`, and the tool is not even listed.
#[tokio::test]
async fn a_tool_without_its_scope() {
    let stage = Stage::with(|setup| setup.workspaces = true).await;
    let tokens = stage.tokens().await;
    for name in ["create_workspace", "delete_workspace", "run_command"] {
        let answer = tool(&stage, &tokens.access, name).await;
        assert_eq!(answer.status, 403, "{name}: {}", answer.text);
        let challenge = answer.headers["www-authenticate"].to_str().unwrap();
        assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
    }
    let listed = stage.call(&tokens.access).await.json();
    let listed = listed["result"]["tools"].as_array().unwrap().iter().map(|tool| tool["name"].clone());
    let listed: Vec<Value> = listed.collect();
    assert!(listed.contains(&json!("list_workspaces")) && !listed.contains(&json!("run_command")), "{listed:?}");
    stage.stop().await;
}

/// A second grant with more scopes is consented to, to lift the first → each token has what its own grant has.
#[tokio::test]
async fn a_second_grant_does_not_lift_the_first() {
    let stage = Stage::with(|setup| setup.workspaces = true).await;
    let first = stage.tokens().await;
    let wide = stage.code(&[("scope", "workspaces:read workspaces:exec")]).await;
    let wide = stage.redeem(&wide, &[]).await.tokens();
    assert_ne!(tool(&stage, &wide.access, "run_command").await.status, 403);
    assert_eq!(tool(&stage, &first.access, "run_command").await.status, 403);
    let renewed = stage.refresh(&first.refresh, &[("scope", "workspaces:read workspaces:exec")]).await;
    assert_eq!(renewed.json()["scope"], "workspaces:read");
    stage.stop().await;
}

/// What another user allowed the same client is offered as allowed before → each user's grants count for that user only.
#[tokio::test]
async fn what_another_user_allowed() {
    let stage = Stage::start().await;
    let code = stage.code(&[("scope", "workspaces:exec files:write")]).await;
    assert_eq!(stage.redeem(&code, &[]).await.status, 200);
    let mut bob = stage.signed_in("bob").await;
    let page = bob.get(&authorize(&[("scope", "files:read")])).await;
    assert!(!page.text().contains("allowed before"), "{}", page.text());
    let form = page.form("/consent").with("scope", "workspaces:exec").with("decision", "allow");
    assert_eq!(bob.submit("/consent", &form.0).await.status, 400);
    stage.stop().await;
}

/// What the user allowed one client is used by another → asked anew, with nothing ticked over from the first.
#[tokio::test]
async fn what_was_allowed_to_another_client() {
    let stage = Stage::start().await;
    let mut browser = stage.signed_in("ada").await;
    let code = parameter(&stage.consent(&mut browser, &[("scope", "workspaces:exec")]).await, "code").unwrap();
    assert_eq!(stage.redeem(&code, &[]).await.status, 200);
    let page = browser.get(&authorize(&[("client_id", "other"), ("scope", "files:read")])).await;
    assert_eq!(page.status, 200, "never granted without asking");
    assert!(!page.text().contains("allowed before"), "{}", page.text());
    stage.stop().await;
}

/// A tool is named by position, in a list instead of an object, or the whole message is a list, so that the check reads
/// one tool and the call another → refused.
#[tokio::test]
async fn a_tool_by_position() {
    let stage = Stage::with(|setup| setup.workspaces = true).await;
    let tokens = stage.tokens().await;
    let command = json!({"workspace": "web", "command": "id"});
    for params in [
        json!(["whoami", command]),
        json!(["run_command", command]),
        json!(["whoami", "run_command", command]),
        json!([null, "run_command", command]),
    ] {
        let answer = stage.call_at(0, &tokens.access, "tools/call", params.clone()).await;
        assert_eq!(answer.status, 400, "{params}: {}", answer.text);
        let list = json!(["2.0", "tools/call", 1, params]);
        let request = stage.http.post(format!("{}/mcp", stage.origin)).bearer_auth(&tokens.access).json(&list);
        let answer = stage.send(request.header("Accept", "application/json, text/event-stream")).await;
        assert_eq!(answer.status, 400, "{params}: {}", answer.text);
    }
    stage.stop().await;
}
