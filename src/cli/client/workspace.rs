//! `portcullis exec`, `logs`, `ps` and `cp`: a user's workspaces, with the stored sign-in.

use super::{ClientCommandError, ConnectionOptions};
use crate::cli::signals::until_signal;
use clap::Args;
use portcullis_client::workspace::{
    Location, RestClient,
    copy::copy,
    exec::{ExecRequest, Streams, exec as execute},
    process_table,
};
use portcullis_core::PublicUrl;
use std::{
    io::{self, Write as _},
    process::ExitCode,
};

/// The exit code after a second signal.
const INTERRUPTED: u8 = 130;

/// The endpoint of a command on workspaces.
#[derive(Args, Debug)]
pub struct EndpointOptions {
    /// The URL of the endpoint, at which you are signed in.
    #[arg(long, env = "PORTCULLIS_URL")]
    url: PublicUrl,
    #[command(flatten)]
    connection: ConnectionOptions,
}

/// Run a command in a workspace, with its output and exit code.
///
/// The words of the command are passed as they are; for pipes and variables of the workspace, run a shell:
/// portcullis exec web -- sh -c 'ls | wc -l'
#[derive(Args, Debug)]
pub struct ExecArgs {
    #[command(flatten)]
    endpoint: EndpointOptions,
    /// The working directory [default: the home folder].
    #[arg(long, value_name = "DIR")]
    cwd: Option<String>,
    /// Forward standard input, as UTF-8 text.
    #[arg(short = 'i', long)]
    stdin: bool,
    /// The name or id of the workspace.
    workspace: String,
    /// The program and its arguments, after --.
    #[arg(required = true, last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Show the last lines of the log of a workspace.
#[derive(Args, Debug)]
pub struct LogsArgs {
    #[command(flatten)]
    endpoint: EndpointOptions,
    /// The number of lines.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    lines: u32,
    /// The name or id of the workspace.
    workspace: String,
}

/// List the background processes of a workspace, newest first.
#[derive(Args, Debug)]
pub struct PsArgs {
    #[command(flatten)]
    endpoint: EndpointOptions,
    /// The name or id of the workspace.
    workspace: String,
}

/// Copy a file to or from a workspace.
///
/// A path in a workspace is WORKSPACE:PATH, from the home folder; a target that ends with / is a folder:
/// portcullis cp report.pdf web:documents/
#[derive(Args, Debug)]
pub struct CpArgs {
    #[command(flatten)]
    endpoint: EndpointOptions,
    /// The file to copy.
    from: Location,
    /// Its target.
    to: Location,
}

impl EndpointOptions {
    fn rest(&self) -> Result<RestClient, ClientCommandError> {
        let (access, http) = self.connection.access(&self.url)?;
        Ok(RestClient::new(access, http))
    }
}

/// Runs `portcullis exec`.
pub async fn exec(args: ExecArgs) -> Result<ExitCode, ClientCommandError> {
    let rest = args.endpoint.rest()?;
    let request = ExecRequest { workspace: args.workspace, command: args.command, cwd: args.cwd };
    let streams =
        Streams { input: args.stdin.then(tokio::io::stdin), output: tokio::io::stdout(), errors: tokio::io::stderr() };
    let ended = until_signal(|interrupt| execute(&rest, &request, streams, interrupt)).await;
    match ended.map_err(ClientCommandError::Run)? {
        Some(code) => Ok(ExitCode::from(code?)),
        None => Ok(ExitCode::from(INTERRUPTED)),
    }
}

/// Runs `portcullis logs`.
pub async fn logs(args: LogsArgs) -> Result<(), ClientCommandError> {
    let logs = args.endpoint.rest()?.logs(&args.workspace, args.lines).await?;
    if logs.truncated {
        eprintln!("There are more lines before these; --lines shows up to 1000.");
    }
    let mut output = io::stdout().lock();
    logs.lines.iter().try_for_each(|line| writeln!(output, "{line}")).map_err(ClientCommandError::Output)
}

/// Runs `portcullis ps`.
pub async fn ps(args: PsArgs) -> Result<(), ClientCommandError> {
    let processes = args.endpoint.rest()?.processes(&args.workspace).await?;
    io::stdout().write_all(process_table(&processes).as_bytes()).map_err(ClientCommandError::Output)
}

/// Runs `portcullis cp`.
pub async fn cp(args: CpArgs) -> Result<(), ClientCommandError> {
    let size = copy(&args.endpoint.rest()?, &args.from, &args.to).await?;
    eprintln!("{size} bytes copied");
    Ok(())
}
