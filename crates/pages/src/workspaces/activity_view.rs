//! The data of the template of the activity page: entries of the journal in words.

use crate::{
    navigation::NavigationBar,
    text::{self, When},
    view::Frame,
    workspaces::view::{PagePart, WorkspaceCard},
};
use askama::Template;
use jiff::{SignedDuration, Timestamp};
use portcullis_agent::protocol::{FailureKind, JournalEntry, OperationKind, Outcome};
use portcullis_core::names;
use portcullis_oauth::client::Client;
use std::{collections::BTreeMap, sync::Arc};

/// Longer texts are cut, in characters and in lines. The workspace agent cuts at the same length.
const MAX_TEXT: usize = 200;
const MAX_LINES: usize = 20;

/// The names of clients, by id.
pub(super) struct ClientNames(BTreeMap<String, Option<Arc<Client>>>);

impl ClientNames {
    pub(super) fn new(clients: BTreeMap<String, Option<Arc<Client>>>) -> Self {
        Self(clients)
    }

    /// The display name; the id if there is none.
    pub(super) fn name(&self, id: &str) -> String {
        let client = self.0.get(id).and_then(Option::as_deref);
        let id = text::name(id, "an unknown agent");
        text::name(client.map_or("", |client| &client.verifier.display_name), &id)
    }
}

/// A link that filters the page by client.
#[derive(Clone, Debug)]
pub(super) struct ClientFilter {
    pub name: String,
    pub href: String,
    /// The value of `aria-current` (WAI-ARIA 1.2 §6.6).
    pub current: Option<&'static str>,
}

impl ClientFilter {
    pub(super) fn new(name: String, href: String, is_current: bool) -> Self {
        Self { name, href, current: is_current.then_some("true") }
    }
}

/// One command or change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ActivityEntry {
    pub title: String,
    /// The command line or path.
    pub text: Option<String>,
    pub client: String,
    /// The user, if it is not the signed-in one.
    pub user: Option<String>,
    pub at: When,
    /// The time in UTC, to the second.
    pub time: String,
    pub outcome: String,
    /// Whether it did not do what was asked.
    pub is_bad: bool,
    pub duration: String,
}

impl ActivityEntry {
    /// The words for `entry`, which user `user_id` reads.
    pub(super) fn new(entry: &JournalEntry, user_id: &str, clients: &ClientNames, now: Timestamp) -> Self {
        let operation = &entry.operation;
        let process = operation.process_id.map(|id| format!(" {id}")).unwrap_or_default();
        let title = match operation.kind {
            OperationKind::RunCommand => "Ran a command".to_owned(),
            OperationKind::StartProcess => format!("Started process{process}"),
            OperationKind::ProcessEnded => format!("Process{process} ended"),
            OperationKind::SendInput => format!("Sent input to process{process}"),
            OperationKind::StopProcess => format!("Stopped process{process}"),
            OperationKind::WriteFile => "Wrote a file".to_owned(),
            OperationKind::AppendFile => "Appended to a file".to_owned(),
            OperationKind::EditFile => "Edited a file".to_owned(),
            OperationKind::MovePath => "Moved".to_owned(),
            OperationKind::RemovePath => "Removed".to_owned(),
            OperationKind::Other => "Something that this server does not know".to_owned(),
        };
        let text = match (&operation.command, &operation.path, &operation.to) {
            (Some(command), ..) => Some(shown(command)),
            (None, Some(path), Some(to)) => Some(format!("{} → {}", shown(path), shown(to))),
            (None, path, _) => path.as_deref().map(shown),
        };
        let by = entry.actor.as_ref();
        Self {
            title,
            text,
            client: by.map_or_else(|| "an unknown agent".to_owned(), |actor| clients.name(&actor.client_id)),
            user: by
                .filter(|actor| actor.user != user_id && !actor.user.is_empty())
                .map(|actor| text::name(&actor.user, "another user")),
            at: When::new(entry.at, now),
            time: entry.at.strftime("%-d %b %Y, %H:%M:%S UTC").to_string(),
            outcome: outcome(entry),
            is_bad: !matches!(entry.outcome, Outcome::Done | Outcome::Running) || entry.exit_code.unwrap_or(0) != 0,
            duration: duration(entry.duration_ms),
        }
    }
}

/// A text without invisible characters, and not too long.
fn shown(text: &str) -> String {
    let lines: Vec<String> = text.lines().take(MAX_LINES).map(|line| names::plain(line, MAX_TEXT)).collect();
    lines.join("\n")
}

