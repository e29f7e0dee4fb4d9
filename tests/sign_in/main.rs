//! Signing in, with the real parts around Portcullis: a browser, identity providers, MCP clients.
#![expect(unreachable_pub, reason = "an integration test is a crate of its own, of which nothing is reachable")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../support/browser.rs"]
mod browser;
#[path = "../support/clients.rs"]
mod clients;
#[path = "../support/clock.rs"]
mod clock;
#[path = "../support/dev.rs"]
mod dev;
#[expect(dead_code, reason = "what else a browser sends is in tests/pages")]
#[path = "../support/form_browser.rs"]
mod form_browser;
#[path = "../support/idp.rs"]
mod idp;
#[expect(dead_code, reason = "the planned files are all that is mounted here")]
#[path = "../support/mounted.rs"]
mod mounted;
#[path = "../identity/relying.rs"]
mod relying;
#[path = "../support/script.rs"]
mod script;
#[expect(dead_code, reason = "here a browser agrees, not the test")]
#[path = "../support/github.rs"]
mod stand_in;
#[expect(dead_code, reason = "one document is enough here; what else a web does is in tests/self_described")]
#[path = "../support/web.rs"]
mod web;

mod accounts;
mod administration;
mod conformance;
mod console;
mod dev_clients;
mod flows;
mod github;
mod life;
mod matrix;
mod offboarding;
mod page;
mod pages;
mod person;
mod providers;
mod stage;
mod stdio;

/// An HTTP client of the test's own.
fn http() -> reqwest::Client {
    // A process has one; whoever is first installs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}
