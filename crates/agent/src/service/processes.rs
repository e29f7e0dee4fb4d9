//! Background processes: the running ones, and those that ended recently.

use crate::{
    OpenStdin, OutputFiles, Record,
    protocol::{Failure, FailureKind, Input, Process, ProcessOutput, Processes},
    record::Part,
};
use jiff::Timestamp;
use regex::bytes::{Regex, RegexBuilder};
use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt as _,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

/// The number of ended processes that are listed.
const MOST_ENDED: usize = 32;
/// The time that a process has to read its input.
const INPUT_TIME: Duration = Duration::from_secs(5);

/// All background processes, the oldest first.
#[derive(Default)]
pub(super) struct Table(Mutex<Vec<Arc<Running>>>);

/// A command, once it has been started.
pub(super) struct Running {
    pub process_id: u32,
    pub line: String,
    pub started_at: Timestamp,
    pub record: Arc<Record>,
    pub stdin: Option<OpenStdin>,
    /// Whether it runs in a terminal.
    pub terminal: bool,
    /// The output files, if they are written from the first byte on.
    pub files: Option<OutputFiles>,
    /// Ends all processes of the command.
    pub cancel: CancellationToken,
}

impl Table {
    pub(super) fn insert(&self, running: Arc<Running>) {
        let mut all = self.lock();
        // The system may reuse the id of an ended process.
        all.retain(|other| other.process_id != running.process_id);
        all.push(running);
        let ended = all.iter().filter(|running| !running.record.condition().running).count();
        let mut surplus = ended.saturating_sub(MOST_ENDED);
        all.retain(|running| {
            let goes = surplus > 0 && !running.record.condition().running;
            surplus -= usize::from(goes);
            !goes
        });
    }

    pub(super) fn get(&self, id: u32) -> Result<Arc<Running>, Failure> {
        let all = self.lock();
        all.iter().find(|running| running.process_id == id).cloned().ok_or_else(|| {
            let mut known: Vec<String> = all.iter().rev().map(|running| running.process_id.to_string()).collect();
            known.truncate(10);
            let known = if known.is_empty() { "there is none".to_owned() } else { format!("there are: {}", known.join(", ")) };
            let message = format!(
                "there is no background process {id}; list_processes: {known}; processes end when the workspace restarts"
            );
            FailureKind::NotFound.because(message)
        })
    }

    pub(super) fn list(&self) -> Processes {
        Processes { processes: self.lock().iter().rev().map(|running| running.view()).collect() }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Running>>> {
        // No panic can leave it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Compiles the pattern of `wait_for`. It is matched against all kept output, so its cost is bounded like that of
/// search patterns.
pub(super) fn pattern(text: &str) -> Result<Regex, Failure> {
    /// The longest regular expression, in bytes.
    const LONGEST: usize = 1000;
    /// The limits on the compiled expression and on its DFA cache, in bytes.
    const SIZE_LIMIT: usize = 1 << 17;
    let invalid = |why: String| FailureKind::Invalid.because(format!("wait_for {why}"));
    if text.len() > LONGEST {
        return Err(invalid(format!("has {} bytes; it may have at most {LONGEST}", text.len())));
    }
    let mut builder = RegexBuilder::new(text);
    builder.multi_line(true).crlf(true).nest_limit(50).size_limit(SIZE_LIMIT).dfa_size_limit(SIZE_LIMIT);
    builder.build().map_err(|error| invalid(format!("is not a valid regular expression: {error}")))
}

impl Running {
    /// The same process, with output files that are written from the first byte on.
    pub(super) fn with(&self, files: OutputFiles) -> Self {
        Self {
            process_id: self.process_id,
            line: self.line.clone(),
            started_at: self.started_at,
            record: Arc::clone(&self.record),
            stdin: self.stdin.clone(),
            terminal: self.terminal,
            files: Some(files),
            cancel: self.cancel.clone(),
        }
    }

    pub(super) fn view(&self) -> Process {
        let condition = self.record.condition();
        Process {
            process_id: self.process_id,
            command: self.line.clone(),
            running: condition.running,
            exit_code: condition.exit_code,
            started_at: self.started_at,
        }
    }

    /// An answer with this part of the output.
    pub(super) fn output_of(&self, part: Part, matched: Option<bool>) -> ProcessOutput {
        let condition = self.record.condition();
        let file = |path: &Path| path.to_string_lossy().into_owned();
        ProcessOutput {
            output: part.text,
            next_offset: part.next_offset,
            skipped_bytes: part.skipped,
            truncated: part.more,
            matched,
            running: condition.running,
            exit_code: condition.exit_code,
            stdout_file: self.files.as_ref().map(|files| file(&files.stdout)),
            stderr_file: self.files.as_ref().map(|files| file(&files.stderr)),
        }
    }

    /// Writes to the standard input.
    pub(super) async fn write(&self, input: &Input) -> Result<(), Failure> {
        let id = self.process_id;
        let refuse = |message: String| FailureKind::Conflict.because(message);
        let closed = || refuse(format!("the standard input of process {id} is closed"));
        let Some(stdin) = &self.stdin else { return Err(closed()) };
        if input.key && !self.terminal {
            return Err(refuse(format!(
                "process {id} has no terminal, so it accepts no keys: start it with tty: true; stop_process ends it"
            )));
        }
        let mut text = input.text.clone();
        if input.close && self.terminal {
            // A terminal cannot be closed: this signals the end of input to its reader (POSIX.1-2024, General Terminal
            // Interface §11.1.9).
            text.push('\u{4}');
        }
        let deadline = Instant::now() + INPUT_TIME;
        let mut left = text.as_bytes();
        let written = timeout_at(deadline, async {
            let mut pipe = stdin.lock().await;
            let open = pipe.as_mut().ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))?;
            while !left.is_empty() {
                let count = open.write(left).await?;
                left = left.split_at(count).1;
            }
            if input.close && !self.terminal {
                *pipe = None;
            }
            Ok::<(), io::Error>(())
        });
        match written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(closed()),
            Err(_) => {
                let (taken, all) = (text.len() - left.len(), text.len());
                let seconds = INPUT_TIME.as_secs();
                Err(refuse(format!(
                    "process {id} does not read its standard input: it read {taken} of {all} bytes in {seconds} s; send the rest when it reads again"
                )))
            }
        }
    }
}
