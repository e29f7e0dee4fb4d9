//! `portcullis agent`: what runs inside a workspace.

use clap::{Args, Subcommand};
use nix::unistd::{User, getuid};
use portcullis_agent::{
    connect::connect,
    environment,
    failed_program::{AT_ONCE, Report},
    handover::{self, Variables},
    init,
    install::install,
    listen,
    service::{Agent, Options},
};
use portcullis_core::agent_paths::{HOME_VARIABLE, OUTPUT_DIR, SOCKET, TERMINATION_LOG};
use portcullis_core::clock::SystemClock;
use std::{
    env,
    ffi::{OsStr, OsString},
    future, io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{SignalKind, signal},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// Has the allocator give memory back as soon as it is free (mimalloc's options): an agent is idle most of its life.
const GIVE_BACK: (&str, &str) = ("MIMALLOC_PURGE_DELAY", "0");
/// How many threads do what may wait, such as looking at files.
const BLOCKING_THREADS: usize = 8;

/// How long work on files that is under way may go on when the agent ends.
const LEAVE: Duration = Duration::from_secs(1);

/// Inside a workspace: the agent that runs its commands.
#[derive(Args, Debug)]
pub struct AgentArgs {
    #[command(subcommand)]
    command: AgentCommand,
}

#[derive(Debug, Subcommand)]
enum AgentCommand {
    /// Copy this program into a folder
    Install {
        /// The folder; made if it is not there
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Be the first process of a workspace
    Run(RunArgs),
    /// Connect standard input and output to the agent
    Connect {
        /// Where the agent listens
        #[arg(long, default_value = SOCKET, value_name = "PATH")]
        socket: PathBuf,
        /// Be without the environment of commands
        #[arg(long, hide = true)]
        bare: bool,
    },
}

/// Options of `portcullis agent run`.
#[derive(Args, Clone, Debug)]
struct RunArgs {
    /// The home folder, where commands run and what HOME is unless it was chosen otherwise [default: HOME, else /]
    #[arg(long, env = HOME_VARIABLE, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Where to listen
    #[arg(long, default_value = SOCKET, value_name = "PATH")]
    socket: PathBuf,
    /// Where output is kept that is too long to show
    #[arg(long, default_value = OUTPUT_DIR, value_name = "DIR")]
    output: PathBuf,
    /// What runs command lines
    #[arg(long, default_value = "/bin/sh", value_name = "PATH")]
    shell: PathBuf,
    /// How many seconds a command goes on whose connection was lost
    #[arg(long, default_value_t = 15, value_name = "SECONDS")]
    patience: u64,
    /// Where a kubelet reads why the container ended
    #[arg(long, default_value = TERMINATION_LOG, hide = true, value_name = "PATH")]
    termination_log: PathBuf,
    /// Take the environment of commands from standard input
    #[arg(long, hide = true)]
    bare: bool,
    /// Be the service, which the first process starts
    #[arg(long, hide = true)]
    service: bool,
    /// A program to run in the background, with its arguments
    #[arg(last = true, value_name = "CMD")]
    program: Vec<String>,
}

/// Why the command ended.
#[derive(Debug, thiserror::Error)]
pub enum AgentCommandError {
    /// The binary could not be copied.
    #[error("the agent could not be installed in {folder}; name a folder that may be written to", folder = folder.display())]
    Install {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no runtime.
    #[error("the system has no room for the agent")]
    Runtime(#[source] io::Error),
    /// It cannot run without the environment of commands.
    #[error("the agent cannot keep the environment of commands to itself")]
    Environment(#[source] io::Error),
    /// It cannot be the first process.
    #[error("the agent cannot look after the workspace's processes")]
    Init(#[source] io::Error),
    /// It cannot listen.
    #[error("the agent cannot listen at {socket}; its folder must be there and may be written to", socket = socket.display())]
    Listen {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The workspace's own program failed at once.
    #[error("{0}; the container is started again, and the workspace then goes on without it")]
    Program(String),
    /// No agent answers.
    #[error("the agent at {socket} cannot be reached", socket = socket.display())]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Runs the command. Nothing here starts more threads than it needs: workspaces are small.
pub fn run(args: AgentArgs) -> Result<(), AgentCommandError> {
    match args.command {
        AgentCommand::Install { folder } => {
            install(&folder).map_err(|source| AgentCommandError::Install { folder, source })
        }
        AgentCommand::Connect { bare: false, .. } => Err(AgentCommandError::Environment(again("--bare").exec())),
        AgentCommand::Connect { socket, bare: true } => {
            handover::hide().map_err(AgentCommandError::Environment)?;
            let runtime = runtime()?;
            let connected = runtime.block_on(connect(&socket));
            // Standard input may be waited for for ever.
            runtime.shutdown_background();
            connected.map_err(|source| AgentCommandError::Connect { socket, source })
        }
        AgentCommand::Run(args) if !args.bare => {
            let variables: Variables = env::vars_os().collect();
            let offered = handover::offer(&variables).map_err(AgentCommandError::Environment)?;
            Err(AgentCommandError::Environment(again("--bare").stdin(offered).exec()))
        }
        AgentCommand::Run(args) => {
            handover::hide().map_err(AgentCommandError::Environment)?;
            let variables = handover::take().map_err(AgentCommandError::Environment)?;
            if args.service {
                return serve(args, variables);
            }
            let service = || {
                let mut service = again("--service");
                service.env(GIVE_BACK.0, GIVE_BACK.1).stdin(handover::offer(&variables)?);
                Ok(service)
            };
            let report = args.report();
            let known = report.read();
            let give_up = || report.read().filter(|_| known.is_none());
            match runtime()?.block_on(init::run(service, give_up)).map_err(AgentCommandError::Init)? {
                Some(why) => Err(AgentCommandError::Program(why)),
                None => Ok(()),
            }
        }
    }
}

impl RunArgs {
    fn report(&self) -> Report {
        Report::new(&self.termination_log, self.socket.parent().unwrap_or(Path::new("/")))
    }
}

/// This command again, with one more option, and without the environment, but for what the agent itself needs of it.
fn again(option: &str) -> Command {
    let mut arguments = env::args_os().skip(1);
    let mut command = Command::new("/proc/self/exe");
    // `agent run`, and what follows.
    command.arg0("portcullis").args(arguments.by_ref().take(2)).arg(option).args(arguments);
    command.env_clear();
    if let Some(home) = env::var_os(HOME_VARIABLE) {
        command.env(HOME_VARIABLE, home);
    }
    command
}

fn serve(args: RunArgs, given: Variables) -> Result<(), AgentCommandError> {
    // A service without its first process would be nobody's.
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM)
        .map_err(|error| AgentCommandError::Init(error.into()))?;
    let report = args.report();
    let home = home(args.home, &given);
    let mut options = Options::new(home.clone(), args.output, variables(&home, given), Arc::new(SystemClock));
    // The folder of the socket, which in a pod is also that of the binary.
    options.own = args.socket.parent().filter(|folder| !home.starts_with(folder)).map(Into::into).into_iter().collect();
    options.shell = args.shell;
    options.journal = Arc::new(|line| tracing::info!("{line}"));
    options.patience = Duration::from_secs(args.patience);
    let runtime = runtime()?;
    // Where no thread can be made any more, because processes used them up, this one is still there.
    runtime.spawn_blocking(|| ());
    let served = runtime.block_on(async {
        let socket = args.socket;
        let listener = listen::bind(&socket).map_err(|source| AgentCommandError::Listen { socket, source })?;
        let agent = Agent::new(options);
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "the workspace runs");
        let program = async {
            if args.program.is_empty() {
                future::pending().await
            } else {
                main_program(&agent, args.program, &report).await
            }
        };
        let mut terminate = signal(SignalKind::terminate()).map_err(AgentCommandError::Init)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(AgentCommandError::Init)?;
        let stop = CancellationToken::new();
        let asked_to_end = async {
            let failed = tokio::select! {
                _ = terminate.recv() => None,
                _ = interrupt.recv() => None,
                why = program => Some(why),
            };
            stop.cancel();
            failed
        };
        let ((), failed) = tokio::join!(listen::serve(listener, &agent, stop.clone()), asked_to_end);
        failed.map_or(Ok(()), |why| Err(AgentCommandError::Program(why)))
    });
    // What waits for a disk that does not answer is not waited for.
    runtime.shutdown_timeout(LEAVE);
    served
}

/// Runs the workspace's own program. The workspace is there without it too: that is how to find out what is wrong. So this
/// completes only where a failure is to be reported by the container's end, and was.
async fn main_program(agent: &Agent, program: Vec<String>, report: &Report) -> String {
    let started = Instant::now();
    let failed = match agent.start_main(program).await {
        Ok((process, ended)) => {
            tracing::info!(process_id = process.process_id, command = process.command, "started");
            match ended.await {
                Ok(Some(code)) if code != 0 && started.elapsed() < AT_ONCE => {
                    Some(format!("ended at once (exit code {code})"))
                }
                Ok(_) | Err(_) => None,
            }
        }
        Err(failure) => {
            tracing::error!(%failure, "the workspace's program did not start");
            Some(format!("did not start: {failure}"))
        }
    };
    if let Some(why) = failed.filter(|_| report.is_due()) {
        match report.write(&why) {
            Ok(()) => return why,
            Err(error) => tracing::error!(%error, "that the workspace's program failed cannot be reported"),
        }
    }
    future::pending().await
}

fn home(chosen: Option<PathBuf>, given: &[(OsString, OsString)]) -> PathBuf {
    let variable = || given.iter().find(|(name, _)| name == "HOME").map(|(_, value)| PathBuf::from(value));
    chosen.or_else(variable).unwrap_or_else(|| "/".into())
}

/// What commands find in their environment: all that the container has, and nothing that is for the service alone.
fn variables(home: &Path, given: Variables) -> Variables {
    let user = User::from_uid(getuid()).ok().flatten();
    let name = user.as_ref().map_or_else(|| getuid().to_string(), |user| user.name.clone());
    let is_chosen = |(name, value): &(OsString, OsString)| name != "HOME" || is_chosen(value, user.as_ref());
    environment(home, name.into(), given.into_iter().filter(is_chosen))
}

/// Whether somebody chose this `HOME`. Container runtimes set it to the folder that the image has for its user, and to
/// `/` where it has none; the workspace's home is another one.
fn is_chosen(home: &OsStr, user: Option<&User>) -> bool {
    home != "/" && user.is_none_or(|user| user.dir != Path::new(home))
}

fn runtime() -> Result<Runtime, AgentCommandError> {
    Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        // For ever: see `serve`.
        .thread_keep_alive(Duration::MAX)
        .build()
        .map_err(AgentCommandError::Runtime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_that_only_the_runtime_chose_does_not_count() {
        let root = User::from_uid(0.into()).unwrap();
        for (home, user, expected) in [
            ("/", None, false),
            ("/", root.as_ref(), false),
            ("/root", root.as_ref(), false),
            ("/root", None, true),
            ("/elsewhere", root.as_ref(), true),
        ] {
            assert_eq!(is_chosen(home.as_ref(), user), expected, "{home}");
        }
    }
}
