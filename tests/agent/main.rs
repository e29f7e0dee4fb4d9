//! The agent as it is in a workspace: the real binary as a process of its own, spoken to through `agent connect`.

#![expect(unreachable_pub, reason = "an integration test is a crate of its own, of which nothing is reachable")]
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

#[path = "../support/agent_program.rs"]
mod agent_program;
mod commands;
mod life;
mod memory;
mod place;
mod stage;
