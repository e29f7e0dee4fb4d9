//! Folders as open file descriptors. Entries are opened relative to their folder (openat(2)), never through a link, so
//! that a concurrent change of the path cannot redirect the access.

use crate::files::{
    fail,
    guard::{Guard, Zone},
};
use crate::protocol::Failure;
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, mkdirat, openat, readlinkat, renameat, statat, unlinkat},
    io::Errno,
};
use std::{
    ffi::{OsStr, OsString},
    fs::{File, Metadata},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStringExt as _,
    },
    path::{Path, PathBuf},
};

/// The maximum depth of a folder tree that is searched, copied or removed. Each level holds a file descriptor.
pub(super) const MAX_DEPTH: usize = 100;

/// Enough to access entries by name; needs no permission to read the folder.
const PASS: OFlags = OFlags::PATH;

/// The identity of a file or folder: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id {
    pub device: u64,
    inode: u64,
}

impl Id {
    pub(super) fn of(stat: &Stat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino }
    }
}

/// The file type in `stat`.
pub(super) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// An open folder.
#[derive(Debug)]
pub(super) struct Folder {
    fd: OwnedFd,
    pub id: Id,
}

impl Folder {
    /// The root of the file system.
    pub(super) fn root() -> io::Result<Self> {
        Self::new(rustix::fs::open("/", PASS | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
    }

    fn new(fd: OwnedFd) -> io::Result<Self> {
        let id = Id::of(&fstat(&fd)?);
        Ok(Self { fd, id })
    }

    /// Opens the subfolder with this name, or the parent for `..`. Fails for a link.
    pub(super) fn child(&self, name: impl AsRef<OsStr>) -> io::Result<Self> {
        let flags = PASS | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Self::new(openat(&self.fd, name.as_ref(), flags, Mode::empty())?)
    }

    /// Opens the subfolder with this name, and creates it if it is missing.
    pub(super) fn child_or_new(&self, name: &OsStr) -> io::Result<Self> {
        match mkdirat(&self.fd, name, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        self.child(name).map_err(|error| match error.kind() {
            io::ErrorKind::NotADirectory => io::ErrorKind::AlreadyExists.into(),
            _ => error,
        })
    }

    /// The metadata of the entry with this name. A link is not followed.
    pub(super) fn stat(&self, name: impl AsRef<OsStr>) -> io::Result<Stat> {
        Ok(statat(&self.fd, name.as_ref(), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// The target of a link.
    pub(super) fn link(&self, name: &OsStr) -> io::Result<PathBuf> {
        let target = readlinkat(&self.fd, name, Vec::new())?;
        Ok(OsString::from_vec(target.into_bytes()).into())
    }

    /// Opens a regular file for reading. Never blocks on a pipe and never opens a device: the file type is checked
    /// before and after the open.
    pub(super) fn read(
        &self,
        name: &OsStr,
        path: &Path,
        guard: &Guard,
        zone: Zone,
    ) -> Result<(File, Metadata), Failure> {
        let failed = |error| fail::io("read", path, &error);
        must_be_file(path, kind(&self.stat(name).map_err(failed)?))?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = openat(&self.fd, name, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
        let stat = fstat(&file).map_err(|error| failed(error.into()))?;
        must_be_file(path, kind(&stat))?;
        let zone = guard.zone(&file, Id::of(&stat), self.id, zone).map_err(failed)?;
        guard.check_read(zone, path)?;
        let file = File::from(file);
        let metadata = file.metadata().map_err(failed)?;
        Ok((file, metadata))
    }

    /// Creates a new file. Fails if the name exists.
    pub(super) fn create(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(openat(&self.fd, name, flags, Mode::from_raw_mode(mode))?.into())
    }

    /// Opens a file for appending.
    pub(super) fn append(&self, name: &OsStr) -> io::Result<File> {
        let flags =
            OFlags::WRONLY | OFlags::APPEND | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(openat(&self.fd, name, flags, Mode::empty())?.into())
    }

    /// Opens a stream of the entries.
    pub(super) fn entries(&self) -> io::Result<Dir> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(Dir::new(openat(&self.fd, ".", flags, Mode::empty())?)?)
    }

    /// Renames an entry within the folder, and replaces an existing one.
    pub(super) fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        Ok(renameat(&self.fd, from, &self.fd, to)?)
    }

    /// Removes a file or link.
    pub(super) fn unlink(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.fd, name, AtFlags::empty())?)
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Fails unless `kind` is a regular file.
pub(super) fn must_be_file(path: &Path, kind: FileType) -> Result<(), Failure> {
    let what = match kind {
        FileType::RegularFile => return Ok(()),
        FileType::Directory => "a folder, not a file: use list_files",
        FileType::Fifo => "a named pipe, not a file: use it by a command",
        FileType::Socket => "a socket, not a file: use it by a command",
        FileType::Symlink => "a link that was just created: try again",
        _ => "a device, not a file: use it by a command",
    };
    Err(fail::conflict(format!("{} is {what}", path.display())))
}
