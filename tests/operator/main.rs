//! The operator as its own process, with the rights of `deploy/rbac.yaml`, against a real Kubernetes control plane.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
mod support;

mod credentials;
mod election;
mod interruptions;
mod objects;
mod rest;
mod servers;
mod stage;
