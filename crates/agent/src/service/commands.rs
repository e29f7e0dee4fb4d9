//! The commands that somebody waits for, by their ids, and how those went that ended lately.

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

/// How long it is remembered how a command went.
const REMEMBERED: Duration = Duration::from_mins(2);
/// How many ended commands are remembered.
const MOST_ENDED: usize = 4096;
/// How many bytes of their output are kept. Of those beyond, only how they went is known.
const MOST_BYTES: usize = 2 * 1024 * 1024;
/// How many pieces of live output wait for a reader.
const LIVE_PIECES: usize = 16;

/// All of them.
#[derive(Default)]
pub(super) struct Commands(Mutex<Known>);

/// What is known of them.
#[derive(Default)]
pub(super) struct Known {
    entries: HashMap<String, Arc<Entry>>,
    /// The oldest first.
    ended: VecDeque<Ended>,
    bytes: usize,
    /// Whether something waits for the oldest to become too old.
    expiring: bool,
}

struct Ended {
    id: String,
    at: Instant,
    /// How many bytes of output are kept of it.
    bytes: usize,
}

/// One command.
pub(super) struct Entry {
    /// Ends it.
    pub cancel: CancellationToken,
    /// How it went, once that is known.
    pub outcome: watch::Sender<Option<CommandEvent>>,
    followers: watch::Sender<usize>,
    /// Where live output goes: to whoever came last.
    live: Mutex<Option<mpsc::Sender<String>>>,
}

impl Commands {
    /// The command with this id; a new one is handed to `start`, unless it has `begun` elsewhere.
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
            let message = "the workspace was restarted while the command ran, which ended it; look at what it has done before you run it again";
            return Err(FailureKind::Interrupted.because(message));
        }
        let entry = Arc::new(Entry::new(cancel));
        known.entries.insert(id.to_owned(), Arc::clone(&entry));
        start(&entry);
        Ok(entry)
    }

    /// Nobody wants the command any more, also where it has not come yet.
    pub(super) fn abandon(&self, id: &str) {
        let mut known = self.lock();
        known.forget(Instant::now());
        if let Some(entry) = known.entries.get(id) {
            // What it left running when it ended belongs to the workspace.
            if entry.outcome.borrow().is_none() {
                entry.cancel.cancel();
            }
            return;
        }
        let entry = Arc::new(Entry::new(CancellationToken::new()));
        known.entries.insert(id.to_owned(), Arc::clone(&entry));
        let failure = FailureKind::Interrupted.because("the command was ended before it began");
        known.end(id, &entry, CommandEvent::Failure(failure));
    }

    /// Says how a command went. Returns whether [`Self::expire`] must be called from now on.
    pub(super) fn end(&self, id: &str, entry: &Entry, event: CommandEvent) -> bool {
        let mut known = self.lock();
        known.end(id, entry, event);
        !mem::replace(&mut known.expiring, true)
    }

    /// Forgets what is too old. Returns when the next is; `None`: nothing is left.
    pub(super) fn expire(&self, now: Instant) -> Option<Instant> {
        let mut known = self.lock();
        known.forget(now);
        let next = known.ended.front().map(|oldest| oldest.at + REMEMBERED);
        known.expiring = next.is_some();
        next
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Known> {
        // Never left half changed.
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

    /// Forgets what is too old or too much.
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

    /// One follower more, who gets the live output from now on.
    pub(super) fn join(&self) -> mpsc::Receiver<String> {
        let (sender, receiver) = mpsc::channel(LIVE_PIECES);
        *self.live.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        self.followers.send_modify(|followers| *followers += 1);
        receiver
    }

    /// One follower less.
    pub(super) fn leave(&self) {
        self.followers.send_modify(|followers| *followers -= 1);
    }

    /// Sends live output to whoever follows. What is not taken in time is left out.
    pub(super) fn say(&self, text: &str) {
        if let Some(live) = &*self.live.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = live.try_send(text.to_owned());
        }
    }

    /// Returns once nobody has followed for so long.
    pub(super) async fn until_alone_for(&self, patience: Duration) {
        let mut followers = self.followers.subscribe();
        loop {
            // The sender is `self`, so it cannot go away.
            let _ = followers.wait_for(|count| *count == 0).await;
            tokio::select! {
                () = sleep(patience) => return,
                _ = followers.wait_for(|count| *count > 0) => {}
            }
        }
    }

    /// Lets go of the output of a command that has ended.
    fn strip(&self) {
        self.outcome.send_if_modified(|outcome| {
            if let Some(CommandEvent::Result(result)) = outcome {
                (result.stdout, result.stderr) = (String::new(), String::new());
                result.truncated = true;
                let note = "its output is no longer known: the answer was lost, and too many commands have ended since";
                result.note =
                    Some(result.note.take().map_or_else(|| note.to_owned(), |other| format!("{other}; {note}")));
            }
            // Those who follow have been told already.
            false
        });
    }
}
