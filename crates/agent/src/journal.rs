//! The journal of a workspace agent: the latest commands and changes that clients requested, with their outcome.
//!
//! The journal is served from memory. A file has the same entries, and is read only when the workspace agent starts.
//! Entries contain neither file content nor environment variables nor standard input.

mod file;
#[cfg(test)]
mod tests;

use crate::protocol::{
    Actor, CommandResult, Failure, FailureKind, JournalEntry, JournalPage, JournalRequest, Operation, OperationKind,
    Outcome,
};
use jiff::Timestamp;
use portcullis_core::clock::Clock;
use std::{
    collections::{BTreeSet, VecDeque},
    mem,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    runtime::Handle,
    time::{Instant, timeout},
};
use tokio_util::task::TaskTracker;

/// The number of entries that are kept.
const MOST_ENTRIES: usize = 500;
/// The limit on their size, in bytes of JSON.
const MOST_BYTES: usize = 256 * 1024;
/// The size at which the file is reduced to the entries in memory, in bytes.
const MOST_FILE: u64 = 2 * MOST_BYTES as u64;
/// The longest command line or path, in characters.
const MOST_TEXT: usize = 200;
/// The longest name of a client, user or grant, in characters.
const MOST_NAME: usize = 512;
/// The longest line of the file, in bytes: an entry whose characters are all escaped has less.
const MOST_LINE: usize = 16 * 1024;
/// How long the end of the workspace agent waits for the file.
const SAVE_TIMEOUT: Duration = Duration::from_secs(1);
/// The default and the maximum number of entries in an answer.
const USUAL_PAGE: u32 = 50;
const MOST_PAGE: u32 = 200;

/// A journal. Clones share its entries.
#[derive(Clone)]
pub struct Journal(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    file: Option<PathBuf>,
    state: Mutex<State>,
    saves: TaskTracker,
}

#[derive(Default)]
struct State {
    /// The entries as JSON, the oldest first.
    lines: VecDeque<Box<str>>,
    /// The size of `lines`.
    bytes: usize,
    /// The number of entries that were removed.
    removed: u64,
    /// The number of newest entries that the file does not have.
    unsaved: usize,
    /// Whether a thread saves them.
    saving: bool,
    /// Whether the last attempt to save failed.
    failed: bool,
}

impl Journal {
    /// An empty journal without a file.
    #[must_use]
    pub fn in_memory(clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner { clock, file: None, state: Mutex::default(), saves: TaskTracker::new() }))
    }

    /// A journal with the entries in this file, which is created for the first entry. Blocks while it reads the file.
    #[must_use]
    pub fn open(file: PathBuf, clock: Arc<dyn Clock>) -> Self {
        let bytes = file::read(&file, MOST_FILE).unwrap_or_else(|error| {
            tracing::warn!(%error, "the journal of an earlier agent cannot be read; a new one begins");
            Vec::new()
        });
        let mut state = State::default();
        for line in bytes.split(|byte| *byte == b'\n') {
            let line = str::from_utf8(line).ok().filter(|line| line.len() <= MOST_LINE);
            if let Some(line) = line.filter(|line| serde_json::from_str::<JournalEntry>(line).is_ok()) {
                state.push(line.into());
            }
        }
        state.unsaved = 0;
        Self(Arc::new(Inner { clock, file: Some(file), state: Mutex::new(state), saves: TaskTracker::new() }))
    }

    /// Begins the entry of an operation. It is added when the returned value is dropped.
    pub(crate) fn begin(&self, actor: Option<Actor>, operation: Operation) -> Recording {
        let actor = actor.map(|actor| Actor {
            client_id: cut(&actor.client_id, MOST_NAME),
            user: cut(&actor.user, MOST_NAME),
            grant: actor.grant.map(|grant| cut(&grant, MOST_NAME)),
        });
        let entry = JournalEntry {
            id: 0,
            at: Timestamp::UNIX_EPOCH,
            actor,
            operation,
            outcome: Outcome::Interrupted,
            exit_code: None,
            failure: None,
            duration_ms: 0,
        };
        Recording { journal: self.clone(), entry, begun: Instant::now() }
    }

    /// A page of entries, the newest first.
    pub(crate) fn page(&self, request: &JournalRequest) -> JournalPage {
        let most = request.limit.unwrap_or(USUAL_PAGE).clamp(1, MOST_PAGE) as usize;
        let (mut page, mut clients) = (JournalPage::default(), BTreeSet::new());
        let state = self.0.lock();
        for (position, line) in state.lines.iter().enumerate().rev() {
            let Ok(mut entry) = serde_json::from_str::<JournalEntry>(line) else { continue };
            entry.id = state.removed + position as u64 + 1;
            let client = entry.actor.as_ref().map(|actor| &actor.client_id);
            clients.extend(client.cloned());
            let wanted = request.client_id.as_ref().is_none_or(|wanted| client == Some(wanted))
                && request.before.is_none_or(|before| entry.id < before);
            if !wanted {
                continue;
            }
            if page.entries.len() < most {
                page.entries.push(entry);
            } else {
                page.next_before = page.entries.last().map(|last| last.id);
            }
        }
        page.clients = clients.into_iter().collect();
        page
    }

    /// Waits until the file has all entries, but not for a disk that does not respond.
    pub(crate) async fn saved(&self) {
        self.0.saves.close();
        let _ = timeout(SAVE_TIMEOUT, self.0.saves.wait()).await;
    }

    fn add(&self, entry: &JournalEntry) {
        // Nothing in an entry can fail to serialize.
        let Ok(line) = serde_json::to_string(entry) else { return };
        let mut state = self.0.lock();
        state.push(line.into());
        // Without a runtime, the process is ending.
        if self.0.file.is_some()
            && !state.saving
            && let Ok(runtime) = Handle::try_current()
        {
            state.saving = true;
            let inner = Arc::clone(&self.0);
            self.0.saves.spawn_blocking_on(move || inner.save(), &runtime);
        }
    }
}

