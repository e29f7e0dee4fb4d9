//! SIGTERM and SIGINT: how a process is asked to end.

use std::io;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Runs `work` to its end. The token that it gets is cancelled by the first signal.
pub async fn until_signal<F: Future>(work: impl FnOnce(CancellationToken) -> F) -> io::Result<F::Output> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let mut work = std::pin::pin!(work(stop.clone()));
    tokio::select! {
        done = &mut work => return Ok(done),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    stop.cancel();
    Ok(work.await)
}
