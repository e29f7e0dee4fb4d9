//! The MCP endpoint over a real socket, as clients of all four revisions meet it. The caller is put in by the test,
//! as the server's token check does it.

#![expect(unreachable_pub, reason = "an integration test is a crate of its own, of which nothing is reachable")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod beside_tools;
mod cancellation;
mod direct;
mod endpoint;
mod old_agent;
mod protocol;
mod session;
mod tools;
