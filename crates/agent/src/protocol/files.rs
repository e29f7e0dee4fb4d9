//! Files and folders: `/files/*`.

use super::USUAL_READ;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `POST /files/list`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListFiles {
    /// The folder; `None`: the home folder.
    #[serde(default)]
    pub path: Option<String>,
    /// The number of levels to list, up to 10; 1 if null: only the folder itself. The content of `.git` and
    /// `node_modules` is listed only if `path` leads there.
    #[serde(default)]
    pub depth: Option<u32>,
    /// The number of entries to skip: `next_offset` of the previous page.
    #[serde(default)]
    pub offset: Option<u64>,
    /// The maximum number of entries: 1000 if null, at most 2000.
    #[serde(default)]
    pub limit: Option<u32>,
    /// The approximate maximum size of the page, in bytes of JSON; [`USUAL_PAGE`](super::USUAL_PAGE) if null.
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

/// `POST /files/read`. Text is read by lines, or from a byte offset if a line is too long; other content is read by
/// bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadFile {
    /// The file.
    pub path: String,
    /// The first line, from 1; only for text.
    #[serde(default)]
    pub start_line: Option<u64>,
    /// The last line, inclusive.
    #[serde(default)]
    pub end_line: Option<u64>,
    /// The first byte, from 0; instead of lines.
    #[serde(default)]
    pub start_byte: Option<u64>,
    /// The maximum size of the content, in bytes: 262144 if null, at most 16777216. At least one character is returned.
    #[serde(default)]
    pub max_bytes: Option<u64>,
    /// The maximum number of lines, if the file is read by lines.
    #[serde(default)]
    pub max_lines: Option<u64>,
}

impl ReadFile {
    /// The largest answer, in bytes: a character of one byte may need six in JSON (`\u0001`).
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
    /// The file. Missing parent folders are created.
    pub path: String,
    /// The whole content, or the part to append.
    pub content: String,
    /// The encoding of `content`.
    #[serde(default)]
    pub encoding: Encoding,
    /// Its permissions in octal, such as `755`; `None`: the current ones, or for a new file 644 minus the umask.
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
    /// The text to replace, which must occur exactly once unless `replace_all` is set. In a file with CRLF line ends,
    /// line feeds also match CRLF, and the replacement gets the line ends of the file.
    pub old_text: String,
    /// The replacement.
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
    /// A regular expression, matched line by line. Binary files, ignored files (.gitignore) and the content of .git are
    /// not searched.
    pub pattern: String,
    /// The folder or file to search; `None`: the home folder.
    #[serde(default)]
    pub path: Option<String>,
    /// A glob that the path must match, such as `*.rs` or `src/**/*.ts`, or must not match if it begins with `!`.
    #[serde(default)]
    pub glob: Option<String>,
    /// The maximum number of matches: 100 if null, at most 1000.
    #[serde(default)]
    pub limit: Option<u32>,
    /// The number of matches to skip: `next_offset` of the previous page.
    #[serde(default)]
    pub offset: Option<u64>,
    /// The approximate maximum size of the page, in bytes of JSON; [`USUAL_PAGE`](super::USUAL_PAGE) if null.
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
    /// The file or folder to move.
    pub from: String,
    /// The new path. Missing parent folders are created.
    pub to: String,
    /// Whether to replace an existing file. A folder is never replaced.
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
    /// The file or folder to remove.
    pub path: String,
    /// Whether to remove a folder with its content.
    #[serde(default)]
    pub recursive: bool,
}

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Removed {
    /// Where it was.
    pub path: String,
}
