//! Atomic replacement of files: readers, and a start after a crash, see either the old content or the new.

use std::{
    fs::{self, File, Metadata, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown},
    path::Path,
};

/// The mode of files: only the owner can read and write.
const MODE: u32 = 0o600;
/// The permissions of a file, without the bits that change who runs it.
const PERMISSIONS: u32 = 0o777;

/// Writes `content` to `unfinished`, a file in the folder of `path`, and renames it to `path`. The content and the
/// rename are synced before this function returns.
pub fn replace(path: &Path, unfinished: &Path, content: &[u8]) -> io::Result<()> {
    write(path, unfinished, content, None)
}

/// As [`replace`], with the permissions and the owner of the file that is replaced. Only root may give a file to another
/// owner.
pub fn replace_like(path: &Path, unfinished: &Path, content: &[u8], replaced: &Metadata) -> io::Result<()> {
    write(path, unfinished, content, Some(replaced))
}

fn write(path: &Path, unfinished: &Path, content: &[u8], replaced: Option<&Metadata>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(unfinished)?;
    // The file can be left over from a failed write.
    file.set_permissions(Permissions::from_mode(MODE))?;
    file.write_all(content)?;
    if let Some(replaced) = replaced {
        if file.metadata()?.uid() != replaced.uid() {
            fchown(&file, Some(replaced.uid()), Some(replaced.gid()))?;
        }
        file.set_permissions(Permissions::from_mode(replaced.mode() & PERMISSIONS))?;
    }
    file.sync_all()?;
    fs::rename(unfinished, path)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}
