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

/// The content of a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileList {
    /// The folder.
    pub path: String,
    /// The entries, sorted by path; a folder precedes its content.
    pub entries: Vec<FileEntry>,
    /// Whether there are more entries.
    pub truncated: bool,
    /// The number of entries on all pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// The `offset` of the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_offset: Option<u64>,
}

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileEntry {
    /// The path, for the other tools.
    pub path: String,
    /// The kind of the entry.
    pub kind: FileKind,
    /// The size of a file in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The time of the last change of the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub modified_at: Option<Timestamp>,
}

/// The kind of an entry.
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
    /// The text, or the bytes in base64. Empty for a picture that is returned as an image.
    pub content: String,
    /// The encoding of `content`.
    pub encoding: Encoding,
    /// The media type, guessed from the name and the first bytes.
    pub mime_type: String,
    /// The size of the whole file in bytes.
    pub size: u64,
    /// The first line of `content`, from 1, if lines were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_line: Option<u64>,
    /// The last line of `content`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_line: Option<u64>,
    /// The number of lines of the file, if it is text of at most 16 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_lines: Option<u64>,
    /// Whether the file continues after `content`.
    pub truncated: bool,
    /// The `start_line` of the next part, if it begins with a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_start_line: Option<u64>,
    /// The `start_byte` of the next part, if it begins within a line or the file is read by bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_start_byte: Option<u64>,
}

/// The encoding of content.
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
    /// The size in bytes.
    pub size: u64,
    /// Whether the file is new.
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
    /// The number of replacements.
    pub replacements: u64,
    /// The change as a unified diff, shortened if it is long.
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

/// The results of a search.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SearchResults {
    /// The matches, sorted by path and line.
    pub matches: Vec<SearchMatch>,
    /// Whether there may be more matches.
    pub truncated: bool,
    /// The number of matches on all pages, if all were counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// The `offset` of the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_offset: Option<u64>,
    /// Additional information, such as why the search stopped early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A line that matches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SearchMatch {
    /// The file.
    pub path: String,
    /// The line number, from 1.
    pub line: u64,
    /// The line; only the part around the match if it is long.
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

/// A file or folder that was moved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Moved {
    /// The old path.
    pub from: String,
    /// The new path.
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

/// A file or folder that was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Removed {
    /// The old path.
    pub path: String,
}
