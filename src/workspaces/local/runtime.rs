//! What runs in one workspace: its commands, each watched by a tracked task, all of which one call ends.

use super::LocalOptions;
use crate::{
    agent::{
        self, Captured, Job, Kept, OutputFiles, Report, Sinks,
        protocol::{Command as RunCommand, CommandResult},
    },
    workspaces::Error,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs, io,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// How many commands' output files a workspace keeps; older ones make room.
const KEPT_OUTPUTS: usize = 64;

/// The commands of a workspace.
#[derive(Default)]
pub(super) struct Runtime {
    tasks: TaskTracker,
    /// Ends every command that was started with it.
    cancel: CancellationToken,
    /// The names of the output files that are in use.
    running: Arc<Mutex<BTreeSet<String>>>,
}

/// Where commands run.
pub(super) struct Place {
    pub workspace: String,
    pub home: PathBuf,
    pub tmp: PathBuf,
    pub output: PathBuf,
    pub options: LocalOptions,
}

/// A command that was started.
pub(super) enum Command {
    Foreground {
        workspace: String,
        process_id: u32,
        report: oneshot::Receiver<Report>,
        /// Ends the command if nobody waits for it any more.
        guard: DropGuard,
    },
    Background(CommandResult),
}

impl Runtime {
    /// Ends everything, and returns when it has ended.
    pub async fn end_all(&mut self) {
        self.cancel.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        *self = Self::default();
    }

    /// Starts a command, whose id was never used before.
    pub async fn start(
        &mut self,
        place: &Place,
        id: &str,
        request: RunCommand,
        live: Option<mpsc::Sender<Vec<u8>>>,
    ) -> Result<Command, Error> {
        check(&request)?;
        if self.cancel.is_cancelled() {
            // Whoever wanted the end before did not wait for it.
            self.end_all().await;
        }
        let cwd = place.folder(request.cwd.as_deref()).await?;
        let files = place.output_files(id, request.background);
        let job = Job {
            env: place.environment(&request),
            program: "/bin/sh".into(),
            args: vec!["-c".into(), request.command.into()],
            cwd,
            stdin: request.stdin.map(String::into_bytes),
            keep_stdin: false,
            timeout: request.timeout,
            files: files.clone(),
            sinks: Sinks {
                live: live.map(|live| -> agent::Live {
                    Arc::new(move |text: &str| {
                        let _ = live.try_send(text.as_bytes().to_vec());
                    })
                }),
                ..Sinks::default()
            },
        };
        let cancel = self.cancel.child_token();
        let (started, watch) = agent::start(job, cancel.clone()).await.map_err(Error::io("start the command"))?;
        self.tasks.spawn(watched(watch, place.output.clone(), id.to_owned(), Arc::clone(&self.running)));
        if request.background {
            return Ok(Command::Background(in_background(started.process_id, &files)));
        }
        Ok(Command::Foreground {
            workspace: place.workspace.clone(),
            process_id: started.process_id,
            report: started.report,
            guard: cancel.drop_guard(),
        })
    }
}

impl Command {
    /// How it went. Dropping the future ends the command.
    pub async fn result(self) -> Result<CommandResult, Error> {
        match self {
            Self::Background(result) => Ok(result),
            Self::Foreground { workspace, process_id, report, guard } => match report.await {
                Ok(report) if !report.cancelled => {
                    // What it left running belongs to the workspace now.
                    guard.disarm();
                    Ok(finished(process_id, report))
                }
                _ => Err(Error::Interrupted { workspace }),
            },
        }
    }
}

impl Place {
    /// The folder to run in.
    async fn folder(&self, cwd: Option<&str>) -> Result<PathBuf, Error> {
        let folder = cwd.map_or_else(|| self.home.clone(), |cwd| self.home.join(cwd));
        match tokio::fs::metadata(&folder).await {
            Ok(found) if found.is_dir() => Ok(folder),
            _ => Err(Error::NoSuchFolder {
                cwd: cwd.unwrap_or(".").to_owned(),
                workspace: self.workspace.clone(),
                home: self.home.to_string_lossy().into_owned(),
            }),
        }
    }

    /// Clean: nothing of this process's own environment, which may hold secrets, but what the options name. Tools
    /// neither ask questions nor page nor colour, since nobody sits before a terminal.
    fn environment(&self, request: &RunCommand) -> Vec<(OsString, OsString)> {
        let own: [(&str, OsString); 12] = [
            ("PATH", self.options.path.clone()),
            ("HOME", self.home.clone().into()),
            ("USER", self.options.user.clone()),
            ("LOGNAME", self.options.user.clone()),
            ("SHELL", "/bin/sh".into()),
            ("LANG", "C.UTF-8".into()),
            ("TMPDIR", self.tmp.clone().into()),
            ("TERM", "dumb".into()),
            ("NO_COLOR", "1".into()),
            ("PAGER", "cat".into()),
            ("GIT_PAGER", "cat".into()),
            ("GIT_TERMINAL_PROMPT", "0".into()),
        ];
        let own = own.into_iter().map(|(name, value)| (name.into(), value));
        own.chain(request.env.iter().map(|(name, value)| (name.into(), value.into()))).collect()
    }

    /// A command's output files, which are not there yet.
    fn output_files(&self, id: &str, always: bool) -> OutputFiles {
        let file = |stream: &str| self.output.join(format!("{id}.{stream}"));
        OutputFiles { stdout: file("stdout"), stderr: file("stderr"), always }
    }
}

/// The watch over a command, and the tidying after it.
async fn watched(
    watch: impl Future<Output = bool>,
    folder: PathBuf,
    name: String,
    running: Arc<Mutex<BTreeSet<String>>>,
) {
    // The set is never left half changed.
    let names = || running.lock().unwrap_or_else(PoisonError::into_inner);
    names().insert(name.clone());
    watch.await;
    names().remove(&name);
    let in_use = names().clone();
    let pruned = tokio::task::spawn_blocking(move || prune(&folder, &in_use)).await.map_err(io::Error::other);
    if let Err(error) = pruned.and_then(|result| result) {
        tracing::warn!(%error, "could not delete the output files of old commands");
    }
}

fn check(request: &RunCommand) -> Result<(), Error> {
    let refuse = |argument, problem: &str| Err(Error::InvalidArgument { argument, problem: problem.to_owned() });
    if request.command.trim().is_empty() {
        return refuse("command", "it is empty; give a shell command line");
    }
    let nul = |text: &String| text.contains('\0');
    if nul(&request.command) || request.cwd.as_ref().is_some_and(nul) {
        return refuse("command", "it and cwd must not contain NUL characters");
    }
    if request.env.iter().any(|(name, value)| name.is_empty() || name.contains('=') || nul(name) || nul(value)) {
        return refuse("env", "names must not be empty or contain =, and neither names nor values may contain NUL");
    }
    Ok(())
}

fn in_background(process_id: u32, files: &OutputFiles) -> CommandResult {
    CommandResult {
        exit_code: None,
        stdout: String::new(),
        stderr: String::new(),
        duration_ms: 0,
        truncated: false,
        timed_out: false,
        process_id: Some(process_id),
        stdout_file: Some(text(&files.stdout)),
        stderr_file: Some(text(&files.stderr)),
        note: Some(format!(
            "runs in the background until it ends or the workspace stops; read its output from the files, end it with `kill -- -{process_id}`"
        )),
    }
}

fn finished(process_id: u32, report: Report) -> CommandResult {
    let mut notes = Vec::new();
    if report.timed_out {
        notes.push(
            "it was ended because its time was up: give a larger timeout_seconds, or run it with background: true"
                .to_owned(),
        );
    } else if let Some(signal) = report.status.and_then(|status| status.signal()) {
        notes.push(format!("signal {signal} ended it"));
    }
    if report.status.is_none() {
        notes.push("it could not be ended and may still be there, waiting for the kernel".to_owned());
    }
    let stdout_file = kept("stdout", &report.stdout, &mut notes);
    let stderr_file = kept("stderr", &report.stderr, &mut notes);
    if report.lingers {
        notes.push(format!(
            "something that it started still runs, until it ends or the workspace stops; end it with `kill -- -{process_id}`"
        ));
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

/// As shells have it: 128 and the signal's number where a signal ended it.
fn exit_code(status: ExitStatus) -> Option<i32> {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal))
}

fn kept(stream: &str, captured: &Captured, notes: &mut Vec<String>) -> Option<String> {
    match &captured.kept {
        Kept::InText => None,
        Kept::InFile { path, complete } => {
            if !complete {
                notes.push(format!("{stream} was too long to keep whole: its file has the first 64 MiB"));
            }
            Some(text(path))
        }
        Kept::Lost(why) => {
            notes.push(format!("{stream} could not be kept whole: {why}"));
            None
        }
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Deletes the output files of the oldest commands, but of none that runs.
fn prune(folder: &Path, running: &BTreeSet<String>) -> io::Result<()> {
    let mut commands: BTreeMap<String, SystemTime> = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let Some(name) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
        let written = entry.metadata()?.modified()?;
        let latest = commands.entry(name.to_owned()).or_insert(written);
        *latest = written.max(*latest);
    }
    commands.retain(|name, _| !running.contains(name));
    let mut oldest_first: Vec<_> = commands.into_iter().collect();
    oldest_first.sort_by_key(|(_, written)| *written);
    for (name, _) in oldest_first.iter().take(oldest_first.len().saturating_sub(KEPT_OUTPUTS)) {
        for stream in ["stdout", "stderr"] {
            match fs::remove_file(folder.join(format!("{name}.{stream}"))) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_oldest_outputs_make_room_but_never_those_in_use() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..KEPT_OUTPUTS + 3 {
            let path = folder.path().join(format!("{number}.stdout"));
            let written = SystemTime::UNIX_EPOCH + Duration::from_secs(number as u64);
            fs::File::create(path).unwrap().set_modified(written).unwrap();
        }
        prune(folder.path(), &BTreeSet::from(["0".to_owned()])).unwrap();
        let gone: Vec<usize> =
            (0..KEPT_OUTPUTS + 3).filter(|number| !folder.path().join(format!("{number}.stdout")).exists()).collect();
        assert_eq!(gone, [1, 2]);
    }
}
