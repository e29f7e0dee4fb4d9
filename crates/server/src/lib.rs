//! The server: listeners, the order of the middleware, and the mounted files with their reload.
//!
//! [`run`] is the whole server. `public` implements the public listener and has the order of the checks; `private`
//! implements the private one. Both read [`Current`], which `reload` replaces as a whole whenever the mounted files
//! change, so that a request sees either the old configuration or the new one.

mod address;
mod alias;
mod app_state;
mod body;
mod certificate;
mod connections;
mod drain_body;
mod exhausted;
mod limits;
mod mounted;
mod origin;
mod private;
mod problem;
mod public;
mod refusals;
mod registration;
mod reload;

pub use mounted::MountedError;

use axum::extract::Request;
use connections::{Stopping, Terms};
use portcullis_core::clock::Clock;
use portcullis_oauth::{
    accounts::Accounts, client::Registrations, grant::Grants, user_rules::UserRules, workload::WorkloadTokens,
};
use portcullis_outbound::Outbound;
use portcullis_reflector::Health;
use portcullis_telemetry::metrics::Metrics;
use portcullis_workspaces::Workspaces;
use reload::Current;
use std::{convert::Infallible, path::PathBuf, sync::Arc, time::Duration};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use tower::service_fn;

/// The parts of a server.
pub struct Options {
    /// The folder with the mounted files (see [`portcullis_config`]).
    pub config_dir: PathBuf,
    /// The workspaces for the tools; `None` without a backend.
    pub workspaces: Option<Arc<dyn Workspaces>>,
    /// The store of grants.
    pub grants: Arc<dyn Grants>,
    /// The store of registered clients.
    pub registrations: Arc<dyn Registrations>,
    /// The store of accounts.
    pub accounts: Arc<dyn Accounts>,
    /// The user rules: users whose access an administrator ended.
    pub user_rules: Arc<dyn UserRules>,
    /// The verifier for service account tokens of pods.
    pub workloads: Arc<dyn WorkloadTokens>,
    /// The freshness of these stores.
    pub state: Arc<Health>,
    /// The HTTPS client for outbound requests.
    pub outbound: Arc<Outbound>,
    /// The clock for lifetimes of tokens and secrets.
    pub clock: Arc<dyn Clock>,
    /// The lame-duck period: connections are accepted for this long after the shutdown began, until every proxy knows
    /// about it.
    pub lame_duck: Duration,
    /// The memory limit of the process, in bytes. The request budget is derived from it.
    pub memory_limit: u64,
}

/// The listeners of a server.
pub struct Listeners {
    /// The listener for clients.
    pub public: TcpListener,
    /// The listener for kubelets, Prometheus and the operator: health, readiness, metrics and the loaded revision.
    pub private: Option<TcpListener>,
}

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The mounted files cannot be used.
    #[error("the configuration in {folder} cannot be used")]
    Mounted {
        /// The folder.
        folder: PathBuf,
        /// The error.
        #[source]
        source: MountedError,
    },
}

/// Serves until `shutdown`, then drains: `/readyz` returns 503 at once, connections are accepted for
/// [`Options::lame_duck`] longer, then refused, and requests in flight may finish within the configured
/// `requestTimeout`.
pub async fn run(options: Options, listeners: Listeners, shutdown: CancellationToken) -> Result<(), ServerError> {
    let folder = options.config_dir.clone();
    let metrics = Arc::new(Metrics::default());
    let state = Arc::clone(&options.state);
    let lame_duck = options.lame_duck;
    let abort = CancellationToken::new();
    let (current, seen) = Current::load(options, Arc::clone(&metrics), abort.clone())
        .await
        .map_err(|source| ServerError::Mounted { folder, source })?;
    let current = Arc::new(current);

    // The private listener and the reload continue while the public one drains.
    let drained = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn({
        let (current, drained) = (Arc::clone(&current), drained.clone());
        async move { current.follow(seen, &drained).await }
    });
    if let Some(listener) = listeners.private {
        let router = private::router(Arc::clone(&current), metrics, state, shutdown.clone());
        let drained = drained.clone();
        tasks.spawn(async move {
            let stopping = Stopping { shutdown: &drained, lame_duck: Duration::ZERO };
            connections::serve(listener, router, Terms::default, stopping, || Duration::from_secs(1)).await;
        });
    }

    tasks.spawn({
        let (current, shutdown) = (Arc::clone(&current), shutdown.clone());
        async move {
            shutdown.cancelled().await;
            tokio::time::sleep(lame_duck).await;
            current.retire();
        }
    });

    let service = service_fn({
        let current = Arc::clone(&current);
        move |request: Request| {
            let public = Arc::clone(&current.serving());
            // Boxed because the future is large and hyper moves it several times.
            Box::pin(async move { Ok::<_, Infallible>(public.answer(request).await) })
        }
    });
    let grace = || current.serving().app().mounted().config.limits.request_timeout.as_duration();
    let stopping = Stopping { shutdown: &shutdown, lame_duck };
    connections::serve(listeners.public, service, || current.terms(), stopping, grace).await;

    current.finish_checks().await;
    abort.cancel();
    drained.cancel();
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a task of the server failed");
        }
    }
    Ok(())
}
