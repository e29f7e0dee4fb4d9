//! Converts the outcome of a command to its result in the protocol.

use crate::{
    Captured, Kept, OutputFiles,
    command::{Report, exit_code},
    protocol::CommandResult,
};
use std::{os::unix::process::ExitStatusExt as _, path::Path};

/// The answer for a command in the background.
pub(super) fn in_background(process_id: u32, files: &OutputFiles, note: Option<String>) -> CommandResult {
    let runs = "it runs until it ends, stop_process ends it, or the workspace stops; process_output has its output";
    CommandResult {
        process_id: Some(process_id),
        stdout_file: Some(text(&files.stdout)),
        stderr_file: Some(text(&files.stderr)),
        note: Some(note.map_or_else(|| runs.to_owned(), |note| format!("{note}; {runs}"))),
        ..CommandResult::default()
    }
}

/// The answer for a command that continues after its timeout.
pub(super) fn continues(process_id: u32, report: Report, note: Option<String>) -> CommandResult {
    let mut notes: Vec<String> = note.into_iter().collect();
    notes.push(format!(
        "still running as process {process_id}, for an hour at most; do not run it again; process_output has the rest, and stop_process ends it"
    ));
    let stdout_file = kept("stdout", &report.stdout, &mut notes);
    let stderr_file = kept("stderr", &report.stderr, &mut notes);
    CommandResult {
        duration_ms: u64::try_from(report.duration.as_millis()).unwrap_or(u64::MAX),
        truncated: report.stdout.truncated || report.stderr.truncated,
        process_id: Some(process_id),
        stdout: report.stdout.text,
        stderr: report.stderr.text,
        stdout_file,
        stderr_file,
        note: Some(notes.join("; ")),
        ..CommandResult::default()
    }
}

/// The answer for a command that has ended. `starved`: whether the system killed a process during the command because
/// the workspace's memory was full; `None` if that is not known.
pub(super) fn finished(process_id: u32, report: Report, starved: Option<bool>, note: Option<String>) -> CommandResult {
    let mut notes: Vec<String> = note.into_iter().collect();
    if report.timed_out {
        notes.push(
            "it was ended because of the timeout: pass a larger timeout_seconds, or run it with on_timeout: background or background: true"
                .to_owned(),
        );
    } else if let Some(signal) = report.status.and_then(|status| status.signal()) {
        let perhaps = signal == 9 && starved.is_none();
        let killed = if perhaps { ", perhaps because the workspace ran out of memory" } else { "" };
        notes.push(format!("signal {signal} ended it{killed}"));
    }
    if starved == Some(true) {
        notes.push(
            "the workspace ran out of memory, so the system killed a process that used much of it: see workspace_usage for the limit, and use less at once"
                .to_owned(),
        );
    }
    if report.status.is_none() {
        notes.push("it could not be ended and may still exist, waiting for the kernel".to_owned());
    }
    let stdout_file = kept("stdout", &report.stdout, &mut notes);
    let stderr_file = kept("stderr", &report.stderr, &mut notes);
    if report.lingers {
        notes.push(
            "a process that it started still runs, until it ends, stop_process ends it, or the workspace stops; process_output has its further output"
                .to_owned(),
        );
    }
    CommandResult {
        exit_code: report.status.and_then(exit_code),
        duration_ms: u64::try_from(report.duration.as_millis()).unwrap_or(u64::MAX),
        truncated: report.stdout.truncated || report.stderr.truncated,
        timed_out: report.timed_out,
        process_id: report.lingers.then_some(process_id),
        stdout: report.stdout.text,
        stderr: report.stderr.text,
        stdout_file,
        stderr_file,
        note: (!notes.is_empty()).then(|| notes.join("; ")),
    }
}

fn kept(stream: &str, captured: &Captured, notes: &mut Vec<String>) -> Option<String> {
    match &captured.kept {
        Kept::InText => None,
        Kept::InFile { path, complete } => {
            if !complete {
                notes.push(format!("{stream} was too long to keep completely: its file has the first 64 MiB"));
            }
            Some(text(path))
        }
        Kept::Lost(why) => {
            notes.push(format!("{stream} could not be kept completely: {why}"));
            None
        }
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
