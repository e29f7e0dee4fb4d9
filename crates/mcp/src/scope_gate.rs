//! The interface between the edge and the handler of an endpoint.

use crate::splice::Slot;
use futures::future::BoxFuture;
use portcullis_budget::Account;
use portcullis_core::Scope;
use portcullis_oauth::Caller;
use portcullis_telemetry::audit::RequestContext;
use rmcp::{
    ServerHandler,
    model::{CallToolResult, JsonObject},
};
use std::{fmt, sync::Arc};

/// An rmcp handler, with the scope check that the edge makes before it passes a request to the handler.
pub trait ScopeGate: ServerHandler + Clone {
    /// The scope that `target` needs and `caller` does not have. `None` if the caller has the scope, or if the target
    /// does not exist, which the handler reports.
    fn missing_scope(&self, target: Target<'_>, caller: &Caller) -> Option<Scope>;

    /// Calls a tool directly, with the same result as the handler. `None`: the handler must call it. Dropping the
    /// future ends everything that the call started.
    fn call(&self, _requested: Requested<'_>) -> Option<BoxFuture<'static, CallToolResult>> {
        None
    }
}

/// A call of a tool.
pub struct Requested<'a> {
    /// The name of the tool.
    pub name: &'a str,
    /// Its arguments.
    pub arguments: JsonObject,
    /// The caller.
    pub caller: Arc<Caller>,
    /// The context of the request, for audit events.
    pub from: RequestContext,
    /// The memory account of the request.
    pub account: Account,
    /// The slot for the result.
    pub slot: Arc<Slot>,
}

/// The target of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// `tools/call` of a tool.
    Tool(&'a str),
    /// `prompts/get` of a prompt.
    Prompt(&'a str),
    /// `resources/read` of a URI.
    Resource(&'a str),
}

impl<'a> Target<'a> {
    /// The name of the tool. To be used only if [`ScopeGate::missing_scope`] knows the tool: clients can send any name.
    pub(super) fn tool(self) -> Option<&'a str> {
        match self {
            Self::Tool(name) => Some(name),
            Self::Prompt(_) | Self::Resource(_) => None,
        }
    }
}

impl fmt::Display for Target<'_> {
    /// Omits URIs: clients choose them, and the text is also used in headers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tool(name) => write!(f, "the tool {name}"),
            Self::Prompt(name) => write!(f, "the prompt {name}"),
            Self::Resource(_) => f.write_str("reading a resource"),
        }
    }
}
