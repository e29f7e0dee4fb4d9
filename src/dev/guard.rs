//! Ends `portcullis dev` if the state directory was moved or deleted, or if its output pipe is closed.

use super::{DevError, store::Store};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::{
    fs, io,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    path::PathBuf,
    time::Duration,
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// The interval of the checks.
const EVERY: Duration = Duration::from_secs(1);

/// Checks the state directory and the output pipe.
pub(super) struct Guard {
    root: PathBuf,
    /// The directory's device and inode number, since the path can meanwhile lead to another directory.
    identity: Option<(u64, u64)>,
    /// Whether to end if standard output is a pipe without a reader, as after `| head`.
    heeds_readers: bool,
}

impl Guard {
    pub(super) fn of(store: &Store, heeds_readers: bool) -> Result<Self, DevError> {
        let root = store.root().to_owned();
        let identity = identity(&root);
        if identity.is_none() {
            return Err(DevError::Moved(root));
        }
        Ok(Self { root, identity, heeds_readers })
    }

    /// Converts an error. The result is [`DevError::Moved`] if the state directory was moved, which causes various
    /// errors.
    pub(super) fn explain(&self, error: impl Into<DevError>) -> DevError {
        if identity(&self.root) == self.identity { error.into() } else { DevError::Moved(self.root.clone()) }
    }

    /// Waits until `stop` or until a condition fails. A closed output pipe is not an error.
    pub(super) async fn watch(&self, stop: &CancellationToken) -> Result<(), DevError> {
        loop {
            let stopped = stop.run_until_cancelled(sleep(EVERY)).await.is_none();
            // Check this at the end too: it can be the cause of another failure.
            if identity(&self.root) != self.identity {
                return Err(DevError::Moved(self.root.clone()));
            }
            if stopped || (self.heeds_readers && has_no_reader()) {
                return Ok(());
            }
        }
    }
}

fn identity(path: &std::path::Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Whether standard output is a pipe whose other end is closed (POLLERR, poll(2)).
fn has_no_reader() -> bool {
    let stdout = io::stdout();
    let mut descriptors = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
    poll(&mut descriptors, PollTimeout::ZERO).is_ok()
        && descriptors[0].revents().is_some_and(|found| found.contains(PollFlags::POLLERR))
}
