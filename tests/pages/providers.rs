//! Signing in at a provider and back. The provider is a stand-in for GitHub on this machine.

use crate::pages::stage::{Stage, authorize, log, parameter, start_of_time};
use axum::{
    Json, Router,
    http::StatusCode,
    routing::{get, post},
};
use jiff::SignedDuration;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::AbortHandle};

/// Answers as GitHub does for one user, who is in the organization `acme`.
struct GitHub {
    url: String,
    task: AbortHandle,
}

impl GitHub {
    async fn start() -> Self {
        let answer = |value: Value| move || std::future::ready(Json(value.clone()));
        let membership = json!([{"state": "active", "organization": {"login": "acme"}}]);
        let router = Router::new()
            .route(
                "/login/oauth/access_token",
                post(answer(json!({"access_token": "gho_secret", "token_type": "bearer"}))),
            )
            .route("/api/v3/user", get(answer(json!({"id": 583_231, "login": "octocat"}))))
            .route("/api/v3/user/memberships/orgs", get(answer(membership)))
            .fallback(StatusCode::NOT_FOUND);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }).abort_handle();
        Self { url, task }
    }
}

impl Drop for GitHub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn stage(github: &GitHub, organization: &str) -> Stage {
    let login = json!({"name": "hub", "github": {"url": github.url, "clientSecretRef": {"name": "github"},
        "allowedOrganizations": [organization]}});
    Stage::with(|config| config.login.push(serde_json::from_value(login).unwrap())).await
}

#[tokio::test]
async fn a_provider_signs_in_and_the_request_goes_on() {
    let github = GitHub::start().await;
    let stage = stage(&github, "acme").await;
    let mut browser = stage.browser();
    let sign_in = browser.get(&authorize(&[])).await.path().to_owned();
    let page = browser.get(&sign_in).await;
    assert!(page.text().contains("Continue with GitHub") && page.html.contains(">User name</label>"));
    let before = browser.cookie.clone();
    let link = page.html.split_once("href=\"/login/hub").unwrap().1.split_once('"').unwrap().0.to_owned();

    let page = browser.get(&format!("/login/hub{link}")).await;
    let location = page.location();
    assert!(location.starts_with(&format!("{}/login/oauth/authorize?", github.url)), "{location}");
    let callback = format!("{}/login/hub/callback", stage.origin);
    assert_eq!(parameter(location, "redirect_uri").unwrap(), callback, "by the configuration, whatever Host says");
    let state = parameter(location, "state").unwrap();

    let page = browser.get(&format!("/login/hub/callback?code=abc&state={state}")).await;
    let back = page.path().to_owned();
    assert!(back.starts_with("/authorize?"), "{back}");
    assert_ne!(browser.cookie, before, "a new session");
    assert!(browser.get(&back).await.text().contains("In your name: octocat"));
    assert!(log().audit("user.signed_in").iter().any(|event| event["user"] == "hub:583231"));
    let text = log().text();
    assert!(!text.contains("gho_secret") && !text.contains(&state) && !text.contains("github secret"));
    stage.stop().await;
}

#[tokio::test]
async fn an_answer_counts_in_the_browser_that_asked_only() {
    let github = GitHub::start().await;
    let stage = stage(&github, "acme").await;
    let mut mallory = stage.browser();
    let state = parameter(mallory.get("/login/hub").await.location(), "state").unwrap();
    let callback = format!("/login/hub/callback?code=abc&state={state}");

    // Mallory's answer in the browser of somebody else, who is here for the first time, has come before, or has signed in.
    let mut victim = stage.browser();
    let refused = victim.get(&callback).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("did not start this sign-in"), "{}", refused.text());
    victim.get("/login").await;
    assert_eq!(victim.get(&callback).await.status, 400);
    assert_eq!(victim.get("/agents").await.path(), "/login");
    let mut ada = stage.signed_in("ada").await;
    assert_eq!(ada.get(&callback).await.status, 400);
    assert!(ada.get("/agents").await.text().contains("Signed in as ada"));

    for query in ["", "code=abc", "code=abc&state=", &format!("code=abc&state={state}&state={state}")] {
        assert_eq!(mallory.get(&format!("/login/hub/callback?{query}")).await.status, 400, "{query}");
    }
    assert_eq!(mallory.get(&format!("/login/local/callback?code=abc&state={state}")).await.status, 400);
    assert_eq!(mallory.get(&callback).await.path(), "/agents");
    // Signing in made a new session: the same answer again is nobody's.
    assert_eq!(mallory.get(&callback).await.status, 400);

    let mut slow = stage.browser();
    let state = parameter(slow.get("/login/hub").await.location(), "state").unwrap();
    stage.clock.set(start_of_time() + SignedDuration::from_hours(1));
    assert_eq!(slow.get(&format!("/login/hub/callback?code=abc&state={state}")).await.status, 400);
    stage.stop().await;
}

#[tokio::test]
async fn what_goes_wrong_at_a_provider_is_said_with_the_way_back() {
    let github = GitHub::start().await;
    let stage = stage(&github, "another").await;
    let mut browser = stage.browser();
    let sign_in = browser.get(&authorize(&[])).await.path().to_owned();
    let begin = format!("/login/hub?{}", sign_in.split_once('?').unwrap().1);
    let mut answer = async |query: &str| {
        let state = parameter(browser.get(&begin).await.location(), "state").unwrap();
        let page = browser.get(&format!("/login/hub/callback?{query}&state={state}")).await;
        let way =
            page.html.split_once("href=\"/login?continue=").map(|(_, rest)| rest.split_once('"').unwrap().0.to_owned());
        let again = browser.get(&format!("/login?continue={}", way.unwrap())).await;
        assert!(again.text().contains("Claude wants to connect"), "the request is still there");
        page
    };
    let page = answer("code=abc").await;
    assert_eq!(page.status, 403);
    assert!(page.text().contains("octocat"), "{}", page.text());
    let page = answer("error=access_denied").await;
    assert_eq!(page.status, 400);
    let page = answer("error=%3Cscript%3E").await;
    assert!(page.status.is_server_error() && !page.html.contains("<script"));
    drop(github);
    tokio::task::yield_now().await;
    assert!(
        log().audit("sign_in.refused").iter().any(|event| event["reason"] == "not_allowed" && event["login"] == "hub")
    );

    for path in ["/login/none", "/login/local", "/login/none/callback?state=x"] {
        assert!(browser.get(path).await.status.is_client_error(), "{path}");
    }
    stage.stop().await;
}
