//! The journal: the latest commands and changes that clients requested. `POST /journal`, and the header that names the
//! client of a request.

use super::FailureKind;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, utf8_percent_encode};
use serde::{Deserialize, Serialize};

/// The header of any request with its [`Actor`]: JSON in percent-encoding (RFC 3986 §2.1). Workspace agents of earlier
/// versions ignore it, and servers of earlier versions do not send it.
pub const ACTOR_HEADER: HeaderName = HeaderName::from_static("portcullis-actor");
/// The characters that the header does not have as they are.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// The client that made a request, and on whose behalf. The workspace agent does not verify it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The id of the OAuth client.
    pub client_id: String,
    /// The `sub` of its access token: the user, or the client itself.
    #[serde(default)]
    pub user: String,
    /// The name of the grant behind the token; `None` if no consent was needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
}

impl Actor {
    /// The value of the header.
    #[must_use]
    pub fn to_header(&self) -> Option<HeaderValue> {
        let json = serde_json::to_string(self).ok()?;
        HeaderValue::try_from(utf8_percent_encode(&json, ESCAPED).to_string()).ok()
    }

    /// The actor that these headers name. A header that is not valid names none.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let json: Vec<u8> = percent_decode(headers.get(ACTOR_HEADER)?.as_bytes()).collect();
        serde_json::from_slice(&json).ok()
    }
}

/// `POST /journal`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalRequest {
    /// The maximum number of entries: 50 if null, at most 200.
    #[serde(default)]
    pub limit: Option<u32>,
    /// Only entries before the one with this id: `next_before` of the previous page.
    #[serde(default)]
    pub before: Option<u64>,
    /// Only entries of this client.
    #[serde(default)]
    pub client_id: Option<String>,
}

/// A page of the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalPage {
    /// The newest first.
    pub entries: Vec<JournalEntry>,
    /// The `before` of the next page; `None` if this is the last one.
    #[serde(default)]
    pub next_before: Option<u64>,
    /// The ids of all clients that are in the journal, sorted.
    #[serde(default)]
    pub clients: Vec<String>,
}

/// One command or change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// The position in the journal. Newer entries have higher ones. A restart of the workspace agent assigns new ids.
    #[serde(default)]
    pub id: u64,
    /// When it ended.
    pub at: Timestamp,
    /// Who requested it; `None` if the server did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
    /// What was done.
    pub operation: Operation,
    /// How it ended.
    pub outcome: Outcome,
    /// The exit code, if a command has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Why it failed, if the outcome is [`Outcome::Failed`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureKind>,
    /// How long it took, in milliseconds.
    #[serde(default)]
    pub duration_ms: u64,
}

/// What was done. Texts have at most 200 characters. File content, environment variables and standard input are never
/// recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// The kind.
    pub kind: OperationKind,
    /// The command line, for commands and processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The process, for what concerns one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_id: Option<u32>,
    /// The path in the request, for files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The new path of what was moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// The kinds of operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    /// A command that a client waited for.
    RunCommand,
    /// The start of a background process.
    StartProcess,
    /// The end of a background process.
    ProcessEnded,
    /// Input to a background process.
    SendInput,
    /// A request to end a background process.
    StopProcess,
    /// A file was written.
    WriteFile,
    /// A file was appended to.
    AppendFile,
    /// Text in a file was replaced.
    EditFile,
    /// A file or folder was moved.
    MovePath,
    /// A file or folder was removed.
    RemovePath,
    /// A kind that a later version added.
    #[default]
    #[serde(other)]
    Other,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was done. A command may nevertheless have a bad exit code.
    Done,
    /// The command was started or continues, in the background.
    Running,
    /// The command was ended because its time was up.
    TimedOut,
    /// It failed.
    Failed,
    /// It was ended before it was done: the client cancelled it or was lost, or the workspace stopped.
    Interrupted,
    /// An outcome that a later version added.
    #[default]
    #[serde(other)]
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_passes_through_a_header() {
        let actor = Actor {
            client_id: "https://agents.example/client?a=1%20&b=\"x\"".to_owned(),
            user: "local:änn\n\u{7f}日本".to_owned(),
            grant: Some("g-1".to_owned()),
        };
        let headers = HeaderMap::from_iter([(ACTOR_HEADER, actor.to_header().unwrap())]);
        assert_eq!(Actor::of(&headers), Some(actor));
        for other in ["", "{}", "%", "%ff", "claude", "[\"claude\"", "{\"client_id\":7}"] {
            let headers = HeaderMap::from_iter([(ACTOR_HEADER, HeaderValue::from_static(other))]);
            assert_eq!(Actor::of(&headers), None, "{other}");
        }
        assert_eq!(Actor::of(&HeaderMap::new()), None);
    }

    #[test]
    fn an_entry_of_a_later_version_can_be_read() {
        let later = r#"{"id": 7, "at": "2026-11-30T12:00:00Z", "actor": {"client_id": "claude", "device": "phone"},
            "operation": {"kind": "sing", "song": "x"}, "outcome": "hummed", "loudness": 3}"#;
        let entry: JournalEntry = serde_json::from_str(later).unwrap();
        assert_eq!((entry.operation.kind, entry.outcome), (OperationKind::Other, Outcome::Other));
        assert_eq!(entry.actor.unwrap().client_id, "claude");
    }
}
