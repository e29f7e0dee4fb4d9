//! The MCP protocol layer.
//!
//! [`Endpoint`] serves one endpoint: streamable HTTP, stateless, in four revisions of the protocol. It expects that the
//! server has verified the token and put an `Arc<oauth::Caller>` into the request's extensions.

mod accept;
mod batch;
mod card;
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

pub use card::{AI_CATALOG, SERVER_CARD, SERVER_CARD_PATH, ai_catalog, server_card};
pub use edge::{Endpoint, MessageRate};
pub use handler::Handler;
pub use scope_gate::{Requested, ScopeGate, Target};
pub use splice::Slot;

/// The error for invalid params (JSON-RPC 2.0 §5.1, -32602).
fn refused(message: impl Into<std::borrow::Cow<'static, str>>) -> rmcp::ErrorData {
    rmcp::ErrorData::invalid_params(message, None)
}

/// The supported revisions of MCP, oldest first.
pub const PROTOCOL_VERSIONS: [&str; 4] = ["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"];
