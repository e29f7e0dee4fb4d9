//! The conditions and statuses of an endpoint and its clients from observations. Pure.

mod addresses;
mod client;
mod confined;
mod endpoint;
mod exposed;
mod ingress_class;
pub mod pull;
pub mod reason;
mod rollout;
mod template;
mod user;

pub use client::{client_status, registered_status, stranded_status};
pub use endpoint::{
    EndpointObservation, blocked_findings, blocked_status, endpoint_findings, endpoint_status, has_loaded, is_current,
};
pub use exposed::{ExposedBy, Notes};
pub use ingress_class::missing_class;
pub(super) use rollout::kept_of_pod;
pub use rollout::{Rollout, RolloutProgress};
pub use template::{template_status, unreadable_template_status};
pub use user::{unreadable_user_status, user_status};

use portcullis_api::condition::Finding;

/// Why the operator cannot reconcile an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocker {
    /// One of [`reason`].
    pub reason: &'static str,
    /// A sentence for users.
    pub message: String,
}

fn finding(kind: &'static str, holds: Option<bool>, reason: &'static str, message: String) -> Finding {
    Finding { kind, holds, reason, message }
}
