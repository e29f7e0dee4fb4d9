//! Watches the manifests and the files of Secrets for changes.

use super::manifests::Source;
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::sync::mpsc;

/// The time without events before a change is reported: an editor or `git checkout` causes several events in a row.
const QUIET: Duration = Duration::from_millis(150);

/// Why files cannot be watched.
#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be watched for changes; pass fewer or smaller folders", path = .path.display())]
pub struct WatchError {
    path: PathBuf,
    source: notify::Error,
}

/// A watch on files, until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    changes: mpsc::Receiver<()>,
    /// The watcher, which stops when it is dropped.
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Watches `sources` and the folder `secrets`. Other changes below the state directory `state` are ignored, such as
    /// those in workspaces.
    pub(super) fn start(sources: &[Source], state: &Path, secrets: &Path) -> Result<Self, WatchError> {
        let (notice, changes) = mpsc::channel(1);
        let (state, of_secrets) = (state.to_owned(), secrets.to_owned());
        let counts = move |event: &Event| {
            // Ignore read access: files are read after each event.
            let paths = || event.paths.iter().any(|path| path.starts_with(&of_secrets) || !path.starts_with(&state));
            !event.kind.is_access() && paths()
        };
        let handler = move |event: notify::Result<Event>| {
            // An error means that events were lost, so report a change.
            if event.as_ref().map_or(true, &counts) {
                // If the channel is full, a change is already pending.
                let _ = notice.try_send(());
            }
        };
        let failed = |path: &Path| {
            let path = path.to_owned();
            |source| WatchError { path, source }
        };
        let mut watcher = notify::recommended_watcher(handler).map_err(failed(secrets))?;
        watcher.watch(secrets, RecursiveMode::Recursive).map_err(failed(secrets))?;
        for source in sources {
            let Source::Path(path) = source else { continue };
            // With a relative path, events have relative paths, which never begin with `state`.
            let path = path.canonicalize().map_err(|error| failed(path)(error.into()))?;
            let (target, mode) = match path.parent() {
                // Editors replace files. A watch on the folder sees this, but one on the file would be lost.
                Some(folder) if path.is_file() => (folder, RecursiveMode::NonRecursive),
                _ => (path.as_path(), RecursiveMode::Recursive),
            };
            watcher.watch(target, mode).map_err(failed(target))?;
        }
        Ok(Self { changes, _watcher: watcher })
    }

    /// Waits for a change, and then until [`QUIET`] has passed without another.
    pub(super) async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            return std::future::pending().await;
        }
        while let Ok(Some(())) = tokio::time::timeout(QUIET, self.changes.recv()).await {}
    }
}
