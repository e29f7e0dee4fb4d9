//! The authorization server and the verification of its tokens (OAuth 2.1, RFC 6749, RFC 9068). Knows neither
//! Kubernetes nor MCP.

pub mod accounts;
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
pub use users::{ProviderToken, RecheckPolicy, Rechecked, Standing, Users, Verdict};

use jiff::Timestamp;
use portcullis_core::Scope;
use std::collections::BTreeSet;

/// Who makes a request, as its verified access token says. In the request's extensions as `Arc<Caller>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The OAuth client.
    pub client_id: String,
    /// On whose behalf: the token's `sub`. `client:` and the client's id where it acts for itself.
    pub subject: String,
    /// What people call that user; `None` where there is none.
    pub user_name: Option<String>,
    /// The grant behind the token; `None` where nobody had to consent.
    pub grant: Option<String>,
    /// What the token is good for.
    pub scopes: BTreeSet<Scope>,
    /// When the token was made.
    pub issued_at: Timestamp,
    /// When the token expires.
    pub expires_at: Timestamp,
}
