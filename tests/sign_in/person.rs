//! The browser of the tests does what a person's does, shown on pages of the test's own.

use crate::browser::Browser;
use axum::{
    Router,
    extract::{Form, RawQuery},
    http::header::{CONTENT_SECURITY_POLICY, SET_COOKIE},
    response::{Html, IntoResponse, Redirect},
    routing::get,
};
use serde_json::json;
use std::{collections::BTreeMap, fs};
use tokio::net::TcpListener;

const SIGN_IN: &str = r#"<!doctype html><html lang="en"><title>Sign in</title><h1>Sign in</h1><form method="post">
    <label for="name">User name</label><input id="name" name="name" autofocus>
    <label for="password">Password</label><input id="password" name="password" type="password">
    <button>Sign in</button></form><script>document.title = "scripted"</script></html>"#;
const CONSENT: &str = r#"<!doctype html><html lang="en"><title>Consent</title><h1>Allow it?</h1><a href="/help">Help</a>
    <form action="/decide" method="post">
    <label><input type="checkbox" name="exec" value="yes" checked> Run commands</label>
    <button name="allow" value="yes">Allow</button></form></html>"#;

/// Pages that look like ours; where they lead to shows what the browser sent.
async fn pages() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let sign_in = get(|| async { ([(CONTENT_SECURITY_POLICY, "script-src 'none'")], Html(SIGN_IN)) }).post(
        |Form(form): Form<BTreeMap<String, String>>| async move {
            assert_eq!((form["name"].as_str(), form["password"].as_str()), ("alice", "alice's own"));
            ([(SET_COOKIE, "session=1; HttpOnly; SameSite=Lax")], Html(CONSENT))
        },
    );
    let decide = axum::routing::post(|Form(form): Form<BTreeMap<String, String>>| async move {
        Redirect::to(&format!("/callback?code={}", form.get("exec").map_or("narrow", String::as_str)))
    });
    let router = Router::new()
        .route("/sign-in", sign_in)
        .route("/decide", decide)
        .route("/callback", get(async |RawQuery(query): RawQuery| query.unwrap_or_default()))
        .route("/help", get(async || Html("<title>Help</title>Here is help.")))
        .route("/elsewhere", get(async || Redirect::to("http://127.0.0.1:9/nobody?code=1").into_response()));
    tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_in_and_allows() {
    let url = pages().await;
    let sign_in = format!("{url}/sign-in");
    let mut person = Browser::start().await;

    let page = person.authorize(&sign_in, "alice", "alice's own").await;
    assert_eq!(
        (page.url, page.text.as_str(), page.status),
        (format!("{url}/callback?code=yes"), "code=yes", Some(200))
    );
    assert_eq!(page.redirects, ["/callback?code=yes"]);

    // Step by step, with the tick taken away, by keyboard.
    let page = person.open(&sign_in).await;
    assert_eq!(page.title, "Sign in", "the policy keeps the script from running");
    assert!(page.complaints.iter().any(|said| said.contains("Content Security Policy")), "{:?}", page.complaints);
    assert_eq!(page.headers.unwrap()["content-security-policy"], "script-src 'none'");
    assert_eq!(person.evaluate("document.activeElement.id").await, "name");
    person.fill("User name", "alice").await;
    person.key("Tab").await;
    assert_eq!(person.evaluate("document.activeElement.id").await, "password");
    person.fill("Password", "alice's own").await;
    person.key("Enter").await;
    person.find("Allow it?").await;
    let outline = person.outline().await;
    assert!(outline.contains("- checkbox \"Run commands\" [checked]"), "{outline}");
    let cookies = person.cookies().await;
    assert_eq!((&cookies[0]["name"], &cookies[0]["httpOnly"]), (&json!("session"), &json!(true)));
    person.tick("Run commands", false).await;
    person.press("Allow").await;
    assert_eq!(person.arrive("/callback").await.text, "code=narrow");
}

#[tokio::test(flavor = "multi_thread")]
async fn visitors_have_nothing_in_common() {
    let url = pages().await;
    let mut person = Browser::start().await;
    person.open(&format!("{url}/sign-in")).await;
    person.fill("User name", "alice").await;
    person.fill("Password", "alice's own").await;
    person.press("Sign in").await;
    person.follow("Help").await;
    assert_eq!(person.look().await.text, "Here is help.");
    assert_eq!(person.cookies().await.len(), 1);

    person.visitor(json!({"viewport": {"width": 360, "height": 800}, "javaScriptEnabled": false})).await;
    assert!(person.cookies().await.is_empty());
    // Where nobody listens at the client's callback, one still sees where it led.
    assert!(person.try_open(&format!("{url}/elsewhere")).await.unwrap_err().contains("ERR_"));
    assert_eq!(person.look().await.redirects, ["http://127.0.0.1:9/nobody?code=1"]);

    person.open(&format!("{url}/sign-in")).await;
    let folder = tempfile::tempdir().unwrap();
    let png = folder.path().join("sign-in.png");
    person.screenshot(&png).await;
    assert_eq!(fs::read(&png).unwrap()[16..20], 360_u32.to_be_bytes(), "its width");
}
