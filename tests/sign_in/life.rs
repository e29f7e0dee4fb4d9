//! What a connected client lives through: its access token ends, its access is taken back in a browser while the same
//! client goes on elsewhere, and it needs more than it was allowed.

use crate::{
    browser::Browser,
    clients::{Client, Identity, Kind, nobody},
    stage::{Manifests, PUBLIC, Stage},
};
use serde_json::{Value, json};

const MAKE: &str = "Create, start, stop and delete your workspaces";

/// The person's part of an authorization, once signed in.
enum Decision {
    Allow,
    /// All but making workspaces.
    AllowLess,
    Deny,
}

/// A person who stays signed in.
struct Person(Browser);

impl Person {
    /// Decides, and gives the text of the page that asked.
    async fn decide(&mut self, url: &str, decision: Decision) -> String {
        let page = self.0.open(url).await;
        let button = match decision {
            Decision::Allow => "Allow",
            Decision::AllowLess => {
                self.0.tick(MAKE, false).await;
                "Allow"
            }
            Decision::Deny => "Deny",
        };
        self.0.press(button).await;
        self.0.sent(r"[?&](code|error)=").await;
        page.text
    }

    /// Takes the access back of the agent that connected that long ago.
    async fn revoke(&mut self, stage: &Stage, connected: &str) {
        self.0.open(&format!("{}/agents", stage.origin)).await;
        self.0.press(&format!("Revoke access of Claude Code, connected {connected}")).await;
        self.0.find("you revoked its access").await;
    }
}

async fn connected(kind: Kind, stage: &Stage, person: &mut Person, decision: Decision) -> Client {
    let identity = Identity::Preset { client_id: PUBLIC, client_secret: None };
    let mut client = Client::start(kind, "2025-11-25", &stage.url, &identity).await;
    let mut decision = Some(decision);
    let tools = client.connect(async |url| drop(person.decide(url, decision.take().unwrap()).await)).await.unwrap();
    assert!(tools.contains(&"whoami".to_owned()));
    client
}

async fn expiry(client: &mut Client) -> String {
    let who = client.call("whoami", &json!({}), nobody).await.unwrap();
    who["structuredContent"]["expires_at"].as_str().unwrap().to_owned()
}

async fn life(kind: Kind) {
    let stage = Manifests::new().start().await;
    let mut person = Person(stage.signed_in().await);

    // The same client on two machines, ten minutes apart. On the second it may do less.
    let mut laptop = connected(kind, &stage, &mut person, Decision::Allow).await;
    stage.pass(10);
    let mut desktop = connected(kind, &stage, &mut person, Decision::AllowLess).await;
    expiry(&mut laptop).await;

    // One of them is cut off. It asks again, and is denied.
    person.revoke(&stage, "10 minutes ago").await;
    let (mut asked, nothing) = (0, json!({}));
    let refused = laptop.call("whoami", &nothing, async |url| {
        asked += 1;
        person.decide(url, Decision::Deny).await;
    });
    let refused = refused.await;
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(asked, 1, "{refused:?}");

    // The other one goes on, beyond the life of its access token.
    let before = expiry(&mut desktop).await;
    stage.pass(16);
    if kind == Kind::Python {
        // It refreshes by its own clock, which the test does not turn.
        desktop.spoil().await;
    }
    assert!(expiry(&mut desktop).await > before, "a new access token");

    // It needs more than it was allowed.
    if matches!(kind, Kind::TypeScript2 | Kind::Python | Kind::McpRemote) {
        let mut asked = Vec::new();
        let arguments = json!({"template": "blank", "name": "web"});
        let made = desktop.call("create_workspace", &arguments, async |url| {
            asked.push(person.decide(url, Decision::Allow).await);
        });
        let made = made.await.unwrap();
        assert_eq!(made["structuredContent"]["name"], "web", "{made}");
        let [page] = asked.as_slice() else { panic!("asked {} times", asked.len()) };
        assert_eq!(page.matches("allowed before").count(), 2, "{page}");
        let who: Value = desktop.call("whoami", &json!({}), nobody).await.unwrap();
        let scopes = &who["structuredContent"]["scopes"];
        assert_eq!(*scopes, json!(["workspaces:read", "workspaces:write", "templates:read"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_typescript_sdk_1() {
    life(Kind::TypeScript1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_typescript_sdk_2() {
    life(Kind::TypeScript2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_sdk() {
    life(Kind::Python).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mcp_remote() {
    life(Kind::McpRemote).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inspector() {
    life(Kind::Inspector).await;
}
