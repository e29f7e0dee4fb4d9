//! Signing in at a stand-in for GitHub that answers as its documentation says, and as a local user. Real OpenID providers
//! are in `tests/sign_in/accounts.rs`, since they need a browser.

use crate::{clock, github as stand_in, oidc as provider};

mod administrators;
mod github;
mod logins;
mod oidc;
mod outbound;
mod relying;
