//! What is said between a server and the agent of a workspace: JSON over HTTP/2, one type for each request and answer.
//!
//! The descriptions of fields reach agents in the tools' schemas, so they speak to an agent. Paths that are relative
//! start at the workspace's home. Whoever adds a field gives it a default: servers and agents of two versions meet
//! during upgrades.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use std::{collections::BTreeMap, time::Duration};

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
    /// How long to wait for new output or the end; zero: not at all.
    #[serde(default)]
    pub wait: Duration,
    /// Where the part before ended: the `next_offset` of that answer. `None`: the end of what there is.
    #[serde(default)]
    pub offset: Option<u64>,
    /// Waits for output from `offset` on, or all that is kept, that matches this regular expression.
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
    /// What the process reads; lines end with a line feed of yours.
    pub text: String,
    /// Whether its standard input ends after that.
    #[serde(default)]
    pub close: bool,
    /// Whether this is for a terminal only, as the code of a key is.
    #[serde(default)]
    pub key: bool,
}

/// `POST /files/list`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListFiles {
    /// The folder; `None`: the home folder.
    #[serde(default)]
    pub path: Option<String>,
    /// How deep to look, up to 10: 1, or null, is the folder itself. What is in `.git` and `node_modules` is not shown
    /// unless `path` leads there.
    #[serde(default)]
    pub depth: Option<u32>,
    /// How many entries to skip: the `next_offset` of the page before.
    #[serde(default)]
    pub offset: Option<u64>,
    /// At most so many entries: 1000 if null, and at most 2000.
    #[serde(default)]
    pub limit: Option<u32>,
    /// About so many bytes of JSON at most; [`USUAL_PAGE`] if null.
    #[serde(default)]
    pub max_bytes: Option<u64>,
}

/// What is in a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileList {
    /// The folder.
    pub path: String,
    /// Sorted by path; folders before what is in them.
    pub entries: Vec<FileEntry>,
    /// Whether there are more than are listed.
    pub truncated: bool,
    /// How many entries there are on all pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Pass it as `offset` for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_offset: Option<u64>,
}

/// One entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileEntry {
    /// Its path, for the other tools.
    pub path: String,
    /// What it is.
    pub kind: FileKind,
    /// Its size in bytes, for files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// When its content last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub modified_at: Option<Timestamp>,
}

/// What an entry of a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum FileKind {
    /// A file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A socket, pipe or device.
    Other,
}

/// `POST /files/read`. Text is read by lines, or from a byte on where a line is too long for that; what is no text is
/// read by bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadFile {
    /// The file.
    pub path: String,
    /// The first line, from 1; text only.
    #[serde(default)]
    pub start_line: Option<u64>,
    /// The last line, with it.
    #[serde(default)]
    pub end_line: Option<u64>,
    /// The first byte, from 0; instead of lines.
    #[serde(default)]
    pub start_byte: Option<u64>,
    /// At most so many bytes of it; 262144 if null, and at most 16777216. At least one character is given.
    #[serde(default)]
    pub max_bytes: Option<u64>,
    /// At most so many lines, where lines are read.
    #[serde(default)]
    pub max_lines: Option<u64>,
}

impl ReadFile {
    /// The largest answer to it, in bytes: a character of one byte may take six in JSON (`\u0001`).
    #[must_use]
    pub fn most_answer(&self) -> u64 {
        const REST: u64 = 64 << 10;
        self.max_bytes.unwrap_or(USUAL_READ).saturating_mul(6).saturating_add(REST)
    }
}

/// A file, or a part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileContent {
    /// The file.
    pub path: String,
    /// The text, or its bytes in base64. Empty where it is a picture that is shown beside this.
    pub content: String,
    /// How `content` is written.
    pub encoding: Encoding,
    /// The media type, guessed from the name and the first bytes.
    pub mime_type: String,
    /// The size of the whole file in bytes.
    pub size: u64,
    /// The first line that `content` has, from 1, where lines were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_line: Option<u64>,
    /// The last line that it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_line: Option<u64>,
    /// How many lines the file has, where it is text of at most 16 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_lines: Option<u64>,
    /// Whether the file goes on after `content`.
    pub truncated: bool,
    /// Pass it as start_line for what follows, where that starts with a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_start_line: Option<u64>,
    /// Pass it as start_byte for what follows, where that starts within a line, or the file is read by bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_start_byte: Option<u64>,
}

