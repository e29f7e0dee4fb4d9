//! Logouts that a provider tells of (OpenID Connect Back-Channel Logout 1.0), and those who pretend to be one.

use crate::{
    account::{USER, connected, with_tokens},
    ended::{through, with_provider},
    provider::{Provider, logout},
    stage::{Stage, after},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use portcullis_oauth::{accounts::Accounts as _, grant::Grants as _};
use serde_json::{Value, json};

const PATH: &str = "/login/sso/backchannel-logout";

/// Tells of a logout at one of the replicas.
async fn tell(stage: &Stage, path: &str, token: &str) -> u16 {
    let answer = stage.post(path, &[("logout_token", token)]).await;
    assert_eq!(answer.headers["cache-control"], "no-store");
    if answer.status != 200 {
        assert!(answer.json()["error"].is_string(), "{}", answer.text);
    }
    answer.status.as_u16()
}

fn signed(provider: &Provider, change: &Value) -> String {
    provider.world.lock().unwrap().sign(&logout(change))
}

/// A provider, and a browser that signed in there in the session `one`.
async fn in_a_session() -> (Provider, Stage, crate::driven::Browser) {
    let (provider, stage) = with_tokens().await;
    provider.change(|world| world.claims = json!({"sid": "one"}));
    let mut browser = stage.browser();
    through(&stage, &provider, &mut browser, "/login/sso").await;
    (provider, stage, browser)
}

async fn is_in(browser: &mut crate::driven::Browser) -> bool {
    let cookie = browser.cookie.clone();
    let status = browser.get("/agents").await.status;
    browser.cookie = cookie;
    status == 200
}

/// A session at the provider ends → the browser's session here ends at every server, also in a form that is open; other
/// sessions of the user and the grants go on, and the provider is asked about them.
#[tokio::test]
async fn a_session_that_ended_at_the_provider() {
    let (provider, stage, mut browser) = in_a_session().await;
    let open = browser.get("/agents").await.form("/logout");
    provider.change(|world| world.claims = json!({"sid": "two"}));
    let mut other = stage.browser();
    through(&stage, &provider, &mut other, "/login/sso").await;
    let tokens = connected(&stage, &provider).await;
    let token = signed(&provider, &json!({}));
    stage.secrets.keep(&token);
    assert_eq!(tell(&stage, PATH, &token).await, 200);
    assert!(!is_in(&mut browser).await && is_in(&mut other).await);
    let cookie = browser.cookie.clone();
    assert_eq!(browser.submit("/logout", &open.0).await.status, 200, "signing out is always possible");
    browser.cookie = cookie;
    stage.refresh(&tokens.refresh, &[]).await.tokens();
    assert_eq!(provider.world.lock().unwrap().refreshed.len(), 1, "the provider is asked at once");
    assert!(stage.audit("user.logged_out").iter().any(|event| event["user"] == USER && event["login"] == "sso"));
    stage.stop().await;
}

/// All sessions of a user end at the provider (no `sid`), or only the session is named (no `sub`) → those end.
#[tokio::test]
async fn a_logout_by_user_or_by_session() {
    for change in [json!({"sid": null}), json!({"sub": null})] {
        let (provider, stage, mut browser) = in_a_session().await;
        assert_eq!(tell(&stage, PATH, &signed(&provider, &change)).await, 200);
        assert!(!is_in(&mut browser).await, "{change}");
        stage.clock.set(after(1));
        provider.change(|world| {
            world.now = Some(after(1).as_second());
            world.claims = json!({"sid": "again"});
        });
        through(&stage, &provider, &mut browser, "/login/sso").await;
        assert!(is_in(&mut browser).await, "who signs in again is in: {change}");
        stage.stop().await;
    }
}

/// Somebody tells of a logout with a token of an unsigned or symmetric algorithm, of another key, or without a signature →
/// 400, and no session ends.
#[tokio::test]
async fn a_forged_logout_token() {
    let (provider, stage, mut browser) = in_a_session().await;
    let good = signed(&provider, &json!({}));
    let (message, signature) = good.rsplit_once('.').unwrap();
    let body = message.split_once('.').unwrap().1;
    let encode = |header: &Value| BASE64_URL_SAFE_NO_PAD.encode(header.to_string());
    let unsigned = format!("{}.{body}.", encode(&json!({"alg": "none"})));
    let symmetric = format!("{}.{body}.{signature}", encode(&json!({"alg": "HS256", "kid": "one"})));
    let other = BASE64_URL_SAFE_NO_PAD.encode(logout(&json!({"sub": "8"})).to_string());
    let header = message.split_once('.').unwrap().0;
    provider.change(|world| world.key.1 = "another".to_owned());
    let unknown_key = signed(&provider, &json!({}));
    let forged = [
        unsigned,
        symmetric,
        format!("{header}.{other}.{signature}"),
        format!("{message}."),
        unknown_key,
        String::new(),
        "a.b.c".to_owned(),
        "x".repeat(10_000),
    ];
    for token in forged {
        assert_eq!(tell(&stage, PATH, &token).await, 400, "{token}");
    }
    assert!(is_in(&mut browser).await);
    let refused = stage.audit("logout.refused");
    assert!(refused.iter().any(|event| event["login"] == "sso" && event["reason"] == "invalid_logout_token"));
    stage.stop().await;
}

/// A logout token of another issuer, for another client, that has expired or is of the future → 400, and no session ends.
#[tokio::test]
async fn a_logout_token_that_is_not_for_us_now() {
    let (provider, stage, mut browser) = in_a_session().await;
    let now = after(0).as_second();
    for change in [
        json!({"iss": "https://evil.test"}),
        json!({"iss": null}),
        json!({"aud": "them"}),
        json!({"aud": null}),
        json!({"exp": now - 61}),
        json!({"exp": null}),
        json!({"iat": now + 61}),
        json!({"iat": null}),
    ] {
        assert_eq!(tell(&stage, PATH, &signed(&provider, &change)).await, 400, "{change}");
    }
    assert!(is_in(&mut browser).await);
    stage.stop().await;
}

/// An ID token is passed off as a logout token: with a `nonce`, or without the event → 400, and no session ends.
#[tokio::test]
async fn an_id_token_as_a_logout_token() {
    let (provider, stage, mut browser) = in_a_session().await;
    let event = "http://schemas.openid.net/event/backchannel-logout";
    for change in [
        json!({"nonce": "n"}),
        json!({"nonce": null, "events": null}),
        json!({"events": {}}),
        json!({"events": {event: "yes"}}),
        json!({"events": [event]}),
        json!({"jti": null}),
        json!({"sub": null, "sid": null}),
    ] {
        assert_eq!(tell(&stage, PATH, &signed(&provider, &change)).await, 400, "{change}");
    }
    assert!(is_in(&mut browser).await);
    stage.stop().await;
}

/// A logout token passes for an ID token at the callback → refused: it has no nonce.
#[tokio::test]
async fn a_logout_token_as_an_id_token() {
    let (provider, stage) = with_tokens().await;
    let mut browser = stage.browser();
    let location = browser.get("/login/sso").await.location().to_owned();
    let state = crate::agent::parameter(&location, "state").unwrap();
    let query = provider.authorize(&location);
    let token = signed(&provider, &json!({}));
    let answer = json!({"access_token": "opaque-access-token", "token_type": "Bearer", "id_token": token});
    provider.change(|world| world.token_answer = Some((200, answer.to_string())));
    let page = browser.get(&format!("/login/sso/callback?{query}&state={state}")).await;
    assert!(page.status.is_server_error(), "{}", page.status);
    assert!(!is_in(&mut browser).await);
    stage.stop().await;
}

/// A logout token comes again, after the user signed in again → it ends nothing that began since.
#[tokio::test]
async fn a_logout_token_that_comes_again() {
    for change in [json!({}), json!({"sid": null})] {
        let (provider, stage, mut browser) = in_a_session().await;
        let token = signed(&provider, &change);
        assert_eq!(tell(&stage, PATH, &token).await, 200);
        stage.clock.set(after(2));
        provider.change(|world| {
            world.now = Some(after(2).as_second());
            world.claims = json!({"sid": "two"});
        });
        through(&stage, &provider, &mut browser, "/login/sso").await;
        assert_eq!(tell(&stage, PATH, &token).await, 200, "it still counts");
        assert!(is_in(&mut browser).await, "{change}");
        stage.stop().await;
    }
}

/// A logout token of one login's provider is sent to another login, to one without a provider, or to none → 400, and no
/// session ends.
#[tokio::test]
async fn a_logout_token_of_another_login() {
    let (provider, stage, mut browser) = in_a_session().await;
    let token = signed(&provider, &json!({}));
    for login in ["local", "hub", "none"] {
        assert_eq!(tell(&stage, &format!("/login/{login}/backchannel-logout"), &token).await, 400, "{login}");
    }
    let elsewhere = Provider::start().await;
    let other = with_provider(&elsewhere, &json!([])).await;
    assert_eq!(tell(&other, PATH, &token).await, 400, "another provider's");
    assert!(is_in(&mut browser).await);
    assert!(stage.audit("logout.refused").iter().any(|event| event["reason"] == "unknown_login"));
    other.stop().await;
    stage.stop().await;
}

/// A body that is too large, no form, or has the token twice or not at all → 400 before anything is verified.
#[tokio::test]
async fn what_is_no_logout() {
    let (provider, stage, mut browser) = in_a_session().await;
    let token = signed(&provider, &json!({}));
    let keys = provider.asked("jwks");
    let large = "x".repeat(20_000);
    for form in [
        &[][..],
        &[("logout_token", &*token), ("logout_token", &*token)],
        &[("logout_token", &*large)],
        &[("other", &*token)],
    ] {
        let answer = stage.post(PATH, form).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
    }
    let json = stage.http.post(format!("{}{PATH}", stage.origin)).json(&json!({"logout_token": token}));
    assert_eq!(stage.send(json).await.status, 400);
    assert_eq!(provider.asked("jwks"), keys);
    let get = stage.send(stage.http.get(format!("{}{PATH}", stage.origin))).await;
    assert_eq!(get.status, 405);
    assert!(is_in(&mut browser).await);
    stage.stop().await;
}

/// Somebody sends logouts in a flood → 429 by address, before a signature is verified.
#[tokio::test]
async fn a_flood_of_logouts() {
    let provider = Provider::start().await;
    let stage = crate::ended::with_provider_and(&provider, &json!([]), |setup| {
        setup.config.limits.requests_per_second = 1;
        setup.config.limits.burst = 5;
    })
    .await;
    let mut refused = 0;
    for _ in 0..20 {
        let answer = stage.post(PATH, &[("logout_token", "a.b.c")]).await;
        refused += usize::from(answer.status == 429);
    }
    assert_eq!(refused, 15);
    assert!(stage.state.of_user(USER).is_empty() && stage.state.account(USER).is_none());
    stage.stop().await;
}
