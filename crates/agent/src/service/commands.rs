//! The commands that clients wait for, by id, and the results of those that ended recently.

use crate::protocol::{CommandEvent, Failure, FailureKind};
use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

/// How long the result of a command is kept.
const REMEMBERED: Duration = Duration::from_mins(2);
/// The number of ended commands whose results are kept.
const MOST_ENDED: usize = 4096;
/// The limit on their kept output, in bytes. Beyond it, only the result without the output is kept.
const MOST_BYTES: usize = 2 * 1024 * 1024;
/// The number of pieces of live output that are queued for a reader.
const LIVE_PIECES: usize = 16;

/// All commands: running ones, and recently ended ones.
#[derive(Default)]
pub(super) struct Commands(Mutex<Known>);

/// The state of [`Commands`].
#[derive(Default)]
pub(super) struct Known {
    entries: HashMap<String, Arc<Entry>>,
    /// The oldest first.
    ended: VecDeque<Ended>,
    bytes: usize,
    /// Whether a task waits for the oldest result to expire.
    expiring: bool,
}

struct Ended {
    id: String,
    at: Instant,
    /// The size of the kept output, in bytes.
    bytes: usize,
}

/// A command.
pub(super) struct Entry {
    /// Ends the command.
    pub cancel: CancellationToken,
    /// The result, once it is known.
    pub outcome: watch::Sender<Option<CommandEvent>>,
    followers: watch::Sender<usize>,
    /// The receiver of live output: the latest follower.
    live: Mutex<Option<mpsc::Sender<String>>>,
}

impl Commands {
    /// The command with this id. An unknown command is passed to `start`, unless it has `begun` in a workspace agent
    /// that was replaced: then this fails.
    pub(super) fn take_up(
        &self,
        id: &str,
        begun: bool,
        cancel: CancellationToken,
        start: impl FnOnce(&Arc<Entry>),
    ) -> Result<Arc<Entry>, Failure> {
        let mut known = self.lock();
        known.forget(Instant::now());
        if let Some(entry) = known.entries.get(id) {
            return Ok(Arc::clone(entry));
        }
        if begun {
            let message = "the workspace was restarted while the command ran, which ended it; check what it has done before you run it again";
            return Err(FailureKind::Interrupted.because(message));
        }
        let entry = Arc::new(Entry::new(cancel));
        known.entries.insert(id.to_owned(), Arc::clone(&entry));
        start(&entry);
        Ok(entry)
    }

    /// Ends a command that no client wants any more, even if its request has not arrived yet.
    pub(super) fn abandon(&self, id: &str) {
        let mut known = self.lock();
        known.forget(Instant::now());
        if let Some(entry) = known.entries.get(id) {
            // Processes that a command left in the background continue.
            if entry.outcome.borrow().is_none() {
                entry.cancel.cancel();
            }
            return;
        }
        let entry = Arc::new(Entry::new(CancellationToken::new()));
        known.entries.insert(id.to_owned(), Arc::clone(&entry));
        let failure = FailureKind::Interrupted.because("the command was ended before it started");
        known.end(id, &entry, CommandEvent::Failure(failure));
    }

    /// Records the result of a command. Returns whether the caller must start calling [`Self::expire`].
    pub(super) fn end(&self, id: &str, entry: &Entry, event: CommandEvent) -> bool {
        let mut known = self.lock();
        known.end(id, entry, event);
        !mem::replace(&mut known.expiring, true)
    }

    /// Removes expired results. Returns when the next one expires; `None` if none is left.
    pub(super) fn expire(&self, now: Instant) -> Option<Instant> {
        let mut known = self.lock();
        known.forget(now);
        let next = known.ended.front().map(|oldest| oldest.at + REMEMBERED);
        known.expiring = next.is_some();
        next
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Known> {
        // No panic can leave it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn end(&mut self, id: &str, entry: &Entry, event: CommandEvent) {
        let bytes = match &event {
            CommandEvent::Result(result) => result.stdout.len() + result.stderr.len(),
            _ => 0,
        };
        entry.outcome.send_replace(Some(event));
        self.bytes += bytes;
        self.ended.push_back(Ended { id: id.to_owned(), at: Instant::now(), bytes });
        self.forget(Instant::now());
    }

    /// Removes results that are too old or too many, and the oldest output beyond the limit.
    pub(super) fn forget(&mut self, now: Instant) {
        while self
            .ended
            .front()
            .is_some_and(|oldest| now.duration_since(oldest.at) >= REMEMBERED || self.ended.len() > MOST_ENDED)
        {
            let Some(oldest) = self.ended.pop_front() else { break };
            self.bytes -= oldest.bytes;
            self.entries.remove(&oldest.id);
        }
        for ended in &mut self.ended {
            if self.bytes <= MOST_BYTES {
                break;
            }
            if ended.bytes == 0 {
                continue;
            }
            self.bytes -= mem::take(&mut ended.bytes);
            if let Some(entry) = self.entries.get(&ended.id) {
                entry.strip();
            }
        }
    }
}

impl Entry {
    fn new(cancel: CancellationToken) -> Self {
        Self { cancel, outcome: watch::Sender::new(None), followers: watch::Sender::new(0), live: Mutex::new(None) }
    }

    /// Adds a follower, which receives the live output from now on.
    pub(super) fn join(&self) -> mpsc::Receiver<String> {
        let (sender, receiver) = mpsc::channel(LIVE_PIECES);
        *self.live.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        self.followers.send_modify(|followers| *followers += 1);
        receiver
    }

    /// Removes a follower.
    pub(super) fn leave(&self) {
        self.followers.send_modify(|followers| *followers -= 1);
    }

    /// Sends live output to the follower. A piece that does not fit in the queue is dropped.
    pub(super) fn say(&self, text: &str) {
        if let Some(live) = &*self.live.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = live.try_send(text.to_owned());
        }
    }

    /// Waits until the command has had no follower for `patience`.
    pub(super) async fn until_alone_for(&self, patience: Duration) {
        let mut followers = self.followers.subscribe();
        loop {
            // The sender is part of `self`, so it cannot be dropped here.
            let _ = followers.wait_for(|count| *count == 0).await;
            tokio::select! {
                () = sleep(patience) => return,
                _ = followers.wait_for(|count| *count > 0) => {}
            }
        }
    }

    /// Drops the output of an ended command.
    fn strip(&self) {
        self.outcome.send_if_modified(|outcome| {
            if let Some(CommandEvent::Result(result)) = outcome {
                (result.stdout, result.stderr) = (String::new(), String::new());
                result.truncated = true;
                let note =
                    "its output is no longer available: the response was lost, and too many commands have ended since";
                result.note =
                    Some(result.note.take().map_or_else(|| note.to_owned(), |other| format!("{other}; {note}")));
            }
            // Current followers have already received the result.
            false
        });
    }
}
