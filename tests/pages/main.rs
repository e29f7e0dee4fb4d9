//! The pages, whole: the real server on a real socket, and browsers that are driven by hand, so that each header and
//! each field can be wrong.
#![expect(unreachable_pub, reason = "an integration test is a crate of its own, of which nothing is reachable")]
#![expect(clippy::unwrap_used, clippy::panic, clippy::similar_names, reason = "a test's helpers may fail as tests do")]

#[path = "../support/pages.rs"]
#[expect(dead_code, reason = "made for people who allow what they are asked")]
mod browser;
#[path = "../support/clock.rs"]
mod clock;
#[path = "../support/mounted.rs"]
mod mounted;

mod agents;
mod flow;
mod forgery;
mod hostile;
mod html;
mod providers;
mod stage;
