//! One thin file per subcommand.

pub mod agent;
pub mod cluster;
pub mod crds;
#[cfg(feature = "dev")]
pub mod dev;
pub mod doctor;
pub mod operator;
pub mod serve;
mod signals;

use clap::{Args, Parser, Subcommand};
use portcullis_core::report::chain;
use portcullis_telemetry::logs::{self, LogFormat};
use std::{error::Error, io, process::ExitCode, time::Duration};

/// How long threads may go on with what they do when everything else has ended.
const LEAVE: Duration = Duration::from_secs(1);

/// OAuth-protected MCP endpoints for AI agents that work in development workspaces on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Options of what runs in a cluster.
#[derive(Args, Clone, Copy, Debug)]
struct LogOptions {
    /// How log lines look [default: text on a terminal, else json]
    #[arg(long)]
    log_format: Option<LogFormat>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Operator(Box<operator::OperatorArgs>),
    Serve(serve::Args),
    #[cfg(feature = "dev")]
    Dev(dev::DevArgs),
    Doctor(doctor::DoctorArgs),
    #[command(hide = true)]
    Agent(agent::AgentArgs),
    /// Print the custom resource definitions
    Crds(crds::CrdsArgs),
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Box<dyn Error>> {
    match cli.command {
        Command::Operator(args) => {
            logs::init(args.logs.log_format)?;
            block_on(operator::run(*args))??;
        }
        Command::Serve(args) => {
            logs::init(args.logs.log_format)?;
            block_on(serve::run(args))??;
        }
        #[cfg(feature = "dev")]
        Command::Dev(args) => {
            // It is used interactively.
            logs::init(Some(LogFormat::Text))?;
            block_on(dev::run(args))??;
        }
        Command::Doctor(args) => return Ok(doctor::run(args)),
        Command::Agent(args) => return Err(agent::run(args).into()),
        Command::Crds(args) => crds::run(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs something to its end. Threads that still wait then, such as for a disk, are not waited for.
fn block_on<F: Future>(work: F) -> io::Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(LEAVE);
    Ok(done)
}
