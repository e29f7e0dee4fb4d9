//! The state directory: credentials that outlive the process, and the files that the server mounts.
//!
//! ```text
//! STATE/.lock                       held while a `portcullis dev` uses the directory
//! STATE/secrets/NAME/KEY            one Secret, one file per key (0600 in 0700)
//! STATE/secrets/NAME/.metadata.json its labels and annotations
//! STATE/mounted/ENDPOINT/           what a kubelet would mount into the endpoint's servers
//! STATE/workspaces/                 the workspaces' own folders
//! ```

use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use portcullis_config::Revision;
use portcullis_core::atomic_file;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink},
    path::{Path, PathBuf},
};

const METADATA_FILE: &str = ".metadata.json";

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A second `portcullis dev` would overwrite the first one's files.
    #[error("{path} is in use by another portcullis dev; stop it, or use another --state-dir", path = .0.display())]
    InUse(PathBuf),
    /// An operation of the file system failed.
    #[error("{path} could not be {action}", path = .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The failed operation: `read`, `written`, ….
        action: &'static str,
        /// The error of the system.
        source: io::Error,
    },
    /// A Secret's metadata file is damaged.
    #[error("{path} is damaged; delete its folder to generate new credentials", path = .path.display())]
    Metadata {
        /// The file.
        path: PathBuf,
        /// The JSON error.
        source: serde_json::Error,
    },
}

/// Adds the path and the operation to an I/O error.
fn failed<'a>(path: &'a Path, action: &'static str) -> impl FnOnce(io::Error) -> StoreError + 'a {
    move |source| StoreError::Io { path: path.to_owned(), action, source }
}

/// A state directory, locked for this process.
#[derive(Debug)]
pub(super) struct Store {
    root: PathBuf,
    /// The lock file, which is locked while it is open.
    _lock: File,
}

