//! `portcullis dev`: serves manifests on this machine.

use super::signals::until_signal;
use crate::dev::{self, DevError, Options, Source};
use clap::Args;
use portcullis_core::{clock::SystemClock, rng};
use std::{
    env,
    io::{self, Read as _},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
};

const EXAMPLES: &str = "\
Examples:
  portcullis dev examples/quickstart.yaml             print how agents connect, and serve until Ctrl-C
  portcullis dev --open --listen localhost:9000 k8s/  serve all manifests of a folder, and show the pages
  kustomize build . | portcullis dev -                serve what another program prints";

/// Serve the manifests on this machine, without a cluster.
///
/// Changes to the manifests take effect immediately. Workspaces are folders and processes of this machine, so an agent
/// has all your permissions. Credentials, keys and workspaces are kept in the state directory.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct DevArgs {
    /// Manifests: files, folders, or - for standard input.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The address to listen on; port 0 selects any free port.
    #[arg(long, default_value = "127.0.0.1:8080", value_parser = address, value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// The directory for credentials, keys and workspaces.
    #[arg(long, default_value = ".portcullis", value_name = "DIR")]
    state_dir: PathBuf,
    /// The McpEndpoint to serve, if the manifests have several.
    #[arg(long, value_name = "NAME")]
    endpoint: Option<String>,
    /// Allow --listen on an address that other machines can reach, although there is no TLS.
    #[arg(long)]
    insecure_listen_beyond_loopback: bool,
    /// Open the endpoint's pages in your browser as soon as it is ready.
    #[arg(long)]
    open: bool,
}

/// Why `portcullis dev` failed.
#[derive(Debug, thiserror::Error)]
pub enum DevCommandError {
    /// Signals cannot be received.
    #[error("signals cannot be received")]
    Signals(#[source] io::Error),
    /// Standard input cannot be read.
    #[error("standard input cannot be read")]
    Stdin(#[source] io::Error),
    /// The endpoint could not be served, or no longer.
    #[error(transparent)]
    Dev(#[from] DevError),
}

/// Runs the command.
pub async fn run(args: DevArgs) -> Result<(), DevCommandError> {
    let options = Options {
        sources: sources(args.paths).map_err(DevCommandError::Stdin)?,
        endpoint: args.endpoint,
        listen: args.listen,
        beyond_loopback: args.insecure_listen_beyond_loopback,
        state: args.state_dir,
        path: env::var_os("PATH").unwrap_or_default(),
        user: env::var_os("USER").unwrap_or_default(),
        alone: true,
        open: args.open,
    };
    let serve = |stop| Box::pin(dev::run(options, Arc::new(SystemClock), rng::rng(), stop));
    match until_signal(serve).await.map_err(DevCommandError::Signals)? {
        Some(ended) => Ok(ended?),
        None => Ok(()),
    }
}

/// Files and folders as they are named; `-` is what standard input says.
pub(super) fn sources(paths: Vec<PathBuf>) -> io::Result<Vec<Source>> {
    let source = |path: PathBuf| {
        if path.as_os_str() != "-" {
            return Ok(Source::Path(path));
        }
        let mut text = String::new();
        io::stdin().read_to_string(&mut text)?;
        Ok(Source::Text(text))
    };
    paths.into_iter().map(source).collect()
}

/// Parses an address and a port. `localhost` stands for 127.0.0.1.
fn address(text: &str) -> Result<SocketAddr, String> {
    let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    numeric
        .as_deref()
        .unwrap_or(text)
        .parse()
        .map_err(|_| "write an address and a port, such as 127.0.0.1:8080 or [::1]:8080".to_owned())
}
