//! Moving and removing files and folders. A link is moved or removed itself, never what it leads to.

use super::{fail, tree::Tree, write::UNFINISHED};
use crate::agent::protocol::{Failure, FailureKind, MovePath, Moved, RemovePath, Removed};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::{fs, io, io::ErrorKind, os::unix::fs::symlink, path::Path};

/// `POST /files/move`.
pub(super) fn rename(tree: &Tree, request: &MovePath) -> Result<Moved, Failure> {
    let from = tree.entry(&request.from)?;
    let to = tree.entry(&request.to)?;
    must_not_hold_home(tree, &from, "moved")?;
    let failed = |error| fail::io("move", &from, &error);
    let moved = fs::symlink_metadata(&from).map_err(failed)?;
    if to == from {
        return Err(fail::invalid(format!("{} is there already: `from` and `to` are the same", from.display())));
    }
    if to.starts_with(&from) {
        return Err(fail::invalid(format!("{} cannot be moved into itself", from.display())));
    }
    if let Ok(there) = fs::symlink_metadata(&to) {
        let to = to.display();
        if there.is_dir() {
            return Err(fail::conflict(format!("{to} is a folder: name the new path in it, or remove it first")));
        }
        if !request.overwrite {
            return Err(fail::conflict(format!("{to} is there already: set overwrite to replace it")));
        }
        if moved.is_dir() {
            return Err(fail::conflict(format!("{to} is a file, and a folder cannot replace it: remove it first")));
        }
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(|error| fail::io("make the folder", folder, &error))?;
    }
    match give_name(&from, &to, request.overwrite) {
        Err(error) if error.kind() == ErrorKind::CrossesDevices => across(&from, &to, request.overwrite)?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(fail::io("move to", &to, &error)),
        result => result.map_err(failed)?,
    }
    Ok(Moved { from: from.to_string_lossy().into_owned(), to: to.to_string_lossy().into_owned() })
}

/// Renames; never over something that has come to be there in the meantime, unless that is wanted.
fn give_name(from: &Path, to: &Path, overwrite: bool) -> io::Result<()> {
    if overwrite {
        return fs::rename(from, to);
    }
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some network file systems cannot do that; then what was just seen must do.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => fs::rename(from, to),
        result => Ok(result?),
    }
}

/// Moves to another file system: all is copied beside its new place before it gets its name, and the old one goes last.
fn across(from: &Path, to: &Path, overwrite: bool) -> Result<(), Failure> {
    let folder = to.parent().unwrap_or(Path::new("/"));
    let failed = |error| fail::io("copy to another file system", from, &error);
    let beside = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .tempdir_in(folder)
        .map_err(|error| fail::io("make a folder in", folder, &error))?;
    let copied = beside.path().join("copy");
    copy(from, &copied).map_err(failed)?;
    give_name(&copied, to, overwrite).map_err(|error| fail::io("move to", to, &error))?;
    take_away(from).map_err(|error| {
        let failure = fail::io("remove", from, &error);
        Failure { message: format!("{} was copied to {}, but: {failure}", from.display(), to.display()), ..failure }
    })
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(from)?;
    if metadata.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    if metadata.is_file() {
        fs::copy(from, to)?;
        return fs::File::open(to)?.set_modified(metadata.modified()?);
    }
    if !metadata.is_dir() {
        return Err(io::Error::other(format!("{} is a pipe, socket or device", from.display())));
    }
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    // Last, as a folder that is read-only takes no files.
    fs::set_permissions(to, metadata.permissions())
}

/// `POST /files/remove`.
pub(super) fn remove(tree: &Tree, request: &RemovePath) -> Result<Removed, Failure> {
    let path = tree.entry(&request.path)?;
    must_not_hold_home(tree, &path, "removed")?;
    let failed = |error| fail::io("remove", &path, &error);
    let metadata = fs::symlink_metadata(&path).map_err(failed)?;
    if metadata.is_dir() && !request.recursive {
        fs::remove_dir(&path).map_err(|error| {
            if error.kind() == ErrorKind::DirectoryNotEmpty {
                fail::conflict(format!("{} is a folder with something in it: set recursive", path.display()))
            } else {
                failed(error)
            }
        })?;
    } else {
        take_away(&path).map_err(|error| {
            let failure = failed(error);
            if metadata.is_dir() && failure.kind == FailureKind::Denied {
                let path = path.display();
                return FailureKind::Denied.because(format!(
                    "cannot remove all of {path}: the workspace's user may not change some folder in it. If that is its \
                     own, `chmod -R u+w {path}` helps. Some of it may be gone"
                ));
            }
            failure
        })?;
    }
    Ok(Removed { path: path.to_string_lossy().into_owned() })
}

/// Removes a folder with all that is in it, or anything else.
fn take_away(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

/// The home folder stays where it is, and with it those around it.
fn must_not_hold_home(tree: &Tree, path: &Path, done: &str) -> Result<(), Failure> {
    if tree.home()?.starts_with(path) {
        return Err(FailureKind::Denied.because(format!(
            "{} is or holds the workspace's home folder, which cannot be {done}: name what is in it",
            path.display()
        )));
    }
    Ok(())
}
