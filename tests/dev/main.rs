//! `portcullis dev` as a person uses it: the real binary, and the command lines that it prints, run by a shell.
#![expect(unreachable_pub, reason = "an integration test is a crate of its own, of which nothing is reachable")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers may fail as tests do")]

#[path = "../support/clock.rs"]
mod clock;
#[path = "../support/dev.rs"]
mod support;

mod command_line;
mod curl;
mod examples;
mod helpers;
mod htpasswd;
#[path = "../local_workspaces/mod.rs"]
mod local_workspaces;
mod manifests;
mod pictures;
mod processes;
mod rotation;
mod start;
mod users;
mod validate;
