//! Copies files and folders to another file system: by file descriptors, and with a deadline.

use crate::files::{
    fail,
    folder::{Folder, MAX_DEPTH, kind},
    guard::{Guard, Zone},
    limits::Deadline,
};
use rustix::fs::{AtFlags, FileType, Mode, chmodat, mkdirat, symlinkat};
use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read as _},
    os::unix::ffi::OsStrExt as _,
    path::Path,
};

/// The number of bytes to copy between two checks of the deadline.
const PART: u64 = 16 * 1024 * 1024;

/// The source of a copy.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub folder: &'a Folder,
    pub name: &'a OsStr,
    /// The path, for messages.
    pub path: &'a Path,
    /// The zone of the folder.
    pub zone: Zone,
}

/// Copies a file, a link, or a folder with its content, including permissions, and the modification times of files.
pub(super) fn copy(
    from: Source<'_>,
    (to, name): (&Folder, &OsStr),
    guard: &Guard,
    deadline: &Deadline,
) -> io::Result<()> {
    copy_at(from, (to, name), guard, deadline, 0)
}

fn copy_at(
    from: Source<'_>,
    (to, name): (&Folder, &OsStr),
    guard: &Guard,
    deadline: &Deadline,
    depth: usize,
) -> io::Result<()> {
    deadline.check()?;
    let stat = from.folder.stat(from.name)?;
    match kind(&stat) {
        FileType::Symlink => Ok(symlinkat(from.folder.link(from.name)?, to, name)?),
        FileType::RegularFile => {
            let opened = from.folder.read(from.name, from.path, guard, from.zone);
            let (source, metadata) = opened.map_err(io::Error::other)?;
            let target = to.create(name, 0o600)?;
            content(&source, &target, deadline)?;
            target.set_permissions(metadata.permissions())?;
            target.set_modified(metadata.modified()?)
        }
        FileType::Directory => {
            if depth == MAX_DEPTH {
                return Err(fail::too_deep());
            }
            let folder = from.folder.child(from.name)?;
            let zone = guard.zone(&folder, folder.id, from.folder.id, from.zone)?;
            guard.check_read(zone, from.path).map_err(io::Error::other)?;
            mkdirat(to, name, Mode::RWXU)?;
            let target = to.child(name)?;
            for entry in folder.entries()? {
                let entry = entry?;
                let name = OsStr::from_bytes(entry.file_name().to_bytes());
                if [".", ".."].iter().any(|own| name == *own) {
                    continue;
                }
                let path = from.path.join(name);
                let source = Source { folder: &folder, name, path: &path, zone };
                copy_at(source, (&target, name), guard, deadline, depth + 1)?;
            }
            // Last, because files cannot be created in a read-only folder.
            Ok(chmodat(to, name, Mode::from_raw_mode(stat.st_mode & 0o7777), AtFlags::empty())?)
        }
        _ => Err(io::Error::other(format!("{} is a pipe, socket or device", from.path.display()))),
    }
}

fn content(mut source: &File, mut target: &File, deadline: &Deadline) -> io::Result<()> {
    loop {
        deadline.check()?;
        if io::copy(&mut source.by_ref().take(PART), &mut target)? == 0 {
            return Ok(());
        }
    }
}
