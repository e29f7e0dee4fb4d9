//! Tests on a whole Kubernetes of one node, with real pods. They share it, and are skipped where there cannot be one.
#![expect(unreachable_pub, reason = "an integration test is a crate of its own, of which nothing is reachable")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../support/clients.rs"]
#[expect(dead_code, reason = "made for tests of signing in")]
mod clients;
#[path = "../support/hoarding.rs"]
#[expect(dead_code, reason = "made for tests without a node too")]
mod hoarding;
#[path = "../support/node.rs"]
mod node;
#[path = "../support/probing.rs"]
mod probing;
#[path = "../support/script.rs"]
mod script;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "made for tests without a node")]
mod support;

mod breaking;
mod conditions;
mod harness;
mod memory;
mod stage;
mod story;
mod workspaces;
