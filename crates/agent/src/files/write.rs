//! Writes whole files atomically: readers see the old or the new content, never a part. Also appends to files.

use crate::files::{
    fail,
    folder::{Folder, Id, kind, must_be_file},
    limits::MAX_BYTES,
    tree::{Access, Spot, Target, Tree, names_folder},
};
use crate::protocol::{Encoding, Failure, FailureKind, WriteFile, Written};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustix::fs::{AtFlags, FileType, Stat, accessat};
use std::{
    borrow::Cow,
    ffi::OsString,
    fs::{self, Permissions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

/// The permissions of a new file, before the umask.
const NEW: u32 = 0o644;
/// The prefix of the names of temporary files.
pub(super) const UNFINISHED: &str = ".portcullis-";

/// A validated request.
struct Prepared<'a> {
    mode: Option<u32>,
    content: Cow<'a, [u8]>,
    spot: Spot,
}

fn prepare<'a>(tree: &Tree, request: &'a WriteFile) -> Result<Prepared<'a>, Failure> {
    let mode = request.mode.as_deref().map(permissions).transpose()?;
    let content = decoded(request)?;
    check_size(content.len() as u64)?;
    if names_folder(&request.path) {
        return Err(fail::names_folder(&request.path));
    }
    let spot = tree.follow(&request.path, Access::Change)?;
    Ok(Prepared { mode, content, spot })
}

/// `POST /files/write`.
pub(super) fn write(tree: &Tree, request: &WriteFile) -> Result<Written, Failure> {
    let Prepared { mode, content, spot } = prepare(tree, request)?;
    let path = spot.path.clone();
    let _held = tree.hold(&path);
    let created = replace(spot, &content, mode)?;
    Ok(Written { path: tree.shown(&path), size: content.len() as u64, created })
}

/// `POST /files/append`. A partial append is reverted; a missing file is created.
pub(super) fn append(tree: &Tree, request: &WriteFile) -> Result<Written, Failure> {
    let Prepared { mode, content, spot } = prepare(tree, request)?;
    let path = spot.path.clone();
    let _held = tree.hold(&path);
    let failed = |error| fail::io("append to", &path, &error);
    let Some(old) = existing(&spot)? else {
        replace(spot, &content, mode)?;
        return Ok(Written { path: tree.shown(&path), size: content.len() as u64, created: true });
    };
    let name = spot.rest.first().map(OsString::as_os_str).unwrap_or_default();
    let mut file = spot.folder.append(name).map_err(failed)?;
    // The file may have been replaced by a device or a pipe in the meantime.
    let now = rustix::fs::fstat(&file).map_err(|error| failed(error.into()))?;
    if Id::of(&now) != Id::of(&old) {
        return Err(fail::conflict(format!("{} was just replaced: try again", path.display())));
    }
    let zone = spot.guard.zone(&file, Id::of(&now), spot.folder.id, spot.zone).map_err(failed)?;
    spot.guard.check_change(zone, &path)?;
    let size = file.metadata().map_err(failed)?.len();
    if let Err(error) = file.write_all(&content).and_then(|()| file.sync_data()) {
        // If the file cannot be truncated, it stays as it is; the error reports the failed append.
        let _ = file.set_len(size);
        return Err(failed(error));
    }
    if let Some(mode) = mode {
        file.set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
    }
    Ok(Written { path: tree.shown(&path), size: size + content.len() as u64, created: false })
}

fn decoded(request: &WriteFile) -> Result<Cow<'_, [u8]>, Failure> {
    match request.encoding {
        Encoding::Utf8 => Ok(request.content.as_bytes().into()),
        Encoding::Base64 => {
            let bytes = STANDARD.decode(request.content.trim_ascii());
            let bytes =
                bytes.map_err(|error| fail::invalid(format!("content is not in base64 (RFC 4648 §4): {error}")))?;
            Ok(bytes.into())
        }
    }
}

/// Fails if a file of this size is too large to write.
pub(super) fn check_size(bytes: u64) -> Result<(), Failure> {
    if bytes <= MAX_BYTES {
        return Ok(());
    }
    Err(FailureKind::TooLarge.because(format!(
        "the file would have {bytes} bytes, and at most {MAX_BYTES} can be written at once: write the first part, then \
         append the others with append, or create the file by a command"
    )))
}

