//! The bodies of the plain HTTP interface, as far as these commands use them. Other members are ignored, so that a newer
//! endpoint can add some.

use serde::{Deserialize, Serialize};

/// A problem document (RFC 9457).
#[derive(Debug, Deserialize)]
pub(super) struct Problem {
    pub detail: String,
    #[serde(default)]
    pub reason: String,
}

/// The body of `POST …/execute`.
#[derive(Debug, Serialize)]
pub(super) struct Execute<'a> {
    pub command: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cwd: Option<&'a str>,
    pub background: bool,
}

/// The response to [`Execute`] in the background.
#[derive(Debug, Deserialize)]
pub(super) struct Started {
    pub process_id: u32,
    pub stdout_file: String,
    pub stderr_file: String,
}

/// The response of `GET …/output`, without the output itself.
#[derive(Debug, Deserialize)]
pub(super) struct Progress {
    pub next_offset: u64,
    #[serde(default)]
    pub truncated: bool,
    pub running: bool,
    pub exit_code: Option<i32>,
}

/// The body of `POST …/input`.
#[derive(Debug, Serialize)]
pub(super) struct Input<'a> {
    pub text: &'a str,
    pub close: bool,
}

/// The response of `GET …/files/content`.
#[derive(Debug, Deserialize)]
pub(super) struct FileContent {
    pub content: String,
    pub encoding: Encoding,
    pub size: u64,
}

/// The encoding of the content of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Encoding {
    /// Text.
    Utf8,
    /// Bytes.
    Base64,
}

/// The body of `PUT …/files/content`.
#[derive(Debug, Serialize)]
pub(super) struct WriteFile<'a> {
    pub path: &'a str,
    pub content: String,
    pub encoding: Encoding,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    pub append: bool,
}

/// The body of `POST …/files/move`.
#[derive(Debug, Serialize)]
pub(super) struct MovePath<'a> {
    pub from: &'a str,
    pub to: &'a str,
    pub overwrite: bool,
}

/// A background process of a workspace.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Process {
    /// The id, for the other tools.
    pub process_id: u32,
    /// The command line.
    pub command: String,
    /// Whether the process runs.
    pub running: bool,
    /// The exit code of a process that has ended.
    pub exit_code: Option<i32>,
    /// When it started (RFC 3339).
    pub started_at: String,
}

/// The response of `GET …/processes`.
#[derive(Debug, Deserialize)]
pub(super) struct Processes {
    pub processes: Vec<Process>,
}

/// The log of a workspace.
#[derive(Debug, Deserialize)]
pub struct WorkspaceLogs {
    /// The lines, oldest first.
    pub lines: Vec<String>,
    /// Whether there were more lines before.
    pub truncated: bool,
}
