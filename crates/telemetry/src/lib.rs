//! Observability of a process: audit events, metrics and logs.

pub mod audit;
pub mod logs;
pub mod metrics;
