//! The folder of sign-ins, which only its owner can read: `$XDG_STATE_HOME/portcullis`. It has files for each endpoint.

use super::{StoreError, StoreLock};
use portcullis_core::{PublicUrl, atomic_file, hex};
use sha2::{Digest as _, Sha256};
use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};
use tokio::task::spawn_blocking;

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 256 << 10;
/// The permissions of others, which neither the folder nor a file may have.
const OTHERS: u32 = 0o077;

/// A kind of file of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    /// The sign-in.
    SignIn,
    /// The marker of a sign-in that is in the keyring.
    Marker,
    /// The lock for changes.
    Lock,
    /// The lock for asking the user to sign in.
    Prompt,
    /// A file that is not complete yet.
    Unfinished,
}

/// The folder.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// `$XDG_STATE_HOME/portcullis`, or `~/.local/state/portcullis` (XDG Base Directory Specification).
    pub(super) fn of_user(state_home: Option<OsString>, home: Option<OsString>) -> Result<Self, StoreError> {
        let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
        let state = state_home.and_then(absolute).or_else(|| Some(home.and_then(absolute)?.join(".local/state")));
        Ok(Self { path: state.ok_or(StoreError::NoFolder)?.join("portcullis") })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file.
    pub(super) fn file(&self, url: &PublicUrl, kind: FileKind) -> PathBuf {
        let extension = match kind {
            FileKind::SignIn => "json",
            FileKind::Marker => "keyring",
            FileKind::Lock => "lock",
            FileKind::Prompt => "prompt",
            FileKind::Unfinished => "new",
        };
        self.path.join(format!("{}.{extension}", file_stem(url)))
    }

    /// The content of a file, if it exists.
    pub(super) fn read(&self, url: &PublicUrl, kind: FileKind) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.file(url, kind);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("opened", &path, error)),
        };
        check_permissions(&self.path, "700", fs::Metadata::is_dir)?;
        check_permissions(&path, "600", fs::Metadata::is_file)?;
        let mut content = Vec::new();
        file.by_ref().take(MAX_FILE).read_to_end(&mut content).map_err(|error| failed("read", &path, error))?;
        Ok(Some(content))
    }

    /// Writes a file in place of the previous one. The caller has the lock.
    pub(super) fn write(&self, url: &PublicUrl, kind: FileKind, content: &[u8]) -> Result<(), StoreError> {
        let path = self.file(url, kind);
        atomic_file::replace(&path, &self.file(url, FileKind::Unfinished), content)
            .map_err(|error| failed("written", &path, error))
    }

    /// Removes a file, if it exists. The caller has the lock.
    pub(super) fn remove(&self, url: &PublicUrl, kind: FileKind) -> Result<(), StoreError> {
        let path = self.file(url, kind);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("removed", &path, error)),
            _ => Ok(()),
        }
    }

    /// Waits for a lock file, and keeps others waiting until the result is dropped.
    pub(super) async fn lock(&self, url: &PublicUrl, kind: FileKind) -> Result<StoreLock, StoreError> {
        self.create()?;
        let path = self.file(url, kind);
        let open = || OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = open().map_err(|error| failed("opened", &path, error))?;
        let locked = spawn_blocking(move || file.lock().map(|()| file)).await;
        let file = locked.map_err(io::Error::other).flatten().map_err(|error| failed("locked", &path, error))?;
        Ok(StoreLock { _file: file })
    }

    fn create(&self) -> Result<(), StoreError> {
        if let Some(parent) = self.path.parent() {
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o700).create(parent).map_err(|error| failed("created", parent, error))?;
        }
        match DirBuilder::new().mode(0o700).create(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed("created", &self.path, error)),
            _ => check_permissions(&self.path, "700", fs::Metadata::is_dir),
        }
    }
}

/// The name of an endpoint's files: the host, for people, and a hash, since URLs of one host differ.
fn file_stem(url: &PublicUrl) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' };
    let host: String = url.host().chars().map(safe).take(100).collect();
    let hash = hex(&Sha256::digest(url.resource().as_bytes()));
    format!("{host}-{}", hash.get(..16).unwrap_or_default())
}

fn check_permissions(
    path: &Path,
    mode: &'static str,
    is_expected: impl FnOnce(&fs::Metadata) -> bool,
) -> Result<(), StoreError> {
    let metadata = fs::symlink_metadata(path).map_err(|error| failed("checked", path, error))?;
    if !is_expected(&metadata) {
        return Err(StoreError::Type { path: path.to_owned() });
    }
    if metadata.permissions().mode() & OTHERS != 0 {
        return Err(StoreError::Permissions { path: path.to_owned(), mode });
    }
    Ok(())
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://h.example.com/mcp";

    #[tokio::test]
    async fn one_process_at_a_time_has_the_lock() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::of_user(None, Some(home.path().into())).unwrap();
        let url: PublicUrl = URL.parse().unwrap();
        let lock = folder.lock(&url, FileKind::Lock).await.unwrap();
        let second = File::open(folder.file(&url, FileKind::Lock)).unwrap();
        assert!(second.try_lock().is_err());
        drop(lock);
        assert!(second.try_lock().is_ok());
    }

    #[test]
    fn the_folder_follows_the_environment() {
        let folder = |state: Option<&str>, home: Option<&str>| {
            Folder::of_user(state.map(OsString::from), home.map(OsString::from)).map(|folder| folder.path).ok()
        };
        assert_eq!(folder(Some("/s"), Some("/h")), Some("/s/portcullis".into()));
        assert_eq!(folder(Some("relative"), Some("/h")), Some("/h/.local/state/portcullis".into()));
        assert_eq!(folder(None, Some("/h")), Some("/h/.local/state/portcullis".into()));
        assert_eq!((folder(None, None), folder(Some(""), Some(""))), (None, None));
    }

    #[test]
    fn endpoints_have_files_of_their_own() {
        let stem = |url: &str| file_stem(&url.parse().unwrap());
        assert!(stem(URL).starts_with("h.example.com-"));
        assert_ne!(stem(URL), stem("https://h.example.com/other"));
        assert!(stem("http://[::1]:8080/mcp").starts_with("__1-"));
    }
}