/// Replaces the content of a file. Returns whether the file is new.
///
/// The new file is complete and synced before it is renamed: some network volumes report only at the sync that they are
/// full. The folder is not synced: after a power failure the old file may be there, but never a partial file. The mode
/// is kept and, if permitted, the owner; a hard link to the old file keeps the old content.
pub(super) fn replace(spot: Spot, content: &[u8], mode: Option<u32>) -> Result<bool, Failure> {
    let path = spot.path.clone();
    let failed = |error| fail::io("write", &path, &error);
    let old = existing(&spot)?;
    let Some(Target { folder, name, .. }) = spot.into_target()? else {
        return must_be_file(&path, FileType::Directory).map(|()| false);
    };
    let (unfinished, mut file) = Unfinished::file(&folder)
        .map_err(|error| fail::io("create a file in", path.parent().unwrap_or(&path), &error))?;
    file.write_all(content).map_err(failed)?;
    if let Some(old) = &old {
        keep_owner(&file, old).map_err(failed)?;
    }
    if let Some(mode) = mode.or_else(|| old.map(|old| old.st_mode & 0o7777)) {
        file.set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
    }
    file.sync_data().map_err(failed)?;
    folder.rename(&unfinished.name, &name).map_err(failed)?;
    unfinished.done();
    Ok(old.is_none())
}

/// The metadata of an existing file; fails if it is not a regular file, or not writable.
fn existing(spot: &Spot) -> Result<Option<Stat>, Failure> {
    let failed = |error| fail::io("write", &spot.path, &error);
    match spot.stat() {
        Ok(stat) => {
            must_be_file(&spot.path, kind(&stat))?;
            if let [name] = spot.rest.as_slice() {
                accessat(&spot.folder, name, rustix::fs::Access::WRITE_OK, AtFlags::empty())
                    .map_err(|error| failed(error.into()))?;
            }
            Ok(Some(stat))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// A temporary file or folder, removed on drop unless it was renamed.
pub(super) struct Unfinished<'a> {
    folder: &'a Folder,
    pub name: OsString,
    is_folder: bool,
    armed: bool,
}

impl<'a> Unfinished<'a> {
    /// Creates a temporary file.
    pub(super) fn file(folder: &'a Folder) -> io::Result<(Self, fs::File)> {
        Self::make(folder, false, |name| folder.create(name, NEW))
    }

    /// Creates a temporary folder that only this user can access.
    pub(super) fn folder(folder: &'a Folder) -> io::Result<(Self, Folder)> {
        Self::make(folder, true, |name| {
            rustix::fs::mkdirat(folder, name, rustix::fs::Mode::RWXU)?;
            folder.child(name)
        })
    }

    fn make<T>(
        folder: &'a Folder,
        is_folder: bool,
        mut create: impl FnMut(&OsString) -> io::Result<T>,
    ) -> io::Result<(Self, T)> {
        /// The number of names to try. This process uses each name once, but files of an earlier process with the same
        /// id may remain after a crash.
        const TRIES: usize = 1000;
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let mut last = io::ErrorKind::AlreadyExists.into();
        for _ in 0..TRIES {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = OsString::from(format!("{UNFINISHED}{}-{number}", process::id()));
            match create(&name) {
                Ok(made) => return Ok((Self { folder, name, is_folder, armed: true }, made)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// Marks it as renamed.
    pub(super) fn done(mut self) {
        self.armed = false;
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        // A failure cannot be handled here; the name identifies the file as temporary.
        let _ = if self.is_folder {
            super::remove::all_of(self.folder, &self.name, None)
        } else {
            self.folder.unlink(&self.name)
        };
    }
}

/// Sets the owner and group of the old file. Without root permissions, the file keeps the current user as its owner.
fn keep_owner(file: &fs::File, old: &Stat) -> io::Result<()> {
    let new = file.metadata()?;
    if (new.uid(), new.gid()) == (old.st_uid, old.st_gid) {
        return Ok(());
    }
    match fchown(file, Some(old.st_uid), Some(old.st_gid)) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        result => result,
    }
}

/// Parses permissions in octal.
fn permissions(text: &str) -> Result<u32, Failure> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let octal = digits.len() <= 5 && digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    u32::from_str_radix(digits, 8)
        .ok()
        .filter(|mode| octal && *mode <= 0o7777)
        .ok_or_else(|| fail::invalid(format!("mode {text:?} is not octal permissions; for example 644 or 755")))
}
