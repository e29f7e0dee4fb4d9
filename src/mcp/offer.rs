//! The seam between the edge and what an endpoint offers.

use crate::{api::Scope, oauth::Caller};
use rmcp::ServerHandler;
use std::fmt;

/// What an endpoint offers: an rmcp handler, and what the edge asks before it lets a request through to it.
pub trait Offer: ServerHandler + Clone {
    /// The scope that `target` needs and `caller` does not have. `None` where it may pass, and where there is no such
    /// thing: that is for the handler to say.
    fn missing_scope(&self, target: Target<'_>, caller: &Caller) -> Option<Scope>;
}

/// What a request is about.
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
    /// The name of the tool. Only of use where [`Offer::missing_scope`] knows the tool: clients make up others.
    pub(super) fn tool(self) -> Option<&'a str> {
        match self {
            Self::Tool(name) => Some(name),
            Self::Prompt(_) | Self::Resource(_) => None,
        }
    }
}

impl fmt::Display for Target<'_> {
    /// For headers too: a URI that a client made up stays out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tool(name) => write!(f, "the tool {name}"),
            Self::Prompt(name) => write!(f, "the prompt {name}"),
            Self::Resource(_) => f.write_str("reading a resource"),
        }
    }
}
