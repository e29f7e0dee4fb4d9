//! What the unit tests of several crates share.

pub mod log;
pub mod strategies;
