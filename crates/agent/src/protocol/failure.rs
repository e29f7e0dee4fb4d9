//! Failures: the body of every answer with an error status.

use serde::{Deserialize, Serialize};

/// The message of the failure for a route that the workspace agent does not have.
pub const UNKNOWN_ROUTE: &str = "the agent of this workspace cannot do that";

/// Why the workspace agent refused a request or failed: the body of every answer with an error status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The kind of failure.
    pub kind: FailureKind,
    /// The problem and its remedy, for people and agents.
    pub message: String,
}

/// The kinds of failures, each with its HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// An argument is not valid (400).
    Invalid,
    /// The path or process does not exist (404).
    NotFound,
    /// The state does not allow the request: for example, a folder exists where a file is needed, or a text occurs
    /// twice (409).
    Conflict,
    /// The workspace's user lacks the permission (403).
    Denied,
    /// The request or the result is too large (413).
    TooLarge,
    /// The disk is full, or the limit of processes is reached (507).
    Exhausted,
    /// The workspace agent itself failed (500).
    Internal,
    /// The command was ended because the workspace stopped or was restarted, or because no client waited for it (409).
    Interrupted,
}
