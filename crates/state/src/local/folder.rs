//! A folder of JSON files, one for each object: written atomically, readable only by their owner.

use portcullis_core::atomic_file;
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

const SUFFIX: &str = ".json";
/// Names of temporary files begin with a dot; leftovers are removed.
const UNFINISHED: &str = ".new-";

/// The folder.
#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Opens the folder, creates it if necessary, and reads its objects, with the names of the files.
    pub(super) fn open<T: DeserializeOwned>(path: &Path) -> io::Result<(Self, Vec<(String, T)>)> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let mut things = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) {
                fs::remove_file(entry.path())?;
            } else if let Some(name) = name_of(&entry.path()) {
                match fs::read(entry.path()).and_then(|content| Ok(serde_json::from_slice(&content)?)) {
                    Ok(thing) => things.push((name.to_owned(), thing)),
                    // One damaged file must not take the others down; it stays for its owner to look at.
                    Err(error) => {
                        tracing::warn!(path = %entry.path().display(), %error, "skipped: the file is damaged");
                    }
                }
            }
        }
        Ok((Self(path.canonicalize()?), things))
    }

    /// Writes an object. After this returns, it survives a power failure.
    pub(super) fn write(&self, name: &str, thing: &impl Serialize) -> io::Result<()> {
        let unfinished = self.0.join(format!("{UNFINISHED}{name}"));
        atomic_file::replace(&self.file(name), &unfinished, &serde_json::to_vec_pretty(thing)?)
    }

    /// Deletes the file of an object.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        match fs::remove_file(self.file(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether the file of an object exists.
    pub(super) fn has(&self, name: &str) -> bool {
        // When in doubt it is: only its absence means something.
        self.file(name).try_exists().unwrap_or(true)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}{SUFFIX}"))
    }
}

/// The name of the object in this file.
fn name_of(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()?.strip_suffix(SUFFIX).filter(|name| !name.starts_with('.'))
}
