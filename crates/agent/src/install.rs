//! Installs the workspace agent's binary where the container of a workspace can run it, by copying the running binary.

use portcullis_core::agent_paths::BINARY_NAME;
use std::{
    env,
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

/// Copies this program into `folder`, which is created if it is missing. The binary appears atomically.
pub fn install(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let new = folder.join(format!(".{BINARY_NAME}.new"));
    fs::copy(env::current_exe()?, &new)?;
    fs::set_permissions(&new, Permissions::from_mode(0o755))?;
    File::open(&new)?.sync_all()?;
    fs::rename(new, folder.join(BINARY_NAME))
}
