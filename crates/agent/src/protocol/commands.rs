//! Commands and their results: `/commands/ID`.

use super::Failure;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// A command to run: `PUT /commands/ID`. The server chooses a new id for each command. A request with a known id
/// attaches to that command, whether it runs or has ended, instead of running it again. With `?begun=true`, a request
/// with an unknown id starts nothing: the workspace agent that knew the command has been replaced.
///
/// The answer has one JSON object per line, each a [`CommandEvent`]; empty lines are heartbeats. If the client stops
/// reading, it has 15 seconds to attach again before the command is ended; `DELETE /commands/ID` ends it at once. The
/// result of a command is kept for two minutes.
///
/// An id has 1 to 64 letters, digits, `-` and `_`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The shell command line.
    pub command: String,
    /// The working directory; `None`: the home folder.
    #[serde(default)]
    pub cwd: Option<String>,
    /// Environment variables in addition to those of the workspace.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The content of standard input; `None`: no input.
    #[serde(default)]
    pub stdin: Option<String>,
    /// The time after which the command is ended; `None`: it may run until the workspace stops.
    #[serde(default)]
    pub timeout: Option<Duration>,
    /// If set, the request is answered at `timeout`, and the command may run for this much longer in the background.
    #[serde(default)]
    pub continue_for: Option<Duration>,
    /// Whether to answer at once and run the command in the background, with its standard input open.
    #[serde(default)]
    pub background: bool,
    /// Whether to stream output while the command runs.
    #[serde(default)]
    pub live: bool,
    /// The size of the terminal to run in, instead of pipes. The output of the terminal is in `stdout`.
    #[serde(default)]
    pub terminal: Option<TerminalSize>,
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// The number of lines.
    pub rows: u16,
    /// The number of columns.
    pub columns: u16,
}

/// One line of the answer to a [`Command`]: any number of outputs, then a result or a failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandEvent {
    /// A piece of standard output or standard error. Pieces that are not read in time are dropped.
    Output(String),
    /// The result of the command.
    Result(CommandResult),
    /// Why the command did not start.
    Failure(Failure),
}

/// The result of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommandResult {
    /// The exit code; 128 plus the signal number if a signal ended it. Omitted while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Standard output; only its beginning and end if `truncated`.
    pub stdout: String,
    /// Standard error; only its beginning and end if `truncated`.
    pub stderr: String,
    /// The duration in milliseconds.
    pub duration_ms: u64,
    /// Whether stdout or stderr is shortened. `stdout_file` and `stderr_file` have all of it.
    pub truncated: bool,
    /// Whether the command was ended because of a timeout.
    pub timed_out: bool,
    /// The id of the running process, for process_output, send_input and stop_process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_id: Option<u32>,
    /// The file in the workspace with all of stdout, if stdout is shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout_file: Option<String>,
    /// The file in the workspace with all of stderr, if stderr is shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr_file: Option<String>,
    /// Additional information, such as the next step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}
