//! How much one request may take.

use crate::agent::protocol::Failure;
use std::{
    fmt::Display,
    io::{self, ErrorKind, Read, Seek, SeekFrom},
    ops::RangeInclusive,
    time::Duration,
};
use tokio::time::Instant;

/// The largest file that is written or edited, and the most that is read at once, in bytes.
pub(super) const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// How many requests work on files at once; the others wait.
pub(super) const AT_ONCE: usize = 8;
/// How long a request may look at files.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

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

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(Instant);

impl Deadline {
    /// So long from now.
    pub fn after(patience: Duration) -> Self {
        Self(Instant::now() + patience)
    }

    /// Whether it is over.
    pub fn passed(self) -> bool {
        Instant::now() >= self.0
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
        if self.deadline.passed() {
            return Err(ErrorKind::TimedOut.into());
        }
        self.inner.read(buffer)
    }
}

impl<R: Seek> Seek for Timed<R> {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.inner.seek(position)
    }
}
