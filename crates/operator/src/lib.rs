//! Watch -> plan -> server-side apply -> status: the controller of endpoints with their clients, and of workspaces.
//!
//! One reconcile handles an endpoint and all its clients, or one workspace. It reads from memory, and writes to the API
//! server only what differs. One of several replicas is the leader.

mod accounts;
pub mod apply;
pub mod cache;
mod collector;
pub mod context;
pub mod controller;
pub mod definitions;
pub mod diff;
pub mod events;
pub mod gc;
mod hosts;
pub mod http;
pub mod leader;
pub mod metrics;
pub mod namespaces;
pub mod probe;
mod queue;
pub mod reconcile;
mod replica_ownership;
mod report;
pub mod requeue;
pub mod servers;
pub mod status;
pub mod stores;
mod templates;
mod users;
pub mod verify;
mod watches;
pub mod workspaces;

use http::Health;
use ipnet::IpNet;
use kube::Client;
use leader::{Election, ElectionError};
use portcullis_core::clock::Clock;
use portcullis_plan::{ExposureRules, Neighbours};
use rand::rngs::StdRng;
use std::{
    collections::BTreeSet,
    future::IntoFuture as _,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, atomic::Ordering},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// The settings of the operator.
#[derive(Clone)]
pub struct Settings {
    /// Wall-clock time: rotations and repeated verification follow it.
    pub clock: Arc<dyn Clock>,
    /// Makes secrets and keys.
    pub rng: Arc<Mutex<StdRng>>,
    /// The image of the servers: normally the operator's own.
    pub server_image: String,
    /// The image that the agents in workspaces come from: normally that of the servers.
    pub agent_image: String,
    /// The Secrets with registry credentials for both images, in each namespace with endpoints.
    pub pull_secrets: BTreeSet<String>,
    /// Networks of the cluster that have public addresses: no workspace may connect to them.
    pub internal: Vec<IpNet>,
    /// The Ingress and HTTPRoute settings that endpoints may use.
    pub exposure: ExposureRules,
    /// Which pods may connect to the private port of servers.
    pub neighbours: Neighbours,
    /// The namespaces of the operator; none: all.
    pub namespaces: Vec<String>,
    /// The leader election.
    pub election: Election,
    /// The address for health and metrics.
    pub listen: SocketAddr,
}

/// Why the operator ended.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The address cannot be listened on.
    #[error("cannot listen on {0}; choose another address with --listen")]
    Listen(SocketAddr, #[source] io::Error),
    /// Health and metrics can no longer be served.
    #[error("the listener for health and metrics failed")]
    Serve(#[source] io::Error),
    /// The replica cannot take part in the election.
    #[error("leader election is not possible")]
    Election(#[source] ElectionError),
}

/// Runs until `shutdown`: then reconciles finish, and the Lease is given back.
pub async fn run(client: Client, settings: Settings, shutdown: CancellationToken) -> Result<(), OperatorError> {
    let listener =
        TcpListener::bind(settings.listen).await.map_err(|error| OperatorError::Listen(settings.listen, error))?;
    let health = Health::default();
    let server = axum::serve(listener, http::router(health.clone()))
        .with_graceful_shutdown(shutdown.clone().cancelled_owned())
        .into_future();
    let taking_part = || health.ready.store(true, Ordering::Relaxed);
    let definitions = Arc::clone(&health.definitions);
    let term = |end| {
        let metrics = Arc::clone(&health.metrics);
        controller::run(client.clone(), settings.clone(), metrics, Arc::clone(&definitions), end)
    };
    let election = settings.election.run(&client, &shutdown, taking_part, term);
    let listening = async { server.await.map_err(OperatorError::Serve) };
    let leading = async {
        let ended = election.await.map_err(OperatorError::Election);
        shutdown.cancel();
        ended
    };
    let following = async {
        shutdown.run_until_cancelled(definitions.follow(&client)).await;
        Ok(())
    };
    tokio::try_join!(listening, leading, following).map(drop)
}
