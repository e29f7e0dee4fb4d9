//! Runs one command: starts it in its own process group, watches it until the whole group has ended, and ends it at its
//! timeout or when it is cancelled, together with its escaped processes.

use crate::{
    capture::{Capture, Captured},
    escaped_processes::EscapedProcesses,
    group::Group,
    protocol::TerminalSize,
    stream::{Sinks, Stream, Which},
};
use std::{
    ffi::OsString,
    io,
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _},
    process::{Child, Command},
    sync::{Mutex, oneshot},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// The grace period of a process group between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);
/// How long to read output after the command has ended, if other processes hold its pipes open.
const DRAIN: Duration = Duration::from_millis(250);
/// The time that SIGKILL may take. Longer only if the kernel is stuck.
const KILL_WAIT: Duration = Duration::from_secs(2);
/// The polling interval for the end of a group, where no signal reports it.
const POLL: Duration = Duration::from_millis(50);
/// The polling interval while the command's background processes run.
const SLOW_POLL: Duration = Duration::from_millis(500);

/// The open standard input of a command; `None` once it is closed.
pub type OpenStdin = Arc<Mutex<Option<Writing>>>;
/// The write end of a pipe, or a terminal.
type Writing = Box<dyn AsyncWrite + Send + Sync + Unpin>;
/// The read end of a pipe, or a terminal.
type Reading = Box<dyn AsyncRead + Send + Sync + Unpin>;

/// A command to start.
pub struct Job {
    /// The unique id of the command, which also identifies all processes that it starts.
    pub id: String,
    /// The program: a path, or a name to look up in the `PATH` of `env`.
    pub program: OsString,
    /// The arguments, without the name of the program.
    pub args: Vec<OsString>,
    /// The working directory, which must exist.
    pub cwd: PathBuf,
    /// The complete environment.
    pub env: Vec<(OsString, OsString)>,
    /// The content of standard input; `None`: no input.
    pub stdin: Option<Vec<u8>>,
    /// Whether standard input stays open after that content.
    pub keep_stdin: bool,
    /// The size of the terminal to run in; `None`: pipes.
    pub terminal: Option<TerminalSize>,
    /// The time after which the command is ended, or reported if `continue_for` is set.
    pub timeout: Option<Duration>,
    /// If set, the command is reported at its timeout, and may run for this much longer before it is ended.
    pub continue_for: Option<Duration>,
    /// The output files.
    pub files: OutputFiles,
    /// The receivers of live output.
    pub sinks: Sinks,
}

/// The files for the output of a command. They must not exist yet.
#[derive(Clone, Debug)]
pub struct OutputFiles {
    /// The file for standard output.
    pub stdout: PathBuf,
    /// The file for standard error.
    pub stderr: PathBuf,
    /// Whether to write the files from the first byte on; otherwise only once the output is too long to show.
    pub always: bool,
}

/// A running command.
pub struct Started {
    /// The id of the process, and of the process group that it leads.
    pub process_id: u32,
    /// The open standard input, if it is kept open.
    pub stdin: Option<OpenStdin>,
    /// The report, sent when the command has ended or continues in the background. Processes that it started may still
    /// run.
    pub report: oneshot::Receiver<Report>,
}

/// The outcome of a command.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each can be so whatever the others are")]
pub struct Report {
    /// The exit status; `None` if the command is still running, or SIGKILL did not end it in time.
    pub status: Option<ExitStatus>,
    /// Whether the command was ended at its timeout.
    pub timed_out: bool,
    /// Whether the command was ended because it was cancelled.
    pub cancelled: bool,
    /// The time that the command ran.
    pub duration: Duration,
    /// Its standard output.
    pub stdout: Captured,
    /// Its standard error.
    pub stderr: Captured,
    /// Whether a process of the group still runs.
    pub lingers: bool,
    /// Whether the command itself still runs, after its timeout.
    pub continues: bool,
}

