//! What is fetched for somebody who is not trusted, and what is not (server-side request forgery).

use crate::self_described::web::{Body, PUBLIC, Page, Web};
use portcullis_outbound::public_only::FetchError;
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

const URL: &str = "https://client.example.com/metadata";
const PLACE: &str = "client.example.com/metadata";
const LIMIT: usize = 4096;

async fn web() -> Web {
    let web = Web::start(&["client.example.com", "other.example.com"]).await;
    web.publish(PLACE, Page::json(&json!({"a": 1})).with("cache-control", "max-age=300"));
    web
}

async fn refused(web: &Web, url: &str) -> String {
    web.outbound().public_only().fetch(url, LIMIT).await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_public_document_is_fetched_from_the_address_that_was_checked() {
    let web = web().await;
    let fetched = web.outbound().public_only().fetch(URL, LIMIT).await.unwrap();
    assert_eq!(fetched.body, br#"{"a":1}"#);
    assert_eq!(fetched.fresh_for, Some(Duration::from_mins(5)));
    assert_eq!(web.lookups(), ["client.example.com"]);
    assert_eq!(web.dialled(), [PUBLIC]);
}

#[tokio::test]
async fn hosts_with_any_address_that_is_not_public_are_not_connected_to() {
    let web = web().await;
    for addresses in [
        &["127.0.0.1"][..],
        &["10.96.0.1"],
        &["169.254.169.254"],
        &["fd00:ec2::254"],
        &["::ffff:127.0.0.1"],
        &["64:ff9b::7f00:1"],
        &["93.184.215.14", "127.0.0.1"],
        &["::1", "93.184.215.14"],
        &[],
    ] {
        web.resolve("client.example.com", &[addresses]);
        let error = web.outbound().public_only().fetch(URL, LIMIT).await.unwrap_err();
        assert!(matches!(error, FetchError::Address { .. }), "{addresses:?}: {error:?}");
        assert!(!error.to_string().contains(['[', ':']), "tells no address: {error}");
    }
    assert_eq!((web.dialled(), web.hits(PLACE)), (vec![], 0));
}

#[tokio::test]
async fn a_name_is_looked_up_once_so_that_it_cannot_change_its_mind() {
    let web = web().await;
    web.resolve("client.example.com", &[&["93.184.215.14"], &["127.0.0.1"]]);
    web.outbound().public_only().fetch(URL, LIMIT).await.unwrap();
    assert_eq!((web.lookups().len(), web.dialled()), (1, vec![PUBLIC]));
    // The next fetch looks up anew, on no connection that was left open, and is refused.
    let error = web.outbound().public_only().fetch(URL, LIMIT).await.unwrap_err();
    assert!(matches!(error, FetchError::Address { .. }), "{error:?}");
    assert_eq!((web.lookups().len(), web.dialled(), web.hits(PLACE)), (2, vec![PUBLIC], 1));
}

#[tokio::test]
async fn urls_that_are_not_admitted_are_not_even_looked_up() {
    let web = web().await;
    for url in [
        "http://client.example.com/metadata",
        "https://client.example.com:8443/metadata",
        "https://127.0.0.1/metadata",
        "https://0x7f000001/metadata",
        "https://2130706433/metadata",
        "https://[::1]/metadata",
        "https://[::ffff:127.0.0.1]/metadata",
        "https://localhost/metadata",
        "https://metadata.google.internal/",
        "file:///etc/passwd",
    ] {
        assert!(refused(&web, url).await.contains("is not fetched"), "{url}");
    }
    assert!(web.lookups().is_empty());
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let web = web().await;
    for (status, location) in [
        (301, "https://127.0.0.1/"),
        (302, "http://169.254.169.254/latest/meta-data/"),
        (303, "https://other.example.com/metadata"),
        (307, "https://localhost:9090/metrics"),
        (308, "/elsewhere"),
    ] {
        web.publish(PLACE, Page::json(&json!({})).status(status).with("location", location));
        assert!(refused(&web, URL).await.contains("instead of 200"), "{status} {location}");
    }
    assert!(web.lookups().iter().all(|host| host == "client.example.com"));
    assert_eq!((web.hits("other.example.com/metadata"), web.hits("client.example.com/elsewhere")), (0, 0));
}

#[tokio::test]
async fn answers_that_are_no_small_json_document_do_not_count() {
    let web = web().await;
    let good = || Page::json(&json!({}));
    let body = |body| Page { body, ..good() };
    let text = |length: usize| Body::Text(" ".repeat(length));
    let rows = [
        ("an error", good().status(500), "500"),
        ("no content", good().status(204), "204"),
        ("a part", good().status(206), "206"),
        ("a page", good().with("content-type", "text/html"), "application/json"),
        ("a page that says nothing of itself", Page { headers: Vec::new(), ..good() }, "application/json"),
        ("a long body", body(text(LIMIT + 1)), "too large"),
        ("an endless body", body(Body::Endless), "too large"),
        ("an endless head", good().with("x-long", "x".repeat(1 << 20)), "cannot be reached"),
    ];
    for (what, page, expected) in rows {
        web.publish(PLACE, page);
        let begin = Instant::now();
        let error = refused(&web, URL).await;
        assert!(error.contains(expected), "{what}: {error}");
        assert!(begin.elapsed() < Duration::from_secs(5), "{what}: refused when it is seen, not when time is over");
    }
    web.publish(PLACE, body(text(LIMIT)));
    web.outbound().public_only().fetch(URL, LIMIT).await.unwrap();
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let web = web().await;
    web.publish(PLACE, Page { body: Body::Stalled, ..Page::json(&json!({})) });
    let waited = tokio::time::timeout(Duration::from_mins(1), refused(&web, URL)).await;
    assert!(waited.unwrap().contains("in time"));
}

#[tokio::test]
async fn a_certificate_of_another_host_is_refused() {
    let web = web().await;
    assert!(refused(&web, "https://elsewhere.example.com/metadata").await.contains("cannot be reached"));
    assert_eq!(web.hits("elsewhere.example.com/metadata"), 0);
}
