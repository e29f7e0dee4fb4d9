//! Files that are replaced whole: a reader, and a start after a crash, finds the old content or the new.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

/// Only the owner reads and writes.
const MODE: u32 = 0o600;

/// Writes `content` to `unfinished`, a file in the folder of `path`, and renames it to `path`. Once this returns, the content
/// survives a power cut.
pub fn replace(path: &Path, unfinished: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(unfinished)?;
    // The file may be left from a write that failed.
    file.set_permissions(Permissions::from_mode(MODE))?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(unfinished, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}
