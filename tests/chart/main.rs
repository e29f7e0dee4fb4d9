//! The chart, the plain manifests and the image: as text, before judges, and installed on a real node.
#![expect(unreachable_pub, reason = "an integration test is a crate of its own, of which nothing is reachable")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../support/node.rs"]
#[expect(dead_code, reason = "made for tests of what runs in pods")]
mod node;
#[path = "../node/stage.rs"]
#[expect(dead_code, reason = "made for tests of what runs in pods")]
mod stage;
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "made for tests without a node")]
mod support;

mod checks;
mod image;
mod installed;
mod life;
mod namespaced;
mod pinned;
mod release;
mod rendered;
mod rights;
mod schemas;
mod tools;
mod tried;
mod uses;
