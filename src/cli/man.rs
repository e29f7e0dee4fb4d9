//! `portcullis man`: the manual pages of the program and its commands.

use clap::{Args, Command};
use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
};

/// Print the manual page, or write one for each command
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  portcullis man | man -l -                              read it
  portcullis man --output ~/.local/share/man/man1        install it, with a page for each command")]
pub struct ManArgs {
    /// Write portcullis.1 and a page for each command into this folder
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// The error of `portcullis man`.
#[derive(Debug, thiserror::Error)]
pub enum ManCommandError {
    /// The folder or a file in it could not be written.
    #[error("{path} could not be written; choose a writable folder", path = path.display())]
    Output {
        /// The folder.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// Standard output is closed or full.
    #[error("standard output cannot be written")]
    Print(#[source] io::Error),
}

/// Runs the command.
pub fn run(args: &ManArgs, program: Command) -> Result<(), ManCommandError> {
    if let Some(folder) = &args.output {
        let written = fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(program, folder));
        return written.map_err(|source| ManCommandError::Output { path: folder.clone(), source });
    }
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(program).render(&mut page);
    rendered.and_then(|()| io::stdout().lock().write_all(&page)).map_err(ManCommandError::Print)
}
