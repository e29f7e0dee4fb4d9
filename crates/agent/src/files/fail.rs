//! Converts system errors to failures with a cause and a remedy.

use crate::files::folder::MAX_DEPTH;
use crate::protocol::{Failure, FailureKind};
use nix::errno::Errno;
use std::{
    io::{self, ErrorKind},
    path::Path,
};

/// An argument is not valid.
pub(super) fn invalid(message: impl Into<String>) -> Failure {
    FailureKind::Invalid.because(message)
}

/// An existing file or folder is in conflict with the request.
pub(super) fn conflict(message: impl Into<String>) -> Failure {
    FailureKind::Conflict.because(message)
}

/// The path names a folder, but a file is to be created.
pub(super) fn names_folder(path: &str) -> Failure {
    invalid(format!("{path} denotes a folder: add the name of the file"))
}

/// Folders are nested too deeply.
pub(super) fn too_deep() -> io::Error {
    io::Error::other(FailureKind::TooLarge.because(format!(
        "folders are nested more than {MAX_DEPTH} levels deep: start with a deeper folder, or use run_command"
    )))
}

/// The failure of the action `doing` on `path`.
pub(super) fn io(doing: &str, path: &Path, error: &io::Error) -> Failure {
    if let Some(failure) = error.get_ref().and_then(|inner| inner.downcast_ref::<Failure>()) {
        return failure.clone();
    }
    let (kind, why) = reason(error);
    kind.because(format!("cannot {doing} {}: {why}", path.display()))
}

/// The kind of failure, and the cause with its remedy.
fn reason(error: &io::Error) -> (FailureKind, String) {
    let (kind, why) = match error.kind() {
        ErrorKind::NotFound => (FailureKind::NotFound, "no such file or folder"),
        ErrorKind::PermissionDenied => {
            (FailureKind::Denied, "the workspace's user lacks the permission; check its owner and mode")
        }
        ErrorKind::ReadOnlyFilesystem => (FailureKind::Denied, "it is on a file system that is read-only"),
        ErrorKind::NotADirectory => (FailureKind::Conflict, "a part of the path is a file where a folder is needed"),
        ErrorKind::IsADirectory => (FailureKind::Conflict, "it is a folder"),
        ErrorKind::AlreadyExists => (FailureKind::Conflict, "a file or folder of that name exists"),
        ErrorKind::DirectoryNotEmpty => (FailureKind::Conflict, "the folder is not empty"),
        ErrorKind::ResourceBusy | ErrorKind::ExecutableFileBusy => {
            (FailureKind::Conflict, "it is in use, or a mount point")
        }
        ErrorKind::StorageFull => (FailureKind::Exhausted, "the disk is full: remove unneeded files"),
        ErrorKind::QuotaExceeded => (FailureKind::Exhausted, "the disk quota is exceeded: remove unneeded files"),
        ErrorKind::FileTooLarge => (FailureKind::TooLarge, "it would be larger than the file system allows"),
        ErrorKind::InvalidFilename => (FailureKind::Invalid, "the name is too long"),
        ErrorKind::TimedOut => (FailureKind::TooLarge, "it took too long; use a command for files of this size"),
        _ => match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ELOOP) => (FailureKind::Invalid, "its links form a loop"),
            Some(Errno::EMFILE | Errno::ENFILE) => (FailureKind::Exhausted, "too many files are open"),
            _ => return (FailureKind::Internal, error.to_string()),
        },
    };
    (kind, why.to_owned())
}
