//! Real identity providers as `spec.login` of an endpoint: an agent's request goes through our page to the provider's and
//! back; who is not in the group is told so; and while the provider is down, agents that are connected go on.

use crate::{
    accounts,
    browser::{Browser, Page},
    clients::{Client, Identity, Kind, nobody},
    idp::{Keycloak, OidcProvider, Registered},
    offboarding, providers,
    stage::{Manifests, PUBLIC, Stage},
};
use serde_json::{Value, json};

pub const ALICE: [&str; 2] = ["alice", "alice-secret"];
const MALLORY: [&str; 2] = ["mallory", "mallory-secret"];

/// An endpoint where people sign in at one provider only, with `more` in the entry of `spec.login`.
pub async fn stage(issuer: &str, known: Registered, more: &Value) -> Stage {
    let mut manifests = Manifests::new();
    manifests.endpoint["login"] = json!([]);
    let mut login = json!({"name": "sso", "displayName": "Acme SSO", "oidc": {
        "issuerUrl": issuer, "clientSecretRef": {"name": "sso"}, "scopes": ["profile", "email"],
        "allowedGroups": ["developers"],
    }});
    for (name, value) in more.as_object().unwrap() {
        match name.as_str() {
            "offlineAccess" => login["oidc"][name] = value.clone(),
            _ => login[name] = value.clone(),
        }
    }
    manifests.provider("sso", login, known.client_id, known.client_secret).start().await
}

/// A person at a provider, whose page has these labels.
pub struct Person {
    pub browser: Browser,
    pub labels: [&'static str; 3],
}

impl Person {
    /// Signs in as a new visitor, from our page on.
    pub async fn sign_in(&mut self, url: &str, [user, password]: [&str; 2]) {
        let [name_label, password_label, button] = self.labels;
        self.browser.visitor(Value::Null).await;
        let page = self.browser.open(url).await;
        assert_eq!(page.complaints, [""; 0], "{page:?}");
        self.browser.follow("Continue with Acme SSO").await;
        self.browser.fill(name_label, user).await;
        self.browser.fill(password_label, password).await;
        self.browser.press(button).await;
    }

    pub async fn allow(&mut self, url: &str) {
        self.sign_in(url, ALICE).await;
        let page = self.browser.find("In your name: alice").await;
        assert_eq!(page.title, "Allow Claude Code? · agents · Portcullis");
        self.browser.press("Allow").await;
        self.browser.sent(r"[?&]code=").await;
    }
}

/// With a provider that is up. Gives the client, connected.
async fn goes_through(stage: &Stage, person: &mut Person) -> Client {
    let identity = Identity::Preset { client_id: PUBLIC, client_secret: None };
    let mut client = Client::start(Kind::TypeScript2, "2025-11-25", &stage.url, &identity).await;
    let tools = client.connect(async |url| {
        // Somebody of another group is told so, and the agent's request still stands.
        person.sign_in(url, MALLORY).await;
        let page = person.browser.find("This account has no access").await;
        assert_eq!(page.status, Some(403));
        assert!(
            page.text.contains(
                "You are signed in at Acme SSO as mallory, but that account is not in any group that may use this endpoint."
            ),
            "{}",
            page.text
        );
        person.browser.follow("Choose how to sign in").await;
        person.browser.find("Claude Code wants to connect").await;
        person.allow(url).await;
    });
    assert!(tools.await.unwrap().contains(&"whoami".to_owned()));
    client
}

pub async fn who(client: &mut Client) -> Value {
    client.call("whoami", &json!({}), nobody).await.unwrap()["structuredContent"].take()
}

/// While the provider is down.
async fn goes_on(stage: &Stage, person: &mut Person, client: &mut Client) {
    assert_eq!(who(client).await["user"], "alice");
    let before = client.tokens().await;
    client.spoil().await;
    assert_eq!(who(client).await["user"], "alice");
    let after = client.tokens().await;
    assert!(before["access_token"] != after["access_token"] && before["refresh_token"] != after["refresh_token"]);

    stage.pass(1);
    person.browser.visitor(Value::Null).await;
    person.browser.open(&format!("{}/login", stage.origin)).await;
    person.browser.follow("Continue with Acme SSO").await;
    let page: Page = person.browser.find("The sign-in provider cannot be reached").await;
    assert_eq!(page.status, Some(503));
    for words in
        ["Acme SSO cannot be reached at the moment.", "Connected agents continue to work", "Choose how to sign in"]
    {
        assert!(page.text.contains(words), "{words}: {}", page.text);
    }
}

/// With the provider up again.
async fn comes_back(stage: &Stage, person: &mut Person, client: &mut Client) {
    stage.pass(1);
    person.sign_in(&format!("{}/login", stage.origin), ALICE).await;
    person.browser.find("Connected agents").await;
    let page = person.browser.find("Signed in as alice").await;
    assert!(page.text.contains("Claude Code"), "{}", page.text);
    person.browser.press("Revoke access").await;
    person.browser.find("you revoked its access").await;
    let nothing = json!({});
    let mut asked = 0;
    let again = client.call("whoami", &nothing, async |url| {
        asked += 1;
        person.allow(url).await;
    });
    assert_eq!(again.await.unwrap()["structuredContent"]["user"], "alice");
    assert_eq!(asked, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn oidc_provider() {
    let users = json!({
        "alice": {"password": ALICE[1], "groups": ["developers"]},
        "mallory": {"password": MALLORY[1], "groups": ["other"]},
    });
    let mut provider = OidcProvider::start(&users, &["http://127.0.0.1/login/sso/callback"]).await;
    let stage = stage(&provider.issuer, provider.client, &json!({})).await;
    let mut person = Person { browser: Browser::start().await, labels: ["User name", "Password", "Sign in"] };
    let mut client = goes_through(&stage, &mut person).await;
    assert_eq!(who(&mut client).await["subject"], "sso:alice");
    provider.stop();
    goes_on(&stage, &mut person, &mut client).await;
    provider.restart().await;
    comes_back(&stage, &mut person, &mut client).await;
    drop(stage);
    offboarding::signs_out(&mut provider, &mut person).await;
    offboarding::ends(&mut provider, &mut person).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keycloak() {
    let mut provider = Keycloak::start().await;
    providers::keycloak(&provider).await;
    accounts::keycloak(&provider).await;

    let stage = stage(&provider.issuer, provider.client, &json!({})).await;
    let mut person = Person { browser: Browser::start().await, labels: ["Username or email", "Password", "Sign In"] };
    let mut client = goes_through(&stage, &mut person).await;
    provider.stop().await;
    goes_on(&stage, &mut person, &mut client).await;
    provider.restart().await;
    comes_back(&stage, &mut person, &mut client).await;
    drop(stage);
    offboarding::signs_out(&mut provider, &mut person).await;
    offboarding::ends(&mut provider, &mut person).await;
}
