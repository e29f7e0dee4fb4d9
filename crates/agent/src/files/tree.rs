//! Resolves the path of a request from folder to folder: each folder is opened relative to its parent, and links are
//! followed here. The result is an open folder and the names after it, so that no path is looked up again.
//!
//! A confined tree prevents mistakes and is not a security boundary: commands in the workspace are not confined at all
//! (`workspaces::local`).

use crate::files::{
    fail,
    folder::{Folder, Id, kind, must_be_file},
    guard::{Guard, Reach, Zone, check_length},
    limits::{Cancel, Deadline},
    names,
};
use crate::protocol::{Failure, FailureKind};
use nix::errno::Errno;
use rustix::fs::FileType;
use std::{
    collections::hash_map::DefaultHasher,
    ffi::{OsStr, OsString},
    fs::{self, File, Metadata},
    hash::{Hash as _, Hasher as _},
    io::{self, ErrorKind},
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The maximum number of links in the resolution of one path, as in Linux.
const MAX_LINKS: u32 = 40;
/// The number of files that can be written at once without contention.
const WRITERS: usize = 32;

/// The purpose of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Read.
    Read,
    /// Change.
    Change,
}

/// The files that requests may access.
#[derive(Clone)]
pub(super) struct Tree {
    shared: Arc<Shared>,
    cancel: Cancel,
}

struct Shared {
    home: PathBuf,
    reach: Reach,
    writing: [Mutex<()>; WRITERS],
}

/// A resolved path.
#[derive(Debug)]
pub(super) struct Spot {
    /// The path, absolute and without links.
    pub path: PathBuf,
    /// The last existing folder of the path.
    pub folder: Folder,
    /// The zone of that folder.
    pub zone: Zone,
    /// The names after the folder: none for the folder itself, one for an entry in it, more if folders are missing.
    pub rest: Vec<OsString>,
    pub guard: Guard,
}

impl Tree {
    /// A tree in which relative paths start at `home`.
    pub(super) fn new(home: PathBuf, reach: Reach) -> Self {
        let writing = std::array::from_fn(|_| Mutex::new(()));
        Self { shared: Arc::new(Shared { home, reach, writing }), cancel: Cancel::default() }
    }

    /// The same tree for one request, which `cancel` can cancel.
    pub(super) fn until_cancelled(&self, cancel: Cancel) -> Self {
        Self { shared: Arc::clone(&self.shared), cancel }
    }

    /// The deadline of a request that only reads. Cancellation ends it earlier.
    pub(super) fn deadline(&self, patience: Duration) -> Deadline {
        Deadline::after(patience).or(&self.cancel)
    }

    /// The home folder, absolute and without links.
    pub(super) fn home(&self) -> Result<PathBuf, Failure> {
        let home = &self.shared.home;
        fs::canonicalize(home).map_err(|error| fail::io("find the home folder", home, &error))
    }

    /// The text of a path for answers.
    pub(super) fn shown(&self, path: &Path) -> String {
        // Without the home folder, the path is not relative to it.
        names::shown(&self.home().unwrap_or_else(|_| self.shared.home.clone()), path)
    }

    /// Whether paths outside of the home folder are refused.
    pub(super) fn confined(&self) -> bool {
        self.shared.reach.confine
    }

    /// Resolves `path`, and follows all links. The file or folder may be missing, and so may the folders above it.
    pub(super) fn follow(&self, path: &str, access: Access) -> Result<Spot, Failure> {
        self.resolve(path, access, Last::Follow)
    }

    /// Resolves the entry at `path`, to move or remove it. A link at the end is not followed.
    pub(super) fn entry(&self, path: &str) -> Result<Spot, Failure> {
        self.resolve(path, Access::Change, Last::Keep)
    }

    /// Fails if the entry to move or remove is or contains the home folder, or a folder that the file tools must not
    /// change.
    pub(super) fn must_not_hold_what_stays(&self, spot: &Spot, done: &str) -> Result<(), Failure> {
        let (path, reach) = (spot.path.as_path(), &self.shared.reach);
        if self.home()?.starts_with(path) {
            return Err(FailureKind::Denied.because(format!(
                "{} is or contains the workspace's home folder, which cannot be {done}: pass a path in it",
                path.display()
            )));
        }
        let own = reach.own.iter().chain(&reach.output).chain(&reach.temporary);
        if own.into_iter().any(|own| fs::canonicalize(own).is_ok_and(|own| own.starts_with(path))) {
            return spot.guard.check_change(Zone::Own, path);
        }
        // A mount point belongs to the file system that is mounted on it.
        if let [name] = spot.rest.as_slice()
            && spot.folder.stat(name).is_ok_and(|stat| kind(&stat) == FileType::Directory)
        {
            let failed = |error| fail::io("open", path, &error);
            let folder = spot.folder.child(name).map_err(failed)?;
            let zone = spot.guard.zone(&folder, folder.id, spot.folder.id, spot.zone).map_err(failed)?;
            spot.guard.check_change(zone, path)?;
        }
        Ok(())
    }

