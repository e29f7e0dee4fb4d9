//! Users whose access an administrator ended with an `OAuthUser`, and others whose must not end by it.

use crate::{
    agent::{Tokens, authorize, parameter},
    driven::Browser,
    stage::{PASSWORD, SECRET, Stage, after},
};
use portcullis_api::OAuthUser;
use portcullis_core::grant::RevocationReason;
use portcullis_oauth::grant::Grants as _;
use serde_json::{Value, json};

const BACKEND: [(&str, &str); 2] = [("client_id", "backend"), ("client_secret", SECRET)];

/// What `kubectl apply` would bring to the servers.
fn user(name: &str, id: &str, rule: &Value) -> OAuthUser {
    let mut manifest = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "OAuthUser", "metadata": {"name": name},
        "spec": {"endpointRef": {"name": "agents"}, "user": {"id": id}},
    });
    manifest["spec"].as_object_mut().unwrap().extend(rule.as_object().unwrap().clone());
    serde_json::from_value(manifest).unwrap()
}

fn disabled(id: &str) -> OAuthUser {
    user("off", id, &json!({"disabled": true}))
}

fn not_before(name: &str, id: &str, second: i64) -> OAuthUser {
    user(name, id, &json!({"notBefore": after(second)}))
}

async fn why_revoked(stage: &Stage, grant: &str) -> Option<RevocationReason> {
    stage.state.read(grant).await.unwrap().unwrap().revoked
}

/// That an access token is refused by every replica, and says why.
async fn refused(stage: &Stage, access: &str, says: &str) {
    for replica in 0..stage.replicas.len() {
        let answer = stage.call_at(replica, access, "tools/list", json!({})).await;
        assert_eq!(answer.status, 401, "{}", answer.text);
        let challenge = answer.headers["www-authenticate"].to_str().unwrap();
        assert!(challenge.contains("invalid_token") && challenge.contains(says), "{challenge}");
    }
}

/// An agent of a disabled user goes on with its access token → 401 at every server with the next request, which says
/// that the account is disabled.
#[tokio::test]
async fn an_access_token_of_a_disabled_user() {
    let stage = Stage::replicas(2).await;
    let tokens = stage.tokens().await;
    assert_eq!(stage.status(&tokens.access).await, 200);
    stage.state.set_users(&[disabled("local:ada")]);
    refused(&stage, &tokens.access, "disabled").await;
    assert_eq!(why_revoked(&stage, &tokens.grant).await, Some(RevocationReason::UserDisabled));
    assert!(stage.audit("access_token.refused").iter().any(|event| event["reason"] == "user_disabled"));
    assert!(stage.audit("grant.ended").iter().any(|event| event["reason"] == "UserDisabled"));
    stage.stop().await;
}

/// An agent of a disabled user refreshes → refused at every server, and audited.
#[tokio::test]
async fn a_refresh_token_of_a_disabled_user() {
    let stage = Stage::replicas(2).await;
    let tokens = stage.tokens().await;
    stage.state.set_users(&[disabled("local:ada")]);
    for replica in 0..2 {
        let answer = stage.refresh_at(replica, &tokens.refresh, &[]).await;
        assert_eq!((answer.status.as_u16(), answer.error().as_str()), (400, "invalid_grant"));
        assert!(answer.text.contains("disabled"), "{}", answer.text);
    }
    let audit = stage.audit("refresh_token.refused");
    assert!(audit.iter().any(|event| event["user"] == "local:ada" && event["reason"] == "user_disabled"), "{audit:?}");
    stage.stop().await;
}

/// A code that was made before its user was disabled, or before `notBefore`, is redeemed after → refused, and no grant
/// is made.
#[tokio::test]
async fn a_code_of_an_ended_user() {
    for rule in [disabled("local:ada"), not_before("since", "local:ada", 1)] {
        let stage = Stage::start().await;
        let code = stage.code(&[]).await;
        stage.clock.set(after(2));
        stage.state.set_users(&[rule]);
        let answer = stage.redeem(&code, &[]).await;
        assert_eq!((answer.status.as_u16(), answer.error().as_str()), (400, "invalid_grant"), "{}", answer.text);
        assert!(stage.state.of_user("local:ada").is_empty());
        assert!(stage.audit("code.refused").iter().any(|event| event["user"] == "local:ada"));
        stage.stop().await;
    }
}

