//! The files of workspaces: `read` reads them, `change` writes them. Paths are resolved in the workspace.

mod change;
mod read;

pub(super) use change::{EditFile, MovePath, RemovePath, WriteFile};
pub(super) use read::{ListFiles, ReadFile, SearchFiles};

/// The maximum size of a write, in bytes. An endpoint's `maxBodySize` may allow less.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// The maximum size of a read, in bytes: a server's memory must hold several answers.
const MAX_READ: u64 = 1024 * 1024;
