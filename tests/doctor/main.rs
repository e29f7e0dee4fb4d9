//! `portcullis doctor` on broken endpoints: it must name the cause first.

#![expect(unreachable_pub, reason = "an integration test is a crate of its own, of which nothing is reachable")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers may fail as tests do")]

#[path = "../support/clock.rs"]
#[expect(dead_code, reason = "made for tests in which time passes")]
mod clock;
#[path = "../support/dev.rs"]
mod dev;
#[path = "../support/mounted.rs"]
mod mounted;
#[path = "../support/replaced_agent.rs"]
mod replaced_agent;

mod certificates;
mod configured;
mod examined;
mod front;
mod network;
mod program;
mod proxied;
mod serve;
mod sign_in;
