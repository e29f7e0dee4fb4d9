//! Reading and replacing a configuration file: the only I/O of this crate.

use jiff::Timestamp;
use portcullis_core::atomic_file;
use std::{
    ffi::OsString,
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{self, Path, PathBuf},
};

/// The largest file that is read. Claude Code's, which has a history, takes some megabytes.
const MAX_BYTES: u64 = 32 * 1024 * 1024;
/// The maximum number of backups in one second.
const MAX_BACKUPS: u32 = 100;
/// The permissions of a file, without the bits that change who runs it.
const PERMISSIONS: u32 = 0o777;

/// A configuration file as it was read.
#[derive(Debug)]
pub struct ConfigFile {
    /// The target of symbolic links.
    path: PathBuf,
    /// `None` if there was no file.
    content: Option<(String, Metadata)>,
}

/// A configuration file cannot be read or replaced.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{path} cannot be read", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// It is a folder, a device or a pipe.
    #[error("{path} is not a file; pass the client's configuration file with --file", path = path.display())]
    NotAFile {
        /// Its path.
        path: PathBuf,
    },
    /// It is a link, and what it leads to is missing.
    #[error("{path} is a link to a file that does not exist; create that file, or remove the link", path = path.display())]
    BrokenLink {
        /// The link.
        path: PathBuf,
    },
    /// It is larger than any configuration.
    #[error("{path} has more than {MAX_BYTES} bytes, the limit for a configuration file", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is not UTF-8.
    #[error("{path} is not UTF-8 text; convert it and run the command again", path = path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// Another program changed it since it was read.
    #[error("{path} has just been changed by another program; nothing was written, run the command again", path = path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The copy of the former content cannot be written.
    #[error("the backup {path} cannot be written; the configuration was not changed", path = path.display())]
    Backup {
        /// The backup.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The new content cannot be written.
    #[error("{path} cannot be written; it was not changed", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}

impl ConfigFile {
    /// Reads the file, which may be missing.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let failed = |source| FileError::Read { path: path.to_owned(), source };
        match fs::canonicalize(path) {
            Ok(real) => Ok(Self { content: Some(load(&real)?), path: real }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if fs::symlink_metadata(path).is_ok() {
                    return Err(FileError::BrokenLink { path: path.to_owned() });
                }
                let path = path::absolute(path).map_err(failed)?;
                Ok(Self { path, content: None })
            }
            Err(source) => Err(failed(source)),
        }
    }

    /// The content of the file; empty if the file was missing.
    #[must_use]
    pub fn text(&self) -> &str {
        self.content.as_ref().map_or("", |(text, _)| text)
    }

    /// Replaces the content, and keeps permissions, owner and links. Returns the path of a copy of the former content, which
    /// is beside the file that links lead to; `None` if there was no file.
    pub fn replace(&self, text: &str, now: Timestamp) -> Result<Option<PathBuf>, FileError> {
        let failed = |source| FileError::Write { path: self.path.clone(), source };
        let changed = || FileError::Changed { path: self.path.clone() };
        let Some((old, metadata)) = &self.content else {
            if fs::symlink_metadata(&self.path).is_ok() {
                return Err(changed());
            }
            if let Some(folder) = self.path.parent() {
                fs::create_dir_all(folder).map_err(failed)?;
            }
            let unfinished = self.beside(".new");
            atomic_file::replace(&self.path, &unfinished, text.as_bytes()).map_err(|source| {
                discard(&unfinished);
                failed(source)
            })?;
            return Ok(None);
        };
        if load(&self.path).map_err(|_| changed())?.0 != *old {
            return Err(changed());
        }
        let backup = self.back_up(old, metadata, now)?;
        let unfinished = self.beside(".new");
        atomic_file::replace_like(&self.path, &unfinished, text.as_bytes(), metadata).map_err(|source| {
            discard(&unfinished);
            failed(source)
        })?;
        Ok(Some(backup))
    }

    /// Writes a copy of the former content, without replacing another one.
    fn back_up(&self, text: &str, metadata: &Metadata, now: Timestamp) -> Result<PathBuf, FileError> {
        let stamp = now.strftime("%Y%m%dT%H%M%SZ");
        let mut number = 1;
        loop {
            let suffix = if number == 1 { String::new() } else { format!("-{number}") };
            let path = self.beside(&format!(".bak-{stamp}{suffix}"));
            let mode = metadata.mode() & PERMISSIONS;
            let created = OpenOptions::new().write(true).create_new(true).mode(mode).open(&path);
            match created.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all())) {
                Ok(()) => return Ok(path),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < MAX_BACKUPS => number += 1,
                Err(source) => return Err(FileError::Backup { path, source }),
            }
        }
    }

    /// A path in the same folder.
    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = self.path.file_name().map_or_else(OsString::new, OsString::from);
        name.push(suffix);
        self.path.with_file_name(name)
    }
}

/// Removes what a failed write left. The write's own error is reported.
fn discard(unfinished: &Path) {
    fs::remove_file(unfinished).unwrap_or_default();
}

fn load(path: &Path) -> Result<(String, Metadata), FileError> {
    let failed = |source| FileError::Read { path: path.to_owned(), source };
    // Opening a pipe would wait for a writer.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(FileError::NotAFile { path: path.to_owned() });
    }
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let mut bytes = Vec::new();
    let read = file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(read).is_ok_and(|read| read > MAX_BYTES) {
        return Err(FileError::TooLarge { path: path.to_owned() });
    }
    let text = String::from_utf8(bytes).map_err(|_| FileError::NotText { path: path.to_owned() })?;
    Ok((text, metadata))
}

#[cfg(test)]
mod tests;
