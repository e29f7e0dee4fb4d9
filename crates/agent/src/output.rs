//! The folder for output that is too long to show: the oldest files are deleted to make space for new ones.

use crate::command::OutputFiles;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

/// The number of ended commands whose files are kept.
const MOST_COMMANDS: usize = 64;
/// The limit on the total size of their files, in bytes.
const MOST_BYTES: u64 = 512 * 1024 * 1024;

/// The folder for output files. Files of ended commands are deleted when there are too many.
#[derive(Debug)]
pub struct OutputFolder {
    path: PathBuf,
    /// The names of running commands, whose files are not deleted.
    in_use: Mutex<BTreeSet<String>>,
}

/// Protects the files of a running command from deletion.
#[derive(Debug)]
pub struct Held {
    folder: Arc<OutputFolder>,
    name: String,
}

impl OutputFolder {
    /// An output folder at `path`. The first output file creates it.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path, in_use: Mutex::default() }
    }

    /// The files of the command with this name. `always`: write them from the first byte on.
    #[must_use]
    pub fn files(&self, name: &str, always: bool) -> OutputFiles {
        let file = |stream: &str| self.path.join(format!("{name}.{stream}"));
        OutputFiles { stdout: file("stdout"), stderr: file("stderr"), always }
    }

    /// Protects the files of this name until the returned value is dropped or released.
    #[must_use]
    pub fn hold(self: &Arc<Self>, name: &str) -> Held {
        self.names().insert(name.to_owned());
        Held { folder: Arc::clone(self), name: name.to_owned() }
    }

    fn names(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // No panic can leave it half changed.
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Ends the protection. If the command left files, deletes the oldest files beyond the limits.
    pub async fn release(self, has_files: bool) {
        let folder = Arc::clone(&self.folder);
        drop(self);
        if !has_files {
            return;
        }
        let pruned = tokio::task::spawn_blocking(move || {
            let in_use = folder.names().clone();
            prune(&folder.path, &in_use, MOST_COMMANDS, MOST_BYTES)
        });
        if let Err(error) = pruned.await.map_err(io::Error::other).and_then(|result| result) {
            tracing::warn!(%error, "could not delete the output files of old commands");
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.folder.names().remove(&self.name);
    }
}

/// Deletes the files of the oldest commands beyond the limits, except those of running commands.
fn prune(folder: &Path, in_use: &BTreeSet<String>, most: usize, most_bytes: u64) -> io::Result<()> {
    let mut commands: BTreeMap<String, (SystemTime, u64)> = BTreeMap::new();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        let Some(name) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
        // A command of the workspace may have just deleted it.
        let Ok(metadata) = entry.metadata() else { continue };
        let written = metadata.modified()?;
        let (latest, bytes) = commands.entry(name.to_owned()).or_insert((written, 0));
        *latest = written.max(*latest);
        *bytes += metadata.len();
    }
    commands.retain(|name, _| !in_use.contains(name));
    let mut newest_first: Vec<_> = commands.into_iter().collect();
    newest_first.sort_by_key(|(_, (written, _))| std::cmp::Reverse(*written));
    let mut bytes = 0;
    for (rank, (name, (_, size))) in newest_first.iter().enumerate() {
        bytes += size;
        // The newest output is kept, whatever its size.
        if rank == 0 || (rank < most && bytes <= most_bytes) {
            continue;
        }
        for stream in ["stdout", "stderr"] {
            match fs::remove_file(folder.join(format!("{name}.{stream}"))) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_oldest_outputs_make_room_but_never_those_in_use() {
        for (most, most_bytes, expected) in
            [(5, 1000, vec![1, 2]), (64, 30, vec![1, 2, 3, 4]), (64, 5, vec![1, 2, 3, 4, 5, 6])]
        {
            let folder = tempfile::tempdir().unwrap();
            for number in 0..8_u64 {
                let path = folder.path().join(format!("{number}.stdout"));
                fs::write(&path, [b'a'; 10]).unwrap();
                let written = SystemTime::UNIX_EPOCH + Duration::from_secs(number);
                fs::File::options().write(true).open(path).unwrap().set_modified(written).unwrap();
            }
            prune(folder.path(), &BTreeSet::from(["0".to_owned()]), most, most_bytes).unwrap();
            let gone: Vec<u64> =
                (0..8).filter(|number| !folder.path().join(format!("{number}.stdout")).exists()).collect();
            assert_eq!(gone, expected);
        }
    }
}
