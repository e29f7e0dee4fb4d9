//! What a process tells its operators: audit events, metrics and logs.

pub mod audit;
pub mod logs;
pub mod metrics;
