//! The reasons of a workspace's `Ready` and of Events, for programs.

pub(super) use crate::status::reason::{
    CONFIG_MISSING, CRASH_LOOPING, ENDPOINT_NOT_FOUND, IMAGE_PULL_FAILED, NAME_TAKEN, POD_REFUSED, READY, UNSCHEDULABLE,
};

/// It is starting.
pub(super) const STARTING: &str = "Starting";
/// It is stopping.
pub(super) const STOPPING: &str = "Stopping";
/// It is stopped, as requested.
pub(super) const STOPPED: &str = "Stopped";
/// Its template does not exist.
pub(super) const TEMPLATE_NOT_FOUND: &str = "TemplateNotFound";
/// Its parameters do not fit its template.
pub(super) const INVALID_PARAMETERS: &str = "InvalidParameters";
/// Its owner has more than the endpoint allows.
pub(super) const QUOTA_EXCEEDED: &str = "QuotaExceeded";
/// Its template reads a Secret that workspaces may not read.
pub(super) const SECRET_REFUSED: &str = "SecretRefused";
/// There is no volume yet.
pub(super) const VOLUME_PENDING: &str = "VolumePending";
/// Commands can run, but the template's own program failed at once.
pub(super) const PROGRAM_FAILED: &str = "ProgramFailed";
/// The pod's node does not answer.
pub(super) const NODE_NOT_READY: &str = "NodeNotReady";
/// It was not used for long (an Event).
pub(super) const IDLE_STOPPED: &str = "IdleStopped";
/// It was deleted for its age (an Event).
pub(super) const EXPIRED: &str = "Expired";

/// Whether a user has to act.
pub(super) fn is_warning(reason: &str) -> bool {
    !matches!(reason, READY | STARTING | STOPPING | STOPPED)
}
