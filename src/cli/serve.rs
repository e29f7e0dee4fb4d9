//! `portcullis serve`: the endpoint, from mounted files.

use super::{LogOptions, signals::until_signal};
use crate::{
    ambient::SystemClock,
    config::{PRIVATE_PORT, PUBLIC_PORT},
    server::{self, Listeners, Options, ServerError},
    state,
};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};
use tokio::net::TcpListener;

/// Serve an endpoint from the files that the operator has mounted.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder with config.json, clients.json and signing-keys.json; changes are picked up
    #[arg(long, env = "PORTCULLIS_CONFIG_DIR", default_value = "/etc/portcullis")]
    config_dir: PathBuf,
    /// Where clients connect
    #[arg(long, default_value_t = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PUBLIC_PORT)))]
    listen: SocketAddr,
    /// Where health, readiness, metrics and the loaded revision are served
    #[arg(long, default_value_t = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PRIVATE_PORT)))]
    private_listen: SocketAddr,
    #[command(flatten)]
    pub(super) logs: LogOptions,
}

/// Why serving ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address is taken, or not this machine's.
    #[error("cannot listen on {address}; give another with {option}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The option that it came from.
        option: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Signals cannot be received.
    #[error("signals cannot be received")]
    Signals(#[source] io::Error),
    /// The server could not start.
    #[error("the server could not start")]
    Server(#[from] ServerError),
}

/// Runs `portcullis serve` until SIGTERM or SIGINT.
pub async fn run(args: Args) -> Result<(), ServeError> {
    let public = listen(args.listen, "--listen").await?;
    let private = Some(listen(args.private_listen, "--private-listen").await?);
    tracing::info!(public = %args.listen, private = %args.private_listen, "listening");

    let clock = Arc::new(SystemClock);
    let state = Arc::new(state::Local::memory(clock.clone()));
    let options =
        Options { config_dir: args.config_dir, workspaces: None, grants: state.clone(), registrations: state, clock };
    let serve = |shutdown| server::run(options, Listeners { public, private }, shutdown);
    match until_signal(serve).await.map_err(ServeError::Signals)? {
        Some(ended) => Ok(ended?),
        None => Ok(()),
    }
}

async fn listen(address: SocketAddr, option: &'static str) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, option, source })
}
