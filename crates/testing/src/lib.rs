//! Helpers for the unit tests of several crates.

pub mod log;
pub mod strategies;
