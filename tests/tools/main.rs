//! The tools as REST and MCP call them, on the local backend: two users who must not meet, and the forms that others
//! prescribe.

#![expect(unreachable_pub, reason = "an integration test is a crate of its own, of which nothing is reachable")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod converters;
mod isolation;
#[path = "../support/probing.rs"]
mod probing;
mod research;
mod stage;
