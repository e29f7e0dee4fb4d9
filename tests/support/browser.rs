//! A person with a browser: a real Chromium without a window (`tests/browser/drive.mjs`). What is looked for on a page is
//! what people and screen readers find: labels of fields, and the names of buttons and links.
//!
//! ```ignore
//! let mut person = Browser::start().await;
//! person.open(&url).await;
//! person.fill("User name", "alice").await;
//! person.fill("Password", "secret").await;
//! person.press("Sign in").await;
//! let page = person.arrive(r"/callback\?code=").await;
//! ```
//!
//! Where a page is not as expected, the step panics after 20 seconds with what Playwright found instead.

use super::script::{Script, installed};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::Path};

/// A browser with one page.
pub struct Browser(Script);

/// What is to be seen.
#[derive(Debug, Deserialize)]
pub struct Page {
    /// What the address bar shows.
    pub url: String,
    /// The document's title.
    pub title: String,
    /// All text that is visible.
    pub text: String,
    /// The status of the last answer to a navigation, redirects included.
    pub status: Option<u16>,
    /// That answer's headers, their names in lower case.
    pub headers: Option<BTreeMap<String, String>>,
    /// The `Location`s of all redirects since this visitor came, whether or not the browser could follow.
    pub redirects: Vec<String>,
    /// What the console complains about, such as violations of the content security policy.
    pub complaints: Vec<String>,
}

impl Browser {
    /// Starts one.
    pub async fn start() -> Self {
        Self::start_where("").await
    }

    /// Starts one for which names are where Chromium's `--host-resolver-rules` say, such as
    /// `MAP mcp.example.com:443 127.0.0.1:8443`.
    pub async fn start_where(rules: &str) -> Self {
        let chromium = installed("browser/install.sh").await;
        Self(Script::start("browser/drive.mjs", &[], &[("CHROMIUM", &chromium), ("HOST_RULES", rules)]).await)
    }

    /// Makes it another person's: without cookies, and with Playwright's context options, such as
    /// `{"viewport": {"width": 360, "height": 800}, "colorScheme": "dark", "javaScriptEnabled": false}`.
    pub async fn visitor(&mut self, options: Value) {
        self.0.must("visitor", options).await;
    }

    /// Opens a URL. The error says why there is no page, for instance since nobody listens.
    pub async fn try_open(&mut self, url: &str) -> Result<Page, String> {
        self.0.ask("open", json!(url)).await.map(page)
    }

    /// Opens a URL that has a page.
    pub async fn open(&mut self, url: &str) -> Page {
        page(self.0.must("open", json!(url)).await)
    }

    /// What there is now.
    pub async fn look(&mut self) -> Page {
        page(self.0.must("look", Value::Null).await)
    }

    /// Types into the field with that label.
    pub async fn fill(&mut self, label: &str, value: &str) {
        self.0.must("fill", json!({"label": label, "value": value})).await;
    }

    /// Ticks the checkbox with that label, or takes the tick away.
    pub async fn tick(&mut self, label: &str, ticked: bool) {
        self.0.must("tick", json!({"label": label, "value": ticked})).await;
    }

    /// Presses the button with that name. Where it leads elsewhere, [`Self::arrive`] waits for that.
    pub async fn press(&mut self, name: &str) {
        self.0.must("press", json!(name)).await;
    }

    /// Follows the link with that name.
    pub async fn follow(&mut self, name: &str) {
        self.0.must("follow", json!(name)).await;
    }

    /// Presses a key, such as `Tab` or `Enter`.
    pub async fn key(&mut self, key: &str) {
        self.0.must("key", json!(key)).await;
    }

    /// Waits until the URL matches the regular expression.
    pub async fn arrive(&mut self, pattern: &str) -> Page {
        page(self.0.must("arrive", json!(pattern)).await)
    }

    /// Waits for a navigation request to a URL that matches the regular expression, and returns the URL. It does not wait
    /// for the response: a client's own listener may exit before it responds.
    pub async fn sent(&mut self, pattern: &str) -> String {
        serde_json::from_value(self.0.must("sent", json!(pattern)).await).unwrap()
    }

    /// Waits until the text is on the page.
    pub async fn find(&mut self, text: &str) -> Page {
        page(self.0.must("find", json!(text)).await)
    }

    /// The cookies, as Playwright has them: `name`, `value`, `domain`, `path`, `httpOnly`, `secure`, `sameSite`.
    pub async fn cookies(&mut self) -> Vec<Value> {
        serde_json::from_value(self.0.must("cookies", Value::Null).await).unwrap()
    }

    /// What a screen reader would say, as an outline in YAML.
    pub async fn outline(&mut self) -> String {
        serde_json::from_value(self.0.must("outline", Value::Null).await).unwrap()
    }

    /// The value of an expression in the page, for what only a script can tell, such as `document.activeElement.id`.
    pub async fn evaluate(&mut self, expression: &str) -> Value {
        self.0.must("evaluate", json!(expression)).await
    }

    /// The problems of the page at 360, 768 and 1440 px, light and dark: violations of axe-core's rules, scripts, content
    /// that is wider than the window, controls that Tab does not reach in order or whose focus is not visible. Writes a
    /// picture of each to `pictures` with the width and the scheme appended. For a visitor without scripts: whether
    /// content is wider than the window of this size.
    pub async fn audit(&mut self, pictures: Option<&Path>) -> Vec<String> {
        serde_json::from_value(self.0.must("audit", json!(pictures)).await).unwrap()
    }

    /// Writes a picture of the whole page.
    pub async fn screenshot(&mut self, png: &Path) {
        self.0.must("screenshot", json!(png)).await;
    }

    /// Signs in by password at our own page and allows what is asked for, until the browser is back at the client.
    pub async fn authorize(&mut self, url: &str, user: &str, password: &str) -> Page {
        self.open(url).await;
        self.fill("User name", user).await;
        self.fill("Password", password).await;
        self.press("Sign in").await;
        self.press("Allow").await;
        self.arrive(r"[?&](code|error)=").await
    }
}

fn page(value: Value) -> Page {
    serde_json::from_value(value).unwrap()
}
