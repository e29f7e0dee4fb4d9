//! The landing page: reached from the endpoint's root and URL, and correct about the clients that the endpoint accepts.

use crate::pages::stage::Stage;
use serde_json::json;

#[tokio::test]
async fn the_root_and_the_url_of_the_endpoint_lead_to_the_landing_page() {
    let stage = Stage::start().await;
    let mut browser = stage.browser();
    for path in ["/", "/console"] {
        let page = browser.get(path).await;
        assert_eq!((page.status.as_u16(), page.path()), (303, "/console/"), "{path}");
    }
    let page = browser.get("/console/").await;
    let text = page.text();
    assert_eq!(page.status, 200);
    assert!(text.contains("Connect an agent") && text.contains(&stage.config.url.resource()), "{text}");
    assert!(text.contains("Sign in") && !text.contains("Sign out"), "{text}");
    assert!(text.contains("has no client for Cursor yet"), "this endpoint accepts no client of Cursor: {text}");
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("script"), "{policy}");

    let mut ada = stage.signed_in("ada").await;
    let page = ada.get("/console/").await;
    assert!(page.text().contains("Signed in as") && page.text().contains("Sign out"), "{}", page.text());
    assert_eq!(ada.submit("/logout", &page.form("/logout").0).await.status, 200);
    assert!(!ada.get("/console/").await.text().contains("Signed in as"));
    stage.stop().await;
}

#[tokio::test]
async fn agents_that_register_themselves_need_only_the_url() {
    let stage = Stage::with(|config| {
        config.client_policy = serde_json::from_value(json!({"dynamicRegistration": {}})).unwrap();
    })
    .await;
    let page = stage.browser().get("/console/").await;
    let url = stage.config.url.resource();
    assert!(page.html.contains("cursor://anysphere.cursor-deeplink/mcp/install?"), "{}", page.html);
    assert!(page.text().contains(&format!("claude mcp add --transport http agents {url}")), "{}", page.text());
    stage.stop().await;
}

#[tokio::test]
async fn an_endpoint_at_the_path_of_the_landing_page_keeps_working() {
    let stage = Stage::with(|config| config.url = format!("{}/console", config.url.origin()).parse().unwrap()).await;
    let mut browser = stage.browser();
    let refused = browser.get("/console").await;
    assert_eq!(refused.status, 401, "{}", refused.html);
    assert!(!refused.text().contains("Connect an agent"), "{}", refused.text());
    assert_eq!(browser.get("/").await.status, 404);
    stage.stop().await;
}
