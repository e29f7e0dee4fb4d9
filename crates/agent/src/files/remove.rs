//! Removes a folder with its content: by file descriptors, without recursion, and with a deadline.

use crate::files::{
    fail,
    folder::{Folder, Id, MAX_DEPTH, kind},
    guard::{Guard, Zone},
    limits::{CHANGE_PATIENCE, Deadline},
};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, openat, statat, unlinkat};
use std::{
    ffi::{OsStr, OsString},
    io,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

/// A folder whose content is being removed.
struct Level {
    dir: Dir,
    id: Id,
    zone: Zone,
    name: OsString,
}

/// Removes the entry with this name, within [`CHANGE_PATIENCE`]. With a guard, and the zone of the folder, fails at the
/// first folder that the file tools must not change.
pub(super) fn all_of(folder: &Folder, name: &OsStr, guard: Option<(&Guard, Zone)>) -> io::Result<()> {
    if kind(&folder.stat(name)?) != FileType::Directory {
        return folder.unlink(name);
    }
    let deadline = Deadline::after(CHANGE_PATIENCE);
    let zone = guard.map_or(Zone::Open, |(_, zone)| zone);
    let guard = guard.map(|(guard, _)| guard);
    let mut levels = vec![enter(folder.as_fd(), name, (folder.id, zone), guard)?];
    while let Some(level) = levels.last_mut() {
        deadline.check()?;
        let Some(entry) = level.dir.read() else {
            let name = levels.pop().map(|level| level.name).unwrap_or_default();
            match levels.last() {
                Some(above) => unlinkat(above.dir.fd()?, &name, AtFlags::REMOVEDIR)?,
                None => unlinkat(folder, &name, AtFlags::REMOVEDIR)?,
            }
            continue;
        };
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if [".", ".."].iter().any(|own| name == *own) {
            continue;
        }
        let fd = level.dir.fd()?;
        let kind = match entry.file_type() {
            FileType::Unknown => kind(&statat(fd, name, AtFlags::SYMLINK_NOFOLLOW)?),
            kind => kind,
        };
        if kind == FileType::Directory {
            let next = enter(fd, name, (level.id, level.zone), guard)?;
            if levels.len() == MAX_DEPTH {
                return Err(fail::too_deep());
            }
            levels.push(next);
        } else {
            unlinkat(fd, name, AtFlags::empty())?;
        }
    }
    Ok(())
}

fn enter(above: BorrowedFd<'_>, name: &OsStr, (id, zone): (Id, Zone), guard: Option<&Guard>) -> io::Result<Level> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat(above, name, flags, Mode::empty())?;
    let own = Id::of(&fstat(&fd)?);
    let zone = match guard {
        Some(guard) => {
            let zone = guard.zone(&fd, own, id, zone)?;
            guard.check_change(zone, Path::new(name)).map_err(io::Error::other)?;
            zone
        }
        None => zone,
    };
    Ok(Level { dir: Dir::new(fd)?, id: own, zone, name: name.to_owned() })
}
