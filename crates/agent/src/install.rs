//! Puts the agent's binary where a workspace's container finds it: this very binary, copied.

use portcullis_core::agent_paths::BINARY_NAME;
use std::{
    env,
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

/// Copies this program into a folder, made if it is not there. Whoever looks finds all of it or none.
pub fn install(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let new = folder.join(format!(".{BINARY_NAME}.new"));
    fs::copy(env::current_exe()?, &new)?;
    fs::set_permissions(&new, Permissions::from_mode(0o755))?;
    File::open(&new)?.sync_all()?;
    fs::rename(new, folder.join(BINARY_NAME))
}