fn outcome(entry: &JournalEntry) -> String {
    let exit_code = entry.exit_code.map(|code| format!("exit code {code}"));
    match entry.outcome {
        Outcome::Done => exit_code.unwrap_or_else(|| "done".to_owned()),
        Outcome::Running => "runs in the background".to_owned(),
        Outcome::TimedOut => "ended: its time was up".to_owned(),
        Outcome::Failed => format!("failed: {}", entry.failure.map_or("unknown reason", reason)),
        Outcome::Interrupted => "ended early: cancelled, or the workspace stopped".to_owned(),
        Outcome::Other => "unknown outcome".to_owned(),
    }
}

const fn reason(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Invalid => "the request was not valid",
        FailureKind::NotFound => "not found",
        FailureKind::Conflict => "it conflicts with what is there",
        FailureKind::Denied => "not permitted",
        FailureKind::TooLarge => "too large",
        FailureKind::Exhausted => "a limit is reached, or the disk is full",
        FailureKind::Internal => "internal error",
        FailureKind::Interrupted => "interrupted",
    }
}

/// A duration: milliseconds, then seconds, then the largest unit.
fn duration(ms: u64) -> String {
    let whole = SignedDuration::from_millis(i64::try_from(ms).unwrap_or(i64::MAX));
    match ms {
        0..1000 => format!("{ms} ms"),
        _ => text::spoken(whole).unwrap_or_else(|| format!("{}.{} s", ms / 1000, ms % 1000 / 100)),
    }
}

/// The page.
#[derive(Template)]
#[template(path = "workspace_activity.html")]
pub(super) struct WorkspaceActivity<'a> {
    pub frame: &'a Frame,
    pub navigation: NavigationBar,
    pub workspace: WorkspaceCard,
    /// Empty if there is nothing to choose from.
    pub filters: Vec<ClientFilter>,
    pub entries: PagePart<Vec<ActivityEntry>>,
    /// The first page, unless this is the first one.
    pub newest: Option<String>,
    /// The next page.
    pub older: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_agent::protocol::{Actor, Operation};

    fn entry(kind: OperationKind, outcome: Outcome) -> JournalEntry {
        let actor = Actor { client_id: "claude".to_owned(), user: "local:ann".to_owned(), grant: None };
        let operation = Operation { kind, ..Operation::default() };
        JournalEntry {
            id: 1,
            at: Timestamp::from_second(1_800_000_000).unwrap(),
            actor: Some(actor),
            operation,
            outcome,
            exit_code: None,
            failure: None,
            duration_ms: 0,
        }
    }

    fn words(entry: &JournalEntry) -> ActivityEntry {
        let now = Timestamp::from_second(1_800_000_060).unwrap();
        ActivityEntry::new(entry, "local:ann", &ClientNames::new(BTreeMap::new()), now)
    }

    #[test]
    fn entries_say_what_was_done_by_which_client_and_how_it_ended() {
        let mut command = entry(OperationKind::RunCommand, Outcome::Done);
        command.operation.command = Some("make \u{202e}test\n\u{1b}[31mx".to_owned());
        (command.exit_code, command.duration_ms) = (Some(2), 1250);
        let shown = words(&command);
        assert_eq!(shown.text.as_deref(), Some("make test\n[31mx"));
        assert_eq!((&*shown.client, shown.user), ("claude", None));
        assert_eq!((&*shown.outcome, shown.is_bad, &*shown.duration), ("exit code 2", true, "1.2 s"));
        assert_eq!((&*shown.time, &*shown.at.relative), ("15 Jan 2027, 08:00:00 UTC", "1 minute ago"));

        let mut moved = entry(OperationKind::MovePath, Outcome::Failed);
        (moved.operation.path, moved.operation.to) = (Some("a".to_owned()), Some("b".to_owned()));
        moved.failure = Some(FailureKind::NotFound);
        moved.actor.as_mut().unwrap().user = "local:bob".to_owned();
        let shown = words(&moved);
        assert_eq!((shown.text.as_deref(), shown.user.as_deref()), (Some("a → b"), Some("local:bob")));
        assert_eq!((&*shown.outcome, shown.is_bad), ("failed: not found", true));

        let mut process = entry(OperationKind::StopProcess, Outcome::Done);
        (process.operation.process_id, process.actor) = (Some(7), None);
        let shown = words(&process);
        assert_eq!((&*shown.title, &*shown.client, shown.is_bad), ("Stopped process 7", "an unknown agent", false));
    }

    #[test]
    fn durations_have_a_unit_that_fits() {
        for (ms, said) in [(0, "0 ms"), (999, "999 ms"), (59_999, "59.9 s"), (60_000, "1 minute"), (u64::MAX, "")] {
            let duration = duration(ms);
            assert!(if said.is_empty() { duration.ends_with("days") } else { duration == said }, "{duration}");
        }
    }
}