impl Inner {
    /// Saves until the file has all entries.
    fn save(&self) {
        let Some(file) = &self.file else { return };
        loop {
            let Some(new) = self.lock().take_unsaved() else { return };
            let replace = || {
                let all = self.lock().all();
                file::replace(file, &all)
            };
            // After a failure, the file lacks entries.
            let had_failed = self.lock().failed;
            let saved = if had_failed {
                replace()
            } else {
                file::append(file, &new).and_then(|size| if size > MOST_FILE { replace() } else { Ok(()) })
            };
            self.lock().failed = saved.is_err();
            if let (false, Err(error)) = (had_failed, saved) {
                tracing::warn!(%error, "the journal cannot be saved; a restart of the agent will lose it");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No panic can leave it half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Adds an entry, and removes the oldest ones beyond the limits.
    fn push(&mut self, line: Box<str>) {
        self.bytes += line.len();
        self.lines.push_back(line);
        self.unsaved += 1;
        while self.lines.len() > MOST_ENTRIES || self.bytes > MOST_BYTES {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.len();
            self.removed += 1;
        }
    }

    /// The entries that the file does not have, or `None` if there are none: then the thread that saves ends.
    fn take_unsaved(&mut self) -> Option<String> {
        let count = mem::take(&mut self.unsaved).min(self.lines.len());
        self.saving = count > 0;
        self.saving.then(|| text(self.lines.iter().skip(self.lines.len() - count).map(|line| &**line)))
    }

    /// All entries.
    fn all(&mut self) -> String {
        self.unsaved = 0;
        text(self.lines.iter().map(|line| &**line))
    }
}

/// The lines for the file. Each begins with a line feed, which also ends an incomplete line before it.
fn text<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    lines.flat_map(|line| ["\n", line]).collect()
}

/// An operation in progress, whose entry is added when this value is dropped. Without a result, the operation was
/// interrupted.
pub(crate) struct Recording {
    journal: Journal,
    entry: JournalEntry,
    begun: Instant,
}

impl Recording {
    /// Ends with the result of a change.
    pub(crate) fn end<A>(mut self, result: &Result<A, Failure>) {
        match result {
            Ok(_) => self.entry.outcome = Outcome::Done,
            Err(failure) => self.fail(failure),
        }
    }

    /// Ends with the result of a command.
    pub(crate) fn end_command(mut self, result: &Result<CommandResult, Failure>) {
        match result {
            Ok(result) => {
                self.entry.operation.process_id = result.process_id;
                self.entry.exit_code = result.exit_code;
                self.entry.outcome = match result {
                    CommandResult { timed_out: true, .. } => Outcome::TimedOut,
                    CommandResult { exit_code: None, process_id: Some(_), .. } => Outcome::Running,
                    _ => Outcome::Done,
                };
            }
            Err(failure) => self.fail(failure),
        }
    }

    /// Ends with the exit code of a background process, if it is known.
    pub(crate) fn end_process(mut self, exit_code: Option<i32>) {
        (self.entry.outcome, self.entry.exit_code) = (Outcome::Done, exit_code);
    }

    /// Begins the entry for the end of the process that this command continues as.
    pub(crate) fn process(&self, process_id: u32) -> Self {
        let mut entry = self.entry.clone();
        entry.operation.kind = OperationKind::ProcessEnded;
        entry.operation.process_id = Some(process_id);
        Self { journal: self.journal.clone(), entry, begun: self.begun }
    }

    fn fail(&mut self, failure: &Failure) {
        if failure.kind != FailureKind::Interrupted {
            (self.entry.outcome, self.entry.failure) = (Outcome::Failed, Some(failure.kind));
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.entry.at = self.journal.0.clock.now();
        self.entry.duration_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.journal.add(&self.entry);
    }
}

/// A command.
pub(crate) fn on_command(kind: OperationKind, command: &str) -> Operation {
    Operation { kind, command: Some(cut(command, MOST_TEXT)), ..Operation::default() }
}

/// A request about a process. The command line is known if the process is.
pub(crate) fn on_process(kind: OperationKind, process_id: u32, command: Option<&str>) -> Operation {
    let command = command.map(|command| cut(command, MOST_TEXT));
    Operation { kind, command, process_id: Some(process_id), ..Operation::default() }
}

/// A change of a file or folder.
pub(crate) fn on_path(kind: OperationKind, path: &str) -> Operation {
    Operation { kind, path: Some(cut(path, MOST_TEXT)), ..Operation::default() }
}

/// A move of a file or folder.
pub(crate) fn on_move(from: &str, to: &str) -> Operation {
    Operation { to: Some(cut(to, MOST_TEXT)), ..on_path(OperationKind::MovePath, from) }
}

/// The text, with an ellipsis at its end if it is longer than `most` characters.
fn cut(text: &str, most: usize) -> String {
    if text.chars().nth(most).is_none() {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}
