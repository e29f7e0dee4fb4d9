//! Signing in, with the real parts around Portcullis: a browser, identity providers, MCP clients.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../support/browser.rs"]
mod browser;
#[path = "../support/idp.rs"]
mod idp;
#[path = "../support/script.rs"]
mod script;

mod accounts;
mod person;
mod providers;
