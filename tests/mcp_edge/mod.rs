//! The MCP endpoint over a real socket, as clients of all four revisions meet it. The caller is put in by the test,
//! as the server's token check does it.

mod beside_tools;
mod cancellation;
mod direct;
mod endpoint;
mod old_agent;
mod protocol;
mod session;
mod tools;
