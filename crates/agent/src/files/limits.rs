//! Limits on the size and time of a request.

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

/// The largest file that can be written or edited, and the largest read, in bytes.
pub(super) const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// The number of requests that work on files at once; others wait.
pub(super) const AT_ONCE: usize = 8;
/// The time limit for reading files, and for waiting until other requests have ended.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// The time limit for copying or removing files.
pub(super) const CHANGE_PATIENCE: Duration = Duration::from_mins(1);

/// The requested number, or the default. Fails if it is out of range.
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

/// Cancels work on a blocking thread whose result is not needed any more.
#[derive(Clone, Debug, Default)]
pub(super) struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// A guard that cancels when it is dropped.
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

/// The time at which an operation must stop, and a flag that cancels it earlier.
#[derive(Clone, Debug)]
pub(super) struct Deadline {
    at: Instant,
    cancel: Cancel,
}

impl Deadline {
    /// A deadline `patience` from now.
    pub(super) fn after(patience: Duration) -> Self {
        Self { at: Instant::now() + patience, cancel: Cancel::default() }
    }

    /// The same deadline, which `cancel` can end earlier.
    pub(super) fn or(self, cancel: &Cancel) -> Self {
        Self { cancel: cancel.clone(), ..self }
    }

    /// Whether the deadline has passed or the operation was cancelled.
    pub(super) fn passed(&self) -> bool {
        self.cancel.is_cancelled() || Instant::now() >= self.at
    }

    /// Fails with [`ErrorKind::TimedOut`] if the deadline has passed.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.passed() { Err(ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

/// A reader that fails with [`ErrorKind::TimedOut`] after a deadline.
pub(super) struct Timed<R> {
    /// The wrapped reader.
    pub inner: R,
    /// The deadline.
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
