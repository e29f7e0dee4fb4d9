//! Every official client, known to the server in every way that it can be, with a person who signs in and allows it in
//! a real browser.

use crate::{
    browser::Browser,
    clients::{Client, Identity, Kind, nobody},
    stage::{CONFIDENTIAL, DOCUMENT, Manifests, PASSWORD, PUBLIC, USER},
};
use serde_json::{Value, json};

/// What a client is known as, and whether the consent page has to say so.
fn identities(secret: &str) -> [(Identity<'_>, &'static str); 4] {
    let configured = "Set up by your platform team.";
    [
        (Identity::Preset { client_id: PUBLIC, client_secret: None }, configured),
        (Identity::Preset { client_id: CONFIDENTIAL, client_secret: Some(secret) }, configured),
        (Identity::Document(DOCUMENT), "Describes itself at agents.example.com."),
        (Identity::Dynamic, "Registered itself; nobody checked it"),
    ]
}

/// A person who allows what a client asks for, with what the consent page has to say.
async fn allow(person: &mut Browser, url: &str, says: &str) {
    person.visitor(Value::Null).await;
    let page = person.open(url).await;
    assert_eq!(page.status, Some(200), "{url}: {}", page.text);
    person.fill("User name", USER).await;
    person.fill("Password", PASSWORD).await;
    person.press("Sign in").await;
    let page = person.find("to work for you?").await;
    assert!(page.text.contains(says), "{says}: {}", page.text);
    assert!(page.complaints.is_empty(), "{:?}", page.complaints);
    person.press("Allow").await;
    let url = person.sent(r"[?&](code|error)=").await;
    assert!(url.contains("code="), "{url}");
}

async fn whoami(client: &mut Client) -> Value {
    client.call("whoami", &json!({}), nobody).await.unwrap()["structuredContent"].take()
}

/// The protocol's revisions take turns: it is who the client is that makes the difference here.
async fn every_way(kind: Kind, revisions: &[&str]) {
    let stage = Manifests::new().open().start().await;
    let secret = stage.secret(CONFIDENTIAL);
    let mut person = Browser::start().await;
    for ((identity, says), revision) in identities(&secret).into_iter().zip(revisions.iter().cycle()) {
        let mut client = Client::start(kind, revision, &stage.url, &identity).await;
        let mut asked = 0;
        let tools = client.connect(async |url| {
            asked += 1;
            allow(&mut person, url, says).await;
        });
        let tools = tools.await.unwrap_or_else(|problem| panic!("{kind:?} {identity:?} {revision}: {problem}"));
        assert!(tools.contains(&"whoami".to_owned()), "{tools:?}");
        let who = whoami(&mut client).await;
        assert_eq!((&who["subject"], &who["user"]), (&json!("local:alice"), &json!(USER)), "{kind:?} {identity:?}");
        assert_eq!(asked, 1, "{kind:?} {identity:?} {revision}: a person is asked once");
    }
}

const BOTH: &[&str] = &["2025-11-25", "2026-07-28"];

#[tokio::test(flavor = "multi_thread")]
async fn the_typescript_sdk_1() {
    every_way(Kind::TypeScript1, &BOTH[..1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_typescript_sdk_2() {
    every_way(Kind::TypeScript2, BOTH).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_sdk() {
    every_way(Kind::Python, BOTH).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mcp_remote() {
    every_way(Kind::McpRemote, BOTH).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inspector() {
    every_way(Kind::Inspector, BOTH).await;
}
