//! The recent output and the state of a background process: written by its watch, read by any number of requests.

use crate::text::{from_whole_line, without_cut_end, without_cut_line, without_cut_start};
use regex::bytes::Regex;
use std::{collections::VecDeque, time::Duration};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

/// The number of bytes that are kept. Older output is only in the files.
const KEPT: usize = 64 * 1024;
/// The largest part in one answer, in bytes.
const PART: usize = 32 * 1024;
/// How long to wait for more output after the first: lines seldom come alone.
const SETTLE: Duration = Duration::from_millis(50);

/// The record of one process. It discards output before [`Record::begin`].
#[derive(Debug)]
pub struct Record {
    state: watch::Sender<State>,
}

#[derive(Debug)]
struct State {
    recording: bool,
    bytes: VecDeque<u8>,
    /// The offset after the last byte.
    end: u64,
    /// The offset up to which any reader has read.
    seen: u64,
    running: bool,
    exit_code: Option<i32>,
}

/// A part of the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The text. Invalid UTF-8 is replaced; an incomplete character at the end is left for the next part.
    pub text: String,
    /// The offset after the text.
    pub next_offset: u64,
    /// The number of bytes between the requested offset and `text` that are no longer kept.
    pub skipped: u64,
    /// Whether more output is available already.
    pub more: bool,
}

/// The state of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Whether any process of the command still runs.
    pub running: bool,
    /// The exit code, once the command itself has ended.
    pub exit_code: Option<i32>,
}

impl Default for Record {
    fn default() -> Self {
        let state = State { recording: false, bytes: VecDeque::new(), end: 0, seen: 0, running: true, exit_code: None };
        Self { state: watch::Sender::new(state) }
    }
}

impl Record {
    /// Starts recording the output.
    pub fn begin(&self) {
        self.state.send_modify(|state| state.recording = true);
    }

    /// Appends output.
    pub fn push(&self, bytes: &[u8]) {
        self.state.send_if_modified(|state| {
            if !state.recording {
                return false;
            }
            state.end += bytes.len() as u64;
            let bytes = bytes.split_at(bytes.len().saturating_sub(KEPT)).1;
            let excess = (state.bytes.len() + bytes.len()).saturating_sub(KEPT);
            state.bytes.drain(..excess);
            state.bytes.extend(bytes);
            true
        });
    }

    /// Records that the command itself has ended.
    pub fn exited(&self, exit_code: Option<i32>) {
        self.state.send_modify(|state| state.exit_code = exit_code);
    }

    /// Records that all processes of the command have ended.
    pub fn ended(&self) {
        self.state.send_modify(|state| state.running = false);
    }

    /// The current state.
    #[must_use]
    pub fn condition(&self) -> Condition {
        let state = self.state.borrow();
        Condition { running: state.running, exit_code: state.exit_code }
    }

    /// Waits until all processes of the command have ended.
    pub async fn until_ended(&self) {
        // The sender is part of `self`, so it cannot be dropped here.
        let _ = self.state.subscribe().wait_for(|state| !state.running).await;
    }

    /// Whether the output from `offset` on matches; without an offset, all kept output.
    #[must_use]
    pub fn matches(&self, offset: Option<u64>, pattern: &Regex) -> bool {
        self.state.borrow().matches(offset, pattern)
    }

    /// The output from `offset` on, at most one part; without an offset, the last part. Waits at most `wait` until
    /// there is unread output or, with `until`, output that matches; or until the process ends.
    pub async fn read(&self, offset: Option<u64>, wait: Duration, until: Option<&Regex>) -> Part {
        if !wait.is_zero() {
            let mut state = self.state.subscribe();
            let news = state.wait_for(|state| {
                !state.running
                    || match until {
                        Some(pattern) => state.matches(offset, pattern),
                        None => state.end > offset.unwrap_or(state.seen),
                    }
            });
            if timeout(wait, async { news.await.is_ok_and(|state| state.running) }).await == Ok(true) {
                sleep(SETTLE.min(wait)).await;
            }
        }
        let mut part = None;
        self.state.send_if_modified(|state| {
            let read = state.part(offset);
            state.seen = state.seen.max(read.next_offset);
            part = Some(read);
            false
        });
        part.unwrap_or(Part { text: String::new(), next_offset: 0, skipped: 0, more: false })
    }
}

impl State {
    fn matches(&self, offset: Option<u64>, pattern: &Regex) -> bool {
        let start = self.end - self.bytes.len() as u64;
        let from = usize::try_from(offset.unwrap_or(start).saturating_sub(start)).unwrap_or(usize::MAX);
        let text: Vec<u8> = self.bytes.iter().copied().skip(from).collect();
        pattern.is_match(&text)
    }

