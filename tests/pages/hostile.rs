//! Requests that are made to harm: frames, injected markup, headers, places to be sent to, sizes.

use crate::pages::stage::{CALLBACK, HOSTILE_NAME, PASSWORD, Stage, authorize, parameter};
use reqwest::Method;

#[tokio::test]
async fn every_page_and_every_error_is_closed_to_frames_scripts_and_caches() {
    let stage = Stage::start().await;
    let mut browser = stage.signed_in("ada").await;
    let mut pages = Vec::new();
    for path in
        ["/login", "/agents", &authorize(&[]), &authorize(&[("client_id", "x")]), "/login/none", "/login/hub/callback"]
    {
        pages.push((path.to_owned(), browser.get(path).await));
    }
    pages.push(("redirect".to_owned(), stage.browser().get(&authorize(&[])).await));
    for path in ["/consent", "/logout", "/agents/revoke", "/login", "/agents"] {
        pages.push((format!("POST {path}"), browser.submit(path, &[]).await));
    }
    pages.push(("GET /consent".to_owned(), browser.get("/consent").await));
    pages.push(("/assets/none".to_owned(), browser.get("/assets/none").await));
    for (path, page) in &pages {
        let policy = page.header("content-security-policy");
        for part in [
            "default-src 'none'",
            "style-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'self'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("script-src") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(page.header("x-frame-options"), "DENY", "{path}");
        assert_eq!(page.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(page.header("referrer-policy"), "same-origin", "{path}");
        assert_eq!(page.header("cross-origin-opener-policy"), "same-origin", "{path}");
        assert_eq!(page.header("cache-control"), "no-store", "{path}");
        assert!(!page.headers.contains_key("access-control-allow-origin"), "{path}");
        assert!(!page.html.contains("<script") && !page.html.contains(" style="), "{path}");
    }
    stage.stop().await;
}

#[tokio::test]
async fn refusals_before_the_pages_are_pages_too() {
    let stage = Stage::with(|config| {
        config.limits.requests_per_second = 1;
        config.limits.burst = 2;
    })
    .await;
    let mut browser = stage.browser();
    let mut page = browser.get("/login").await;
    for _ in 0..3 {
        page = browser.get("/login").await;
    }
    assert_eq!(page.status, 429);
    assert!(page.html.starts_with("<!doctype html>") && page.headers.contains_key("retry-after"));
    assert_eq!(page.header("x-frame-options"), "DENY");
    stage.stop().await;
}

#[tokio::test]
async fn nobody_is_sent_on_unasked_to_where_a_client_registered_itself() {
    let stage = Stage::start().await;
    stage.register("dyn-1", "Some agent", CALLBACK).await;
    let mut browser = stage.browser();
    let wrong = ("response_type", "token");
    let sent = browser.get(&authorize(&[("client_id", "agent"), wrong])).await;
    assert!(sent.location().contains("error=unsupported_response_type"), "{}", sent.html);
    let page = browser.get(&authorize(&[("client_id", "dyn-1"), wrong])).await;
    assert_eq!((page.status.as_u16(), page.headers.get("location")), (400, None));
    assert!(page.html.contains("Back to the agent") && page.html.contains("error=unsupported_response_type"));
    stage.stop().await;
}

#[tokio::test]
async fn what_others_write_is_text_and_nothing_else() {
    let stage = Stage::start().await;
    stage.register("dyn-1", HOSTILE_NAME, CALLBACK).await;
    let mut browser = stage.browser();
    for client in ["hostile", "dyn-1"] {
        browser.cookie = None;
        let state = "\"><script>alert(2)</script>";
        let page = browser.get(&authorize(&[("client_id", client), ("state", state)])).await;
        let sign_in = page.path().to_owned();
        let page = browser.get(&sign_in).await;
        assert!(!page.html.contains("<script") && !page.html.contains('\u{202e}'), "{}", page.html);
        let page = browser.sign_in(&sign_in, "ada", PASSWORD).await;
        let back = page.path().to_owned();
        let page = browser.get(&back).await;
        assert_eq!(page.status, 200);
        assert!(!page.html.contains("<script") && !page.html.contains('\u{202e}'), "{}", page.html);
        assert!(page.html.contains("&#60;script&#62;alert(1)"), "{}", page.html);
        assert_eq!(page.text().contains("Registered itself; nobody checked it"), client == "dyn-1");
        let page = browser.submit("/consent", &page.form("/consent").with("decision", "deny").0).await;
        assert_eq!(parameter(page.location(), "state").unwrap(), state);
    }
    for path in [
        authorize(&[("client_id", "<script>alert(3)</script>")]),
        authorize(&[("redirect_uri", "javascript:alert(4)//<script>")]),
        "/login/%3Cscript%3E".to_owned(),
    ] {
        let page = browser.get(&path).await;
        assert!(page.status.is_client_error());
        assert!(!page.html.contains("<script") && !page.html.contains("href=\"javascript"), "{}", page.html);
    }
    let page = browser.sign_in("/login", "\"><script>alert(5)</script>", "x").await;
    assert!(!page.html.contains("<script"), "{}", page.html);
    stage.stop().await;
}

#[tokio::test]
async fn signing_in_leads_nowhere_else() {
    let stage = Stage::start().await;
    let mut browser = stage.browser();
    let query = authorize(&[]);
    for target in ["https://evil.test", "//evil.test", "/agents", "", "AAAA", &query] {
        let path = format!("/login?continue={}", target.replace('&', "%26"));
        assert_eq!(browser.get(&path).await.status, 400, "{target}");
        let form = browser.get("/login").await.form("/login").with("continue", target);
        let page = browser.submit("/login", &form.with("user", "ada").with("password", PASSWORD).0).await;
        assert_eq!(page.status, 400, "{target}");
        assert!(!page.headers.contains_key("location"));
    }
    // Sealed things of another purpose are not taken for it.
    browser.get("/login").await;
    let session = browser.cookie.clone().unwrap().split_once('=').unwrap().1.to_owned();
    let ticket = browser.get("/login").await.form("/login").value("form").to_owned();
    for sealed in [session, ticket] {
        assert_eq!(browser.get(&format!("/login?continue={sealed}")).await.status, 400);
    }
    stage.stop().await;
}

#[tokio::test]
async fn headers_can_neither_be_injected_nor_believed() {
    let stage = Stage::start().await;
    let mut browser = stage.signed_in("ada").await;
    let state = "a\r\nSet-Cookie: x=y\r\n\r\n<html>";
    let page = browser.get(&authorize(&[("state", state)])).await;
    if page.status == 200 {
        let page = browser.submit("/consent", &page.form("/consent").with("decision", "allow").0).await;
        assert!(!page.headers.contains_key("set-cookie"));
        assert_eq!(parameter(page.location(), "state").unwrap(), state);
    } else {
        assert!(!page.headers.contains_key("set-cookie"));
    }

    let request = browser
        .request(Method::GET, &authorize(&[("prompt", "login")]))
        .header("host", "evil.test")
        .header("x-forwarded-host", "evil.test")
        .header("x-forwarded-proto", "https")
        .header("forwarded", "host=evil.test");
    let page = browser.send(request).await;
    assert!(page.path().starts_with("/login?"), "{}", page.path());
    let request = browser.request(Method::GET, "/agents").header("x-forwarded-host", "evil.test");
    let page = browser.send(request).await;
    assert!(!page.html.contains("evil.test") && page.html.contains(&stage.config.url.resource()));
    stage.stop().await;
}

#[tokio::test]
async fn methods_sizes_and_kinds_are_held_to() {
    let stage = Stage::start().await;
    let mut browser = stage.signed_in("ada").await;
    for (method, path) in [
        (Method::GET, "/consent"),
        (Method::GET, "/logout"),
        (Method::GET, "/agents/revoke"),
        (Method::PUT, "/login"),
        (Method::DELETE, "/authorize"),
        (Method::POST, "/agents"),
        (Method::POST, "/assets/x.css"),
    ] {
        let request = browser.request(method.clone(), path);
        let page = browser.send(request).await;
        assert_eq!(page.status, 405, "{method} {path}");
        assert!(page.headers.contains_key("allow"), "{method} {path}");
        assert!(page.html.contains("<h1>"), "{method} {path}");
    }
    for path in ["/login", "/agents", &authorize(&[])] {
        let request = browser.request(Method::HEAD, path);
        let page = browser.send(request).await;
        assert_eq!((page.status.as_u16(), &*page.html), (200, ""), "{path}");
    }
    let large = [("user".to_owned(), "x".repeat(20_000))];
    for path in ["/login", "/consent", "/logout", "/agents/revoke", "/authorize"] {
        assert_eq!(browser.submit(path, &large).await.status, 413, "{path}");
        let request = browser.request(Method::POST, path).json(&serde_json::json!({"decision": "allow"}));
        assert_eq!(browser.send(request).await.status, 415, "{path}");
    }
    stage.stop().await;
}

#[tokio::test]
async fn assets_are_kept_for_good_and_pages_never() {
    let stage = Stage::start().await;
    let mut browser = stage.browser();
    let page = browser.get("/login").await;
    for tag in ["rel=\"stylesheet\" href=\"", "rel=\"icon\" href=\""] {
        let path = page.html.split_once(tag).unwrap().1.split_once('"').unwrap().0;
        let asset = browser.get(path).await;
        assert_eq!(asset.status, 200, "{path}");
        assert_eq!(asset.header("cache-control"), "public, max-age=31536000, immutable");
        assert_eq!(asset.header("x-content-type-options"), "nosniff");
        let (stem, rest) = path.split_once('-').unwrap();
        let other = browser.get(&format!("{stem}-000000{}", &rest[rest.find('.').unwrap()..])).await;
        assert_eq!((other.status.as_u16(), other.header("cache-control")), (200, "no-store"), "of another version");
    }
    assert_eq!(browser.get("/assets/../login").await.status, 200, "which is /login, as clients resolve it");
    assert_eq!(browser.get("/assets/..%2f..%2fetc%2fpasswd").await.status, 404);
    stage.stop().await;
}
