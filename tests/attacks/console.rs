//! Attacks on the pages of workspaces, and on the end of all access of a user.

use crate::{
    agent::parameter,
    driven::Browser,
    stage::{Stage, after},
};
use portcullis_oauth::{accounts::Accounts as _, grant::Grants as _};
use serde_json::json;

const LIST: &str = "/console/workspaces";
const EVERYWHERE: &str = "/agents/sign-out-everywhere";

/// What a browser says of a form that another site sent.
const CROSS_SITE: [&[(&str, &str)]; 4] = [
    &[("origin", "https://evil.test"), ("sec-fetch-site", "cross-site")],
    &[("origin", "null"), ("sec-fetch-site", "cross-site")],
    &[("origin", "https://app.example.com")],
    &[("sec-fetch-site", "same-site")],
];

/// A server with workspaces, and two users who each have one named `web`.
async fn scene() -> (Stage, Browser, Browser) {
    let stage = Stage::with(|setup| setup.workspaces = true).await;
    let mut browsers = Vec::new();
    for user in ["ada", "bob"] {
        let mut browser = stage.signed_in(user).await;
        let scope = [("scope", "workspaces:read workspaces:write templates:read")];
        let code = parameter(&stage.consent(&mut browser, &scope).await, "code").unwrap();
        let tokens = stage.redeem(&code, &[]).await.tokens();
        let arguments = json!({"template": "blank", "name": "web"});
        let params = json!({"name": "create_workspace", "arguments": arguments});
        assert_eq!(stage.call_at(0, &tokens.access, "tools/call", params).await.status, 200);
        browsers.push(browser);
    }
    let bob = browsers.pop().unwrap();
    (stage, browsers.pop().unwrap(), bob)
}

/// The id of the only workspace in a user's list.
async fn id(browser: &mut Browser) -> String {
    let html = browser.get(LIST).await.html;
    html.split_once(&format!("href=\"{LIST}/")).unwrap().1.split_once(['"', '/']).unwrap().0.to_owned()
}

async fn is_running(browser: &mut Browser) -> bool {
    browser.get(LIST).await.text().contains("web Running")
}

/// Another site stops, restarts or deletes the user's workspaces with the user's cookie, or by a link (CSRF) → refused, and
/// nothing changes.
#[tokio::test]
async fn forged_changes_of_workspaces() {
    let (stage, mut ada, _) = scene().await;
    let id = id(&mut ada).await;
    for action in ["stop", "restart", "delete"] {
        let path = format!("{LIST}/{id}/{action}");
        let form = ada.get(if action == "delete" { &path } else { LIST }).await.form(&path);
        for headers in CROSS_SITE {
            assert_eq!(ada.submit_from(&path, &form.0, headers).await.status, 403, "{path} {headers:?}");
        }
        assert_eq!(ada.submit(&path, &[]).await.status, 403, "{path} without a CSRF token");
        if action != "delete" {
            assert_eq!(ada.get(&path).await.status, 405, "{path}");
        }
    }
    assert!(is_running(&mut ada).await);
    stage.stop().await;
}

/// A user opens or changes another user's workspace, by its id, with forms of own ones → answered as for one that does not
/// exist, and nothing changes.
#[tokio::test]
async fn the_workspaces_of_another_user() {
    let (stage, mut ada, mut bob) = scene().await;
    let (own, theirs) = (id(&mut ada).await, id(&mut bob).await);
    assert_ne!(own, theirs);
    assert!(!ada.get(LIST).await.html.contains(&theirs));
    for below in ["", "/delete", "/activity"] {
        let path = format!("{LIST}/{theirs}{below}");
        let (refused, missing) = (ada.get(&path).await, ada.get(&path.replace(&theirs, "missing")).await);
        assert_eq!((refused.status.as_u16(), missing.status.as_u16()), (404, 404), "{path}");
        assert!(!refused.html.contains("blank"), "{}", refused.html);
    }
    for action in ["stop", "restart", "delete"] {
        let path = format!("{LIST}/{own}/{action}");
        let form = ada.get(if action == "delete" { &path } else { LIST }).await.form(&path);
        assert_eq!(ada.submit(&format!("{LIST}/{theirs}/{action}"), &form.0).await.status, 404, "{action}");
    }
    assert!(is_running(&mut bob).await && is_running(&mut ada).await);
    stage.stop().await;
}

