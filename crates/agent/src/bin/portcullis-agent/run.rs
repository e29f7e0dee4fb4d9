//! The subcommands, and the processes of the workspace agent that start each other.

use crate::{
    arguments::{Command, RunOptions, Stage},
    service,
};
use portcullis_agent::{
    connect::connect,
    failed_program::Report,
    handover::{self, Variables},
    init,
    install::install,
};
use portcullis_core::agent_paths::{HOME_VARIABLE, SUBCOMMAND};
use std::{
    env,
    ffi::OsString,
    io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process,
    time::Duration,
};
use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::util::TryInitError;

/// Options of the allocator (The GNU C Library Manual, "Memory Allocation Tunables"), since a workspace agent is idle most
/// of the time: all threads share one heap, and free memory goes back to the system at once. Blocks from 8 KiB on, such as
/// output, are mapped on their own, so that they leave no gaps in the heap.
const GIVE_BACK: (&str, &str) = (
    "GLIBC_TUNABLES",
    "glibc.malloc.arena_max=1:glibc.malloc.mmap_threshold=8192:glibc.malloc.top_pad=0:glibc.malloc.trim_threshold=65536",
);
/// The number of threads for blocking work, such as file access.
const BLOCKING_THREADS: usize = 8;
/// The process name, unchanged since the workspace agent was a subcommand.
const NAME: &str = "portcullis";

/// Why the program failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AgentError {
    /// Logging could not be set up.
    #[error("logging is already initialized")]
    Log(#[from] TryInitError),
    /// The binary could not be copied.
    #[error("the agent could not be installed in {folder}; use a writable folder", folder = folder.display())]
    Install {
        /// The folder.
        folder: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The runtime could not be started.
    #[error("the system has no resources for the agent")]
    Runtime(#[source] io::Error),
    /// The environment of commands could not be protected or passed on.
    #[error("the agent cannot protect the environment of commands")]
    Environment(#[source] io::Error),
    /// The first process could not do its work.
    #[error("the agent cannot manage the workspace's processes")]
    Init(#[source] io::Error),
    /// The socket could not be bound.
    #[error("the agent cannot listen at {socket}; its folder must exist and be writable", socket = socket.display())]
    Listen {
        /// The socket.
        socket: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The workspace's own program failed at once.
    #[error("{0}; the container is started again, and the workspace then goes on without it")]
    Program(String),
    /// The workspace agent could not be reached.
    #[error("the agent at {socket} cannot be reached", socket = socket.display())]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}

/// Runs the command. It uses no more threads than necessary: workspaces are small.
pub(crate) fn run(command: Command) -> Result<(), AgentError> {
    match command {
        Command::Install { folder } => install(&folder).map_err(|source| AgentError::Install { folder, source }),
        Command::Connect { stage: Stage::Called, given, .. } => {
            Err(AgentError::Environment(again("connect", "--bare", &given).exec()))
        }
        Command::Connect { socket, .. } => {
            handover::hide().map_err(AgentError::Environment)?;
            let runtime = runtime()?;
            let connected = runtime.block_on(connect(&socket));
            // A blocking read of standard input may never return.
            runtime.shutdown_background();
            connected.map_err(|source| AgentError::Connect { socket, source })
        }
        Command::Run { stage: Stage::Called, given, .. } => {
            let variables: Variables = env::vars_os().collect();
            let offered = handover::offer(&variables).map_err(AgentError::Environment)?;
            Err(AgentError::Environment(again("run", "--bare", &given).stdin(offered).exec()))
        }
        Command::Run { options, stage, given } => {
            handover::hide().map_err(AgentError::Environment)?;
            let variables = handover::take().map_err(AgentError::Environment)?;
            if stage == Stage::Service {
                return service::serve(options, variables);
            }
            be_first(&options, &variables, &given)
        }
    }
}

/// Runs the first process of a workspace, which starts the service.
fn be_first(options: &RunOptions, variables: &Variables, given: &[OsString]) -> Result<(), AgentError> {
    let service = || {
        let mut service = again("run", "--service", given);
        service.env(GIVE_BACK.0, GIVE_BACK.1).stdin(handover::offer(variables)?);
        Ok(service)
    };
    let report = report(options);
    let known = report.read();
    let give_up = || report.read().filter(|_| known.is_none());
    match runtime()?.block_on(init::run(service, give_up)).map_err(AgentError::Init)? {
        Some(why) => Err(AgentError::Program(why)),
        None => Ok(()),
    }
}

/// The report for a failure of the workspace's own program.
pub(crate) fn report(options: &RunOptions) -> Report {
    Report::new(&options.termination_log, options.socket.parent().unwrap_or(Path::new("/")))
}

/// This program again, with one more option and an empty environment, except the variable that the workspace agent
/// itself needs.
fn again(command: &str, option: &str, given: &[OsString]) -> process::Command {
    let mut next = process::Command::new("/proc/self/exe");
    next.arg0(NAME).args([SUBCOMMAND, command, option]).args(given).env_clear();
    if let Some(home) = env::var_os(HOME_VARIABLE) {
        next.env(HOME_VARIABLE, home);
    }
    next
}

pub(crate) fn runtime() -> Result<Runtime, AgentError> {
    Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        // Threads never expire: see `service::serve`.
        .thread_keep_alive(Duration::MAX)
        .build()
        .map_err(AgentError::Runtime)
}
