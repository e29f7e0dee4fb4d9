//! One thin file per subcommand.

pub mod crds;
pub mod operator;
pub mod serve;

use crate::chain::chain;
use clap::{Parser, Subcommand};
use std::{error::Error, io, process::ExitCode};

/// A guarded door between AI agents and workspaces on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Operator(operator::OperatorArgs),
    Serve(serve::Args),
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<(), Box<dyn Error>> {
    match cli.command {
        Command::Operator(args) => runtime()?.block_on(operator::run(args))?,
        Command::Serve(args) => runtime()?.block_on(serve::run(args))?,
    }
    Ok(())
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
