//! Watches the manifests and the files of Secrets for changes.

use super::manifests::Source;
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::sync::mpsc;

/// An editor or `git checkout` touches files several times in a row: only the state after that is of interest.
const QUIET: Duration = Duration::from_millis(150);

/// Why files cannot be watched.
#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be watched for changes; name fewer or smaller folders", path = .path.display())]
pub struct WatchError {
    path: PathBuf,
    source: notify::Error,
}

/// Watches until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    changes: mpsc::Receiver<()>,
    /// Stops watching when dropped.
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Watches what `sources` name, and the folder `secrets`. Changes elsewhere below `state` do not count: the
    /// workspaces are there.
    pub(super) fn start(sources: &[Source], state: &Path, secrets: &Path) -> Result<Self, WatchError> {
        let (notice, changes) = mpsc::channel(1);
        let (state, of_secrets) = (state.to_owned(), secrets.to_owned());
        let counts = move |event: &Event| {
            // Reading a file is an event too, and after each event the files are read.
            let paths = || event.paths.iter().any(|path| path.starts_with(&of_secrets) || !path.starts_with(&state));
            !event.kind.is_access() && paths()
        };
        let handler = move |event: notify::Result<Event>| {
            // An error means that events were lost: look at everything.
            if event.as_ref().map_or(true, &counts) {
                // Full: a change is waiting to be seen already.
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
            // Relative paths would come back relative, and never begin with `state`.
            let path = path.canonicalize().map_err(|error| failed(path)(error.into()))?;
            let (target, mode) = match path.parent() {
                // Editors replace files: the folder tells, the file itself would be lost.
                Some(folder) if path.is_file() => (folder, RecursiveMode::NonRecursive),
                _ => (path.as_path(), RecursiveMode::Recursive),
            };
            watcher.watch(target, mode).map_err(failed(target))?;
        }
        Ok(Self { changes, _watcher: watcher })
    }

    /// Waits for a change, and then until nothing has changed for a moment.
    pub(super) async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            return std::future::pending().await;
        }
        while let Ok(Some(())) = tokio::time::timeout(QUIET, self.changes.recv()).await {}
    }
}
