//! `portcullis dev` as a person uses it: the real binary, and the command lines that it prints, run by a shell.
#![expect(unreachable_pub, reason = "an integration test is a crate of its own, of which nothing is reachable")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers may fail as tests do")]

#[path = "../support/dev.rs"]
mod support;

mod helpers;
mod manifests;
mod processes;
mod start;
mod users;
