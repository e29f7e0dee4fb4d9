//! The streamed answer to a command: one line for each piece of live output, and one for the result.

use crate::protocol::{CommandEvent, FailureKind};
use crate::service::commands::Entry;
use bytes::Bytes;
use futures::stream::{self, Stream};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, Interval, interval_at},
};

/// The interval of heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Follows a command to its end.
pub(super) fn follow(entry: Arc<Entry>, live: bool) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold(Some(Follower::new(entry, live)), |state| async {
        let mut follower = state?;
        let (bytes, last) = follower.next().await;
        Some((Ok(bytes), (!last).then_some(follower)))
    })
}

struct Follower {
    entry: Arc<Entry>,
    /// Whether the client asked for live output.
    wants: bool,
    live: mpsc::Receiver<String>,
    outcome: watch::Receiver<Option<CommandEvent>>,
    heartbeat: Interval,
}

impl Follower {
    fn new(entry: Arc<Entry>, wants: bool) -> Self {
        let (live, outcome) = (entry.join(), entry.outcome.subscribe());
        Self { entry, wants, live, outcome, heartbeat: interval_at(Instant::now() + HEARTBEAT, HEARTBEAT) }
    }

    /// The next line, and whether it is the last.
    async fn next(&mut self) -> (Bytes, bool) {
        tokio::select! {
            biased;
            // All output comes before the result.
            Some(text) = self.live.recv(), if self.wants => (line(&CommandEvent::Output(text)), false),
            outcome = self.outcome.wait_for(Option::is_some) => {
                let event = outcome.ok().and_then(|outcome| outcome.clone());
                (line(&event.unwrap_or_else(gone)), true)
            }
            _ = self.heartbeat.tick() => (Bytes::from_static(b"\n"), false),
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.entry.leave();
    }
}

fn gone() -> CommandEvent {
    CommandEvent::Failure(FailureKind::Internal.because("the result of the command is unknown"))
}

fn line(event: &CommandEvent) -> Bytes {
    let mut line = serde_json::to_vec(event).unwrap_or_default();
    line.push(b'\n');
    line.into()
}
