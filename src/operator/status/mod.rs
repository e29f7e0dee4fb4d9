//! From what was observed to the conditions and statuses of an endpoint and its clients. Pure.

mod client;
mod endpoint;
mod exposed;
pub mod reason;
mod user;

pub use client::{client_status, registered_status, stranded_status};
pub use endpoint::{Observed, blocked, blocked_status, endpoint_findings, endpoint_status, has_loaded};
pub use exposed::{Notes, WayIn};
pub use user::{unreadable_user_status, user_status};

use crate::api::condition::Finding;

/// What keeps the operator from doing its work on an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// One of [`reason`].
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
}

fn finding(kind: &'static str, holds: Option<bool>, reason: &'static str, message: String) -> Finding {
    Finding { kind, holds, reason, message }
}