/// Starts a command. The caller must spawn the returned future, which watches the command until every process of its
/// group has ended, and ends them all when `cancel` is cancelled. Its output is whether the command left output files.
pub async fn start(
    job: Job,
    cancel: CancellationToken,
) -> io::Result<(Started, impl Future<Output = bool> + Send + 'static)> {
    let (stdout, stderr) = if job.files.always {
        (Capture::with_file(job.files.stdout).await, Capture::with_file(job.files.stderr).await)
    } else {
        (Capture::new(job.files.stdout), Capture::new(job.files.stderr))
    };
    let escaped = EscapedProcesses::of(&job.id);
    let (mark, id) = escaped.mark();
    let mut command = Command::new(&job.program);
    command.args(&job.args).current_dir(&job.cwd).env_clear().envs(job.env).env(mark, id);
    // A last resort: it applies only if the runtime drops an unfinished watch.
    command.kill_on_drop(true);
    let Spawned { child, stdin, output, errors } = match job.terminal {
        Some(size) => spawn_in_terminal(command, size)?,
        None => spawn(command, job.stdin.is_some() || job.keep_stdin)?,
    };
    let process_id = child.id().ok_or_else(|| io::Error::other("the process ended before it had begun"))?;
    let group = Group::led_by(process_id).ok_or_else(|| io::Error::other("the process has no group of its own"))?;

    let stdin = OpenStdin::new(Mutex::new(stdin));
    let kept = job.keep_stdin.then(|| Arc::clone(&stdin));
    // Lock the pipe before other tasks can: the initial input precedes any later input.
    let mut pipe = Arc::clone(&stdin).lock_owned().await;
    let feed = async move {
        if let (Some(open), Some(bytes)) = (pipe.as_mut(), job.stdin) {
            // A command may end without reading all its input; that is not an error.
            let _ = open.write_all(&bytes).await;
        }
        if !job.keep_stdin {
            *pipe = None;
        }
    };
    let (sender, report) = oneshot::channel();
    let mut watch = Watch {
        stdout: Stream::new(Which::Stdout, output, stdout),
        stderr: Stream::new(Which::Stderr, errors, stderr),
        child,
        group,
        escaped,
        cancel,
        started: Instant::now(),
        sinks: job.sinks,
        report: Some(sender),
        timed_out: false,
        cancelled: false,
        ended: None,
    };
    let watch = async move {
        watch.run((job.timeout, job.continue_for), feed).await;
        // The files must be complete before the record says that the command has ended: that is when readers open them.
        watch.stdout.flush().await;
        watch.stderr.flush().await;
        watch.sinks.record.ended();
        watch.stdout.has_file() || watch.stderr.has_file()
    };
    Ok((Started { process_id, stdin: kept, report }, watch))
}

/// A process, and the ends of its pipes or terminal.
struct Spawned {
    child: Child,
    stdin: Option<Writing>,
    output: Option<Reading>,
    errors: Option<Reading>,
}

/// Starts a command with pipes, in its own process group.
fn spawn(mut command: Command, with_stdin: bool) -> io::Result<Spawned> {
    let mut child = command
        .stdin(if with_stdin { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let stdin = child.stdin.take().map(|stdin| Box::new(stdin) as Writing);
    let output = child.stdout.take().map(|stdout| Box::new(stdout) as Reading);
    let errors = child.stderr.take().map(|stderr| Box::new(stderr) as Reading);
    Ok(Spawned { child, stdin, output, errors })
}

/// Starts a command in a terminal (pty(7)), as the leader of a session and of its process group.
fn spawn_in_terminal(command: Command, size: TerminalSize) -> io::Result<Spawned> {
    let failed = |error| match error {
        pty_process::Error::Io(error) => error,
        pty_process::Error::Rustix(error) => error.into(),
        other => io::Error::other(other),
    };
    let (terminal, inside) = pty_process::open().map_err(failed)?;
    terminal.resize(pty_process::Size::new(size.rows, size.columns)).map_err(failed)?;
    let child = pty_process::Command::from(command).spawn(inside).map_err(failed)?;
    let (output, stdin) = terminal.into_split();
    Ok(Spawned { child, stdin: Some(Box::new(stdin)), output: Some(Box::new(output)), errors: None })
}

/// The exit code as in shells: 128 plus the signal number if a signal ended the command.
#[must_use]
pub(crate) fn exit_code(status: ExitStatus) -> Option<i32> {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal))
}

/// The phases of a watch, each named for what the watch waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The end of the command, or its timeout.
    Running,
    /// The rest of the output, after the command has ended by itself.
    Draining,
    /// The end of its background processes. The report has been sent.
    Lingering,
    /// The end of the group after SIGTERM.
    Terminating,
    /// The end of the group after SIGKILL.
    Killed,
}

enum Event {
    Stdout(usize),
    Stderr(usize),
    Exited(io::Result<ExitStatus>),
    Fed,
    Due,
    Cancelled,
    Poll,
}

struct Watch {
    child: Child,
    group: Group,
    escaped: EscapedProcesses,
    cancel: CancellationToken,
    started: Instant,
    stdout: Stream<Reading>,
    stderr: Stream<Reading>,
    sinks: Sinks,
    report: Option<oneshot::Sender<Report>>,
    timed_out: bool,
    cancelled: bool,
    /// The exit status and run time of the command itself, once it has ended.
    ended: Option<(Option<ExitStatus>, Duration)>,
}

