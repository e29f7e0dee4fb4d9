//! The protocol between a server and the agent of a workspace: JSON over HTTP/2, one type for each request and answer.
//!
//! The descriptions of fields reach agents in the tools' schemas, so they speak to an agent. Paths that are relative
//! start at the workspace's home. Whoever adds a field gives it a default: servers and agents of two versions meet
//! during upgrades.

mod commands;
mod failure;
mod files;
mod processes;
mod usage;

pub use self::{
    commands::{Command, CommandEvent, CommandResult, TerminalSize},
    failure::{Failure, FailureKind, UNKNOWN_ROUTE},
    files::{
        EditFile, Edited, Encoding, FileContent, FileEntry, FileKind, FileList, ListFiles, MovePath, Moved, ReadFile,
        RemovePath, Removed, SearchFiles, SearchMatch, SearchResults, WriteFile, Written,
    },
    processes::{Input, Process, ProcessOutput, ProcessOutputRequest, Processes},
    usage::{Amount, Usage},
};

use serde::{Deserialize, Serialize};

/// The largest answer of a route of which nothing else is said, in bytes.
pub const MOST_ANSWER: u64 = 4 << 20;
/// The largest answer that says how a request went, or that it failed.
pub const MOST_SHORT_ANSWER: u64 = 1 << 20;
/// The longest line of the answer to a command: both of its streams, shortened, every character escaped.
pub const MOST_COMMAND_EVENT: u64 = 1 << 20;
/// How much of a file is read if nothing is said.
pub const USUAL_READ: u64 = 256 * 1024;
/// How large a page of a list is, about, if nothing is said: in bytes of JSON.
pub const USUAL_PAGE: u64 = 48 * 1024;

/// Who the agent is: the answer of `GET /hello`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The version of Portcullis that it was built from.
    pub version: String,
    /// The home folder, absolute.
    pub home: String,
}
