//! The log of a workspace: its starts and stops, and the programs that ended with their exit codes. It never
//! contains the arguments or the output of programs. It starts empty with this process.

use crate::WorkspaceLogs;
use portcullis_core::clock::Clock;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

/// The maximum number of lines.
const KEPT: usize = 1000;

/// The log of one workspace. Clones share the lines.
#[derive(Clone)]
pub(super) struct Log {
    clock: Arc<dyn Clock>,
    lines: Arc<Mutex<Lines>>,
}

#[derive(Default)]
struct Lines {
    last: VecDeque<String>,
    forgotten: bool,
}

impl Log {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, lines: Arc::default() }
    }

    /// Adds a line.
    pub(super) fn note(&self, what: &str) {
        let line = format!("{:.0} {what}", self.clock.now());
        // A panic never leaves the lines half-changed.
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.last.len() == KEPT {
            lines.last.pop_front();
            lines.forgotten = true;
        }
        lines.last.push_back(line);
    }

    /// The last `count` lines.
    pub(super) fn tail(&self, count: u32) -> WorkspaceLogs {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let skipped = lines.last.len().saturating_sub(count as usize);
        WorkspaceLogs {
            lines: lines.last.iter().skip(skipped).cloned().collect(),
            truncated: skipped > 0 || lines.forgotten,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_core::clock::SystemClock;

    #[test]
    fn the_last_lines_are_kept() {
        let log = Log::new(Arc::new(SystemClock));
        assert_eq!(log.tail(5), WorkspaceLogs { lines: Vec::new(), truncated: false });
        for number in 1..=KEPT {
            log.note(&number.to_string());
        }
        let tail = |count| {
            let logs = log.tail(count);
            let ends: Vec<String> = logs.lines.iter().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect();
            (ends, logs.truncated)
        };
        assert_eq!(tail(2), (vec!["999".to_owned(), "1000".to_owned()], true));
        let (all, truncated) = tail(1000);
        assert_eq!((all.len(), truncated), (1000, false));
        log.note("1001");
        let (all, truncated) = tail(1000);
        assert_eq!((all[0].as_str(), all.len(), truncated), ("2", 1000, true));
    }
}
