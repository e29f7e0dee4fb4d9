//! Clients that describe themselves: what a server fetches for them and what it never does, metadata documents, keys,
//! and registration. Documents come over real TLS from a web of the test's own.
#![expect(unreachable_pub, reason = "an integration test is a crate of its own, of which nothing is reachable")]
#![expect(clippy::unwrap_used, reason = "a test's helpers may fail as tests do")]

#[path = "../support/clock.rs"]
mod clock;
mod documents;
mod fetching;
#[path = "../support/mounted.rs"]
mod mounted;
mod registration;
mod server;
#[path = "../support/web.rs"]
mod web;
