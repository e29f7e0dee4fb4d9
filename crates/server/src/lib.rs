//! Serve mode: listeners, middleware order, mounted files and their reload.
//!
//! [`run`] is the whole server. The public listener answers by what `public` says, in the order that is written
//! there; the private one by `private`. Both read [`Current`], which `reload` replaces as a whole whenever the mounted
//! files change, so that a request sees either all of the old configuration or all of the new.

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

/// What a server is made of.
pub struct Options {
    /// The folder with the mounted files (see [`portcullis_config`]).
    pub config_dir: PathBuf,
    /// The workspaces that tools work on; `None` where there is no backend.
    pub workspaces: Option<Arc<dyn Workspaces>>,
    /// Where grants are kept.
    pub grants: Arc<dyn Grants>,
    /// Where the clients that registered themselves are kept.
    pub registrations: Arc<dyn Registrations>,
    /// What is kept about users of identity providers.
    pub accounts: Arc<dyn Accounts>,
    /// Whose access an administrator ended.
    pub user_rules: Arc<dyn UserRules>,
    /// Who verifies the tokens of pods.
    pub workloads: Arc<dyn WorkloadTokens>,
    /// How fresh these are.
    pub state: Arc<Health>,
    /// How what clients publish of themselves is fetched.
    pub outbound: Arc<Outbound>,
    /// The time that tokens and secrets are held against.
    pub clock: Arc<dyn Clock>,
    /// For how long connections are still accepted after the shutdown began: until every proxy in front has heard of it.
    pub lame_duck: Duration,
    /// How much memory the process may use, in bytes: what requests may take follows from it.
    pub memory_limit: u64,
}

/// Where a server listens.
pub struct Listeners {
    /// For clients.
    pub public: TcpListener,
    /// For kubelets, Prometheus and the operator: health, readiness, metrics and the loaded revision.
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
        /// Why.
        #[source]
        source: MountedError,
    },
}

/// Serves until `shutdown`, then drains: `/readyz` turns 503 at once, requests and connections are still taken for as
/// long as [`Options::lame_duck`] says, then connecting is refused, and running requests finish, for at most the
/// configured `requestTimeout`.
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

    // The private listener and the reload go on while the public one drains.
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
            // Boxed: it is large, and would be moved several times on its way into hyper.
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