impl Watch {
    async fn run(
        &mut self,
        (timeout, mut continue_for): (Option<Duration>, Option<Duration>),
        feed: impl Future<Output = ()> + Send,
    ) {
        let mut feed = std::pin::pin!(feed);
        let mut feeding = true;
        let mut phase = Phase::Running;
        let mut due = timeout.map(|timeout| self.started + timeout);
        loop {
            let ended = self.ended.is_some();
            let look = if phase == Phase::Lingering { SLOW_POLL } else { POLL };
            // All branches are cancel-safe. Work that must not be cancelled is done after the select.
            let event = tokio::select! {
                count = self.stdout.read() => Event::Stdout(count),
                count = self.stderr.read() => Event::Stderr(count),
                status = self.child.wait(), if !ended => Event::Exited(status),
                () = &mut feed, if feeding => Event::Fed,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => Event::Due,
                () = self.cancel.cancelled(), if !self.cancelled => Event::Cancelled,
                () = sleep(look), if ended => Event::Poll,
            };
            match event {
                Event::Stdout(count) => self.stdout.take(count, &self.sinks).await,
                Event::Stderr(count) => self.stderr.take(count, &self.sinks).await,
                Event::Fed => feeding = false,
                // Escaped processes may fork faster than they die, so they are killed again.
                Event::Poll if phase == Phase::Killed => self.escaped.kill().await,
                Event::Poll => {}
                Event::Exited(status) => {
                    let status = status.ok();
                    self.ended = Some((status, self.started.elapsed()));
                    self.sinks.record.exited(status.and_then(exit_code));
                    if phase == Phase::Running {
                        phase = Phase::Draining;
                        due = Some(Instant::now() + DRAIN);
                    }
                }
                Event::Cancelled => {
                    self.cancelled = true;
                    if phase != Phase::Killed {
                        phase = Phase::Terminating;
                        due = Some(self.terminate().await);
                    }
                }
                Event::Due => match phase {
                    Phase::Running => {
                        if let Some(more) = continue_for.take() {
                            due = Some(Instant::now() + more);
                            self.stdout.keep().await;
                            self.stderr.keep().await;
                            self.send_report(false).await;
                        } else {
                            self.timed_out = true;
                            phase = Phase::Terminating;
                            due = Some(self.terminate().await);
                        }
                    }
                    Phase::Terminating => {
                        self.group.kill();
                        self.escaped.kill().await;
                        phase = Phase::Killed;
                        due = Some(Instant::now() + KILL_WAIT);
                    }
                    Phase::Draining | Phase::Lingering => due = None,
                    Phase::Killed => return self.send_report(false).await,
                },
            }

            let all_read = self.stdout.at_end() && self.stderr.at_end();
            match phase {
                Phase::Draining if all_read || due.is_none() => {
                    let lingers = self.group.is_alive();
                    self.send_report(lingers).await;
                    if !lingers {
                        return;
                    }
                    phase = Phase::Lingering;
                    due = None;
                }
                Phase::Lingering if !self.group.is_alive() => return,
                Phase::Terminating | Phase::Killed
                    if self.ended.is_some() && !self.group.is_alive() && !self.escaped.is_any().await =>
                {
                    self.drain().await;
                    return self.send_report(false).await;
                }
                _ => {}
            }
        }
    }

    async fn terminate(&self) -> Instant {
        self.group.terminate();
        self.escaped.terminate().await;
        Instant::now() + GRACE
    }

    /// Reads the remaining output of a group that has ended. Escaped processes may still hold the pipes open.
    async fn drain(&mut self) {
        let until = Instant::now() + DRAIN;
        while !(self.stdout.at_end() && self.stderr.at_end()) {
            tokio::select! {
                count = self.stdout.read() => self.stdout.take(count, &self.sinks).await,
                count = self.stderr.read() => self.stderr.take(count, &self.sinks).await,
                () = sleep_until(until) => return,
            }
        }
    }

    async fn send_report(&mut self, lingers: bool) {
        let Some(report) = self.report.take() else { return };
        let (status, duration) = self.ended.unwrap_or_else(|| (None, self.started.elapsed()));
        let (stdout, stderr) = (self.stdout.snapshot().await, self.stderr.snapshot().await);
        // Only a command that neither ended nor is being ended continues.
        let continues = self.ended.is_none() && !self.timed_out && !self.cancelled;
        if lingers || continues {
            self.sinks.record.begin();
        }
        // After a cancellation, or for a background command, the receiver may have been dropped.
        let _ = report.send(Report {
            status,
            timed_out: self.timed_out,
            cancelled: self.cancelled,
            duration,
            stdout,
            stderr,
            lingers,
            continues,
        });
        self.sinks.live = None;
    }
}
