//! Signing in at a stand-in for GitHub that answers as its documentation says, and as a local user. Real OpenID providers
//! are in `tests/sign_in/accounts.rs`, since they need a browser.
#![expect(unreachable_pub, reason = "an integration test is a crate of its own, of which nothing is reachable")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/clock.rs"]
mod clock;
mod github;
mod logins;
mod oidc;
mod outbound;
#[expect(dead_code, reason = "logouts are in tests/attacks")]
#[path = "../support/oidc.rs"]
mod provider;
mod relying;
#[path = "../support/github.rs"]
mod stand_in;
