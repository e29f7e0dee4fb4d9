//! Signing in, with what stands at the other end: a stand-in for GitHub that answers as its documentation says, and real
//! OpenID providers.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod github;
mod logins;
mod outbound;
mod relying;
mod stand_in;
