//! The attack table: each test is one attack on the real server, over real sockets and under a clock that stands still.
//! Its first line of documentation says what is tried and, after the arrow, what must happen; `docs/attacks.md` is made
//! from these lines. Every test ends by searching all that was logged meanwhile for the secrets that it used.
#![expect(unreachable_pub, reason = "an integration test is a crate of its own, of which nothing is reachable")]
#![expect(clippy::unwrap_used, clippy::panic, clippy::similar_names, reason = "a test's helpers may fail as tests do")]

#[path = "../support/agent_program.rs"]
mod agent_program;
#[path = "../support/clock.rs"]
mod clock;
/// The browser that the tests of the pages drive.
#[path = "../support/form_browser.rs"]
#[expect(dead_code, reason = "made for people who allow what they are asked")]
mod driven;
#[path = "../support/hoarding.rs"]
mod hoarding;
#[path = "../support/mounted.rs"]
mod mounted;
#[path = "../support/oidc.rs"]
mod provider;
#[path = "../support/replaced_agent.rs"]
mod replaced_agent;
#[path = "../support/web.rs"]
mod web;

mod agent;
mod forge;
mod log;
mod pod;
mod stage;

mod account;
mod agent_files;
mod assertion;
mod audit;
mod browser;
mod client;
mod code;
mod consent;
mod console;
mod ended;
mod files;
mod flood;
mod header;
mod hoard;
mod introspection;
mod issuer;
mod jwt;
mod leak;
mod logout;
mod redirect;
mod refresh;
mod registration;
mod scope;
mod size;
mod ssrf;
mod user;
