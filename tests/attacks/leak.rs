//! Secrets in the log. Every test of this program ends with this search; here is what it is worth.

use crate::{
    agent::{authorize, parameter},
    forge::encode,
    log::log,
    stage::{PASSWORD, SECRET, Stage, after},
};
use serde_json::{Value, json};

/// Somebody reads all that is logged, at the finest level and by every crate, of a whole life of a grant → no password,
/// secret, code, verifier, token, cookie, key or sealed text is in it.
#[tokio::test]
async fn the_log_of_a_whole_run() {
    let stage = Stage::start().await;
    let mut browser = stage.browser();
    let sign_in = browser.get(&authorize(&[])).await.path().to_owned();
    stage.secrets.keep(&parameter(&sign_in, "continue").unwrap());
    browser.sign_in(&sign_in, "ada", "not her password at all").await;
    stage.secrets.keep("not her password at all");
    let back = browser.sign_in(&sign_in, "ada", PASSWORD).await.path().to_owned();
    stage.keep_cookie(&browser);
    let form = browser.get(&back).await.form("/consent").with("decision", "allow");
    for (_, value) in form.0.iter().filter(|(name, _)| name == "form" || name == "request") {
        stage.secrets.keep(value);
    }
    let page = browser.submit("/consent", &form.0).await;
    let code = parameter(&stage.answered(&page), "code").unwrap();
    stage.redeem(&code, &[("code_verifier", "a-wrong-verifier-that-nobody-should-read-anywhere")]).await;
    let tokens = stage.redeem(&code, &[]).await.tokens();
    assert_eq!(stage.status(&tokens.access).await, 200);
    let next = stage.refresh(&tokens.refresh, &[]).await.tokens();
    stage.post("/introspect", &[("client_id", "backend"), ("client_secret", SECRET), ("token", &next.access)]).await;
    // Longer than a token may come again after an answer that was lost.
    stage.clock.set(after(130));
    stage.refresh(&tokens.refresh, &[]).await;
    assert_eq!(stage.status(&next.access).await, 401);
    for token in [&tokens.access, &next.access] {
        // The signature alone, and the claims alone, would be too much as well.
        token.split('.').for_each(|part| stage.secrets.keep(part));
    }
    assert!(stage.audit("refresh_token.replayed").iter().any(|event| event["grant"] == tokens.grant), "it is logged");
    stage.stop().await;
}

/// Secrets are put where they do not belong: a password as the user name, a secret as the client id, a token in a query
/// or a path → they are not logged either.
#[tokio::test]
async fn secrets_in_wrong_places() {
    let stage = Stage::start().await;
    let tokens = stage.tokens().await;
    let secret = "a-secret-in-a-place-where-it-does-not-belong";
    stage.secrets.keep(secret);
    let mut browser = stage.browser();
    browser.sign_in("/login", secret, "x").await;
    browser.get(&authorize(&[("client_id", secret)])).await;
    browser.get(&authorize(&[("scope", secret)])).await;
    browser.get(&authorize(&[("state", secret)])).await;
    browser.get(&format!("/login?continue={secret}")).await;
    browser.get(&format!("/login/{secret}")).await;
    browser.get(&format!("/login/{secret}/callback?code={secret}&state={secret}")).await;
    browser.get(&format!("/{secret}?{secret}")).await;
    stage.token(&[("grant_type", secret), ("client_id", secret), ("client_secret", secret)]).await;
    stage.token(&[("grant_type", "client_credentials"), ("client_id", secret)]).await;
    stage.token(&[("grant_type", "client_credentials"), ("client_id", "backend"), ("scope", secret)]).await;
    stage.send(stage.form(0, "/token", &[]).header("Authorization", format!("Basic {secret}"))).await;
    stage.post("/revoke", &[("client_id", "agent"), ("token", secret)]).await;
    stage.status(secret).await;
    stage.status(&format!("{0}.{0}.{0}", encode(secret))).await;
    stage.secrets.keep(&encode(secret));
    let query = stage.http.post(format!("{}/mcp?access_token={}", stage.origin, tokens.access)).json(&json!({}));
    stage.send(query).await;
    stage.call_at(0, &tokens.access, secret, json!({"name": secret})).await;
    stage.stop().await;
}

/// What an agent sends to its workspace, such as a token in an environment variable or on standard input, and what comes
/// back → not logged, at the finest level either.
#[tokio::test]
async fn what_agents_send_to_their_tools() {
    let stage = Stage::with(|setup| setup.workspaces = true).await;
    let code = stage.code(&[("scope", "workspaces:read workspaces:write workspaces:exec")]).await;
    let tokens = stage.redeem(&code, &[]).await.tokens();
    let call = async |name: &str, arguments: Value| {
        let answer =
            stage.call_at(0, &tokens.access, "tools/call", json!({"name": name, "arguments": arguments})).await;
        assert_eq!(answer.json()["result"]["isError"], false, "{}", answer.text);
        answer
    };
    call("create_workspace", json!({"template": "blank", "name": "web"})).await;
    let secret = "a-token-that-an-agent-hands-to-its-command";
    stage.secrets.keep(secret);
    let command = json!({"workspace": "web", "command": "cat; echo $TOKEN", "stdin": secret, "env": {"TOKEN": secret}});
    assert!(call("run_command", command).await.text.contains(secret));
    stage.stop().await;
}

/// The search finds nothing because there is nothing to search → what is in the log is found, down to the finest level.
#[tokio::test]
async fn the_search_itself() {
    let stage = Stage::start().await;
    let tokens = stage.tokens().await;
    assert_eq!(stage.secrets.find(), None);
    // No secret, and in the audit: as if it were one.
    stage.secrets.keep(&tokens.grant);
    let (found, line) = stage.secrets.find().unwrap();
    assert!(found == tokens.grant && line.contains("grant.created"), "{line}");
    let text = log().since(stage.secrets.since());
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for level in ["TRACE", "DEBUG", "INFO"] {
        assert!(lines.iter().any(|line| line["level"] == level), "{level}");
    }
    assert!(lines.iter().any(|line| line["target"].as_str().unwrap().starts_with("hyper")), "of other crates too");
}
