//! The files of workspaces: `look` reads them, `change` writes them. Paths are resolved in the workspace.

mod change;
mod read;

pub(super) use change::{EditFile, MovePath, RemovePath, WriteFile};
pub(super) use read::{ListFiles, ReadFile, SearchFiles};

/// The most that is written at once, in bytes. An endpoint's `maxBodySize` may allow less.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// The most that is read at once, in bytes: the answer must fit a server's memory several times over.
const MAX_READ: u64 = 1024 * 1024;
