//! Moves and removes files and folders. A link itself is moved or removed, never its target.

use crate::files::{
    copy::{Source, copy},
    fail,
    folder::{Folder, kind},
    limits::{CHANGE_PATIENCE, Deadline},
    remove::all_of,
    tree::{Spot, Target, Tree, names_folder},
    write::Unfinished,
};
use crate::protocol::{Failure, FailureKind, MovePath, Moved, RemovePath, Removed};
use rustix::{
    fs::{AtFlags, FileType, RenameFlags, renameat, renameat_with, unlinkat},
    io::Errno,
};
use std::{
    ffi::OsStr,
    io::{self, ErrorKind},
    path::Path,
};

/// `POST /files/move`.
pub(super) fn rename(tree: &Tree, request: &MovePath) -> Result<Moved, Failure> {
    let from = tree.entry(&request.from)?;
    let to = tree.entry(&request.to)?;
    tree.must_not_hold_what_stays(&from, "moved")?;
    let failed = |error| fail::io("move", &from.path, &error);
    let is_folder = kind(&from.stat().map_err(failed)?) == FileType::Directory;
    if to.path == from.path {
        return Err(fail::invalid(format!("{} exists already: `from` and `to` are the same", from.path.display())));
    }
    if to.path.starts_with(&from.path) {
        return Err(fail::invalid(format!("{} cannot be moved into itself", from.path.display())));
    }
    if let Ok(there) = to.stat() {
        let to = to.path.display();
        if kind(&there) == FileType::Directory {
            return Err(fail::conflict(format!("{to} is a folder: pass a path in it, or remove it first")));
        }
        if !request.overwrite {
            return Err(fail::conflict(format!("{to} exists already: set overwrite to replace it")));
        }
        if is_folder {
            return Err(fail::conflict(format!("{to} is a file, and a folder cannot replace it: remove it first")));
        }
    }
    if !is_folder && names_folder(&request.to) {
        return Err(fail::names_folder(&request.to));
    }
    let target = to.path.clone();
    let gone = || fail::conflict(format!("{} is a folder", target.display()));
    let to = to.into_target()?.ok_or_else(gone)?;
    let name = from.rest.first().map(AsRef::as_ref).unwrap_or_default();
    match give_name((&from.folder, name), &to, request.overwrite) {
        Err(error) if error.kind() == ErrorKind::CrossesDevices => across(&from, name, &to, request.overwrite)?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(fail::io("move to", &to.path, &error)),
        result => result.map_err(failed)?,
    }
    Ok(Moved { from: tree.shown(&from.path), to: tree.shown(&to.path) })
}

/// Renames an entry. Without `overwrite`, fails if the new name exists, even if it was created just now.
fn give_name((folder, name): (&Folder, &OsStr), to: &Target, overwrite: bool) -> io::Result<()> {
    let plainly = || Ok(renameat(folder, name, &to.folder, &to.name)?);
    if overwrite {
        return plainly();
    }
    match renameat_with(folder, name, &to.folder, &to.name, RenameFlags::NOREPLACE) {
        // Some network file systems do not support that; then the previous check must be enough.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => plainly(),
        result => Ok(result?),
    }
}

/// Moves to another file system: copies everything next to the new path, renames the copy, then removes the original.
fn across(from: &Spot, name: &OsStr, to: &Target, overwrite: bool) -> Result<(), Failure> {
    let failed = |error| fail::io("copy to another file system", &from.path, &error);
    let (_beside, folder) = Unfinished::folder(&to.folder)
        .map_err(|error| fail::io("create a folder in", to.path.parent().unwrap_or(&to.path), &error))?;
    let source = Source { folder: &from.folder, name, path: &from.path, zone: from.zone };
    let copied = OsStr::new("copy");
    copy(source, (&folder, copied), &from.guard, &Deadline::after(CHANGE_PATIENCE)).map_err(failed)?;
    give_name((&folder, copied), to, overwrite).map_err(|error| fail::io("move to", &to.path, &error))?;
    all_of(&from.folder, name, Some((&from.guard, from.zone))).map_err(|error| {
        let failure = fail::io("remove", &from.path, &error);
        let (from, to) = (from.path.display(), to.path.display());
        Failure { message: format!("{from} was copied to {to}, but: {failure}"), ..failure }
    })
}

/// `POST /files/remove`.
pub(super) fn remove(tree: &Tree, request: &RemovePath) -> Result<Removed, Failure> {
    let spot = tree.entry(&request.path)?;
    tree.must_not_hold_what_stays(&spot, "removed")?;
    let path = spot.path.as_path();
    let failed = |error| fail::io("remove", path, &error);
    let is_folder = kind(&spot.stat().map_err(failed)?) == FileType::Directory;
    let name: &OsStr = spot.rest.first().map(AsRef::as_ref).unwrap_or_default();
    if is_folder && !request.recursive {
        unlinkat(&spot.folder, name, AtFlags::REMOVEDIR).map_err(io::Error::from).map_err(|error| {
            if error.kind() == ErrorKind::DirectoryNotEmpty {
                fail::conflict(format!("{} is not an empty folder: set recursive", path.display()))
            } else {
                failed(error)
            }
        })?;
    } else {
        all_of(&spot.folder, name, Some((&spot.guard, spot.zone))).map_err(|error| not_all(path, is_folder, &error))?;
    }
    Ok(Removed { path: tree.shown(path) })
}

/// Why something could not be removed, or not completely.
fn not_all(path: &Path, is_folder: bool, error: &io::Error) -> Failure {
    let failure = fail::io("remove", path, error);
    let path = path.display();
    match error.kind() {
        ErrorKind::PermissionDenied if is_folder => FailureKind::Denied.because(format!(
            "cannot remove all of {path}: the workspace's user cannot change a folder in it. If the user owns it, run \
             `chmod -R u+w {path}`. Part of it may have been removed"
        )),
        ErrorKind::TimedOut => FailureKind::TooLarge.because(format!(
            "{path} is large: after {} seconds a part is left. Remove it again to continue, or use run_command",
            CHANGE_PATIENCE.as_secs()
        )),
        _ => failure,
    }
}
