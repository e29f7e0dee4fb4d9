//! Background processes, their output and their input: `/processes`.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The answer of `GET /processes`: background processes that run or ended recently.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Processes {
    /// The processes, newest first.
    pub processes: Vec<Process>,
}

/// A background process, which runs or has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    /// The id, for process_output, send_input and stop_process.
    pub process_id: u32,
    /// The command line.
    pub command: String,
    /// Whether any of its processes still runs.
    pub running: bool,
    /// The exit code, after the command itself has ended; 128 plus the signal number if a signal ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The start time.
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

/// The output of a background process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessOutput {
    /// Standard output and standard error in the order of arrival, from `offset` on, or the last part.
    pub output: String,
    /// The `offset` of the next part.
    pub next_offset: u64,
    /// The number of bytes between the requested offset and `output` that are no longer kept.
    pub skipped_bytes: u64,
    /// Whether more output is available at `next_offset`.
    #[serde(default)]
    pub truncated: bool,
    /// Whether the awaited output has appeared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched: Option<bool>,
    /// Whether any of its processes still runs.
    pub running: bool,
    /// The exit code, after the command itself has ended.
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
