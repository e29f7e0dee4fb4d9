//! What happens on one connection: requests begin and end on it. From that follows until when it may be silent.

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;

/// How patient a listener is with its clients.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// With the headers of the PROXY protocol and of TLS together.
    pub handshake: Duration,
    /// With a new connection that says nothing.
    pub first_word: Duration,
    /// With the head of a request, from its first byte on.
    pub head: Duration,
    /// With a connection on which no request begins or ends. Longer than any proxy keeps one for later: whoever closes
    /// first loses nothing, the other may lose a request.
    pub idle: Duration,
    /// With a client that does not read its answer.
    pub stall: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            first_word: Duration::from_secs(30),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(620),
            stall: Duration::from_secs(30),
        }
    }
}

impl Patience {
    /// The same for requests that may take as long as `longest`.
    pub fn for_requests_of(self, longest: Duration) -> Self {
        // What is left of it is for the way of the answer.
        Self { idle: self.idle.max(longest.saturating_add(self.stall)), ..self }
    }
}

/// The requests of one connection.
#[derive(Debug)]
pub struct Activity {
    opened: Instant,
    begun: AtomicU32,
    ended: AtomicU32,
    /// When the last one began or ended, in milliseconds since the connection was opened.
    last: AtomicU64,
    /// Whether it speaks HTTP/2, where more than requests is said.
    framed: AtomicBool,
}

impl Activity {
    pub fn new(opened: Instant) -> Arc<Self> {
        let (begun, ended) = (AtomicU32::new(0), AtomicU32::new(0));
        Arc::new(Self { opened, begun, ended, last: AtomicU64::new(0), framed: AtomicBool::new(false) })
    }

    /// A request begins, and ends when what is returned is dropped.
    pub fn begin(self: &Arc<Self>) -> Turn {
        self.begun.fetch_add(1, Relaxed);
        self.touch();
        Turn(Arc::clone(self))
    }

    /// It speaks HTTP/2.
    pub fn speaks_frames(&self) {
        self.framed.store(true, Relaxed);
    }

    /// How many requests have begun, if it is one that is waited for now: nothing is being answered, and what comes
    /// next is a head.
    pub fn awaits_head(&self) -> Option<u32> {
        let begun = self.begun.load(Relaxed);
        (begun == self.ended.load(Relaxed) && !self.framed.load(Relaxed)).then_some(begun)
    }

    /// Until when nothing needs to come. `said`: whether anything ever came; `head`: since when there is the beginning
    /// of a head, and how many requests had begun before it.
    pub fn silent_until(&self, said: bool, head: Option<(Instant, u32)>, patience: &Patience) -> Instant {
        match head {
            Some((since, before)) if self.awaits_head() == Some(before) => since + patience.head,
            _ if !said => self.opened + patience.first_word,
            _ => self.opened + Duration::from_millis(self.last.load(Relaxed)) + patience.idle,
        }
    }

    fn touch(&self) {
        self.last.store(u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX), Relaxed);
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub struct Turn(Arc<Activity>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.touch();
        self.0.ended.fetch_add(1, Relaxed);
    }
}

/// The body of an answer. The request ends when it is sent.
pub struct Sending {
    body: Body,
    _turn: Turn,
}

impl Sending {
    pub fn new(body: Body, turn: Turn) -> Self {
        Self { body, _turn: turn }
    }
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn how_long_silence_is_borne_follows_from_what_happened() {
        let patience = Patience::default();
        let opened = Instant::now();
        let later = |seconds| opened + Duration::from_secs(seconds);
        let activity = Activity::new(opened);
        let until = |said, head| activity.silent_until(said, head, &patience);
        assert_eq!(until(false, None), later(30), "a new connection");
        assert_eq!(until(true, Some((later(5), 0))), later(15), "half a head");

        let turn = activity.begin();
        assert_eq!(activity.awaits_head(), None);
        assert!(until(true, Some((later(5), 0))) >= later(620), "the head is complete, its body may follow");
        drop(turn);
        assert!(until(true, Some((later(5), 0))) >= later(620), "an old head is no new one");
        assert!(until(true, None) >= later(620), "it is kept for the next request");
        assert_eq!(until(true, Some((later(700), 1))), later(710), "half of the next head");

        let [first, second] = [activity.begin(), activity.begin()];
        drop(first);
        assert_eq!(activity.awaits_head(), None, "another is still being answered");
        drop(second);
        assert_eq!(activity.awaits_head(), Some(3));
        activity.speaks_frames();
        assert!(until(true, Some((later(5), 3))) >= later(620), "frames are no heads");
    }

    #[test]
    fn a_long_request_is_not_taken_for_silence() {
        for (longest, idle) in [(120, 620), (590, 620), (600, 630), (3600, 3630)] {
            let patience = Patience::default().for_requests_of(Duration::from_secs(longest));
            assert_eq!(patience.idle, Duration::from_secs(idle), "{longest}");
        }
    }
}