/// A code is approved with a session from before `notBefore`, at a server that has not heard of it yet, and redeemed
/// there → the grant ends with the session that gave it, as soon as the server hears.
#[tokio::test]
async fn a_grant_by_a_server_that_lags() {
    let stage = Stage::start().await;
    let mut browser = stage.signed_in("ada").await;
    stage.clock.set(after(100));
    // `notBefore` is 50: all of this happens after it.
    let code = parameter(&stage.consent(&mut browser, &[]).await, "code").unwrap();
    let tokens = stage.redeem(&code, &[]).await.tokens();
    stage.state.set_users(&[not_before("since", "local:ada", 50)]);
    refused(&stage, &tokens.access, "administrator").await;
    assert_eq!(why_revoked(&stage, &tokens.grant).await, Some(RevocationReason::UserEnded));
    stage.stop().await;
}

/// A disabled user uses an old session: approves an agent on a page that is open already, asks for a new page, lists the
/// connected agents → nothing of it works; the page says that the account is disabled and whom to ask.
#[tokio::test]
async fn an_old_session_of_a_disabled_user() {
    let stage = Stage::start().await;
    let mut browser = stage.signed_in("ada").await;
    let consent = browser.get(&authorize(&[])).await.form("/consent").with("decision", "allow");
    stage.state.set_users(&[disabled("local:ada")]);
    let page = browser.submit("/consent", &consent.0).await;
    assert_eq!(page.status, 403);
    assert!(page.html.contains("This account is disabled") && page.html.contains("agents"), "{}", page.html);
    assert!(!page.headers.contains_key("location"));
    for path in [authorize(&[]).as_str(), "/agents"] {
        let page = browser.get(path).await;
        assert!(page.location().contains("/login"), "{path}");
    }
    assert!(stage.audit("session.refused").iter().any(|event| event["user"] == "local:ada"));
    stage.stop().await;
}

async fn sign_in(stage: &Stage, user: &str) -> (Browser, u16, String) {
    let mut browser = stage.browser();
    let page = browser.get("/login").await;
    let form = page.form("/login").with("user", user).with("password", PASSWORD);
    let page = browser.submit("/login", &form.0).await;
    stage.keep_cookie(&browser);
    (browser, page.status.as_u16(), page.html)
}

/// A disabled user signs in with the right password → a page says that the account is disabled here, and the browser gets
/// no session; with a wrong password it says no more than to anybody.
#[tokio::test]
async fn sign_in_of_a_disabled_user() {
    let stage = Stage::start().await;
    stage.state.set_users(&[disabled("local:ada")]);
    let (mut browser, status, html) = sign_in(&stage, "ada").await;
    assert_eq!(status, 403);
    assert!(html.contains("This account is disabled") && html.contains("local:ada"), "{html}");
    assert!(browser.get("/agents").await.location().ends_with("/login"));
    assert!(stage.audit("sign_in.refused").iter().any(|event| event["reason"] == "user_disabled"));

    let mut guesser = stage.browser();
    let form = guesser.get("/login").await.form("/login").with("user", "ada").with("password", "a guess");
    let page = guesser.submit("/login", &form.0).await;
    assert!(page.status == 403 && !page.html.contains("disabled"), "{}", page.html);
    stage.stop().await;
}

/// A resource server asks about tokens of a disabled user → `active: false` and not a word more.
#[tokio::test]
async fn introspection_of_a_disabled_user() {
    let stage = Stage::start().await;
    let code = stage.code(&[("client_id", "backend")]).await;
    let tokens = stage.redeem(&code, &BACKEND).await.tokens();
    for (rule, active) in [(None, true), (Some(not_before("since", "local:ada", 0)), false)] {
        stage.state.set_users(&rule);
        for token in [&tokens.access, &tokens.refresh] {
            let answer = stage.post("/introspect", &[&BACKEND[..], &[("token", token)]].concat()).await;
            assert_eq!(answer.json()["active"], json!(active));
            assert!(active || answer.json() == json!({"active": false}), "{}", answer.text);
        }
    }
    stage.stop().await;
}