/// The labels and annotations of a Secret.
#[derive(Default, PartialEq, Serialize, Deserialize)]
struct Metadata {
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

impl Store {
    /// Opens and locks the directory; creates it if it does not exist.
    pub(super) fn open(root: &Path) -> Result<Self, StoreError> {
        make_folder(root)?;
        let root = fs::canonicalize(root).map_err(failed(root, "found"))?;
        let path = root.join(".lock");
        let lock =
            OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(failed(&path, "opened"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(StoreError::InUse(root)),
            Err(fs::TryLockError::Error(error)) => return Err(failed(&path, "locked")(error)),
        }
        let store = Self { root, _lock: lock };
        make_folder(&store.secrets_folder())?;
        Ok(store)
    }

    /// The absolute path of the directory.
    #[must_use]
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of all Secrets.
    #[must_use]
    pub(super) fn secrets_folder(&self) -> PathBuf {
        self.root.join("secrets")
    }

    /// The folder with the files of one Secret.
    #[must_use]
    pub(super) fn secret_folder(&self, name: &str) -> PathBuf {
        self.secrets_folder().join(name)
    }

    /// The folder with the mounted files of one endpoint.
    #[must_use]
    pub(super) fn mounted_folder(&self, endpoint: &str) -> PathBuf {
        self.root.join("mounted").join(endpoint)
    }

    /// The folder with the grants and registrations of one endpoint.
    #[must_use]
    pub(super) fn grants_folder(&self, endpoint: &str) -> PathBuf {
        self.root.join("oauth").join(endpoint)
    }

    /// All Secrets, by name. Keys whose files the user deleted or emptied are missing or empty, as they would be in a
    /// cluster.
    pub(super) fn secrets(&self) -> Result<BTreeMap<String, Secret>, StoreError> {
        let mut secrets = BTreeMap::new();
        for (name, folder) in entries(&self.secrets_folder())? {
            if !folder.is_dir() || name.starts_with('.') {
                continue;
            }
            let mut metadata = Metadata::default();
            let mut data = BTreeMap::new();
            for (key, path) in entries(&folder)? {
                let bytes = fs::read(&path).map_err(failed(&path, "read"))?;
                if key == METADATA_FILE {
                    metadata =
                        serde_json::from_slice(&bytes).map_err(|source| StoreError::Metadata { path, source })?;
                } else if !key.starts_with('.') {
                    data.insert(key, ByteString(bytes));
                }
            }
            let meta = ObjectMeta {
                name: Some(name.clone()),
                labels: Some(metadata.labels),
                annotations: Some(metadata.annotations),
                ..ObjectMeta::default()
            };
            secrets.insert(name, Secret { metadata: meta, data: Some(data), ..Secret::default() });
        }
        Ok(secrets)
    }

    /// Writes the files of a Secret. `observed` is the Secret as last read. Unchanged keys are not written: a file that
    /// the user deletes meanwhile, to revoke its content, must not come back.
    pub(super) fn write_secret(
        &self,
        name: &str,
        secret: &Secret,
        observed: Option<&Secret>,
    ) -> Result<(), StoreError> {
        let folder = self.secret_folder(name);
        make_folder(&folder)?;
        let metadata = Metadata {
            labels: secret.metadata.labels.clone().unwrap_or_default(),
            annotations: secret.metadata.annotations.clone().unwrap_or_default(),
        };
        let data = secret.data.clone().unwrap_or_default();
        for (key, path) in entries(&folder)? {
            if key != METADATA_FILE && !data.contains_key(&key) {
                fs::remove_file(&path).map_err(failed(&path, "removed"))?;
            }
        }
        let seen = observed.and_then(|secret| secret.data.as_ref());
        for (key, value) in data.iter().filter(|(key, value)| seen.and_then(|data| data.get(*key)) != Some(value)) {
            write_file(&folder.join(key), &value.0)?;
        }
        let path = folder.join(METADATA_FILE);
        let text = serde_json::to_vec_pretty(&metadata)
            .map_err(|source| StoreError::Metadata { path: path.clone(), source })?;
        write_file(&path, &text)
    }

    /// Removes the folder of a Secret that is no longer planned.
    pub(super) fn remove_secret(&self, name: &str) -> Result<(), StoreError> {
        let folder = self.secret_folder(name);
        fs::remove_dir_all(&folder).map_err(failed(&folder, "removed"))
    }

    /// Writes the mounted files in the layout of a kubelet: `NAME -> ..data/NAME`, `..data -> ..REVISION`, so that all
    /// files change in one rename. Returns whether anything changed.
    pub(super) fn mount(
        &self,
        endpoint: &str,
        revision: &Revision,
        files: &BTreeMap<&str, Vec<u8>>,
    ) -> Result<bool, StoreError> {
        let folder = self.mounted_folder(endpoint);
        let (current, version) = (folder.join("..data"), format!("..{revision}"));
        let content = folder.join(&version);
        if fs::read_link(&current).is_ok_and(|link| link == Path::new(&version)) && holds(&content, files) {
            return Ok(false);
        }
        make_folder(&content)?;
        for (name, bytes) in files {
            write_file(&content.join(name), bytes)?;
        }
        replace_link(&current, Path::new(&version))?;
        for name in files.keys() {
            let (link, target) = (folder.join(name), Path::new("..data").join(name));
            if fs::read_link(&link).ok().as_ref() != Some(&target) {
                replace_link(&link, &target)?;
            }
        }
        let keep: BTreeSet<&str> = files.keys().copied().chain(["..data", version.as_str()]).collect();
        for (name, path) in entries(&folder)? {
            if !keep.contains(name.as_str()) && name.starts_with("..") {
                fs::remove_dir_all(&path).map_err(failed(&path, "removed"))?;
            }
        }
        Ok(true)
    }
}

fn holds(folder: &Path, files: &BTreeMap<&str, Vec<u8>>) -> bool {
    files.iter().all(|(name, bytes)| fs::read(folder.join(name)).is_ok_and(|found| found == *bytes))
}

/// Creates a folder that only its owner can access.
fn make_folder(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed(path, "made"))
}

/// The names and paths in a folder, sorted. Names that are not UTF-8 are ignored.
fn entries(folder: &Path) -> Result<BTreeMap<String, PathBuf>, StoreError> {
    fs::read_dir(folder)
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| (entry.file_name().into_string().ok(), entry.path())))
                .filter_map(|entry| match entry {
                    Ok((Some(name), path)) => Some(Ok((name, path))),
                    Ok((None, _)) => None,
                    Err(error) => Some(Err(error)),
                })
                .collect()
        })
        .map_err(failed(folder, "read"))
}

