//! Removing a folder with all that is in it: by descriptors, without recursion, and not for ever.

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

/// A folder that is being emptied.
struct Level {
    dir: Dir,
    id: Id,
    zone: Zone,
    name: OsString,
}

/// Removes what has this name in the folder, for a minute at most. With a guard, and the zone of the folder, it stops
/// where the file tools may not go.
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
