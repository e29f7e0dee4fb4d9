//! Writing a whole file: it is there as it was or as it is to be, and never half of either.

use super::{
    fail,
    limits::MAX_BYTES,
    tree::{self, Access, Tree},
};
use crate::agent::protocol::{Encoding, Failure, FailureKind, WriteFile, Written};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use nix::unistd::{AccessFlags, access};
use std::{
    borrow::Cow,
    fs::{self, Metadata, Permissions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown},
    path::Path,
};

/// The permissions of a new file, less the umask.
const NEW: u32 = 0o644;
/// How the files are called that are being written.
pub(super) const UNFINISHED: &str = ".portcullis-";

/// `POST /files/write`.
pub(super) fn write(tree: &Tree, request: &WriteFile) -> Result<Written, Failure> {
    let mode = request.mode.as_deref().map(permissions).transpose()?;
    let content = match request.encoding {
        Encoding::Utf8 => Cow::from(request.content.as_bytes()),
        Encoding::Base64 => Cow::from(
            STANDARD
                .decode(request.content.trim_ascii())
                .map_err(|error| fail::invalid(format!("content is not in base64 (RFC 4648 §4): {error}")))?,
        ),
    };
    check_size(content.len() as u64)?;
    if request.path.ends_with('/') {
        return Err(fail::invalid(format!("{} names a folder: end it with the file's name", request.path)));
    }
    let path = tree.follow(&request.path, Access::Change)?;
    let _held = tree.hold(&path);
    let created = replace(&path, &content, mode)?;
    Ok(Written { path: path.to_string_lossy().into_owned(), size: content.len() as u64, created })
}

/// Refuses what is too large to be written.
pub(super) fn check_size(bytes: u64) -> Result<(), Failure> {
    if bytes <= MAX_BYTES {
        return Ok(());
    }
    Err(FailureKind::TooLarge.because(format!(
        "the file would have {bytes} bytes, and at most {MAX_BYTES} can be written: make it by a command"
    )))
}

/// Puts `content` in the place of what is at `path`, which has no links. Says whether nothing was.
///
/// The new file is complete before it gets the name, and is on the disk by then: some network volumes say only then
/// that they are full. The folder is not synced: after a loss of power there may be the old file, but never half a one.
/// It keeps mode and, where that is allowed, owner; a hard link to the old file keeps the old content.
pub(super) fn replace(path: &Path, content: &[u8], mode: Option<u32>) -> Result<bool, Failure> {
    let failed = |error| fail::io("write", path, &error);
    let old = existing(path)?;
    let folder = path.parent().unwrap_or(path);
    if old.is_none() {
        fs::create_dir_all(folder).map_err(|error| fail::io("make the folder", folder, &error))?;
    }
    let mut file = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .permissions(Permissions::from_mode(NEW))
        .tempfile_in(folder)
        .map_err(|error| fail::io("make a file in", folder, &error))?;
    file.write_all(content).map_err(failed)?;
    if let Some(old) = &old {
        keep_owner(file.as_file(), old).map_err(failed)?;
    }
    if let Some(mode) = mode.or_else(|| old.as_ref().map(|old| old.mode() & 0o7777)) {
        file.as_file().set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
    }
    file.as_file().sync_data().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(old.is_none())
}

/// What is at the path; a failure if it is no file, or one that must not be written.
fn existing(path: &Path) -> Result<Option<Metadata>, Failure> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => {
            tree::must_be_file(path, &metadata)?;
            access(path, AccessFlags::W_OK).map_err(|error| fail::io("write", path, &error.into()))?;
            Ok(Some(metadata))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fail::io("write", path, &error)),
    }
}

/// Gives the new file the old one's owner and group. Only root may give files away; others end up as the owner.
fn keep_owner(file: &fs::File, old: &Metadata) -> io::Result<()> {
    let new = file.metadata()?;
    if (new.uid(), new.gid()) == (old.uid(), old.gid()) {
        return Ok(());
    }
    match fchown(file, Some(old.uid()), Some(old.gid())) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        result => result,
    }
}

/// Reads permissions in octal.
fn permissions(text: &str) -> Result<u32, Failure> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let octal = digits.len() <= 5 && digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    u32::from_str_radix(digits, 8)
        .ok()
        .filter(|mode| octal && *mode <= 0o7777)
        .ok_or_else(|| fail::invalid(format!("mode {text:?} is no permissions in octal: write it like 644 or 755")))
}
