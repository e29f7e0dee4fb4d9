//! The authorization server, and the verification of its tokens (OAuth 2.1, RFC 6749, RFC 9068). This crate depends on
//! neither Kubernetes nor MCP.

pub mod accounts;
mod administration;
pub mod authorize;
pub mod challenge;
pub mod client;
mod client_auth;
pub mod clients;
mod code;
mod error;
pub mod external;
pub mod external_jwt;
mod generations;
pub mod grant;
pub mod introspect;
pub mod jwt;
mod mac;
pub mod metadata;
mod misses;
mod parameters;
mod pkce;
mod recheck;
pub mod redirect;
mod refresh;
mod review;
mod revoke;
mod scopes;
pub mod seal;
mod server;
pub mod single_use;
#[cfg(test)]
mod testing;
pub mod token;
pub mod user_rules;
pub mod users;
pub mod verify;
pub mod workload;

pub use authorize::{ApproveError, Approver, AuthorizationRequest, AuthorizeError, Prompt};
pub use code::ConsentTicket;
pub use error::OAuthError;
pub use server::{AuthorizationServer, Stores};
pub use users::{ProviderToken, RecheckPolicy, Rechecked, UserStatus, Users, Verdict};

use jiff::Timestamp;
use portcullis_core::Scope;
use std::collections::BTreeSet;

/// The caller of a request, from its verified access token. Stored in the request's extensions as `Arc<Caller>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The id of the OAuth client.
    pub client_id: String,
    /// The token's `sub`: the user's id, or `client:` and the client's id if the client acts on its own behalf.
    pub subject: String,
    /// The user's display name; `None` if there is no user.
    pub user_name: Option<String>,
    /// The name of the grant behind the token; `None` if no consent was needed.
    pub grant: Option<String>,
    /// The scopes of the token.
    pub scopes: BTreeSet<Scope>,
    /// When the token was issued.
    pub issued_at: Timestamp,
    /// When the token expires.
    pub expires_at: Timestamp,
}
