//! Failures, the body of every answer with an error status.

use serde::{Deserialize, Serialize};

/// The message of the failure with which an agent answers a route that it does not have.
pub const UNKNOWN_ROUTE: &str = "the agent of this workspace cannot do that";

/// Why the agent refused or failed: the body of every answer that is no success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What kind of failure.
    pub kind: FailureKind,
    /// What was wrong and what to do, for people and agents.
    pub message: String,
}

/// The kinds of failures; each has the HTTP status that REST answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// An argument that cannot be (400).
    Invalid,
    /// A path or process that is not there (404).
    NotFound,
    /// It is in the way, or not as it must be: a folder where a file is needed, text that occurs twice (409).
    Conflict,
    /// The workspace's user may not (403).
    Denied,
    /// Too large to send or to take (413).
    TooLarge,
    /// The disk or the number of processes is used up (507).
    Exhausted,
    /// The agent's own failure (500).
    Internal,
    /// The command was ended because the workspace stops, was restarted, or because nobody waited for it (409).
    Interrupted,
}
