//! Installed for real, with a real ingress controller in front: what browsers, agents and the people who run a cluster
//! notice of it. On a whole Kubernetes of two nodes; skipped where there cannot be one.
#![expect(unreachable_pub, reason = "an integration test is a crate of its own, of which nothing is reachable")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../support/browser.rs"]
#[expect(dead_code, reason = "made for tests of signing in")]
mod browser;
#[path = "../support/node.rs"]
#[expect(dead_code, reason = "made for tests that do more to a node")]
mod node;
#[path = "../support/script.rs"]
mod script;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "made for tests without a node")]
mod support;

mod app;
mod authority;
mod endpoint;
mod front;
mod load;
mod traefik;

mod apart;
mod exposed;
mod rotation;
mod steady;
