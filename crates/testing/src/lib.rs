//! What the unit tests of several crates share.

pub mod fuzz;
pub mod log;
