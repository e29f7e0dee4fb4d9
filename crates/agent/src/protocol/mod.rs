//! The protocol between a server and a workspace agent: JSON over HTTP/2, with one type for each request and answer.
//!
//! The descriptions of fields appear in the schemas of the tools, so they address an AI agent. Relative paths start at
//! the home folder of the workspace. A new field needs a default, because servers and workspace agents of two versions
//! communicate during upgrades.

mod commands;
mod failure;
mod files;
mod journal;
mod processes;
mod usage;

pub use self::{
    commands::{Command, CommandEvent, CommandResult, TerminalSize},
    failure::{Failure, FailureKind, UNKNOWN_ROUTE},
    files::{
        EditFile, Edited, Encoding, FileContent, FileEntry, FileKind, FileList, ListFiles, MovePath, Moved, ReadFile,
        RemovePath, Removed, SearchFiles, SearchMatch, SearchResults, WriteFile, Written,
    },
    journal::{ACTOR_HEADER, Actor, JournalEntry, JournalPage, JournalRequest, Operation, OperationKind, Outcome},
    processes::{Input, Process, ProcessOutput, ProcessOutputRequest, Processes},
    usage::{Amount, Usage},
};

use serde::{Deserialize, Serialize};

/// The largest answer of a route without a limit of its own, in bytes.
pub const MOST_ANSWER: u64 = 4 << 20;
/// The largest answer with a short result or a failure, in bytes.
pub const MOST_SHORT_ANSWER: u64 = 1 << 20;
/// The largest answer about resource usage, in bytes. It is a few numbers, and is read without charging memory.
pub const MOST_USAGE: u64 = 8 << 10;
/// The longest line of the answer to a command, in bytes: both output streams, shortened, with every character escaped.
pub const MOST_COMMAND_EVENT: u64 = 1 << 20;
/// The default size of a read, in bytes.
pub const USUAL_READ: u64 = 256 * 1024;
/// The approximate default size of a page of a list, in bytes of JSON.
pub const USUAL_PAGE: u64 = 48 * 1024;

/// The version and home folder of a workspace agent: the answer of `GET /hello`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The version of Portcullis that the workspace agent was built from.
    pub version: String,
    /// The absolute path of the home folder.
    pub home: String,
}
