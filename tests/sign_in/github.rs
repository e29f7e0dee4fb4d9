//! Accounts of GitHub, a stand-in for which answers as its documentation says, through the pages in a browser.

use crate::{
    browser::Browser,
    clients::{Client, Identity, Kind, nobody},
    stage::{Manifests, PUBLIC},
    stand_in::{CLIENT_ID, CLIENT_SECRET, GitHub},
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn members_of_the_organization_come_in_and_others_are_told() {
    let github = GitHub::start("").await;
    let login = json!({"name": "hub", "github": {"url": github.url, "clientSecretRef": {"name": "hub"},
        "allowedOrganizations": ["acme"]}});
    let stage = Manifests::new().provider("hub", login, CLIENT_ID, CLIENT_SECRET).start().await;
    github.world.lock().unwrap().callback = format!("{}/login/hub/callback", stage.origin);
    let organization = |name| github.world.lock().unwrap().organizations = vec![(name, "active")];
    let mut person = Browser::start().await;
    let identity = Identity::Preset { client_id: PUBLIC, client_secret: None };
    let mut client = Client::start(Kind::TypeScript2, "2026-07-28", &stage.url, &identity).await;

    let connected = client.connect(async |url| {
        organization("other");
        person.open(url).await;
        person.follow("Continue with GitHub").await;
        person.follow("Authorize acme").await;
        let page = person.find("This account has no access").await;
        assert!(page.text.contains("You are signed in at GitHub as octocat, but that account is not in any organization that may use this endpoint."), "{}", page.text);

        organization("acme");
        person.follow("Choose how to sign in").await;
        person.follow("Continue with GitHub").await;
        person.follow("Authorize acme").await;
        person.find("In your name: octocat").await;
        person.press("Allow").await;
        person.sent(r"[?&]code=").await;
    });
    connected.await.unwrap();
    let who = client.call("whoami", &json!({}), nobody).await.unwrap()["structuredContent"].take();
    assert_eq!((&who["subject"], &who["user"]), (&json!("hub:583231"), &json!("octocat")));
}
