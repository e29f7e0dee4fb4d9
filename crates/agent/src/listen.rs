//! The socket of the workspace agent. Only the user of the workspace can connect.

use crate::{http2, service::Agent};
use std::{fs::Permissions, io, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};
use tokio::{
    net::UnixListener,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The time to send outstanding answers after all commands have ended.
const LEAVE: Duration = Duration::from_secs(1);
/// The pause after a connection could not be accepted, such as when too many files are open.
const PAUSE: Duration = Duration::from_millis(100);

/// Binds a socket that no other user has been able to open at any time. Replaces a stale socket at the same path.
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

/// Serves requests until `stop` is cancelled. Then ends all commands, answers their requests and returns.
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
                    // Broken connections are normal: a server has ended, or its tunnel.
                    if let Err(error) = serving.await {
                        tracing::debug!(%error, "a connection broke");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(PAUSE).await;
            }
        }
    }
    agent.shutdown().await;
    leave.cancel();
    tasks.close();
    let _ = timeout(LEAVE, tasks.wait()).await;
}
