//! The folders of workspaces: `workspaces/ID/` contains `workspace.json`, `journal.jsonl`, `home/`, `tmp/` and `output/`.
//!
//! Folders are created and deleted atomically, by a rename, so a crash leaves no partial workspace. A name that begins
//! with a dot marks unfinished work, which is deleted at startup. Once begun, a change is finished even if its caller
//! is cancelled: code that must follow it is passed as `done`.

use crate::{Error, Owner, Status};
use jiff::Timestamp;
use portcullis_core::atomic_file;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

const RECORD_FILE: &str = "workspace.json";
/// The name prefix of folders that are being created.
const UNFINISHED: &str = ".new-";
/// The name prefix of folders that are being deleted.
const FORGOTTEN: &str = ".old-";

/// `workspace.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Record {
    pub id: String,
    pub name: String,
    pub owner: Owner,
    pub template: String,
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
    pub status: Status,
    pub created_at: Timestamp,
    #[serde(default)]
    pub last_activity: Option<Timestamp>,
}

/// The folder `workspaces`.
#[derive(Clone, Debug)]
pub(super) struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens the folder, creates it if necessary, and reads the records in it.
    pub(super) async fn open(root: PathBuf) -> Result<(Self, Vec<Record>), Error> {
        let doing = format!("open the state directory {}", root.display());
        blocking(move || {
            private_dir(&root)?;
            let root = root.canonicalize()?;
            sweep(&root)?;
            let records = read_all(&root)?;
            Ok((Self { root }, records))
        })
        .await
        .map_err(Error::io(doing))
    }

    /// The folder of all workspaces.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn home(&self, id: &str) -> PathBuf {
        self.root.join(id).join("home")
    }

    pub(super) fn tmp(&self, id: &str) -> PathBuf {
        self.root.join(id).join("tmp")
    }

    pub(super) fn output(&self, id: &str) -> PathBuf {
        self.root.join(id).join("output")
    }

    /// The file of the workspace agent's journal.
    pub(super) fn journal(&self, id: &str) -> PathBuf {
        self.root.join(id).join("journal.jsonl")
    }

    /// Creates a workspace's folder.
    pub(super) async fn create(&self, record: Record, done: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let root = self.root.clone();
        blocking(move || {
            let unfinished = root.join(format!("{UNFINISHED}{}", record.id));
            for folder in ["home", "tmp", "output"] {
                private_dir(&unfinished.join(folder))?;
            }
            write_record(&unfinished, &record)?;
            fs::rename(&unfinished, root.join(&record.id))?;
            done();
            File::open(&root)?.sync_all()
        })
        .await
        .map_err(Error::io("create the workspace's folder"))
    }

    /// Writes a workspace's changed record.
    pub(super) async fn save(&self, record: Record, done: impl FnOnce(Record) + Send + 'static) -> Result<(), Error> {
        let folder = self.root.join(&record.id);
        blocking(move || write_record(&folder, &record).map(|()| done(record)))
            .await
            .map_err(Error::io("save the workspace's state"))
    }

    /// Removes a workspace; [`Self::free`] then deletes its files.
    pub(super) async fn forget(&self, id: &str, done: impl FnOnce() + Send + 'static) -> Result<(), Error> {
        let (from, to) = (self.root.join(id), self.root.join(format!("{FORGOTTEN}{id}")));
        blocking(move || fs::rename(from, to).map(|()| done())).await.map_err(Error::io("delete the workspace"))
    }

    /// Deletes the files of a forgotten workspace.
    pub(super) async fn free(&self, id: &str) -> Result<(), Error> {
        let folder = self.root.join(format!("{FORGOTTEN}{id}"));
        blocking(move || remove_tree(&folder)).await.map_err(Error::io("delete the workspace's files"))
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Deletes the unfinished work of a crash.
fn sweep(root: &Path) -> io::Result<()> {
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if name.starts_with(UNFINISHED.as_bytes()) || name.starts_with(FORGOTTEN.as_bytes()) {
            remove_tree(&entry.path())?;
        }
    }
    Ok(())
}

fn read_all(root: &Path) -> io::Result<Vec<Record>> {
    let mut records = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        let Some(id) = entry.file_name().to_str().filter(|name| name.starts_with("ws-")).map(str::to_owned) else {
            continue;
        };
        let path = entry.path().join(RECORD_FILE);
        match read_record(&path) {
            Ok(record) if record.id == id => records.push(record),
            // A damaged file must not affect other workspaces. The folder is kept for inspection by its owner.
            Ok(record) => warn(&path, &format!("it contains {:?}", record.id)),
            Err(error) => warn(&path, &error.to_string()),
        }
    }
    Ok(records)
}

fn warn(path: &Path, why: &str) {
    tracing::warn!(path = %path.display(), why, "a workspace is skipped: its file is damaged");
}

fn read_record(path: &Path) -> io::Result<Record> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

fn write_record(folder: &Path, record: &Record) -> io::Result<()> {
    let (path, unfinished) = (folder.join(RECORD_FILE), folder.join(".workspace.json.new"));
    atomic_file::replace(&path, &unfinished, &serde_json::to_vec_pretty(record)?)
}

fn private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Like `rm -rf`, but also deletes folders without write permission, such as Go's module cache.
fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            make_folders_writable(path)?;
            fs::remove_dir_all(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn make_folders_writable(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        // Symbolic links are not followed: they may point outside the workspace.
        if entry.file_type()?.is_dir() {
            make_folders_writable(&entry.path())?;
        }
    }
    Ok(())
}
