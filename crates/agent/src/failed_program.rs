//! Reports a workspace's own program that fails at once, with the termination message of the container, which the
//! status of its pod shows.
//!
//! A workspace continues without its program, so that users can find the cause; but the pod's status has no message of
//! a running container. So the first failure in a pod ends the container with a message. The kubelet restarts it at
//! once, and the new container continues without the program.

use portcullis_core::agent_paths::FAILED_PROGRAM;
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// A program that ends within this time has failed at once.
pub const AT_ONCE: Duration = Duration::from_secs(10);

/// The files of a report: the container's termination log, and a marker that the failure was reported.
#[derive(Clone, Debug)]
pub struct Report {
    log: PathBuf,
    marker: PathBuf,
}

impl Report {
    /// `log` is the termination log of the container; `folder` outlives the container.
    #[must_use]
    pub fn new(log: &Path, folder: &Path) -> Self {
        Self { log: log.to_owned(), marker: folder.join("failed-program") }
    }

    /// The message that this container, or a previous one of the same pod, has reported.
    #[must_use]
    pub fn read(&self) -> Option<String> {
        fs::read_to_string(&self.marker).ok()
    }

    /// Whether a failure should end the container: a kubelet reads the message, and none was reported before.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.log.exists() && !self.marker.exists()
    }

    /// Reports that the program failed, and why.
    pub fn write(&self, why: &str) -> io::Result<()> {
        let message = format!("{FAILED_PROGRAM} {why}");
        fs::write(&self.log, &message)?;
        fs::write(&self.marker, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_reported_once_in_a_pod_and_only_where_somebody_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("termination-log");
        let report = Report::new(&log, folder.path());
        assert!(!report.is_due(), "nobody reads it");
        fs::write(&log, "").unwrap();
        assert!(report.is_due() && report.read().is_none());
        report.write("ended at once (exit code 4)").unwrap();
        assert_eq!(fs::read_to_string(&log).unwrap(), "pod.command ended at once (exit code 4)");
        assert_eq!(report.read().as_deref(), Some("pod.command ended at once (exit code 4)"));
        assert!(!report.is_due());
    }
}
