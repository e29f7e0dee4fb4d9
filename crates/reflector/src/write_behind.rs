//! Timestamps that every use updates in memory, and that are written in the background: the last use of a grant, the
//! last activity in a workspace.

use crate::RequestError;
use jiff::Timestamp;
use portcullis_core::report::chain;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;

/// How long to collect timestamps before a write: uses come in bursts.
const GATHER: Duration = Duration::from_millis(500);
const RETRY: Duration = Duration::from_secs(30);
const AT_THE_END: Duration = Duration::from_secs(5);

/// Writes timestamps to the API server.
pub trait StatusWriter {
    /// Writes one timestamp.
    fn write(&self, name: &str, at: Timestamp) -> impl Future<Output = Result<(), RequestError>> + Send;
}

/// The timestamps to write, by the name of the object.
pub struct WriteBehind {
    /// For the log, such as `when grants were last used`.
    what: &'static str,
    unsaved: Mutex<BTreeMap<String, Timestamp>>,
    /// The name whose write failed last: the next pass begins after it, so that it does not delay the others.
    failed: Mutex<Option<String>>,
    noted: Notify,
}

impl WriteBehind {
    /// Without any timestamps.
    #[must_use]
    pub fn new(what: &'static str) -> Self {
        Self { what, unsaved: Mutex::default(), failed: Mutex::default(), noted: Notify::new() }
    }

    /// Has a timestamp written soon.
    pub fn note(&self, name: &str, at: Timestamp) {
        self.unsaved().insert(name.to_owned(), at);
        self.noted.notify_one();
    }

    /// Writes timestamps until the future is dropped.
    pub async fn save(&self, writer: &impl StatusWriter) {
        loop {
            self.noted.notified().await;
            tokio::time::sleep(GATHER).await;
            if let Err(error) = self.save_noted(writer).await {
                let (what, error) = (self.what, chain(&error));
                tracing::warn!(error, "{what} could not be written; it is retried");
                tokio::time::sleep(RETRY).await;
                self.noted.notify_one();
            }
        }
    }

    /// Writes the remaining timestamps before the server ends.
    pub async fn save_at_the_end(&self, writer: &impl StatusWriter) {
        if !matches!(tokio::time::timeout(AT_THE_END, self.save_noted(writer)).await, Ok(Ok(()))) {
            tracing::warn!("{} could not be written for all objects", self.what);
        }
    }

    /// One pass over all timestamps. After a write that the API server refuses, the pass continues with the next name.
    /// A write without a response ends the pass, and the next pass begins after that name.
    async fn save_noted(&self, writer: &impl StatusWriter) -> Result<(), RequestError> {
        let mut refused = None;
        for (name, at) in self.pass() {
            // Removed after the write: if this future is dropped, nothing is lost.
            match writer.write(&name, at).await {
                Ok(()) => {}
                Err(error) if error.code() == Some(404) => {}
                Err(error) if error.code().is_some_and(|code| (400..500).contains(&code) && code != 429) => {
                    refused = Some(error);
                    continue;
                }
                Err(error) => {
                    *self.failed() = Some(name);
                    return Err(error);
                }
            }
            let mut unsaved = self.unsaved();
            if unsaved.get(&name) == Some(&at) {
                unsaved.remove(&name);
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// The timestamps, beginning after the name that failed last.
    fn pass(&self) -> Vec<(String, Timestamp)> {
        let failed = self.failed().take();
        let mut noted: Vec<_> = self.unsaved().iter().map(|(name, at)| (name.clone(), *at)).collect();
        if let Some(failed) = failed {
            let first = noted.partition_point(|(name, _)| *name <= failed);
            noted.rotate_left(first);
        }
        noted
    }

    fn failed(&self) -> MutexGuard<'_, Option<String>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unsaved(&self) -> MutexGuard<'_, BTreeMap<String, Timestamp>> {
        self.unsaved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    /// Writes every name except `b`, which fails with this error.
    struct FailingWriter<F> {
        error: F,
        written: Mutex<Vec<String>>,
    }

    impl<F: Fn() -> RequestError + Sync> StatusWriter for FailingWriter<F> {
        async fn write(&self, name: &str, _: Timestamp) -> Result<(), RequestError> {
            if name == "b" {
                return Err((self.error)());
            }
            self.written.lock().unwrap().push(name.to_owned());
            Ok(())
        }
    }

    fn noted() -> WriteBehind {
        let write_behind = WriteBehind::new("times");
        for name in ["a", "b", "c", "d"] {
            write_behind.note(name, Timestamp::UNIX_EPOCH);
        }
        write_behind
    }

    fn refusal(code: u16) -> RequestError {
        RequestError::Api(kube::Error::Api(Box::new(Status { code, ..Status::default() })))
    }

    #[tokio::test]
    async fn a_name_that_is_refused_does_not_hold_up_the_others() {
        let (write_behind, writer) = (noted(), FailingWriter { error: || refusal(422), written: Mutex::default() });
        assert_eq!(write_behind.save_noted(&writer).await.unwrap_err().code(), Some(422));
        assert_eq!(*writer.written.lock().unwrap(), ["a", "c", "d"]);
        assert_eq!(write_behind.unsaved().keys().collect::<Vec<_>>(), ["b"], "and is tried again");
    }

    #[tokio::test]
    async fn a_name_that_gets_no_answer_comes_last_in_the_next_pass() {
        for error in [|| RequestError::Timeout, || refusal(500), || refusal(429)] {
            let (write_behind, writer) = (noted(), FailingWriter { error, written: Mutex::default() });
            write_behind.save_noted(&writer).await.unwrap_err();
            assert_eq!(*writer.written.lock().unwrap(), ["a"], "an API server that is away is not asked for each name");
            write_behind.note("a", Timestamp::MAX);
            write_behind.save_noted(&writer).await.unwrap_err();
            assert_eq!(*writer.written.lock().unwrap(), ["a", "c", "d", "a"]);
            assert_eq!(write_behind.unsaved().keys().collect::<Vec<_>>(), ["b"]);
        }
    }

    #[tokio::test]
    async fn a_deleted_name_is_dropped() {
        let (write_behind, writer) = (noted(), FailingWriter { error: || refusal(404), written: Mutex::default() });
        write_behind.save_noted(&writer).await.unwrap();
        assert!(write_behind.unsaved().is_empty());
    }
}
