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
async fn the_pages_of_a_user_link_to_each_other() {
    let stage = Stage::with_workspaces(|_| {}).await;
    let mut ada = stage.signed_in("ada").await;
    stage.workspace("ada", "web").await;
    let pages = ["/console/", "/console/workspaces", "/agents"];
    for (path, current) in [
        (pages[0], "<a href=\"/console/\" aria-current=\"page\">Connect an agent</a>"),
        (pages[1], "<a href=\"/console/workspaces\" aria-current=\"page\">Workspaces</a>"),
        ("/console/workspaces/web", "<a href=\"/console/workspaces\" aria-current=\"true\">Workspaces</a>"),
        ("/console/workspaces/web/delete", "<a href=\"/console/workspaces\" aria-current=\"true\">Workspaces</a>"),
        (pages[2], "<a href=\"/agents\" aria-current=\"page\">Agents</a>"),
    ] {
        let html = ada.get(path).await.html;
        assert!(html.contains(current), "{path}: {html}");
        assert_eq!(html.matches("aria-current").count(), 1, "{path}: {html}");
        for other in pages {
            assert!(html.contains(&format!("<li><a href=\"{other}\"")), "{path} does not lead to {other}: {html}");
        }
        assert!(html.contains("action=\"/logout\""), "{path}: {html}");
    }
    assert!(!stage.browser().get("/console/").await.html.contains("<nav"), "without a session");
    stage.stop().await;
}

#[tokio::test]
async fn the_icon_is_at_the_root_of_the_host() {
    let stage = Stage::start().await;
    let page = stage.browser().get("/favicon.ico").await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "image/svg+xml"));
    assert!(page.html.starts_with("<svg") && page.header("cache-control").contains("max-age"), "{}", page.html);
    stage.stop().await;
    let stage = Stage::with(|config| config.url = format!("{}/team/mcp", config.url.origin()).parse().unwrap()).await;
    assert_eq!(stage.browser().get("/favicon.ico").await.status, 404, "the root is not this endpoint's");
    stage.stop().await;
}

#[tokio::test]
async fn typing_begins_in_the_first_empty_field() {
    let stage = Stage::start().await;
    let mut browser = stage.browser();
    let focused = |html: &str| {
        assert_eq!(html.matches(" autofocus").count(), 1, "{html}");
        let field = html.split("<input").find(|field| field.contains(" autofocus")).unwrap();
        field.split_once("name=\"").unwrap().1.split_once('"').unwrap().0.to_owned()
    };
    assert_eq!(focused(&browser.get("/login").await.html), "user");
    assert_eq!(focused(&browser.sign_in("/login", "ada", "wrong").await.html), "password", "the name is still there");
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
    assert_eq!(browser.get("/favicon.ico").await.status, 404);
    let page = stage.signed_in("ada").await.get("/agents").await;
    assert!(page.text().contains("Signed in as ada") && !page.html.contains("<nav"), "{}", page.html);
    stage.stop().await;
}
