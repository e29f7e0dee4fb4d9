//! The store of sign-ins: one file per endpoint, which only its owner can read, below `$XDG_STATE_HOME/portcullis`.

use crate::credentials::{Credentials, CredentialsError};
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

/// The store.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

/// Why the store cannot be used. The messages contain no secret.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The user has no home folder.
    #[error("neither XDG_STATE_HOME nor HOME is an absolute path, so there is no folder for tokens; set one of them")]
    NoFolder,
    /// Other users can read the path.
    #[error("other users of this machine can access {path}; run chmod {mode} {path}, and sign in again if someone may have read it", path = .path.display())]
    Permissions {
        /// The folder or file.
        path: PathBuf,
        /// The permissions that it should have.
        mode: &'static str,
    },
    /// The path is not of the expected type.
    #[error("{path} is not a regular file or folder; remove it", path = .path.display())]
    Type {
        /// The path.
        path: PathBuf,
    },
    /// The content cannot be used.
    #[error("the stored sign-in {path} cannot be used", path = .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: CredentialsError,
    },
    /// The file system failed.
    #[error("{path} cannot be {action}", path = .path.display())]
    Io {
        /// The operation that failed.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// The exclusive right of this process to change the sign-in of one endpoint, or to ask for one, until it is dropped.
#[derive(Debug)]
pub struct StoreLock {
    _file: File,
}

impl Store {
    /// The store in `$XDG_STATE_HOME/portcullis`, or `~/.local/state/portcullis` (XDG Base Directory Specification).
    pub fn of_user(state_home: Option<OsString>, home: Option<OsString>) -> Result<Self, StoreError> {
        let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
        let state = state_home.and_then(absolute).or_else(|| Some(home.and_then(absolute)?.join(".local/state")));
        Ok(Self { folder: state.ok_or(StoreError::NoFolder)?.join("portcullis") })
    }

    /// The sign-in at `url`, if there is one.
    pub fn load(&self, url: &PublicUrl) -> Result<Option<Credentials>, StoreError> {
        let path = self.path(url, "json");
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("opened", &path, error)),
        };
        check_permissions(&self.folder, "700", fs::Metadata::is_dir)?;
        check_permissions(&path, "600", fs::Metadata::is_file)?;
        let mut content = Vec::new();
        file.by_ref().take(MAX_FILE).read_to_end(&mut content).map_err(|error| failed("read", &path, error))?;
        let found = Credentials::parse(&content, url).map_err(|source| StoreError::Content { path, source })?;
        Ok(Some(found))
    }

    /// Stores a sign-in in place of the previous one. The caller has the lock.
    pub fn save(&self, credentials: &Credentials, _lock: &StoreLock) -> Result<(), StoreError> {
        let path = self.path(&credentials.url, "json");
        let content = credentials.to_json().map_err(|error| failed("written", &path, error.into()))?;
        atomic_file::replace(&path, &self.path(&credentials.url, "new"), &content)
            .map_err(|error| failed("written", &path, error))
    }

    /// Deletes the sign-in at `url`. The caller has the lock.
    pub fn delete(&self, url: &PublicUrl, _lock: &StoreLock) -> Result<(), StoreError> {
        let path = self.path(url, "json");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("removed", &path, error)),
            _ => Ok(()),
        }
    }

    /// Waits until no other process changes the sign-in at `url`, and keeps others waiting until the result is dropped.
    pub async fn lock(&self, url: &PublicUrl) -> Result<StoreLock, StoreError> {
        self.lock_file(url, "lock").await
    }

    /// Waits until no other process asks the user to sign in at `url`: one browser page is enough for all.
    pub async fn lock_prompt(&self, url: &PublicUrl) -> Result<StoreLock, StoreError> {
        self.lock_file(url, "prompt").await
    }

    async fn lock_file(&self, url: &PublicUrl, extension: &str) -> Result<StoreLock, StoreError> {
        self.create_folder()?;
        let path = self.path(url, extension);
        let open = || OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = open().map_err(|error| failed("opened", &path, error))?;
        let locked = spawn_blocking(move || file.lock().map(|()| file)).await;
        let file = locked.map_err(io::Error::other).flatten().map_err(|error| failed("locked", &path, error))?;
        Ok(StoreLock { _file: file })
    }

    fn create_folder(&self) -> Result<(), StoreError> {
        if let Some(parent) = self.folder.parent() {
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o700).create(parent).map_err(|error| failed("created", parent, error))?;
        }
        match DirBuilder::new().mode(0o700).create(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed("created", &self.folder, error)),
            _ => check_permissions(&self.folder, "700", fs::Metadata::is_dir),
        }
    }

    fn path(&self, url: &PublicUrl, extension: &str) -> PathBuf {
        self.folder.join(format!("{}.{extension}", file_stem(url)))
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
    use crate::credentials::tests::credentials;
    use std::fs::Permissions;
    use tempfile::TempDir;

    const URL: &str = "https://h.example.com/mcp";

    fn store() -> (TempDir, Store) {
        let home = tempfile::tempdir().unwrap();
        let store = Store::of_user(None, Some(home.path().into())).unwrap();
        (home, store)
    }

    #[tokio::test]
    async fn a_sign_in_is_stored_for_its_owner_alone() {
        let (_home, store) = store();
        let stored = credentials(URL);
        assert_eq!(store.load(&stored.url).unwrap(), None);
        let lock = store.lock(&stored.url).await.unwrap();
        store.save(&stored, &lock).unwrap();
        assert_eq!(store.load(&stored.url).unwrap(), Some(stored.clone()));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&store.folder), mode(&store.path(&stored.url, "json"))), (0o700, 0o600));
        assert_eq!(store.load(&credentials("https://h.example.com/other").url).unwrap(), None);
        store.delete(&stored.url, &lock).unwrap();
        store.delete(&stored.url, &lock).unwrap();
        assert_eq!(store.load(&stored.url).unwrap(), None);
    }

    #[tokio::test]
    async fn what_others_can_read_is_refused() {
        let (_home, store) = store();
        let stored = credentials(URL);
        store.save(&stored, &store.lock(&stored.url).await.unwrap()).unwrap();
        let file = store.path(&stored.url, "json");
        let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        set(&file, 0o640);
        let error = store.load(&stored.url).unwrap_err().to_string();
        assert!(error.contains("chmod 600") && error.contains(file.to_str().unwrap()), "{error}");
        set(&file, 0o600);
        set(&store.folder, 0o755);
        assert!(store.load(&stored.url).unwrap_err().to_string().contains("chmod 700"));
        assert!(store.lock(&stored.url).await.unwrap_err().to_string().contains("chmod 700"));
        set(&store.folder, 0o700);
        fs::write(&file, "{\"version\": 1").unwrap();
        assert!(matches!(store.load(&stored.url), Err(StoreError::Content { .. })));
    }

    #[tokio::test]
    async fn one_process_at_a_time_has_the_lock() {
        let (_home, store) = store();
        let url = credentials(URL).url;
        let lock = store.lock(&url).await.unwrap();
        let second = File::open(store.path(&url, "lock")).unwrap();
        assert!(second.try_lock().is_err());
        drop(lock);
        assert!(second.try_lock().is_ok());
    }

    #[test]
    fn the_folder_follows_the_environment() {
        let folder = |state: Option<&str>, home: Option<&str>| {
            Store::of_user(state.map(OsString::from), home.map(OsString::from)).map(|store| store.folder).ok()
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
