//! The local backend with real folders and real processes: life cycle, limits, isolation, and that nothing is left
//! running.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod commands;
mod fixture;
mod lifecycle;
