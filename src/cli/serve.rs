//! `portcullis serve`: serves an endpoint from mounted files.

use super::{LogOptions, cluster, signals::until_signal};
use clap::ValueEnum;
use kube::{Config, config::InferConfigError};
use portcullis_config::{LAME_DUCK_SECONDS, PRIVATE_PORT, PUBLIC_PORT, memory::WITHOUT_LIMIT};
use portcullis_core::clock::{Clock, SystemClock};
use portcullis_identity::workload::ServiceAccounts;
use portcullis_oauth::workload::NoCluster;
use portcullis_outbound::{Outbound, OutboundError};
use portcullis_reflector::Health;
use portcullis_server::{self, Listeners, Options, ServerError};
use portcullis_state::{Kubernetes, Local, kubernetes};
use portcullis_workspaces::{
    kubernetes as cluster_workspaces,
    kubernetes::{KubernetesOptions, KubernetesWorkspaces},
};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Serve an endpoint from the files that the operator mounts.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder with config.json, clients.json and signing-keys.json; changes are loaded automatically
    #[arg(long, env = "PORTCULLIS_CONFIG_DIR", default_value = "/etc/portcullis")]
    config_dir: PathBuf,
    /// The listen address for clients
    #[arg(long, default_value_t = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PUBLIC_PORT)))]
    listen: SocketAddr,
    /// The listen address for health, readiness, metrics and the loaded revision
    #[arg(long, default_value_t = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PRIVATE_PORT)))]
    private_listen: SocketAddr,
    /// The store of grants and registrations, and the backend of workspaces
    #[arg(long, value_enum, default_value_t = StateBackend::Memory)]
    state: StateBackend,
    /// The name of the server's McpEndpoint
    #[arg(long)]
    endpoint: Option<String>,
    /// How many seconds the server accepts connections after SIGTERM, until every proxy has noticed
    #[arg(long, value_name = "SECONDS", default_value_t = LAME_DUCK_SECONDS)]
    lame_duck: u64,
    /// The memory limit of the process in bytes; the operator passes the limit of the container
    #[arg(long, env = "PORTCULLIS_MEMORY_LIMIT", value_name = "BYTES", default_value_t = WITHOUT_LIMIT)]
    memory_limit: u64,
    #[command(flatten)]
    pub(super) logs: LogOptions,
}

/// The store of grants and registrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum StateBackend {
    /// In the memory of this process: lost when it ends, and unknown to other servers; without workspaces
    Memory,
    /// As OAuthGrants, OAuthClients and Workspaces in the namespace of this pod
    Kubernetes,
}

/// Why `portcullis serve` failed.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address is in use, or is not an address of this machine.
    #[error("cannot listen on {address}; choose another with {option}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The option with the address.
        option: &'static str,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// `--endpoint` is missing: stored grants belong to an endpoint.
    #[error("--state kubernetes needs --endpoint, the name of the McpEndpoint")]
    EndpointMissing,
    /// No cluster is configured.
    #[error("no cluster is configured; set KUBECONFIG, or run in a pod with a service account")]
    Cluster(#[source] Box<InferConfigError>),
    /// The configuration of the cluster is unusable.
    #[error("the cluster's configuration cannot be used")]
    Client(#[source] Box<kube::Error>),
    /// The signal handlers could not be installed.
    #[error("signals cannot be received")]
    Signals(#[source] io::Error),
    /// The client for outbound requests could not be created.
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    /// The server could not start.
    #[error("the server could not start")]
    Server(#[from] ServerError),
}

/// Runs `portcullis serve` until SIGTERM or SIGINT.
pub async fn run(args: Args) -> Result<(), ServeError> {
    let public = listen(args.listen, "--listen").await?;
    let private = Some(listen(args.private_listen, "--private-listen").await?);
    tracing::info!(public = %args.listen, private = %args.private_listen, "listening");

    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let outbound = Arc::new(Outbound::new()?);
    let lame_duck = Duration::from_secs(args.lame_duck);
    match (args.state, args.endpoint) {
        (StateBackend::Kubernetes, Some(endpoint)) => {
            let config = Config::infer().await.map_err(|error| ServeError::Cluster(Box::new(error)))?;
            let namespace = config.default_namespace.clone();
            let kinds = kubernetes::KINDS + cluster_workspaces::KINDS;
            let health = Arc::new(Health::remote(kinds, Arc::clone(&clock)));
            let heard = {
                let health = Arc::clone(&health);
                move || health.heard()
            };
            let client = cluster::client(config, heard).map_err(|error| ServeError::Client(Box::new(error)))?;
            let store = Kubernetes::new(&client, &namespace, &endpoint, Arc::clone(&health), Arc::clone(&clock));
            let store = Arc::new(store);
            let workspaces = Arc::new(KubernetesWorkspaces::new(
                &client,
                &namespace,
                &endpoint,
                Arc::clone(&health),
                Arc::clone(&clock),
                KubernetesOptions::default(),
            ));
            let options = Options {
                config_dir: args.config_dir,
                workspaces: Some(Arc::clone(&workspaces) as _),
                grants: Arc::clone(&store) as _,
                registrations: Arc::clone(&store) as _,
                accounts: Arc::clone(&store) as _,
                user_rules: Arc::clone(&store) as _,
                workloads: Arc::new(ServiceAccounts::of(client)),
                state: health,
                outbound,
                clock,
                lame_duck,
                memory_limit: args.memory_limit,
            };
            let follow = |ended| async move {
                // Commands use workspaces until the last request is answered.
                tokio::join!(Box::pin(store.run(&ended)), Box::pin(workspaces.run(&ended)));
            };
            Box::pin(serve(options, Listeners { public, private }, follow)).await
        }
        (StateBackend::Kubernetes, None) => Err(ServeError::EndpointMissing),
        (StateBackend::Memory, _) => {
            let local = Arc::new(Local::memory(Arc::clone(&clock)));
            let options = Options {
                config_dir: args.config_dir,
                workspaces: None,
                grants: Arc::clone(&local) as _,
                registrations: Arc::clone(&local) as _,
                accounts: Arc::clone(&local) as _,
                user_rules: local,
                workloads: Arc::new(NoCluster),
                state: Arc::new(Health::local()),
                outbound,
                clock,
                lame_duck,
                memory_limit: args.memory_limit,
            };
            Box::pin(serve(options, Listeners { public, private }, |_| std::future::ready(()))).await
        }
    }
}

/// Serves until a signal. The future from `beside` runs until the last request is answered.
async fn serve<Beside: Future<Output = ()>>(
    options: Options,
    listeners: Listeners,
    beside: impl FnOnce(CancellationToken) -> Beside,
) -> Result<(), ServeError> {
    let ended = CancellationToken::new();
    let beside = beside(ended.clone());
    let serving = |shutdown| async move {
        let serve = async {
            let result = portcullis_server::run(options, listeners, shutdown).await;
            ended.cancel();
            result
        };
        tokio::join!(serve, beside).0
    };
    match until_signal(serving).await.map_err(ServeError::Signals)? {
        Some(ended) => Ok(ended?),
        None => Ok(()),
    }
}

async fn listen(address: SocketAddr, option: &'static str) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Listen { address, option, source })
}
