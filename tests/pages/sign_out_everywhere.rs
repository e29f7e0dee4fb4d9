//! Signing out everywhere: all sessions and all agents of one user end, at every server, and nothing of another user.

use crate::pages::{
    browser::Browser,
    stage::{CALLBACK, PASSWORD, Stage, VERIFIER, authorize, log, parameter, start_of_time},
};
use jiff::SignedDuration;
use portcullis_core::grant::RevocationReason;
use portcullis_oauth::{accounts::Accounts as _, grant::Grants as _};
use serde_json::Value;

const PATH: &str = "/agents/sign-out-everywhere";

/// Approves the agent, which has not yet redeemed its code.
async fn approve(browser: &mut Browser) -> String {
    let page = browser.get(&authorize(&[])).await;
    let page = browser.submit("/consent", &page.form("/consent").with("decision", "allow").0).await;
    page.location().to_owned()
}

async fn connect(stage: &Stage, browser: &mut Browser) -> Value {
    stage.redeem(&approve(browser).await).await
}

/// The status of a request to `/token`.
async fn token(stage: &Stage, form: &[(&str, &str)]) -> u16 {
    let request = reqwest::Client::new().post(format!("{}/token", stage.origin)).form(form);
    request.send().await.unwrap().status().as_u16()
}

fn text<'a>(tokens: &'a Value, name: &str) -> &'a str {
    tokens[name].as_str().unwrap()
}

#[tokio::test]
async fn all_sessions_and_agents_of_one_user_end() {
    let stage = Stage::start().await;
    let (mut laptop, mut telephone) = (stage.signed_in("ada").await, stage.signed_in("ada").await);
    let (first, second) = (connect(&stage, &mut laptop).await, connect(&stage, &mut telephone).await);
    let underway = approve(&mut telephone).await;
    let open = telephone.get("/agents").await.form("/agents/revoke");
    let mut bob = stage.signed_in("bob").await;
    let bobs = connect(&stage, &mut bob).await;

    let page = laptop.get("/agents").await;
    assert!(page.text().contains("signs you out in every browser"), "{}", page.text());
    let page = laptop.submit(PATH, &page.form(PATH).0).await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("You are signed out everywhere"), "{}", page.text());
    assert!(page.header("set-cookie").contains("Max-Age=0"));

    for browser in [&mut laptop, &mut telephone] {
        assert_eq!(browser.get("/agents").await.path(), "/login");
    }
    assert_eq!(telephone.submit("/agents/revoke", &open.0).await.status, 401, "a page that was open");
    for tokens in [&first, &second] {
        assert_eq!(stage.call(text(tokens, "access_token")).await, 401);
        let refresh = text(tokens, "refresh_token");
        let form = [("grant_type", "refresh_token"), ("refresh_token", refresh), ("client_id", "agent")];
        assert_eq!(token(&stage, &form).await, 400);
    }
    let code = parameter(&underway, "code").unwrap();
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &*code),
        ("redirect_uri", CALLBACK),
        ("client_id", "agent"),
        ("code_verifier", VERIFIER),
    ];
    assert_eq!(token(&stage, &form).await, 400, "an approval whose code was not yet redeemed");
    let grants = stage.state.of_user("local:ada");
    assert!(grants.iter().all(|grant| grant.revoked == Some(RevocationReason::ByUser)), "{grants:?}");
    assert_eq!(grants.len(), 2);
    assert!(log().audit("user.all_sessions_ended").iter().any(|event| event["user"] == "local:ada"));

    assert_eq!(bob.get("/agents").await.status, 200);
    assert_eq!(stage.call(text(&bobs, "access_token")).await, 200);

    // The same user is let in again.
    stage.clock.set(start_of_time() + SignedDuration::from_secs(1));
    assert_eq!(laptop.sign_in("/login", "ada", PASSWORD).await.path(), "/agents");
    let again = connect(&stage, &mut laptop).await;
    assert_eq!(stage.call(text(&again, "access_token")).await, 200);
    stage.stop().await;
}

#[tokio::test]
async fn another_site_or_browser_cannot_sign_a_user_out_everywhere() {
    let stage = Stage::start().await;
    let (mut ada, mut bob) = (stage.signed_in("ada").await, stage.signed_in("bob").await);
    let tokens = connect(&stage, &mut ada).await;
    let form = ada.get("/agents").await.form(PATH);
    let cross = [("origin", "https://evil.test"), ("sec-fetch-site", "cross-site")];
    assert_eq!(ada.submit_from(PATH, &form.0, &cross).await.status, 403);
    assert_eq!(bob.submit(PATH, &form.0).await.status, 403);
    let other = ada.get("/agents").await.form("/logout");
    assert_eq!(ada.submit(PATH, &other.0).await.status, 403, "the token of another form");
    assert_eq!(ada.get(PATH).await.status, 405, "a link");
    assert_eq!(stage.browser().submit(PATH, &form.0).await.status, 403);
    assert_eq!(stage.call(text(&tokens, "access_token")).await, 200);
    assert_eq!(ada.get("/agents").await.status, 200);
    assert!(stage.state.account("local:ada").is_none() && stage.state.account("local:bob").is_none());
    stage.stop().await;
}
