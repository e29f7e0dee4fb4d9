//! `portcullis agent`: the program `portcullis-agent` beside this one.
//!
//! For init containers of workspaces: their arguments follow the entry point of an image, which is this program here, and
//! the agent itself in the small image and in images of older releases. So pods are the same whatever the image.

use clap::Args;
use portcullis_core::agent_paths::{PROGRAM, SUBCOMMAND};
use std::{
    env,
    ffi::OsString,
    io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

/// Run the workspace agent: the program portcullis-agent in the folder of this one
#[derive(Args, Debug)]
#[command(disable_help_flag = true)]
pub struct AgentArgs {
    /// What it is to do
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    arguments: Vec<OsString>,
}

/// The agent could not be started.
#[derive(Debug, thiserror::Error)]
#[error("{program} cannot be run; it belongs in the folder of this program", program = program.display())]
pub struct AgentCommandError {
    program: PathBuf,
    source: io::Error,
}

/// Becomes the agent's program; returns only why it could not.
#[must_use]
pub fn run(args: AgentArgs) -> AgentCommandError {
    let program = env::current_exe().map(|own| own.parent().unwrap_or(Path::new("/")).join(PROGRAM));
    match program {
        Ok(program) => {
            let source = Command::new(&program).arg(SUBCOMMAND).args(args.arguments).exec();
            AgentCommandError { program, source }
        }
        Err(source) => AgentCommandError { program: PROGRAM.into(), source },
    }
}
