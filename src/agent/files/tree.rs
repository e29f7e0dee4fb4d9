//! Where paths lead: what a request names becomes an absolute path without links, which may or may not leave home.
//!
//! A confined tree is a rail, not a wall: between resolving and opening, whoever can make links in the workspace could
//! swap a folder for one. Only commands can make links, and commands are not confined at all (`workspaces::local`).

use super::fail;
use crate::agent::protocol::{Failure, FailureKind};
use nix::fcntl::OFlag;
use std::{
    collections::hash_map::DefaultHasher,
    ffi::OsString,
    fs::{self, File, Metadata, OpenOptions},
    hash::{Hash as _, Hasher as _},
    io::{self, ErrorKind},
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::{Component, Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// As many links as Linux follows on the way of one path.
const MAX_LINKS: u32 = 40;
/// How many files can be written at once without waiting for each other.
const WRITERS: usize = 32;

/// What is to be done with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Only looked at.
    Look,
    /// Changed.
    Change,
}

/// The files that requests may name.
pub(super) struct Tree {
    home: PathBuf,
    confine: bool,
    readable: Vec<PathBuf>,
    writing: [Mutex<()>; WRITERS],
}

impl Tree {
    /// Relative paths start at `home`, which `confine` keeps all paths in, but for the `readable` folders.
    pub fn new(home: PathBuf, confine: bool, readable: Vec<PathBuf>) -> Self {
        Self { home, confine, readable, writing: std::array::from_fn(|_| Mutex::new(())) }
    }

    /// The home folder, absolute and without links.
    pub fn home(&self) -> Result<PathBuf, Failure> {
        fs::canonicalize(&self.home).map_err(|error| fail::io("find the home folder", &self.home, &error))
    }

    /// Whether paths outside of home are refused.
    pub fn confined(&self) -> bool {
        self.confine
    }

    /// What `path` leads to, through all links. It need not be there, nor need the folders above it.
    pub fn follow(&self, path: &str, access: Access) -> Result<PathBuf, Failure> {
        self.resolve(path, access, Last::Follow)
    }

    /// The entry that `path` names: a link itself, and not what it leads to. To be moved or removed.
    pub fn entry(&self, path: &str) -> Result<PathBuf, Failure> {
        self.resolve(path, Access::Change, Last::Keep)
    }

    /// Keeps others from writing the file until it is dropped.
    pub fn hold(&self, path: &Path) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        let index = usize::try_from(hasher.finish() % WRITERS as u64).unwrap_or_default();
        // It guards no data that a panic could have left half changed.
        self.writing.get(index).unwrap_or(&self.writing[0]).lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn resolve(&self, path: &str, access: Access, last: Last) -> Result<PathBuf, Failure> {
        if path.is_empty() {
            return Err(fail::invalid("the path is empty: name a file or folder; `.` is the home folder"));
        }
        if path.contains('\0') {
            return Err(fail::invalid("the path has a NUL character, which no file's name can have: leave it out"));
        }
        let home = self.home()?;
        let named = match path.strip_prefix('~') {
            Some("") => home.clone(),
            Some(rest) if rest.starts_with('/') => home.join(rest.trim_start_matches('/')),
            _ => home.join(path),
        };
        let real = without_links(&named, last).map_err(|error| fail::io("follow the path", &named, &error))?;
        let allowed = !self.confine
            || real.starts_with(&home)
            || access == Access::Look
                && self.readable.iter().any(|folder| fs::canonicalize(folder).is_ok_and(|it| real.starts_with(it)));
        if !allowed {
            return Err(FailureKind::Denied
                .because(format!("{path} leads out of the workspace's home folder: use paths in {}", home.display())));
        }
        Ok(real)
    }
}

/// What to do with a link in the last place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Follow,
    Keep,
}

/// An absolute path without `.`, `..` and links. What is not there is taken as it stands.
fn without_links(path: &Path, last: Last) -> io::Result<PathBuf> {
    let mut real = PathBuf::from("/");
    let mut ahead = parts(path);
    let mut links = 0;
    while let Some(part) = ahead.pop() {
        let Some(name) = part else {
            real.pop();
            continue;
        };
        real.push(name);
        if last == Last::Keep && ahead.is_empty() {
            break;
        }
        match fs::symlink_metadata(&real) {
            Ok(metadata) if metadata.is_symlink() => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(nix::errno::Errno::ELOOP.into());
                }
                let target = fs::read_link(&real)?;
                real.pop();
                if target.is_absolute() {
                    real = PathBuf::from("/");
                }
                ahead.extend(parts(&target));
            }
            Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(real)
}

/// The parts of a path, the last one first; `None` is the folder above.
fn parts(path: &Path) -> Vec<Option<OsString>> {
    let part = |component| match component {
        Component::Normal(name) => Some(Some(name.to_owned())),
        Component::ParentDir => Some(None),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(part).collect()
}

/// Opens a file to read it. Never waits for the other end of a pipe, and never touches a device.
pub(super) fn open(path: &Path) -> Result<(File, Metadata), Failure> {
    let failed = |error| fail::io("read", path, &error);
    must_be_file(path, &fs::symlink_metadata(path).map_err(failed)?)?;
    // It may be something else by now.
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    must_be_file(path, &metadata)?;
    Ok((file, metadata))
}

/// Refuses what is no regular file, by its name.
pub(super) fn must_be_file(path: &Path, metadata: &Metadata) -> Result<(), Failure> {
    let kind = metadata.file_type();
    if kind.is_file() {
        return Ok(());
    }
    let what = match () {
        () if kind.is_dir() => "a folder, not a file: list_files shows what is in it",
        () if kind.is_fifo() => "a named pipe, not a file: use it by a command",
        () if kind.is_socket() => "a socket, not a file: use it by a command",
        () if kind.is_symlink() => "a link that was made just now: try again",
        () => "a device, not a file: use it by a command",
    };
    Err(fail::conflict(format!("{} is {what}", path.display())))
}
