//! A byte stream with timeouts: for the head of a request, for the next request, and for a peer that does not read.
//! hyper's own timeout for heads would close idle connections too.

use crate::connections::activity::{Activity, ConnectionTimeouts};
use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep_until},
};

/// The beginning of the HTTP/2 preface (RFC 9113 §3.4), which is not a method of HTTP/1.1.
const FRAMES_BEGIN: &[u8] = b"PRI * ";

/// The maximum size in bytes of a head without a permit. The number of concurrent longer heads is limited.
const SMALL_HEAD: usize = 8 << 10;
/// The end of an HTTP/1.1 head.
const HEAD_ENDS: &[u8] = b"\r\n\r\n";

pub(super) struct TimeoutIo<S> {
    stream: S,
    activity: Arc<Activity>,
    timeouts: ConnectionTimeouts,
    /// Whether anything has been read.
    has_sent: bool,
    /// Since when a head is incomplete, and the number of requests before it.
    head: Option<(Instant, u32)>,
    /// The timer for silence, which never fires later than its timeout.
    silence: Pin<Box<Sleep>>,
    /// The size of the incomplete head.
    head_size: usize,
    /// The permits for long heads, and the permit of this connection.
    long_heads: Arc<Semaphore>,
    long_head: Option<OwnedSemaphorePermit>,
    /// Since when the peer does not read, and the timer for that.
    stall: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl<S> TimeoutIo<S> {
    pub(super) fn new(
        stream: S,
        activity: Arc<Activity>,
        timeouts: ConnectionTimeouts,
        long_heads: Arc<Semaphore>,
    ) -> Self {
        let silence = Box::pin(sleep_until(activity.silent_until(false, None, &timeouts)));
        let (head, head_size, long_head) = (None, 0, None);
        Self {
            stream,
            activity,
            timeouts,
            has_sent: false,
            head,
            silence,
            head_size,
            long_heads,
            long_head,
            stall: None,
        }
    }

    fn heard(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.has_sent && bytes.starts_with(FRAMES_BEGIN) {
            self.activity.speaks_frames();
        }
        self.has_sent = true;
        // More bytes of the same head do not extend its timeout.
        let awaited = self.activity.awaits_head();
        if awaited != self.head.map(|(_, before)| before) {
            self.head = awaited.map(|before| (Instant::now(), before));
            (self.head_size, self.long_head) = (0, None);
        }
        if self.head.is_none() || self.head_size.saturating_add(bytes.len()) <= SMALL_HEAD {
            self.head_size = self.head_size.saturating_add(bytes.len());
            return Ok(());
        }
        if bytes.windows(HEAD_ENDS.len()).any(|window| window == HEAD_ENDS) {
            // The rest is a body.
            (self.head_size, self.long_head) = (0, None);
            return Ok(());
        }
        self.head_size += bytes.len();
        if self.long_head.is_none() {
            let permit = Arc::clone(&self.long_heads).try_acquire_owned();
            self.long_head = Some(permit.map_err(|_| io::Error::other("too many long heads at once"))?);
        }
        Ok(())
    }

    /// Ready when the silence has timed out: with an error within a head, otherwise as the end of the stream.
    fn poll_silence(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let until = self.activity.silent_until(self.has_sent, self.head, &self.timeouts);
            if self.silence.deadline() > until {
                self.silence.as_mut().reset(until);
            }
            ready!(self.silence.as_mut().poll(context));
            if until <= Instant::now() {
                let within = self.head.is_some_and(|(_, before)| self.activity.awaits_head() == Some(before));
                return Poll::Ready(if within { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) });
            }
            self.silence.as_mut().reset(until);
        }
    }

    /// The result of a write, or a timeout error if the peer does not read or the response misses its deadline.
    fn written<T>(&mut self, context: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stall = None;
            return result;
        }
        let since = self.stall.as_ref().map_or_else(Instant::now, |(since, _)| *since);
        let stalled = since + self.timeouts.stall;
        let until = self.activity.send_until().map_or(stalled, |until| until.min(stalled));
        let (_, sleep) = self.stall.get_or_insert_with(|| (since, Box::pin(sleep_until(until))));
        if sleep.deadline() != until {
            sleep.as_mut().reset(until);
        }
        sleep.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimeoutIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(context, buffer) else {
            return self.poll_silence(context);
        };
        match buffer.filled().get(before..) {
            Some(bytes) if !bytes.is_empty() => Poll::Ready(read.and_then(|()| self.heard(bytes))),
            _ => Poll::Ready(read),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimeoutIo<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(context);
        if matches!(result, Poll::Ready(Ok(()))) {
            self.activity.flushed();
        }
        self.written(context, result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(context);
        self.written(context, result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    const SOON: Duration = Duration::from_millis(20);
    const NEVER: Duration = Duration::from_hours(1);
    const NO_TIMEOUTS: ConnectionTimeouts = ConnectionTimeouts {
        handshake: NEVER,
        first_word: NEVER,
        head: NEVER,
        idle: NEVER,
        idle_elsewhere: NEVER,
        stall: NEVER,
    };

    fn pair(timeouts: ConnectionTimeouts) -> (DuplexStream, TimeoutIo<DuplexStream>, Arc<Activity>) {
        let (client, server) = duplex(64);
        let activity = Activity::new(Instant::now());
        (client, TimeoutIo::new(server, Arc::clone(&activity), timeouts, Arc::new(Semaphore::new(1))), activity)
    }

    #[tokio::test]
    async fn silence_ends_a_connection() {
        let (_client, mut server, _) = pair(ConnectionTimeouts { first_word: SOON, ..NO_TIMEOUTS });
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0, "who says nothing at first");

        let (mut client, mut server, activity) = pair(ConnectionTimeouts { idle: SOON, ..NO_TIMEOUTS });
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert_eq!(server.read(&mut [0; 64]).await.unwrap(), 18);
        drop(activity.begin());
        activity.flushed();
        assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0, "and who makes no further request");
    }

    #[tokio::test]
    async fn a_head_that_dribbles_does_not_get_more_time() {
        let (mut client, mut server, _) = pair(ConnectionTimeouts { head: SOON, ..NO_TIMEOUTS });
        let dribble = async {
            while client.write_all(b"x").await.is_ok() {
                tokio::time::sleep(SOON / 4).await;
            }
        };
        let read = async {
            loop {
                if let Err(error) = server.read(&mut [0; 8]).await {
                    return error.kind();
                }
            }
        };
        tokio::select! {
            () = dribble => unreachable!("the server's end is not closed"),
            kind = read => assert_eq!(kind, io::ErrorKind::TimedOut),
        }
    }

    #[tokio::test]
    async fn the_body_of_a_request_and_frames_are_no_heads() {
        let (mut client, mut server, activity) =
            pair(ConnectionTimeouts { head: Duration::ZERO, first_word: SOON, ..NO_TIMEOUTS });
        let _in_flight = activity.begin();
        client.write_all(b"half a body").await.unwrap();
        assert_eq!(server.read(&mut [0; 64]).await.unwrap(), 11);
        tokio::time::timeout(SOON, server.read(&mut [0; 8])).await.unwrap_err();

        let (mut client, mut server, _) = pair(ConnectionTimeouts { head: Duration::ZERO, ..NO_TIMEOUTS });
        client.write_all(b"PRI * HTTP/2.0\r\n").await.unwrap();
        assert_eq!(server.read(&mut [0; 64]).await.unwrap(), 16);
        tokio::time::timeout(SOON, server.read(&mut [0; 8])).await.unwrap_err();
    }

    #[tokio::test]
    async fn few_heads_may_be_long_at_once() {
        let (mut client, mut server, activity) = pair(NO_TIMEOUTS);
        let permits = Arc::clone(&server.long_heads);
        let long = [b"GET / HTTP/1.1\r\nx: ".as_slice(), &[b'x'; SMALL_HEAD]].concat();
        let mut buffer = vec![0; long.len()];
        let (sent, read) = tokio::join!(client.write_all(&long), server.read_exact(&mut buffer));
        sent.and(read.map(drop)).unwrap();
        assert_eq!(permits.available_permits(), 0);
        let taken = TimeoutIo::new(duplex(64).1, activity, NO_TIMEOUTS, Arc::clone(&permits));
        let refused = TimeoutIo { head: Some((Instant::now(), 0)), head_size: SMALL_HEAD, ..taken }.heard(b"x");
        refused.unwrap_err();
        client.write_all(b"\r\n\r\n").await.unwrap();
        server.read_exact(&mut [0; 4]).await.unwrap();
        assert_eq!(permits.available_permits(), 1, "its end gives the permit back");
    }

    #[tokio::test]
    async fn a_response_is_cut_off_at_its_deadline_however_slowly_it_is_read() {
        let (mut client, mut server, activity) = pair(NO_TIMEOUTS);
        let mut in_flight = activity.begin();
        in_flight.sends(super::super::activity::Unsent::until(Instant::now() + 5 * SOON, ()));
        let read = async {
            let mut byte = [0; 1];
            while client.read(&mut byte).await.is_ok() {
                tokio::time::sleep(SOON / 4).await;
            }
        };
        let error = tokio::select! {
            () = read => unreachable!("the client reads on"),
            written = server.write_all(&[0; 10_000]) => written.unwrap_err(),
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn who_does_not_read_is_not_written_to_for_ever() {
        let (client, mut server, _) = pair(ConnectionTimeouts { stall: SOON, ..NO_TIMEOUTS });
        let error = server.write_all(&[0; 1000]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(client);
    }
}