/// How content is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Encoding {
    /// As text.
    #[default]
    Utf8,
    /// In base64 (RFC 4648 §4).
    Base64,
}

/// `POST /files/write`; with `POST /files/append`, the content is added to the end of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteFile {
    /// The file; its folders are made.
    pub path: String,
    /// All that it is to hold.
    pub content: String,
    /// How `content` is written.
    #[serde(default)]
    pub encoding: Encoding,
    /// Its permissions in octal, such as `755`; `None`: those that it has, or 644 less the umask.
    #[serde(default)]
    pub mode: Option<String>,
}

/// A file that was written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Written {
    /// The file.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it was not there before.
    pub created: bool,
}

/// `POST /files/edit`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EditFile {
    /// The file.
    pub path: String,
    /// What is there; it must occur exactly once unless `replace_all`. Line feeds also stand for the CRLF of a file that
    /// has such line ends, and they are written as it has them.
    pub old_text: String,
    /// What is to be there instead.
    pub new_text: String,
    /// Whether to replace every occurrence.
    #[serde(default)]
    pub replace_all: bool,
}

/// A file that was edited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Edited {
    /// The file.
    pub path: String,
    /// How many places were changed.
    pub replacements: u64,
    /// What changed, as a unified diff; shortened where it is long.
    pub diff: String,
}

/// `POST /files/search`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchFiles {
    /// A regular expression, matched line by line. What .gitignore files name, binary files and what is in .git are left
    /// out.
    pub pattern: String,
    /// The folder or file to search; `None`: the home folder.
    #[serde(default)]
    pub path: Option<String>,
    /// Only files whose path fits, such as `*.rs` or `src/**/*.ts`; all but those if it begins with `!`.
    #[serde(default)]
    pub glob: Option<String>,
    /// At most so many matches: 100 if null, and at most 1000.
    #[serde(default)]
    pub limit: Option<u32>,
    /// How many matches to skip: the `next_offset` of the page before.
    #[serde(default)]
    pub offset: Option<u64>,
    /// About so many bytes of JSON at most; [`USUAL_PAGE`] if null.
    #[serde(default)]
    pub max_bytes: Option<u64>,
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SearchResults {
    /// Sorted by path and line.
    pub matches: Vec<SearchMatch>,
    /// Whether there may be more.
    pub truncated: bool,
    /// How many matches there are on all pages, where all were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Pass it as `offset` for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_offset: Option<u64>,
    /// What else to know, such as why it stopped early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A line that matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SearchMatch {
    /// The file.
    pub path: String,
    /// The line's number, from 1.
    pub line: u64,
    /// The line; only the part around the match where it is long.
    pub text: String,
}

/// `POST /files/move`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovePath {
    /// What to move.
    pub from: String,
    /// Its new path; folders on the way are made.
    pub to: String,
    /// Whether a file that is there is replaced. A folder never is.
    #[serde(default)]
    pub overwrite: bool,
}

/// What was moved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Moved {
    /// Where it was.
    pub from: String,
    /// Where it is.
    pub to: String,
}

/// `POST /files/remove`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovePath {
    /// What to remove.
    pub path: String,
    /// Whether a folder goes with all that is in it.
    #[serde(default)]
    pub recursive: bool,
}

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Removed {
    /// Where it was.
    pub path: String,
}

/// The answer of `GET /usage`: what the workspace uses now, and what it may use. What cannot be measured is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// CPU, in cores.
    pub cpu: Amount,
    /// Memory, in bytes; without what the kernel can take back.
    pub memory: Amount,
    /// The volume under the home folder, in bytes.
    pub disk: Amount,
}

/// Something used of something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Amount {
    /// What is used.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "number")]
    pub used: Option<f64>,
    /// What may be used, where there is a limit.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "number")]
    pub limit: Option<f64>,
}

/// Writes a whole number as one.
#[expect(clippy::ref_option, reason = "what serde passes")]
#[expect(clippy::cast_possible_truncation, reason = "it is whole and far below the border")]
fn number<S: Serializer>(number: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    /// Up to there every whole number has a value of its own.
    const MOST: f64 = 9_007_199_254_740_992.0;
    match *number {
        Some(whole) if whole.fract() == 0.0 && whole.abs() < MOST => serializer.serialize_i64(whole as i64),
        other => other.serialize(serializer),
    }
}

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