    /// Locks the file against other writers until the guard is dropped.
    pub(super) fn hold(&self, path: &Path) -> MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        let writing = &self.shared.writing;
        let index = usize::try_from(hasher.finish() % WRITERS as u64).unwrap_or_default();
        // The lock guards no data that a panic could leave half changed.
        writing.get(index).unwrap_or(&writing[0]).lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn resolve(&self, path: &str, access: Access, last: Last) -> Result<Spot, Failure> {
        if path.is_empty() {
            return Err(fail::invalid("the path is empty: pass a file or folder; `.` is the home folder"));
        }
        if path.contains('\0') {
            return Err(fail::invalid("the path has a NUL character, which file names cannot have: remove it"));
        }
        check_length(path)?;
        let home = self.home()?;
        let named = match path.strip_prefix('~') {
            Some("") => home.clone(),
            Some(rest) if rest.starts_with('/') => home.join(rest.trim_start_matches('/')),
            _ => home.join(path),
        };
        let guard = Guard::new(&home, &self.shared.reach);
        let failed = |error| fail::io("follow the path", &named, &error);
        let mut walk = Walk::new(guard).map_err(failed)?;
        let mut ahead = parts(&named);
        while let Some(part) = ahead.pop() {
            let follow = last == Last::Follow || !ahead.is_empty();
            match part {
                None => walk.up().map_err(failed)?,
                Some(name) => {
                    if let Some(target) = walk.down(name, follow, &named).map_err(failed)? {
                        walk.links += 1;
                        if walk.links > MAX_LINKS {
                            return Err(failed(Errno::ELOOP.into()));
                        }
                        if target.is_absolute() {
                            walk.restart().map_err(failed)?;
                        }
                        ahead.extend(parts(&target));
                    }
                }
            }
        }
        let spot = match last {
            Last::Follow => walk.end(),
            Last::Keep => walk.end_above().map_err(failed)?,
        };
        match access {
            Access::Read => spot.guard.check_read(spot.zone, &spot.path)?,
            Access::Change => spot.guard.check_change(spot.zone, &spot.path)?,
        }
        let temporary = self.shared.reach.temporary.as_deref().and_then(|folder| fs::canonicalize(folder).ok());
        let in_reach = !self.confined()
            || [Some(&home), temporary.as_ref()].into_iter().flatten().any(|open| spot.path.starts_with(open))
            || access == Access::Read && spot.zone == Zone::Output;
        if !in_reach {
            let temporary = temporary.map(|folder| format!(", or in {}, which is $TMPDIR", folder.display()));
            return Err(FailureKind::Denied.because(format!(
                "{path} is outside of the workspace's home folder: use paths in {}{}",
                home.display(),
                temporary.unwrap_or_default()
            )));
        }
        if names_folder(path) && spot.stat().is_ok_and(|stat| kind(&stat) != FileType::Directory) {
            let spot = spot.path.display();
            return Err(fail::conflict(format!("{path} requires a folder, but {spot} is not one: remove the slash")));
        }
        Ok(spot)
    }
}

impl Spot {
    /// The metadata of the entry. A link is not followed.
    pub(super) fn stat(&self) -> io::Result<rustix::fs::Stat> {
        match self.rest.as_slice() {
            [] => Ok(rustix::fs::fstat(&self.folder)?),
            [name] => self.folder.stat(name),
            // A folder is missing, or is a file.
            [first, ..] => match self.folder.stat(first) {
                Ok(_) => Err(ErrorKind::NotADirectory.into()),
                Err(error) => Err(error),
            },
        }
    }

    /// Opens a regular file for reading.
    pub(super) fn open(&self) -> Result<(File, Metadata), Failure> {
        let stat = self.stat().map_err(|error| fail::io("read", &self.path, &error))?;
        must_be_file(&self.path, kind(&stat))?;
        let name = self.rest.first().map(OsString::as_os_str).unwrap_or_default();
        self.folder.read(name, &self.path, &self.guard, self.zone)
    }

    /// The parent folder, created if it is missing, and the name in it; `None` for the root.
    pub(super) fn into_target(self) -> Result<Option<Target>, Failure> {
        let Self { path, mut folder, mut zone, rest, guard } = self;
        let Some((name, above)) = rest.split_last() else { return Ok(None) };
        let depth = path.components().count() - rest.len();
        for (index, missing) in above.iter().enumerate() {
            let at: PathBuf = path.components().take(depth + index + 1).collect();
            let failed = |error| fail::io("create the folder", &at, &error);
            let next = folder.child_or_new(missing).map_err(failed)?;
            zone = guard.zone(&next, next.id, folder.id, zone).map_err(failed)?;
            guard.check_change(zone, &at)?;
            folder = next;
        }
        Ok(Some(Target { name: name.clone(), path, folder }))
    }
}