/// The CSRF token of another browser, of another user or of a form that does less is used to stop or delete a workspace →
/// refused.
#[tokio::test]
async fn the_form_of_another_action() {
    let (stage, mut ada, mut bob) = scene().await;
    let (own, theirs) = (id(&mut ada).await, id(&mut bob).await);
    let stop = format!("{LIST}/{own}/stop");
    let form = ada.get(LIST).await.form(&stop);
    assert_eq!(ada.submit(&format!("{LIST}/{own}/delete"), &form.0).await.status, 403, "of a stop");
    let sign_out = ada.get(LIST).await.form("/logout");
    assert_eq!(ada.submit(&stop, &sign_out.0).await.status, 403, "of a sign-out");
    assert_eq!(ada.submit(EVERYWHERE, &sign_out.0).await.status, 403, "of a sign-out of one browser");
    assert_eq!(bob.submit(&format!("{LIST}/{theirs}/stop"), &form.0).await.status, 403, "of another user");
    let mut other = stage.signed_in("ada").await;
    assert_eq!(other.submit(&stop, &form.0).await.status, 403, "of another browser of the same user");
    assert!(is_running(&mut ada).await && is_running(&mut bob).await);
    stage.stop().await;
}

/// The pages of workspaces are opened or their forms sent without a session, with one that has expired, or after signing
/// out everywhere → the sign-in page, or refused.
#[tokio::test]
async fn workspaces_without_a_session() {
    let (stage, mut ada, _) = scene().await;
    let id = id(&mut ada).await;
    let stop = format!("{LIST}/{id}/stop");
    let form = ada.get(LIST).await.form(&stop);
    let mut none = stage.browser();
    for below in [String::new(), format!("/{id}"), format!("/{id}/delete"), format!("/{id}/activity")] {
        let path = format!("{LIST}{below}");
        assert!(none.get(&path).await.path().starts_with("/login?continue="), "{path}");
    }
    assert_eq!(none.submit(&stop, &form.0).await.status, 403);
    let mut copy = stage.browser();
    copy.cookie.clone_from(&ada.cookie);
    let everywhere = ada.get("/agents").await.form(EVERYWHERE);
    assert_eq!(ada.submit(EVERYWHERE, &everywhere.0).await.status, 200);
    assert!(copy.get(LIST).await.path().starts_with("/login"));
    assert_eq!(copy.submit(&stop, &form.0).await.status, 401);
    stage.clock.set(after(1));
    let mut again = stage.signed_in("ada").await;
    assert!(is_running(&mut again).await);
    let form = again.get(LIST).await.form(&stop);
    stage.clock.set(after(13 * 3600));
    assert!(again.get(LIST).await.path().starts_with("/login"));
    assert_eq!(again.submit(&stop, &form.0).await.status, 403);
    stage.stop().await;
}

/// Another site signs the user out everywhere, or a user does it to another → refused, and all agents and sessions stay.
#[tokio::test]
async fn a_forged_end_of_all_access() {
    let stage = Stage::start().await;
    let tokens = stage.tokens().await;
    let (mut ada, mut bob) = (stage.signed_in("ada").await, stage.signed_in("bob").await);
    let form = ada.get("/agents").await.form(EVERYWHERE);
    for headers in CROSS_SITE {
        assert_eq!(ada.submit_from(EVERYWHERE, &form.0, headers).await.status, 403, "{headers:?}");
    }
    assert_eq!(bob.submit(EVERYWHERE, &form.0).await.status, 403);
    assert_eq!(ada.get(EVERYWHERE).await.status, 405);
    assert_eq!(stage.status(&tokens.access).await, 200);
    assert!(ada.get("/agents").await.text().contains("Signed in as ada"));
    assert!(stage.state.account("local:ada").is_none());
    stage.stop().await;
}

/// A thief of a session or of a token goes on after the user signed out everywhere: at another replica, by a refresh, or by
/// an approval whose code is not redeemed yet → refused at every replica.
#[tokio::test]
async fn a_thief_after_the_end_of_all_access() {
    let stage = Stage::replicas(2).await;
    let tokens = stage.tokens().await;
    let mut thief = stage.signed_in("ada").await;
    let code = parameter(&stage.consent(&mut thief, &[]).await, "code").unwrap();
    let mut ada = stage.signed_in("ada").await;
    let form = ada.get("/agents").await.form(EVERYWHERE);
    assert_eq!(ada.submit(EVERYWHERE, &form.0).await.status, 200);
    for replica in 0..2 {
        thief.server.clone_from(&stage.replicas[replica]);
        let cookie = thief.cookie.clone();
        assert_eq!(thief.get("/agents").await.path(), "/login");
        thief.cookie = cookie;
        assert_eq!(stage.call_at(replica, &tokens.access, "tools/list", json!({})).await.status, 401);
        assert_eq!(stage.refresh_at(replica, &tokens.refresh, &[]).await.status, 400);
        assert_eq!(stage.redeem_at(replica, &code, &[]).await.status, 400);
    }
    assert!(stage.state.of_user("local:ada").iter().all(|grant| grant.revoked.is_some()));
    stage.stop().await;
}