/// Replaces a file atomically if its content differs.
fn write_file(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    if fs::read(path).is_ok_and(|found| found == bytes) {
        return Ok(());
    }
    atomic_file::replace(path, &sibling(path), bytes).map_err(failed(path, "written"))
}

fn replace_link(link: &Path, target: &Path) -> Result<(), StoreError> {
    let new = sibling(link);
    let replace = || {
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => symlink(target, &new)?,
        }
        fs::rename(&new, link)
    };
    replace().map_err(failed(link, "written"))
}

/// The temporary path for the next version of a file, in the same folder. All listings here ignore it.
fn sibling(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.new"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn secret(name: &str, data: &[(&str, &str)]) -> Secret {
        Secret {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some([("l".to_owned(), "1".to_owned())].into()),
                annotations: Some([("a".to_owned(), "2".to_owned())].into()),
                ..ObjectMeta::default()
            },
            data: Some(data.iter().map(|(k, v)| ((*k).to_owned(), ByteString(v.as_bytes().to_vec()))).collect()),
            ..Secret::default()
        }
    }

    #[test]
    fn secrets_come_back_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("state")).unwrap();
        let first = secret("s", &[("client-id", "a"), ("client-secret", "b")]);
        store.write_secret("s", &first, None).unwrap();
        assert_eq!(store.secrets().unwrap()["s"], first);

        let second = secret("s", &[("client-id", "c")]);
        store.write_secret("s", &second, Some(&first)).unwrap();
        assert_eq!(store.secrets().unwrap()["s"], second);
        store.remove_secret("s").unwrap();
        assert!(store.secrets().unwrap().is_empty());
    }

    #[test]
    fn what_is_deleted_meanwhile_does_not_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let before = secret("s", &[("client-secret", "leaked"), ("url", "http://old")]);
        store.write_secret("s", &before, None).unwrap();
        fs::remove_file(store.secret_folder("s").join("client-secret")).unwrap();
        let after = secret("s", &[("client-secret", "leaked"), ("url", "http://new")]);
        store.write_secret("s", &after, Some(&before)).unwrap();
        assert_eq!(store.secrets().unwrap()["s"], secret("s", &[("url", "http://new")]));
    }

    #[test]
    fn only_the_owner_can_read_what_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("state")).unwrap();
        store.write_secret("s", &secret("s", &[("k", "v")]), None).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(store.root()), 0o700);
        assert_eq!(mode(&store.secret_folder("s")), 0o700);
        assert_eq!(mode(&store.secret_folder("s").join("k")), 0o600);
        assert_eq!(mode(&store.secret_folder("s").join(METADATA_FILE)), 0o600);
    }

    #[test]
    fn mounted_files_change_together_and_only_when_they_differ() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let files = |text: &str| BTreeMap::from([("one", text.as_bytes().to_vec()), ("two", b"2".to_vec())]);
        let revision = |text: &str| Revision::of(text.as_bytes(), b"", b"", b"");
        assert!(store.mount("e", &revision("1"), &files("1")).unwrap());
        assert!(!store.mount("e", &revision("1"), &files("1")).unwrap());
        assert!(store.mount("e", &revision("2"), &files("2")).unwrap());
        let mounted = store.mounted_folder("e");
        assert_eq!(fs::read(mounted.join("one")).unwrap(), b"2");
        let names: BTreeSet<String> = entries(&mounted).unwrap().into_keys().collect();
        assert_eq!(names, ["..data", &format!("..{}", revision("2")), "one", "two"].map(str::to_owned).into());

        fs::remove_file(mounted.join("..data/one")).unwrap();
        assert!(store.mount("e", &revision("2"), &files("2")).unwrap(), "what was removed is put back");
    }

    #[test]
    fn a_directory_has_one_user_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert!(matches!(Store::open(folder.path()), Err(StoreError::InUse(_))));
        drop(store);
        Store::open(folder.path()).unwrap();
    }
}
