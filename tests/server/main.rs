//! The server as its clients meet it: real requests to real listeners, without a cluster.

#![expect(unreachable_pub, reason = "an integration test is a crate of its own, of which nothing is reachable")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::similar_names,
    reason = "a test's helpers may fail as tests do"
)]

#[path = "../support/clock.rs"]
mod clock;
#[path = "../support/dev.rs"]
mod dev;
#[path = "../support/form_browser.rs"]
mod form_browser;
#[path = "../support/github.rs"]
mod github;
#[path = "../support/grants.rs"]
mod grants;
#[path = "../support/hoarding.rs"]
#[expect(dead_code, reason = "made for the attacks too")]
mod hoarding;
#[path = "../support/mounted.rs"]
mod mounted;
#[path = "../support/oidc.rs"]
#[expect(dead_code, reason = "logouts are in tests/attacks")]
mod oidc;
#[path = "../support/probing.rs"]
mod probing;
#[path = "../support/replaced_agent.rs"]
mod replaced_agent;
#[path = "../support/script.rs"]
mod script;
#[path = "../support/web.rs"]
mod web;

mod client_commands;
#[path = "../conformance/mod.rs"]
mod conformance;
mod external_issuer;
#[path = "../identity/mod.rs"]
mod identity;
#[cfg(target_os = "linux")]
mod keyring;
mod local_state;
#[path = "../mcp_edge/mod.rs"]
mod mcp_edge;
mod official_clients;
#[path = "../pages/mod.rs"]
mod pages;
#[path = "../rest/mod.rs"]
mod rest;
#[path = "../self_described/mod.rs"]
mod self_described;
#[path = "../serve/mod.rs"]
mod serve;
#[path = "../tools/mod.rs"]
mod tools;
