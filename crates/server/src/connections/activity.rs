//! The requests of one connection, which determine how long the connection may be idle.
//!
//! A request ends when its response was passed to the operating system. Until then it keeps its permits and has a
//! deadline: see [`Unsent`].

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;

/// The timeouts of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionTimeouts {
    /// The timeout for the PROXY protocol header and the TLS handshake together.
    pub handshake: Duration,
    /// The timeout for the first byte on a new connection.
    pub first_word: Duration,
    /// The timeout for the head of a request, from its first byte.
    pub head: Duration,
    /// The timeout of an idle connection from a trusted proxy. It is longer than that of any proxy: the side that
    /// closes first loses nothing, but the other side can lose a request.
    pub idle: Duration,
    /// The timeout of an idle connection from any other peer. It is longer than those of nginx (60 s) and Go (90 s).
    pub idle_elsewhere: Duration,
    /// The timeout for a client that does not read its response.
    pub stall: Duration,
}

impl Default for ConnectionTimeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            first_word: Duration::from_secs(30),
            head: Duration::from_secs(10),
            idle: Duration::from_secs(620),
            idle_elsewhere: Duration::from_mins(2),
            stall: Duration::from_secs(30),
        }
    }
}

impl ConnectionTimeouts {
    /// The timeouts for requests that may take up to `longest`.
    pub(crate) fn for_requests_of(self, longest: Duration) -> Self {
        // The rest is for sending the response.
        let least = longest.saturating_add(self.stall);
        Self { idle: self.idle.max(least), idle_elsewhere: self.idle_elsewhere.max(least), ..self }
    }

    /// The timeouts for connections that do not come from a trusted proxy.
    pub(crate) fn elsewhere(self) -> Self {
        Self { idle: self.idle_elsewhere, ..self }
    }
}

/// Response extension with the permits of the request, until the response is sent, and the deadline for that.
#[derive(Clone)]
pub(crate) struct Unsent {
    until: Instant,
    _kept: Arc<dyn Send + Sync>,
}

impl Unsent {
    /// Keeps `kept` until the response is sent; it is cut off at `until`.
    pub(crate) fn until(until: Instant, kept: impl Send + Sync + 'static) -> Self {
        Self { until, _kept: Arc::new(kept) }
    }

    /// The time at which the response is cut off.
    pub(crate) fn deadline(&self) -> Instant {
        self.until
    }
}

impl fmt::Debug for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unsent").field("until", &self.until).finish_non_exhaustive()
    }
}

/// The requests of one connection.
#[derive(Debug)]
pub(crate) struct Activity {
    opened: Instant,
    begun: AtomicU32,
    ended: AtomicU32,
    /// When the last request began or ended, in milliseconds since the connection was opened.
    last: AtomicU64,
    /// The deadline of the current response, in milliseconds since the connection was opened; 0 if there is none.
    until: AtomicU64,
    /// Whether the connection uses HTTP/2, whose frames are not only requests.
    framed: AtomicBool,
    /// The number of responses that were written, but not yet passed to the operating system.
    unflushed: AtomicU32,
    /// The permits of those responses.
    kept: Mutex<Vec<Unsent>>,
}

impl Activity {
    pub(crate) fn new(opened: Instant) -> Arc<Self> {
        Arc::new(Self {
            opened,
            begun: AtomicU32::new(0),
            ended: AtomicU32::new(0),
            last: AtomicU64::new(0),
            until: AtomicU64::new(0),
            framed: AtomicBool::new(false),
            unflushed: AtomicU32::new(0),
            kept: Mutex::default(),
        })
    }

    /// Begins a request. It ends when the returned guard is dropped and all written bytes are flushed.
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        self.begun.fetch_add(1, Relaxed);
        self.touch();
        InFlight { activity: Arc::clone(self), unsent: None }
    }

    /// Records that all written bytes were passed to the operating system.
    pub(crate) fn flushed(&self) {
        // Most flushes end no request.
        if self.unflushed.load(Relaxed) == 0 {
            return;
        }
        let ended = self.unflushed.swap(0, Relaxed);
        drop(std::mem::take(&mut *self.kept()));
        self.until.store(0, Relaxed);
        self.touch();
        self.ended.fetch_add(ended, Relaxed);
    }

    /// The time since which the connection is idle; `None` if it has a request.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        let idle = self.begun.load(Relaxed) == self.ended.load(Relaxed);
        idle.then(|| self.opened + Duration::from_millis(self.last.load(Relaxed)))
    }

    /// The deadline of the current response.
    pub(crate) fn send_until(&self) -> Option<Instant> {
        let until = self.until.load(Relaxed);
        (until > 0).then(|| self.opened + Duration::from_millis(until))
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Vec<Unsent>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that the connection uses HTTP/2.
    pub(crate) fn speaks_frames(&self) {
        self.framed.store(true, Relaxed);
    }

    /// The number of requests so far, if the next bytes are the head of a request.
    pub(crate) fn awaits_head(&self) -> Option<u32> {
        let begun = self.begun.load(Relaxed);
        (begun == self.ended.load(Relaxed) && !self.framed.load(Relaxed)).then_some(begun)
    }

    /// The time until which the connection may be silent. `has_sent`: whether anything was received; `head`: since when a
    /// head is incomplete, and the number of requests before it.
    pub(crate) fn silent_until(
        &self,
        has_sent: bool,
        head: Option<(Instant, u32)>,
        timeouts: &ConnectionTimeouts,
    ) -> Instant {
        match head {
            Some((since, before)) if self.awaits_head() == Some(before) => since + timeouts.head,
            _ if !has_sent => self.opened + timeouts.first_word,
            _ => self.opened + Duration::from_millis(self.last.load(Relaxed)) + timeouts.idle,
        }
    }

    fn touch(&self) {
        self.last.store(u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX), Relaxed);
    }
}

