//! `portcullis version`: the version of the program, for people and for programs.

use clap::Args;
use portcullis_api::{GROUP, VERSION};
use std::{
    env::consts::{ARCH, OS},
    io::{self, Write as _},
};

/// Print the version of this program
#[derive(Args, Clone, Copy, Debug)]
pub struct VersionArgs {
    /// Print a JSON object with version, apiVersion, os and arch
    #[arg(long)]
    json: bool,
}

/// Standard output was closed, or is full.
#[derive(Debug, thiserror::Error)]
#[error("standard output cannot be written")]
pub struct VersionCommandError(#[from] io::Error);

/// Runs the command.
pub fn run(args: VersionArgs) -> Result<(), VersionCommandError> {
    let version = env!("CARGO_PKG_VERSION");
    let mut stdout = io::stdout().lock();
    if args.json {
        let api_version = format!("{GROUP}/{VERSION}");
        let facts = serde_json::json!({"version": version, "apiVersion": api_version, "os": OS, "arch": ARCH});
        writeln!(stdout, "{facts}")?;
    } else {
        writeln!(stdout, "portcullis {version}")?;
    }
    Ok(())
}
