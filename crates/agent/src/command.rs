//! One command: started in its own process group, watched until all of it has ended, ended when its time is up or
//! when nobody wants it any more; then with all that has left the group.

use crate::{
    capture::{Capture, Captured},
    group::Group,
    protocol::TerminalSize,
    strays::Strays,
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

/// How long a group may take to end after SIGTERM before SIGKILL.
const GRACE: Duration = Duration::from_secs(2);
/// How long to read on after the command itself has ended while others hold its output open.
const DRAIN: Duration = Duration::from_millis(250);
/// How long SIGKILL may take; more only where the kernel is stuck.
const KILL_WAIT: Duration = Duration::from_secs(2);
/// How often to look whether a group has ended, where nothing else tells.
const LOOK: Duration = Duration::from_millis(50);
/// The same for what was left running in the background.
const LOOK_SELDOM: Duration = Duration::from_millis(500);

/// The open standard input of a command; `None` once it is closed.
pub type OpenStdin = Arc<Mutex<Option<Writing>>>;
/// A pipe or terminal that is written to.
type Writing = Box<dyn AsyncWrite + Send + Sync + Unpin>;
/// One that is read.
type Reading = Box<dyn AsyncRead + Send + Sync + Unpin>;

/// A command to start.
pub struct Job {
    /// What no other command is called: all that it starts is known by it.
    pub id: String,
    /// The program, by its path or for the `PATH` in `env`.
    pub program: OsString,
    /// What follows its name.
    pub args: Vec<OsString>,
    /// Where it runs; must exist.
    pub cwd: PathBuf,
    /// Its whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// What it reads on its standard input; `None`: nothing.
    pub stdin: Option<Vec<u8>>,
    /// Whether its standard input stays open after that.
    pub keep_stdin: bool,
    /// A terminal of this size instead of pipes.
    pub terminal: Option<TerminalSize>,
    /// When it is ended.
    pub timeout: Option<Duration>,
    /// After the timeout it is reported, and runs on for so long, instead of being ended.
    pub continue_for: Option<Duration>,
    /// The files for its output.
    pub files: OutputFiles,
    /// Where its output goes as it comes, beside the report.
    pub sinks: Sinks,
}

/// Where a command's output is kept. The files must not exist yet.
#[derive(Clone, Debug)]
pub struct OutputFiles {
    /// For standard output.
    pub stdout: PathBuf,
    /// For standard error.
    pub stderr: PathBuf,
    /// Whether they are written from the first byte on; else only once the output is too long to show.
    pub always: bool,
}

/// A command that runs.
pub struct Started {
    /// The process, and the group that it leads.
    pub process_id: u32,
    /// Its standard input, where it stays open.
    pub stdin: Option<OpenStdin>,
    /// Comes when the command itself has ended; what it started may run on.
    pub report: oneshot::Receiver<Report>,
}

/// How a command went.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each can be so whatever the others are")]
pub struct Report {
    /// How it ended; `None` if even SIGKILL did not end it in time.
    pub status: Option<ExitStatus>,
    /// Whether it was ended because its time was up.
    pub timed_out: bool,
    /// Whether it was ended because it was cancelled.
    pub cancelled: bool,
    /// How long it ran.
    pub duration: Duration,
    /// Its standard output.
    pub stdout: Captured,
    /// Its standard error.
    pub stderr: Captured,
    /// Whether something that it started still runs.
    pub lingers: bool,
    /// Whether it runs on itself, as it took longer than its timeout.
    pub continues: bool,
}

/// Starts a command. The future that comes with it is the watch over it: spawn it where it is tracked. It lasts until
/// every process of the command's group has ended, and ends them all when `cancel` fires. It says whether the command
/// left files of output.
pub async fn start(
    job: Job,
    cancel: CancellationToken,
) -> io::Result<(Started, impl Future<Output = bool> + Send + 'static)> {
    let (stdout, stderr) = if job.files.always {
        (Capture::with_file(job.files.stdout).await, Capture::with_file(job.files.stderr).await)
    } else {
        (Capture::new(job.files.stdout), Capture::new(job.files.stderr))
    };
    let strays = Strays::of(&job.id);
    let (mark, id) = strays.mark();
    let mut command = Command::new(&job.program);
    command.args(&job.args).current_dir(&job.cwd).env_clear().envs(job.env).env(mark, id);
    // Only the last resort: the runtime is going away with the watch unfinished.
    command.kill_on_drop(true);
    let Spawned { child, stdin, output, errors } = match job.terminal {
        Some(size) => spawn_in_terminal(command, size)?,
        None => spawn(command, job.stdin.is_some() || job.keep_stdin)?,
    };
    let process_id = child.id().ok_or_else(|| io::Error::other("the process ended before it had begun"))?;
    let group = Group::led_by(process_id).ok_or_else(|| io::Error::other("the process has no group of its own"))?;

    let stdin = OpenStdin::new(Mutex::new(stdin));
    let kept = job.keep_stdin.then(|| Arc::clone(&stdin));
    // Taken before anybody else can: what is typed in later comes after it.
    let mut pipe = Arc::clone(&stdin).lock_owned().await;
    let feed = async move {
        if let (Some(open), Some(bytes)) = (pipe.as_mut(), job.stdin) {
            // A command need not read all its input; that is no failure.
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
        strays,
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
        // Readers of the files begin when the record says that nothing runs.
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

/// Starts a command with pipes, in a process group of its own.
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

/// As shells have it: 128 and the signal's number where a signal ended it.
#[must_use]
pub(crate) fn exit_code(status: ExitStatus) -> Option<i32> {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal))
}

/// What the watch waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The command's end, at the latest its timeout.
    Running,
    /// The rest of its output: it has ended by itself.
    Draining,
    /// The end of what it left running. The report is out.
    Lingering,
    /// The group's end after SIGTERM.
    Terminating,
    /// The group's end after SIGKILL.
    Killed,
}

enum Event {
    Stdout(usize),
    Stderr(usize),
    Exited(io::Result<ExitStatus>),
    Fed,
    Due,
    Cancelled,
    Look,
}

struct Watch {
    child: Child,
    group: Group,
    strays: Strays,
    cancel: CancellationToken,
    started: Instant,
    stdout: Stream<Reading>,
    stderr: Stream<Reading>,
    sinks: Sinks,
    report: Option<oneshot::Sender<Report>>,
    timed_out: bool,
    cancelled: bool,
    /// How and when the command itself ended.
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
            let look = if phase == Phase::Lingering { LOOK_SELDOM } else { LOOK };
            // Every branch here may be dropped half way; whatever may not is done after it.
            let event = tokio::select! {
                count = self.stdout.read() => Event::Stdout(count),
                count = self.stderr.read() => Event::Stderr(count),
                status = self.child.wait(), if !ended => Event::Exited(status),
                () = &mut feed, if feeding => Event::Fed,
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => Event::Due,
                () = self.cancel.cancelled(), if !self.cancelled => Event::Cancelled,
                () = sleep(look), if ended => Event::Look,
            };
            match event {
                Event::Stdout(count) => self.stdout.take(count, &self.sinks).await,
                Event::Stderr(count) => self.stderr.take(count, &self.sinks).await,
                Event::Fed => feeding = false,
                // What left the group may make new ones faster than they die.
                Event::Look if phase == Phase::Killed => self.strays.kill().await,
                Event::Look => {}
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
                        self.strays.kill().await;
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
                    if self.ended.is_some() && !self.group.is_alive() && !self.strays.is_any().await =>
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
        self.strays.terminate().await;
        Instant::now() + GRACE
    }

    /// Takes what is left in the pipes of a group that has ended. Processes that left the group may still hold them.
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
        // Only one that is neither ended nor being ended is reported while it runs.
        let continues = self.ended.is_none() && !self.timed_out && !self.cancelled;
        if lingers || continues {
            self.sinks.record.begin();
        }
        // Nobody listens after a cancellation, or to a background command.
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
