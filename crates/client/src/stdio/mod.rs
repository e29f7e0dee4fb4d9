//! `portcullis stdio`: an MCP server on standard input and output that forwards every message to an endpoint over
//! Streamable HTTP, for agents without OAuth.

mod backoff;
mod exchange;
mod framing;
mod headers;
mod message;
mod relay;
mod session;
mod sse;

pub use relay::{Relay, RelayError};
