//! The command line: one module for each subcommand.

pub mod agent;
#[cfg(feature = "client")]
pub mod client;
pub mod cluster;
#[cfg(feature = "dev")]
pub mod completion;
#[cfg(feature = "connect")]
pub mod connect;
pub mod crds;
#[cfg(feature = "dev")]
pub mod dev;
#[cfg(feature = "doctor")]
pub mod doctor;
#[cfg(feature = "dev")]
pub mod htpasswd;
#[cfg(feature = "dev")]
pub mod man;
pub mod operator;
#[cfg(feature = "dev")]
mod password;
pub mod serve;
mod signals;
#[cfg(feature = "dev")]
pub mod validate;
pub mod version;

#[cfg(feature = "dev")]
use clap::CommandFactory as _;
use clap::{Args, Parser, Subcommand};
use portcullis_core::report::chain;
#[cfg(feature = "dev")]
use portcullis_core::rng;
use portcullis_telemetry::logs::{self, LogFormat};
use std::{error::Error, io, process::ExitCode, time::Duration};

/// The maximum time that blocking threads get to finish at the end.
const LEAVE: Duration = Duration::from_secs(1);

#[cfg(feature = "dev")]
const EXAMPLES: &str = "\
Examples:
  portcullis dev examples/quickstart.yaml             serve an endpoint on this machine, without a cluster
  portcullis validate k8s/                            check manifests before they are applied
  portcullis crds | kubectl apply --server-side -f -  install the custom resource definitions
  portcullis help dev                                 explain a command";
#[cfg(not(feature = "dev"))]
const EXAMPLES: &str = "\
Examples:
  portcullis crds | kubectl apply --server-side -f -  install the custom resource definitions
  portcullis help operator                            explain a command";

/// OAuth-protected MCP endpoints for AI agents that work in development workspaces on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Options of the commands that run in a cluster.
#[derive(Args, Clone, Copy, Debug)]
struct LogOptions {
    /// The format of log lines [default: text on a terminal, otherwise json]
    #[arg(long)]
    log_format: Option<LogFormat>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Operator(Box<operator::OperatorArgs>),
    Serve(serve::Args),
    #[cfg(feature = "dev")]
    Dev(dev::DevArgs),
    #[cfg(feature = "doctor")]
    Doctor(doctor::DoctorArgs),
    #[cfg(feature = "connect")]
    Connect(connect::ConnectArgs),
    #[cfg(feature = "dev")]
    Validate(validate::ValidateArgs),
    #[cfg(feature = "dev")]
    Htpasswd(htpasswd::HtpasswdArgs),
    #[command(hide = true)]
    Agent(agent::AgentArgs),
    /// Print the custom resource definitions
    Crds(crds::CrdsArgs),
    #[cfg(feature = "dev")]
    Completion(completion::CompletionArgs),
    #[cfg(feature = "dev")]
    Man(man::ManArgs),
    Version(version::VersionArgs),
    #[cfg(feature = "client")]
    #[command(flatten)]
    Client(client::ClientCommand),
}

/// Parses the command line and runs the subcommand. An error is printed to standard error.
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
            // This command is used interactively.
            logs::init(Some(LogFormat::Text))?;
            block_on(dev::run(args))??;
        }
        #[cfg(feature = "doctor")]
        Command::Doctor(args) => return Ok(doctor::run(args)),
        #[cfg(feature = "connect")]
        Command::Connect(args) => connect::run(args)?,
        Command::Agent(args) => return Err(agent::run(args).into()),
        Command::Crds(args) => crds::run(&args)?,
        #[cfg(feature = "dev")]
        Command::Validate(args) => validate::run(args)?,
        #[cfg(feature = "dev")]
        Command::Htpasswd(args) => htpasswd::run(&args, &mut rng::rng())?,
        #[cfg(feature = "dev")]
        Command::Completion(args) => completion::run(args, &mut Cli::command())?,
        #[cfg(feature = "dev")]
        Command::Man(args) => man::run(&args, Cli::command())?,
        Command::Version(args) => version::run(args)?,
        #[cfg(feature = "client")]
        Command::Client(command) => {
            // These commands are used interactively.
            logs::init(Some(LogFormat::Text))?;
            return Ok(client::run(command)?);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs a future to completion. Blocking threads get at most [`LEAVE`] to finish.
fn block_on<F: Future>(work: F) -> io::Result<F::Output> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(work);
    runtime.shutdown_timeout(LEAVE);
    Ok(done)
}
