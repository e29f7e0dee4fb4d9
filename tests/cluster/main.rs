//! Tests against a real Kubernetes control plane, which all of them share.
#![expect(unreachable_pub, reason = "an integration test is a crate of its own, of which nothing is reachable")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../support/dev.rs"]
mod dev;
#[path = "../support/mod.rs"]
mod support;

mod admission;
mod doctor;
mod documented;
mod harness;
mod late;
mod operator;
mod servers;
mod state;
mod workload;
mod workspaces;
