//! Metrics and logs.

pub mod logs;
pub mod metrics;
#[cfg(test)]
pub(crate) mod testing;