    fn part(&mut self, offset: Option<u64>) -> Part {
        let start = self.end - self.bytes.len() as u64;
        let last = self.end.saturating_sub(PART as u64);
        let from = offset.unwrap_or(last).clamp(start, self.end);
        let skipped = offset.map_or(0, |offset| start.saturating_sub(offset));
        let kept = self.bytes.make_contiguous();
        let mut bytes = kept.split_at(usize::try_from(from - start).unwrap_or(usize::MAX).min(kept.len())).1;
        let all = bytes.len();
        let more = all > PART;
        if more {
            bytes = without_cut_line(without_cut_end(bytes.split_at(PART).0));
        } else if self.running {
            bytes = without_cut_end(bytes);
        }
        let next_offset = from + bytes.len() as u64;
        if offset.is_none_or(|offset| offset < from) && from > 0 && all > 0 {
            bytes = from_whole_line(without_cut_start(bytes));
        }
        Part { text: String::from_utf8_lossy(bytes).into_owned(), next_offset, skipped, more }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(pieces: &[&[u8]]) -> Record {
        let record = Record::default();
        record.push(b"before");
        record.begin();
        for piece in pieces {
            record.push(piece);
        }
        record
    }

    async fn read(record: &Record, offset: Option<u64>) -> (String, u64, u64) {
        let part = record.read(offset, Duration::ZERO, None).await;
        (part.text, part.next_offset, part.skipped)
    }

    #[tokio::test]
    async fn offsets_go_on_where_the_last_part_ended() {
        let record = record(&[b"one ", b"two "]);
        assert_eq!(read(&record, None).await, ("one two ".to_owned(), 8, 0));
        assert_eq!(read(&record, Some(4)).await, ("two ".to_owned(), 8, 0));
        assert_eq!(read(&record, Some(8)).await, (String::new(), 8, 0));
        assert_eq!(read(&record, Some(99)).await, (String::new(), 8, 0));
    }

    #[tokio::test]
    async fn a_character_that_has_not_all_come_is_left_for_later() {
        let record = record(&[b"caf\xc3"]);
        assert_eq!(read(&record, None).await, ("caf".to_owned(), 3, 0));
        record.push(b"\xa9!");
        assert_eq!(read(&record, Some(3)).await, ("é!".to_owned(), 6, 0));
        record.push(b"\xe2");
        record.ended();
        assert_eq!(read(&record, Some(6)).await, ("\u{fffd}".to_owned(), 7, 0));
    }

    #[tokio::test]
    async fn what_the_ring_has_lost_is_counted() {
        for piece in [1_usize, 1000, KEPT, KEPT + 5] {
            let all = vec![b'a'; 2 * KEPT + 10];
            let record = record(&all.chunks(piece).collect::<Vec<_>>());
            let (text, next, skipped) = read(&record, Some(3)).await;
            let middle = (all.len() - KEPT + PART) as u64;
            assert_eq!((text.len(), next, skipped), (PART, middle, (KEPT + 7) as u64), "{piece}");
            let (text, next, skipped) = read(&record, Some(middle)).await;
            assert_eq!((text.len(), next, skipped), (PART, all.len() as u64, 0), "{piece}");
            assert_eq!(read(&record, None).await, (text, next, 0), "{piece}");
        }
    }

    #[tokio::test]
    async fn output_that_is_waited_for_may_have_come_already() {
        let record = std::sync::Arc::new(record(&[b"starting\n"]));
        let pattern = |text: &str| Regex::new(text).unwrap();
        let ready = pattern("(?m)^ready on [0-9]+$");
        let short = Duration::from_millis(200);
        assert_eq!(record.read(None, short, Some(&ready)).await.text, "starting\n");
        assert!(!record.matches(None, &ready));
        let writer = std::sync::Arc::clone(&record);
        let later = tokio::spawn(async move {
            for piece in ["rea", "dy on 80", "80\n", "more\n"] {
                sleep(Duration::from_millis(50)).await;
                writer.push(piece.as_bytes());
            }
        });
        let begun = tokio::time::Instant::now();
        let part = record.read(Some(9), Duration::from_secs(30), Some(&pattern("8080\n"))).await;
        assert!(part.text.starts_with("ready on 8080\n") && begun.elapsed() < Duration::from_secs(20), "{part:?}");
        later.await.unwrap();
        assert!(record.matches(None, &ready) && !record.matches(Some(20), &ready));
    }

    #[tokio::test]
    async fn parts_end_where_lines_end() {
        let all: String =
            (0..4000).flat_map(|number| ["line ".to_owned(), number.to_string(), "\n".to_owned()]).collect();
        let record = record(&[all.as_bytes()]);
        let (mut together, mut offset) = (String::new(), 0);
        loop {
            let part = record.read(Some(offset), Duration::ZERO, None).await;
            assert!(part.text.len() <= PART && part.text.ends_with('\n'));
            together.push_str(&part.text);
            offset = part.next_offset;
            if !part.more {
                break;
            }
        }
        assert_eq!(together, all);
        let last = record.read(None, Duration::ZERO, None).await;
        assert!(last.text.starts_with("line ") && all.ends_with(&last.text) && !last.more);
    }

    #[tokio::test]
    async fn waiting_ends_with_news_with_the_end_or_in_time() {
        let (long, short) = (Duration::from_secs(10), Duration::from_millis(300));
        let record = std::sync::Arc::new(record(&[b"old"]));
        let started = tokio::time::Instant::now();
        // The output has not been read yet, so it is returned at once.
        assert_eq!(record.read(None, long, None).await.text, "old");
        let before = tokio::time::Instant::now();
        assert_eq!(record.read(None, short, None).await.text, "old");
        assert!(before.elapsed() >= short);

        let writer = std::sync::Arc::clone(&record);
        let later = tokio::spawn(async move {
            sleep(Duration::from_millis(100)).await;
            writer.push(b"new");
            writer.push(b"er");
            sleep(Duration::from_millis(500)).await;
            writer.exited(Some(3));
            writer.ended();
        });
        assert_eq!(record.read(Some(3), long, None).await.text, "newer");
        assert_eq!(record.read(Some(8), long, None).await.text, "");
        assert!(started.elapsed() < long);
        assert_eq!(record.condition(), Condition { running: false, exit_code: Some(3) });
        later.await.unwrap();
    }
}
