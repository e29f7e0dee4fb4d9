//! `portcullis dev examples/quickstart.yaml`: clients connect with the URL alone, and the user of the machine signs in with
//! the name and the password that it prints.

use crate::{
    browser::Browser,
    clients::{Client, Identity, Kind},
    dev::{Dev, SERVED},
};
use serde_json::{Value, json};
use std::path::Path;

/// The value of a line of what it prints.
fn printed(dev: &Dev, word: &str) -> String {
    let said = dev.wait_for(SERVED);
    let line = said.lines().find_map(|line| line.trim_start().strip_prefix(word));
    line.unwrap_or_else(|| panic!("no {word:?} in:\n{said}")).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_connect_to_the_quickstart_with_its_url_alone() {
    let state = tempfile::tempdir().unwrap();
    let dev = Dev::serve(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart.yaml"), state.path());
    let (user, password) = (printed(&dev, "user name"), printed(&dev, "password"));
    let mut person = Browser::start().await;
    for kind in [Kind::McpRemote, Kind::FastMcp, Kind::TypeScript1, Kind::TypeScript2, Kind::Inspector, Kind::Python] {
        let mut client = Client::start(kind, "2025-11-25", &dev.url(), &Identity::Dynamic).await;
        let mut asked = 0;
        let connected = client.connect(async |url| {
            asked += 1;
            person.visitor(Value::Null).await;
            person.open(url).await;
            person.fill("User name", &user).await;
            person.fill("Password", &password).await;
            person.press("Sign in").await;
            let page = person.find("to work for you?").await;
            assert!(page.text.contains("Your own computer, no sandbox"), "{}", page.text);
            person.press("Allow").await;
            let url = person.sent(r"[?&](code|error)=").await;
            assert!(url.contains("code="), "{kind:?}: {url}");
        });
        let tools = connected.await.unwrap_or_else(|problem| panic!("{kind:?}: {problem}"));
        assert!(tools.contains(&"run_command".to_owned()), "{kind:?}: {tools:?}");
        let who = client.call("whoami", &json!({}), async |_| asked += 1).await.unwrap();
        assert_eq!(asked, 1, "{kind:?}: the user is asked once");
        assert_eq!(who["structuredContent"]["user"], json!(user), "{kind:?}: {who}");
    }
}
