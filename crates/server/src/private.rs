//! The private listener, for kubelets, Prometheus and the operator. It is not for clients: requests need no token.

use crate::reload::Current;
use axum::{Json, Router, response::IntoResponse, routing::get};
use http::{StatusCode, header};
use portcullis_config::LoadedRevision;
use portcullis_reflector::Health;
use portcullis_telemetry::metrics::{self, Metrics};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The routes of the private listener. `/healthz`: the process is alive. `/readyz`: the server accepts requests, from
/// when it has listed all grants, and has a certificate if it needs one, until it shuts down. Refused files and an
/// unreachable API server do not matter, since the last valid files and the known grants stay in use. `/metrics`:
/// OpenMetrics. `/revision`: [`LoadedRevision`].
pub(crate) fn router(
    current: Arc<Current>,
    metrics: Arc<Metrics>,
    state: Arc<Health>,
    shutdown: CancellationToken,
) -> Router {
    let freshness = Arc::clone(&state);
    let serving = Arc::clone(&current);
    let ready = move || {
        let answer = if shutdown.is_cancelled() {
            (StatusCode::SERVICE_UNAVAILABLE, "draining")
        } else if !state.is_complete() {
            (StatusCode::SERVICE_UNAVAILABLE, "grants are not known yet")
        } else if serving.lacks_certificate() {
            (StatusCode::SERVICE_UNAVAILABLE, "there is no TLS certificate yet; /revision has the reason")
        } else {
            (StatusCode::OK, "ok")
        };
        std::future::ready(answer)
    };
    let counted = Arc::clone(&current);
    let measured = move || {
        metrics.connections(counted.serving().app().limiters().connections().count());
        if let Some(seconds) = freshness.stale_seconds() {
            metrics.state_stale(seconds);
        }
        std::future::ready(match metrics.encode() {
            Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        })
    };
    Router::new()
        .route("/healthz", get(|| std::future::ready("ok")))
        .route("/readyz", get(ready))
        .route("/metrics", get(measured))
        .route("/revision", get(move || std::future::ready(Json::<LoadedRevision>(current.revision()))))
}
