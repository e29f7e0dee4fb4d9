//! The commands of people at an endpoint. What they share: options, the browser, the stored sign-in.

pub mod login;
pub mod stdio;
pub mod workspace;

use clap::{
    Args, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
};
use portcullis_client::{
    access::{Access, AccessError},
    oauth::{ClientChoiceError, GivenClient, TokenError, discovery::DiscoveryError, login::LoginError},
    stdio::RelayError,
    store::{Store, StoreChoice, StoreError},
    workspace::WorkspaceError,
};
use portcullis_core::{PublicUrl, clock::SystemClock};
use portcullis_outbound::{HttpClient, Outbound, OutboundError};
use std::{
    env, fs, io,
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    sync::Arc,
};

/// The largest secret file, in bytes.
const MAX_SECRET: usize = 4096;
/// The commands that open a URL: that of freedesktop.org, and that of macOS.
const OPENERS: [&str; 2] = ["xdg-open", "open"];

/// The commands for users of an endpoint.
#[expect(missing_docs, reason = "the arguments of each command have its description")]
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    Login(login::LoginArgs),
    Token(login::TokenArgs),
    Logout(login::LogoutArgs),
    Stdio(stdio::StdioArgs),
    Exec(workspace::ExecArgs),
    Logs(workspace::LogsArgs),
    Ps(workspace::PsArgs),
    Cp(workspace::CpArgs),
}

/// The options of the connection to the endpoint.
#[derive(Args, Debug)]
pub struct ConnectionOptions {
    /// Certificates (PEM) of CAs to trust in addition to the public ones.
    #[arg(long, env = "PORTCULLIS_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// The OAuth client to use.
#[derive(Args, Debug, Default)]
pub struct ClientOptions {
    /// An OAuthClient of the endpoint [default: that of the last sign-in, otherwise a new registration].
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// The file with the secret of that client, if it has one.
    #[arg(long, value_name = "FILE", requires = "client_id")]
    client_secret_file: Option<PathBuf>,
    /// The scopes to request, separated by spaces [default: all that the endpoint has].
    #[arg(long, value_name = "SCOPES")]
    scope: Option<String>,
    /// Where to keep the tokens: auto is the keyring of this computer, or a file if there is no keyring.
    #[arg(long, env = "PORTCULLIS_STORE", default_value = "auto", value_parser = store_parser())]
    store: StoreChoice,
}

fn store_parser() -> impl TypedValueParser<Value = StoreChoice> {
    PossibleValuesParser::new(StoreChoice::NAMES).try_map(|name| name.parse::<StoreChoice>())
}

/// The error of a command.
#[derive(Debug, thiserror::Error)]
pub enum ClientCommandError {
    /// A file that an option names cannot be read.
    #[error("{path} cannot be read", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The secret file is empty or has several lines.
    #[error("{path} must have the client secret in its only line", path = .0.display())]
    Secret(PathBuf),
    /// The HTTPS client cannot be created.
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The sign-in failed.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// There is no access token.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The authorization server cannot be found.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// The client cannot be used.
    #[error(transparent)]
    Client(#[from] ClientChoiceError),
    /// The token endpoint refused.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The relay failed.
    #[error(transparent)]
    Relay(#[from] RelayError),
    /// A command on a workspace failed.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// Standard output is closed or full.
    #[error("standard output cannot be written")]
    Output(#[source] io::Error),
    /// Signals or the runtime are not available.
    #[error("the command cannot be run")]
    Run(#[source] io::Error),
}

/// Runs a command to its end. A read of standard input that is in progress does not delay the end.
pub fn run(command: ClientCommand) -> Result<ExitCode, ClientCommandError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(ClientCommandError::Run)?;
    let done = runtime.block_on(async {
        match command {
            ClientCommand::Login(args) => login::login(args).await?,
            ClientCommand::Token(args) => login::token(args).await?,
            ClientCommand::Logout(args) => login::logout(args).await?,
            ClientCommand::Stdio(args) => stdio::run(args).await?,
            ClientCommand::Exec(args) => return workspace::exec(args).await,
            ClientCommand::Logs(args) => workspace::logs(args).await?,
            ClientCommand::Ps(args) => workspace::ps(args).await?,
            ClientCommand::Cp(args) => workspace::cp(args).await?,
        }
        Ok(ExitCode::SUCCESS)
    });
    runtime.shutdown_background();
    done
}

impl ConnectionOptions {
    /// The public authorities and those of a file.
    #[cfg(feature = "doctor")]
    pub(super) fn trusting(ca_file: Option<PathBuf>) -> Self {
        Self { ca_file }
    }

    fn http(&self) -> Result<HttpClient, ClientCommandError> {
        let read = |path: &PathBuf| {
            fs::read_to_string(path).map_err(|source| ClientCommandError::File { path: path.clone(), source })
        };
        let authorities = self.ca_file.as_ref().map(read).transpose()?;
        Ok(Outbound::new()?.trusted(authorities.as_deref())?)
    }

    /// The stored sign-in at `url`, and the HTTPS client.
    pub(super) fn access(&self, url: &PublicUrl) -> Result<(Access, HttpClient), ClientCommandError> {
        let http = self.http()?;
        let store = store(StoreChoice::default())?;
        Ok((Access::new(url.clone(), store, http.clone(), Arc::new(SystemClock)), http))
    }
}

impl ClientOptions {
    fn given(&self) -> Result<GivenClient, ClientCommandError> {
        let secret = self.client_secret_file.as_ref().map(secret).transpose()?;
        Ok(GivenClient { id: self.client_id.clone(), secret })
    }
}

fn secret(path: &PathBuf) -> Result<String, ClientCommandError> {
    let text = fs::read_to_string(path).map_err(|source| ClientCommandError::File { path: path.clone(), source })?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() || secret.len() > MAX_SECRET || secret.contains('\n') {
        return Err(ClientCommandError::Secret(path.clone()));
    }
    Ok(secret.to_owned())
}

/// The store of this user. `choice` is for new sign-ins: others are found where they are.
fn store(choice: StoreChoice) -> Result<Store, StoreError> {
    Store::of_user(env::var_os("XDG_STATE_HOME"), env::var_os("HOME"), choice)
}

/// Opens `url` in the browser of this machine, if there is one. The browser outlives this process.
fn open_browser(url: &str) {
    let opens = |opener: &&str| {
        let mut command = Command::new(opener);
        command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.process_group(0).spawn().is_ok()
    };
    if !OPENERS.iter().any(opens) {
        eprintln!("There is no {} on this machine: open the page yourself.", OPENERS.join(" or "));
    }
}
