//! The file of a journal: one line of JSON for each entry. Processes of the workspace can change the file, so nothing in
//! it is trusted.

use rustix::fs::OFlags;
use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

/// Reads at most the last `most` bytes. A missing file is empty.
pub(super) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut file = match open(OpenOptions::new().read(true), path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => file?,
    };
    let skipped = file.metadata()?.len().saturating_sub(most);
    file.seek(SeekFrom::Start(skipped))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    if skipped > 0 {
        // The first line is incomplete.
        let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
        bytes.drain(..end);
    }
    Ok(bytes)
}

/// Appends text, and returns the size of the file.
pub(super) fn append(path: &Path, text: &str) -> io::Result<u64> {
    let mut file = open(OpenOptions::new().append(true).create(true), path)?;
    file.write_all(text.as_bytes())?;
    Ok(file.metadata()?.len())
}

/// Replaces the file.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut unfinished = OsString::from(path);
    unfinished.push(".new");
    // Not `atomic_file`: a journal is not worth a sync.
    let mut file = open(OpenOptions::new().write(true).create(true).truncate(true), unfinished.as_ref())?;
    file.write_all(text.as_bytes())?;
    fs::rename(unfinished, path)
}

/// Opens a regular file, neither through a link nor waiting for the other end of a pipe.
fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = options.mode(0o600).custom_flags(flags.bits().cast_signed()).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file")) }
}
