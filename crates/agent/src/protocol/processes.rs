//! Background processes, their output and their input: `/processes`.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The answer of `GET /processes`: what commands left running, and what has ended lately.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Processes {
    /// The newest first.
    pub processes: Vec<Process>,
}

/// A command that runs on in the background, or did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    /// For process_output, send_input and stop_process.
    pub process_id: u32,
    /// The command line.
    pub command: String,
    /// Whether any of it still runs.
    pub running: bool,
    /// The exit code, once the command itself has ended; 128 and the signal's number if a signal ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// When it was started.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub started_at: Timestamp,
}

/// `POST /processes/ID/output`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessOutputRequest {
    /// How long to wait for new output or the end of the process; zero: do not wait.
    #[serde(default)]
    pub wait: Duration,
    /// The position of the first byte to return: `next_offset` of the previous answer. `None`: the last part of the
    /// output.
    #[serde(default)]
    pub offset: Option<u64>,
    /// A regular expression: wait for a match in the output from `offset` on, or in all kept output without an
    /// `offset`.
    #[serde(default)]
    pub wait_for: Option<String>,
}

/// What a background process has said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessOutput {
    /// Standard output and standard error as they came, from `offset` on, or the last part.
    pub output: String,
    /// Pass it as `offset` for what comes next.
    pub next_offset: u64,
    /// How many bytes between the offset that was asked for and `output` are no longer kept here.
    pub skipped_bytes: u64,
    /// Whether there is more output already, at `next_offset`.
    #[serde(default)]
    pub truncated: bool,
    /// Whether the output that was waited for has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched: Option<bool>,
    /// Whether any of it still runs.
    pub running: bool,
    /// The exit code, once the command itself has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The file in the workspace with all of stdout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout_file: Option<String>,
    /// The file in the workspace with all of stderr.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr_file: Option<String>,
}

/// `POST /processes/ID/input`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// The input. A line needs its own line feed.
    pub text: String,
    /// Whether to close standard input afterwards.
    #[serde(default)]
    pub close: bool,
    /// Whether the text is a key code, which only a terminal understands.
    #[serde(default)]
    pub key: bool,
}
