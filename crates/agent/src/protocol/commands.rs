//! Commands and their results: `/commands/ID`.

use super::Failure;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// A command to run: `PUT /commands/ID`. The id is the server's to choose, and new for each command: a second request
/// with an id that is known takes up the command that runs or has run, instead of running it twice. With
/// `?begun=true` an id that is not known starts nothing: the agent that knew it has gone.
///
/// The answer is one JSON object per line, each a [`CommandEvent`]; an empty line now and then is the heartbeat. Whoever
/// stops reading it has 15 seconds to take the command up again, before it is ended; `DELETE /commands/ID` ends it at
/// once. How a command went is remembered for two minutes.
///
/// An id is 1 to 64 letters, digits, `-` and `_`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// A line for the shell.
    pub command: String,
    /// Where it runs; `None`: in the home folder.
    #[serde(default)]
    pub cwd: Option<String>,
    /// Variables beside the workspace's own.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What it reads on its standard input; `None`: nothing.
    #[serde(default)]
    pub stdin: Option<String>,
    /// When it is ended; `None`: not before the workspace stops.
    #[serde(default)]
    pub timeout: Option<Duration>,
    /// After `timeout` it is answered, and runs on for so long in the background, instead of being ended.
    #[serde(default)]
    pub continue_for: Option<Duration>,
    /// Whether to answer at once and let it run on; its standard input stays open.
    #[serde(default)]
    pub background: bool,
    /// Whether to send its output as it comes.
    #[serde(default)]
    pub live: bool,
    /// A terminal of this size for its input and output, instead of pipes; what it shows is in stdout.
    #[serde(default)]
    pub terminal: Option<TerminalSize>,
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// How many lines.
    pub rows: u16,
    /// How many columns.
    pub columns: u16,
}

/// One line of the answer to a [`Command`]: any number of pieces of output, then its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandEvent {
    /// Output of either stream, as it comes. What nobody takes in time is left out.
    Output(String),
    /// How it went.
    Result(CommandResult),
    /// Why it did not start.
    Failure(Failure),
}

/// How a command went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CommandResult {
    /// The exit code; 128 and the signal's number if a signal ended it. Left out while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Standard output; only its beginning and end if `truncated`.
    pub stdout: String,
    /// Standard error; only its beginning and end if `truncated`.
    pub stderr: String,
    /// How long it ran, in milliseconds.
    pub duration_ms: u64,
    /// Whether stdout or stderr was too long to show whole. `stdout_file` and `stderr_file` have the rest.
    pub truncated: bool,
    /// Whether it was ended because its time was up.
    pub timed_out: bool,
    /// What still runs of it, for process_output, send_input and stop_process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_id: Option<u32>,
    /// The file in the workspace with all of stdout, where it is not all shown here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdout_file: Option<String>,
    /// The file in the workspace with all of stderr, where it is not all shown here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stderr_file: Option<String>,
    /// What else to know, such as what to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}
