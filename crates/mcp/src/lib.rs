//! The protocol edge of MCP.
//!
//! [`Endpoint`] serves one endpoint: streamable HTTP, stateless, in four revisions of the protocol. It expects that
//! the server in front of it has checked the token and put an `Arc<oauth::Caller>` into the request's extensions.

mod accept;
mod batch;
mod completion;
mod direct;
mod edge;
mod handler;
mod host;
mod message;
mod progress;
mod prompts;
mod resources;
mod revision;
mod running;
mod scope_gate;
mod splice;
mod subscriptions;

pub use edge::{Endpoint, MessageRate};
pub use handler::Handler;
pub use scope_gate::{Requested, ScopeGate, Target};
pub use splice::Slot;

/// What a client asked for cannot be (JSON-RPC 2.0 §5.1, -32602).
fn refused(message: impl Into<std::borrow::Cow<'static, str>>) -> rmcp::ErrorData {
    rmcp::ErrorData::invalid_params(message, None)
}

/// The revisions that an endpoint speaks, oldest first.
pub const PROTOCOL_VERSIONS: [&str; 4] = ["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"];
