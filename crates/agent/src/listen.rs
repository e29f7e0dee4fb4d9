//! The agent at its socket: only the workspace's own user may connect.

use crate::{http2, service::Agent};
use std::{fs::Permissions, io, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};
use tokio::{
    net::UnixListener,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long answers may take to leave once everything has ended.
const LEAVE: Duration = Duration::from_secs(1);
/// How long to wait where no connection can be taken, because too many files are open.
const PAUSE: Duration = Duration::from_millis(100);

/// A socket that nobody but this user has ever been able to open. A stale one of the same name makes room.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = Path::new(&new);
    match std::fs::remove_file(new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(new)?;
    std::fs::set_permissions(new, Permissions::from_mode(0o600))?;
    std::fs::rename(new, path)?;
    Ok(listener)
}

/// Serves an agent until `stop` fires; then ends all that runs in it, and returns once that has ended and is answered.
pub async fn serve(listener: UnixListener, agent: &Agent, stop: CancellationToken) {
    let (tasks, leave, router) = (TaskTracker::new(), CancellationToken::new(), agent.router());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let serving = http2::serve(stream, router.clone(), tasks.clone(), leave.clone());
                tasks.spawn(async move {
                    // A connection that breaks is everyday life: a server has gone, or its tunnel.
                    if let Err(error) = serving.await {
                        tracing::debug!(%error, "a connection broke");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                sleep(PAUSE).await;
            }
        }
    }
    agent.shutdown().await;
    leave.cancel();
    tasks.close();
    let _ = timeout(LEAVE, tasks.wait()).await;
}
