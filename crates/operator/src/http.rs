//! The operator's own listener: `/healthz`, `/readyz` and `/metrics`.

use crate::{definitions::Definitions, metrics::Metrics};
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// The data of the listener.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// Printed at `/metrics`.
    pub metrics: Arc<Metrics>,
    /// Whether the operator takes part in the election: it reached the API server and may use its Lease.
    pub ready: Arc<AtomicBool>,
    /// Whether the cluster's custom resource definitions are as new as the operator.
    pub definitions: Arc<Definitions>,
}

/// The routes.
pub fn router(health: Health) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(health)
}

async fn readyz(State(health): State<Health>) -> Response {
    let problem = health.definitions.problem();
    let waiting = || (!health.ready.load(Ordering::Relaxed)).then(|| "the Lease has not been read yet".to_owned());
    match problem.or_else(waiting) {
        Some(problem) => (StatusCode::SERVICE_UNAVAILABLE, format!("{problem}\n")).into_response(),
        None => "ok\n".into_response(),
    }
}

async fn metrics(State(health): State<Health>) -> Response {
    match health.metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
            .into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