/// A user is disabled and enabled again, by an edit or by deleting the `OAuthUser` → no session, grant, code or token from
/// before counts again; what begins after does.
#[tokio::test]
async fn what_a_user_had_before_being_disabled() {
    for lift in [vec![], vec![not_before("off", "local:ada", 20)]] {
        let stage = Stage::start().await;
        let tokens = stage.tokens().await;
        let mut browser = stage.signed_in("ada").await;
        stage.clock.set(after(1));
        let code = parameter(&stage.consent(&mut browser, &[]).await, "code").unwrap();
        stage.clock.set(after(10));
        stage.state.set_users(&[disabled("local:ada")]);
        stage.clock.set(after(20));
        stage.state.set_users(&lift);

        assert_eq!(stage.status(&tokens.access).await, 401);
        assert_eq!(stage.refresh(&tokens.refresh, &[]).await.error(), "invalid_grant");
        assert_eq!(stage.redeem(&code, &[]).await.error(), "invalid_grant");
        assert!(browser.get("/agents").await.location().ends_with("/login"), "the session");
        assert!(!stage.counts(&tokens.grant));

        stage.clock.set(after(21));
        let again = stage.tokens().await;
        assert_eq!(stage.status(&again.access).await, 200);
        assert_eq!(stage.refresh(&again.refresh, &[]).await.status, 200);
        stage.stop().await;
    }
}

/// `notBefore` is lowered, or its `OAuthUser` deleted, to bring an ended agent back → its grant is marked as revoked and
/// stays so.
#[tokio::test]
async fn an_ended_grant_that_is_to_come_back() {
    let stage = Stage::start().await;
    let tokens = stage.tokens().await;
    stage.clock.set(after(100));
    stage.state.set_users(&[not_before("since", "local:ada", 50)]);
    for rules in [vec![not_before("since", "local:ada", -1000)], vec![]] {
        stage.state.set_users(&rules);
        assert_eq!(stage.status(&tokens.access).await, 401);
        assert_eq!(stage.refresh(&tokens.refresh, &[]).await.error(), "invalid_grant");
    }
    stage.stop().await;
}

/// Several `OAuthUser`s name one user, and a weaker one is added to lift a stronger one → the strictest counts.
#[tokio::test]
async fn a_weaker_rule_beside_a_strict_one() {
    let stage = Stage::start().await;
    let weak = not_before("weak", "local:ada", -1000);
    stage.state.set_users(&[disabled("local:ada"), weak.clone()]);
    let (_, status, _) = sign_in(&stage, "ada").await;
    assert_eq!(status, 403);
    stage.state.set_users(&[weak, not_before("strict", "local:ada", 60)]);
    let (_, status, html) = sign_in(&stage, "ada").await;
    assert_eq!(status, 401, "not before then: {html}");
    stage.stop().await;
}

/// An `OAuthUser` names a prefix of a user's id, the same in other letters, with other Unicode that looks the same, or the
/// same name at another login → the user goes on undisturbed.
#[tokio::test]
async fn an_id_that_looks_like_anothers() {
    let stage = Stage::start().await;
    let tokens: Tokens = stage.tokens().await;
    let ids = [
        "local:ad",
        "local:adaa",
        "local:Ada",
        "local:ADA",
        "local: ada",
        "local:ada ",
        "local:\u{430}da",
        "hub:ada",
        "ada",
        "local:ada\u{301}",
        "loca:ada",
        "*",
        "local:*",
    ];
    let rules: Vec<OAuthUser> =
        ids.iter().enumerate().map(|(index, id)| user(&format!("u{index}"), id, &json!({"disabled": true}))).collect();
    stage.state.set_users(&rules);
    assert_eq!(stage.status(&tokens.access).await, 200);
    let next = stage.refresh(&tokens.refresh, &[]).await.tokens();
    assert_eq!(stage.status(&next.access).await, 200);
    let (_, status, _) = sign_in(&stage, "ada").await;
    assert_eq!(status, 303);
    stage.stop().await;
}