/// A request in flight.
#[derive(Debug)]
pub(crate) struct InFlight {
    activity: Arc<Activity>,
    unsent: Option<Unsent>,
}

impl InFlight {
    /// Sets the permits and the deadline of the response.
    pub(crate) fn sends(&mut self, unsent: Unsent) {
        let activity = &self.activity;
        // HTTP/2 sends several responses at once: each stream has its own deadline.
        if !activity.framed.load(Relaxed) {
            let until = unsent.until.saturating_duration_since(activity.opened).as_millis();
            activity.until.store(u64::try_from(until).unwrap_or(u64::MAX).max(1), Relaxed);
        }
        self.unsent = Some(unsent);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.activity.touch();
        if self.activity.framed.load(Relaxed) {
            // Different tasks serve a stream and its connection: the flush can have happened before this.
            self.activity.ended.fetch_add(1, Relaxed);
            return;
        }
        if let Some(unsent) = self.unsent.take() {
            self.activity.kept().push(unsent);
        }
        self.activity.unflushed.fetch_add(1, Relaxed);
    }
}

/// The body of a response. The request ends when it is written.
pub(super) struct InFlightBody {
    body: Body,
    _in_flight: InFlight,
}

impl InFlightBody {
    pub(super) fn new(body: Body, in_flight: InFlight) -> Self {
        Self { body, _in_flight: in_flight }
    }
}

impl HttpBody for InFlightBody {
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
        let timeouts = ConnectionTimeouts::default();
        let opened = Instant::now();
        let later = |seconds| opened + Duration::from_secs(seconds);
        let activity = Activity::new(opened);
        let until = |has_sent, head| activity.silent_until(has_sent, head, &timeouts);
        assert_eq!(until(false, None), later(30), "a new connection");
        assert_eq!(until(true, Some((later(5), 0))), later(15), "half a head");

        let in_flight = activity.begin();
        assert_eq!(activity.awaits_head(), None);
        assert!(until(true, Some((later(5), 0))) >= later(620), "the head is complete, its body may follow");
        drop(in_flight);
        assert_eq!(activity.awaits_head(), None, "its response is not sent yet");
        activity.flushed();
        assert!(until(true, Some((later(5), 0))) >= later(620), "an old head is no new one");
        assert!(until(true, None) >= later(620), "it is kept for the next request");
        assert_eq!(until(true, Some((later(700), 1))), later(710), "half of the next head");

        let [first, second] = [activity.begin(), activity.begin()];
        drop(first);
        activity.flushed();
        assert_eq!(activity.awaits_head(), None, "another is still being answered");
        drop(second);
        activity.flushed();
        assert_eq!(activity.awaits_head(), Some(3));
        activity.speaks_frames();
        assert!(until(true, Some((later(5), 3))) >= later(620), "frames are no heads");
    }

    #[tokio::test]
    async fn a_response_keeps_what_its_request_took_until_it_is_flushed() {
        let activity = Activity::new(Instant::now());
        let (taken, until) = (Arc::new(()), Instant::now() + Duration::from_secs(5));
        let mut in_flight = activity.begin();
        in_flight.sends(Unsent::until(until, Arc::clone(&taken)));
        assert!(activity.send_until().is_some_and(|at| at <= until && at > until - Duration::from_secs(1)));
        drop(in_flight);
        assert_eq!((Arc::strong_count(&taken), activity.idle_since()), (2, None), "it is still in a buffer");
        activity.flushed();
        assert_eq!((Arc::strong_count(&taken), activity.send_until()), (1, None));
        assert!(activity.idle_since().is_some());

        activity.speaks_frames();
        let mut stream = activity.begin();
        stream.sends(Unsent::until(until, Arc::clone(&taken)));
        assert_eq!(activity.send_until(), None, "each stream has its own deadline");
        drop(stream);
        assert_eq!(Arc::strong_count(&taken), 1);
        assert!(activity.idle_since().is_some());
    }

    #[test]
    fn a_long_request_is_not_taken_for_silence() {
        for (longest, idle, elsewhere) in [(60, 620, 120), (120, 620, 150), (590, 620, 620), (3600, 3630, 3630)] {
            let timeouts = ConnectionTimeouts::default().for_requests_of(Duration::from_secs(longest));
            assert_eq!(timeouts.idle, Duration::from_secs(idle), "{longest}");
            assert_eq!(timeouts.elsewhere().idle, Duration::from_secs(elsewhere), "{longest}");
        }
    }
}
