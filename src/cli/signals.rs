//! Shutdown by SIGTERM or SIGINT.

use std::io;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Runs `work`. The first signal cancels the token of `work`, for a graceful shutdown. A second signal ends it at once,
/// and the result is `None`.
pub(super) async fn until_signal<F: Future>(
    work: impl FnOnce(CancellationToken) -> F,
) -> io::Result<Option<F::Output>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut next_signal = async || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let stop = CancellationToken::new();
    let mut work = std::pin::pin!(work(stop.clone()));
    tokio::select! {
        done = &mut work => return Ok(Some(done)),
        () = next_signal() => {}
    }
    tracing::info!("shutting down: requests in progress may complete; a second signal aborts them");
    stop.cancel();
    tokio::select! {
        done = work => Ok(Some(done)),
        () = next_signal() => Ok(None),
    }
}
