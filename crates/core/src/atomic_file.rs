//! Atomic replacement of files: readers, and a start after a crash, see either the old content or the new.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

/// The mode of files: only the owner can read and write.
const MODE: u32 = 0o600;

/// Writes `content` to `unfinished`, a file in the folder of `path`, and renames it to `path`. The content and the
/// rename are synced before this function returns.
pub fn replace(path: &Path, unfinished: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(unfinished)?;
    // The file can be left over from a failed write.
    file.set_permissions(Permissions::from_mode(MODE))?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(unfinished, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}
