//! `portcullis crds`: prints the CustomResourceDefinitions, or writes them into a folder.

use clap::Args;
use portcullis_api::crds::{self, CrdError};
use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

/// Options of `portcullis crds`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  portcullis crds | kubectl apply --server-side -f -   install or upgrade the definitions
  portcullis crds --output crds/                       write one file for each kind")]
pub struct CrdsArgs {
    /// Write one file per kind into this folder instead of printing them.
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

/// Why the definitions could not be printed or written.
#[derive(Debug, thiserror::Error)]
pub enum CrdsCommandError {
    /// A definition could not be generated.
    #[error("the CustomResourceDefinitions could not be generated")]
    Definition(#[from] CrdError),
    /// The folder or a file in it could not be written.
    #[error("{path} could not be written; choose a writable folder", path = path.display())]
    Output {
        /// The folder or file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// Standard output is closed or full.
    #[error("standard output cannot be written")]
    Print(#[source] io::Error),
}

/// Runs the command.
pub fn run(args: &CrdsArgs) -> Result<(), CrdsCommandError> {
    match &args.output {
        Some(folder) => write_files(folder),
        None => print(),
    }
}

fn print() -> Result<(), CrdsCommandError> {
    let mut stdout = io::stdout().lock();
    for crd in crds::all() {
        write!(stdout, "---\n{}", crds::to_yaml(&crd)?).map_err(CrdsCommandError::Print)?;
    }
    Ok(())
}

fn write_files(folder: &Path) -> Result<(), CrdsCommandError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        |source| CrdsCommandError::Output { path, source }
    };
    fs::create_dir_all(folder).map_err(failed(folder))?;
    for crd in crds::all() {
        let path = folder.join(format!("{}.yaml", crd.spec.names.plural));
        fs::write(&path, crds::to_yaml(&crd)?).map_err(failed(&path))?;
    }
    Ok(())
}
