//! How much one request may take.

use crate::protocol::Failure;
use std::{
    fmt::Display,
    io::{self, ErrorKind, Read, Seek, SeekFrom},
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// The largest file that is written or edited, and the most that is read at once, in bytes.
pub(super) const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// How many requests work on files at once; the others wait.
pub(super) const AT_ONCE: usize = 8;
/// How long a request may look at files, and how long one waits until others have ended.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// How long files may be copied or removed.
pub(super) const CHANGE_PATIENCE: Duration = Duration::from_mins(1);

/// The number that was asked for, which must be in the range, or else the usual one.
pub(super) fn within<N: PartialOrd + Display>(
    name: &str,
    asked: Option<N>,
    usual: N,
    range: &RangeInclusive<N>,
) -> Result<N, Failure> {
    let number = asked.unwrap_or(usual);
    if range.contains(&number) {
        return Ok(number);
    }
    Err(super::fail::invalid(format!("{name} must be between {} and {}, not {number}", range.start(), range.end())))
}

/// Tells work on a thread that its result is not wanted any more.
#[derive(Clone, Debug, Default)]
pub(super) struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Cancels once it is dropped.
    pub(super) fn on_drop(&self) -> CancelOnDrop {
        CancelOnDrop(self.clone())
    }

    fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// See [`Cancel::on_drop`].
#[derive(Debug)]
pub(super) struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// When to stop.
#[derive(Clone, Debug)]
pub(super) struct Deadline {
    at: Instant,
    cancel: Cancel,
}

impl Deadline {
    /// So long from now.
    pub(super) fn after(patience: Duration) -> Self {
        Self { at: Instant::now() + patience, cancel: Cancel::default() }
    }

    /// The same, or earlier where it is cancelled.
    pub(super) fn or(self, cancel: &Cancel) -> Self {
        Self { cancel: cancel.clone(), ..self }
    }

    /// Whether it is over.
    pub(super) fn passed(&self) -> bool {
        self.cancel.is_cancelled() || Instant::now() >= self.at
    }

    /// Fails with [`ErrorKind::TimedOut`] once it is over.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.passed() { Err(ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

/// Reads until a deadline, and then fails with [`ErrorKind::TimedOut`].
pub(super) struct Timed<R> {
    /// What is read.
    pub inner: R,
    /// Until when.
    pub deadline: Deadline,
}

impl<R: Read> Read for Timed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.deadline.check()?;
        self.inner.read(buffer)
    }
}

impl<R: Seek> Seek for Timed<R> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.inner.seek(position)
    }
}
