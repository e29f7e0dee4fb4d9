//! `portcullis agent` runs the program `portcullis-agent`, which is in the same folder.
//!
//! It exists for init containers of workspaces, whose arguments follow the entry point of the image: this program, or
//! the workspace agent itself in the small image and in images of older releases. Pods are therefore the same for every
//! image.

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
    /// The arguments of the workspace agent
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    arguments: Vec<OsString>,
}

/// The program of the workspace agent could not be started.
#[derive(Debug, thiserror::Error)]
#[error("{program} cannot be run; install it in the folder of this program", program = program.display())]
pub struct AgentCommandError {
    program: PathBuf,
    source: io::Error,
}

/// Replaces this process by the workspace agent's program. Returns only if that fails.
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
