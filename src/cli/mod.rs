//! One thin file per subcommand.

pub mod crds;
pub mod operator;

use crate::chain::chain;
use clap::{Parser, Subcommand};
use std::{error::Error, io, process::ExitCode};
use tracing_subscriber::EnvFilter;

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
        Command::Operator(args) => {
            log();
            runtime()?.block_on(operator::run(args))?;
        }
    }
    Ok(())
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

/// Logs as JSON lines to standard error, from `info` on or as `RUST_LOG` says.
fn log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(io::stderr).init();
}
