//! `serve`, whole: the real server on real sockets, on files as a kubelet mounts them.
#![expect(unreachable_pub, reason = "an integration test is a crate of its own, of which nothing is reachable")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers may fail as tests do")]

#[path = "../support/clock.rs"]
mod clock;
#[path = "../support/hoarding.rs"]
#[expect(dead_code, reason = "made for attacks too")]
mod hoarding;
#[path = "../support/mounted.rs"]
mod mounted;
#[path = "../support/replaced_agent.rs"]
mod replaced_agent;

mod stage;

mod address;
mod drain;
mod fair;
mod files;
mod limits;
mod origins;
mod protocol;
mod proxy;
mod silent;
mod slow;
mod tls;
