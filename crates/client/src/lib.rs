//! The commands for users of an endpoint: signing in, tokens, the MCP relay for agents without OAuth, and workspaces.
//!
//! The pure parts (metadata, challenges, callbacks, stored credentials, messages, framing) have modules of their own;
//! the modules with I/O are small. Nothing here depends on the server: it is a client of public interfaces.

pub mod access;
pub mod oauth;
pub mod stdio;
pub mod store;
pub mod workspace;

mod credentials;

pub use credentials::Credentials;