/// A name in an open folder.
#[derive(Debug)]
pub(super) struct Target {
    pub path: PathBuf,
    pub folder: Folder,
    pub name: OsString,
}

/// How to treat a link at the end of a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Follow,
    Keep,
}

/// The resolution of one path.
struct Walk {
    guard: Guard,
    path: PathBuf,
    folder: Folder,
    /// The ids and zones of the folders from the root to `folder`.
    above: Vec<(Id, Zone)>,
    rest: Vec<OsString>,
    links: u32,
}

impl Walk {
    fn new(guard: Guard) -> io::Result<Self> {
        let folder = Folder::root()?;
        let above = vec![(folder.id, Zone::Open)];
        Ok(Self { guard, path: "/".into(), folder, above, rest: Vec::new(), links: 0 })
    }

    fn restart(&mut self) -> io::Result<()> {
        self.folder = Folder::root()?;
        self.above.truncate(1);
        self.rest.clear();
        self.path = "/".into();
        Ok(())
    }

    fn zone(&self) -> Zone {
        self.above.last().map_or(Zone::Open, |(_, zone)| *zone)
    }

    /// Goes to the parent folder. The parent of the root is the root.
    fn up(&mut self) -> io::Result<()> {
        self.path.pop();
        if self.rest.pop().is_some() || self.above.len() == 1 {
            return Ok(());
        }
        self.above.pop();
        self.folder = self.folder.child("..")?;
        if self.above.last().is_none_or(|(id, _)| *id != self.folder.id) {
            return Err(moved());
        }
        Ok(())
    }

    /// Goes to the entry with this name. Returns the target of a link to follow. `named` is the whole path, for
    /// messages.
    fn down(&mut self, name: OsString, follow: bool, named: &Path) -> io::Result<Option<PathBuf>> {
        let refusal = self.guard.check_read(self.zone(), named);
        match (refusal, self.step(name, follow)) {
            // The kernel's links lead to files that other processes have open.
            (Err(refusal), Ok(Some(_)) | Err(_)) => Err(io::Error::other(refusal)),
            (_, result) => result,
        }
    }

    fn step(&mut self, name: OsString, follow: bool) -> io::Result<Option<PathBuf>> {
        let (name, kind) = if self.rest.is_empty() { self.find(name)? } else { (name, None) };
        match kind {
            Some(FileType::Directory) if follow => {
                let next = self.folder.child(&name)?;
                let zone = self.guard.zone(&next, next.id, self.folder.id, self.zone())?;
                self.above.push((next.id, zone));
                self.folder = next;
                self.path.push(name);
            }
            Some(FileType::Symlink) if follow => return self.folder.link(&name).map(Some),
            _ => {
                self.path.push(&name);
                self.rest.push(name);
            }
        }
        Ok(None)
    }

    /// The type of the entry with this name, or of the entry that answers show under this name.
    fn find(&self, name: OsString) -> io::Result<(OsString, Option<FileType>)> {
        let kind = self.kind_of(&name)?;
        if kind.is_none()
            && let Some(other) = names::decoded(&name)
            && let Some(kind) = self.kind_of(&other)?
        {
            return Ok((other, Some(kind)));
        }
        Ok((name, kind))
    }

    fn kind_of(&self, name: &OsStr) -> io::Result<Option<FileType>> {
        match self.folder.stat(name) {
            Ok(stat) => Ok(Some(kind(&stat))),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn end(self) -> Spot {
        let zone = self.zone();
        Spot { path: self.path, folder: self.folder, zone, rest: self.rest, guard: self.guard }
    }

    /// Returns a folder at the end of a path, as in `a/..`, as an entry of its parent folder.
    fn end_above(mut self) -> io::Result<Spot> {
        if self.rest.is_empty()
            && let Some(name) = self.path.file_name().map(OsStr::to_owned)
        {
            let (path, id) = (self.path.clone(), self.folder.id);
            self.up()?;
            if Id::of(&self.folder.stat(&name)?) != id {
                return Err(moved());
            }
            self.path = path;
            self.rest.push(name);
        }
        Ok(self.end())
    }
}

fn moved() -> io::Error {
    io::Error::other("a folder of the path was just moved: try again")
}

/// Whether a path must name a folder by its form (POSIX.1-2024, Base Definitions §4.16).
pub(super) fn names_folder(path: &str) -> bool {
    path.ends_with('/') || path.ends_with("/.")
}

/// The components of a path, the last one first; `None` is `..`.
fn parts(path: &Path) -> Vec<Option<OsString>> {
    let part = |component| match component {
        Component::Normal(name) => Some(Some(name.to_owned())),
        Component::ParentDir => Some(None),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(part).collect()
}
