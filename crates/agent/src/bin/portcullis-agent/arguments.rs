//! The command line of the workspace agent.
//!
//! The workspace agent was a subcommand of `portcullis`, so the command lines in pods begin with the word `agent`. They
//! must stay valid: see [`agent_paths`]. The word is optional.

use lexopt::{
    Arg::{Long, Short, Value},
    Parser, ValueExt as _,
};
use portcullis_core::agent_paths::{self, HOME_VARIABLE, OUTPUT_DIR, SOCKET, TERMINATION_LOG};
use std::{ffi::OsString, path::PathBuf, time::Duration};

/// The output of `--help`.
pub(crate) const HELP: &str = "\
The workspace agent of Portcullis

Usage:
  portcullis-agent [agent] install DIR
  portcullis-agent [agent] run [OPTIONS] [-- CMD...]
  portcullis-agent [agent] connect [--socket PATH]

Commands:
  install  Copy this program into a folder, which is created if necessary
  run      Run as the first process of a workspace; CMD is a program to run in the background
  connect  Connect standard input and output to the agent

Options:
  --socket PATH       The socket of the agent [default: /run/portcullis/agent.sock]
  -h, --help          Print this help
  -V, --version       Print the version

Options of run:
  --home DIR          The home folder and working directory, and HOME unless the container sets it
                      [default: PORTCULLIS_HOME, then HOME, then /]
  --output DIR        The folder for output that is too long for a response [default: /run/portcullis/output]
  --shell PATH        The shell for command lines [default: /bin/sh]
  --patience SECONDS  How long a command continues after its connection is lost [default: 15]
";

/// What the command line requests.
#[derive(Debug, PartialEq)]
pub(crate) enum Request {
    Help,
    Version,
    Command(Command),
}

/// A subcommand.
#[derive(Debug, PartialEq)]
pub(crate) enum Command {
    /// Copies this program into a folder.
    Install { folder: PathBuf },
    /// Runs as the first process of a workspace.
    Run { options: RunOptions, stage: Stage, given: Given },
    /// Connects standard input and output to the workspace agent.
    Connect { socket: PathBuf, stage: Stage, given: Given },
}

/// The arguments after the subcommand, unchanged, for the next process of the workspace agent.
pub(crate) type Given = Vec<OsString>;

/// Which process of the workspace agent this is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Stage {
    /// The initial process. Its own environment becomes that of commands.
    Called,
    /// A process that was started without an environment (`--bare`).
    Bare,
    /// The service, which the first process starts (`--service`).
    Service,
}

/// The options of `run`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RunOptions {
    /// The home folder, if one was chosen.
    pub home: Option<PathBuf>,
    /// The path of the socket to listen on.
    pub socket: PathBuf,
    /// The folder for output that is too long to show.
    pub output: PathBuf,
    /// The shell that runs command lines.
    pub shell: PathBuf,
    /// How long a command continues after its connection was lost.
    pub patience: Duration,
    /// The container's termination log, which the kubelet reads.
    pub termination_log: PathBuf,
    /// A program to run in the background, with its arguments.
    pub program: Vec<String>,
}

/// Why the arguments are not valid.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArgumentError {
    #[error("name a command: install, run or connect")]
    NoCommand,
    #[error("there is no command {0:?}; the commands are install, run and connect")]
    UnknownCommand(OsString),
    #[error("the folder to install into is missing")]
    NoFolder,
    #[error("invalid arguments")]
    Invalid(#[from] lexopt::Error),
}

/// Parses the arguments after the program's name. `variable` reads an environment variable.
pub(crate) fn parse(
    arguments: Vec<OsString>,
    variable: impl Fn(&'static str) -> Option<OsString>,
) -> Result<Request, ArgumentError> {
    let mut words = arguments.into_iter().peekable();
    words.next_if(|word| word == agent_paths::SUBCOMMAND);
    let command = words.next().ok_or(ArgumentError::NoCommand)?;
    let given: Given = words.collect();
    // The workspace's program has its own options.
    let end = given.iter().position(|word| word == "--");
    let (options, program) = given.split_at(end.unwrap_or(given.len()));
    let parser = Parser::from_args(options.iter().cloned());
    let program: Vec<OsString> = program.iter().skip(1).cloned().collect();
    match command.to_str() {
        Some("-h" | "--help" | "help") => Ok(Request::Help),
        Some("-V" | "--version") => Ok(Request::Version),
        Some("install") => install(parser, &program),
        Some("run") => {
            let home = variable(HOME_VARIABLE).filter(|home| !home.is_empty()).map(PathBuf::from);
            let program = program.into_iter().map(lexopt::ValueExt::string).collect::<Result<_, _>>()?;
            run(parser, RunOptions { home, program, ..RunOptions::default() }, given)
        }
        Some("connect") => connect(parser, &program, given),
        _ => Err(ArgumentError::UnknownCommand(command)),
    }
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            home: None,
            socket: SOCKET.into(),
            output: OUTPUT_DIR.into(),
            shell: "/bin/sh".into(),
            patience: Duration::from_secs(15),
            termination_log: TERMINATION_LOG.into(),
            program: Vec::new(),
        }
    }
}

fn install(mut parser: Parser, rest: &[OsString]) -> Result<Request, ArgumentError> {
    let mut folder = rest.first().map(PathBuf::from);
    while let Some(argument) = parser.next()? {
        match argument {
            Value(path) if folder.is_none() => folder = Some(path.into()),
            Short('h') | Long("help") => return Ok(Request::Help),
            _ => return Err(argument.unexpected().into()),
        }
    }
    let folder = folder.ok_or(ArgumentError::NoFolder)?;
    Ok(Request::Command(Command::Install { folder }))
}

fn run(mut parser: Parser, mut options: RunOptions, given: Given) -> Result<Request, ArgumentError> {
    let mut stage = Stage::Called;
    while let Some(argument) = parser.next()? {
        match argument {
            Long("home") => options.home = Some(parser.value()?.into()),
            Long("socket") => options.socket = parser.value()?.into(),
            Long("output") => options.output = parser.value()?.into(),
            Long("shell") => options.shell = parser.value()?.into(),
            Long("patience") => options.patience = Duration::from_secs(parser.value()?.parse()?),
            Long("termination-log") => options.termination_log = parser.value()?.into(),
            // The service has both options.
            Long("bare") if stage == Stage::Called => stage = Stage::Bare,
            Long("bare") => {}
            Long("service") => stage = Stage::Service,
            Short('h') | Long("help") => return Ok(Request::Help),
            _ => return Err(argument.unexpected().into()),
        }
    }
    Ok(Request::Command(Command::Run { options, stage, given }))
}

fn connect(mut parser: Parser, rest: &[OsString], given: Given) -> Result<Request, ArgumentError> {
    if let Some(word) = rest.first() {
        return Err(lexopt::Error::UnexpectedArgument(word.clone()).into());
    }
    let (mut socket, mut stage) = (PathBuf::from(SOCKET), Stage::Called);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("socket") => socket = parser.value()?.into(),
            Long("bare") => stage = Stage::Bare,
            Short('h') | Long("help") => return Ok(Request::Help),
            _ => return Err(argument.unexpected().into()),
        }
    }
    Ok(Request::Command(Command::Connect { socket, stage, given }))
}

#[cfg(test)]
mod tests;
