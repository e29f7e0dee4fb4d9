//! `portcullis stdio` as an agent without OAuth starts it, driven by the official SDK: a user signs in with a real
//! browser, the access token expires, the user takes the access back.

use crate::{
    browser::Browser,
    clients::{Client, Identity, Kind},
    stage::{CONFIDENTIAL, Manifests, PUBLIC},
};
use serde_json::{Value, json};

/// The user allows what `portcullis login` asks for, and sees its last page.
async fn allow(browser: &mut Browser, url: &str) {
    browser.open(url).await;
    browser.press("Allow").await;
    let page = browser.arrive("/callback").await;
    assert!(page.text.contains("You are signed in"), "{page:?}");
}

/// The user is not asked again.
async fn unexpected(url: &str) {
    panic!("no sign-in was expected, but: {url}");
}

async fn whoami(client: &mut Client) -> Result<Value, String> {
    Ok(client.call("whoami", &json!({}), unexpected).await?["structuredContent"].take())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sdk_connects_as_every_client() {
    let stage = Manifests::new().open().start().await;
    let secret = stage.secret(CONFIDENTIAL);
    let mut browser = stage.signed_in().await;
    let kinds = [(Kind::Stdio1, "2025-11-25"), (Kind::Stdio2, "2025-11-25"), (Kind::Stdio2, "2026-07-28")];
    let identities = [
        Identity::Preset { client_id: PUBLIC, client_secret: None },
        Identity::Preset { client_id: CONFIDENTIAL, client_secret: Some(&secret) },
        Identity::Dynamic,
    ];
    for ((kind, revision), identity) in kinds.into_iter().zip(identities) {
        let mut client = Client::start(kind, revision, &stage.url, &identity).await;
        let mut asked = 0;
        let tools = client.connect(async |url| {
            asked += 1;
            allow(&mut browser, url).await;
        });
        let tools = tools.await.unwrap_or_else(|problem| panic!("{kind:?} {identity:?}: {problem}"));
        assert!(tools.contains(&"whoami".to_owned()), "{tools:?}");
        assert_eq!(whoami(&mut client).await.unwrap()["subject"], "local:alice", "{kind:?} {identity:?}");
        assert_eq!(asked, 1, "{kind:?} {identity:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_expires_and_the_access_ends() {
    let stage = Manifests::new().open().start().await;
    let mut browser = stage.signed_in().await;
    let mut client = Client::start(Kind::Stdio2, "2025-11-25", &stage.url, &Identity::Dynamic).await;
    let tools = client.connect(async |url| allow(&mut browser, url).await).await.unwrap();
    assert_eq!(client.inspect().await, tools);

    // The relay sees that its token is about to expire.
    client.spoil().await;
    assert_eq!(whoami(&mut client).await.unwrap()["subject"], "local:alice");
    // The server refuses a token that the relay takes for valid.
    stage.pass(30);
    assert_eq!(whoami(&mut client).await.unwrap()["subject"], "local:alice");

    browser.open(&format!("{}/agents", stage.origin)).await;
    browser.press("Revoke access of Portcullis command line, connected 30 minutes ago").await;
    browser.find("you revoked its access").await;
    for _ in 0..2 {
        let error = whoami(&mut client).await.unwrap_err();
        assert!(error.contains("has ended") && error.contains("portcullis login"), "{error}");
    }
}
