//! The store of sign-ins: the keyring of the operating system, or files where there is no keyring.
//!
//! A user chooses the store at the sign-in, and later commands find the sign-in there. If it is in the keyring, the folder of
//! the files has a marker, so that commands use the keyring only if they need it. The marker is the hash of the content in
//! the keyring: if another process refreshes the tokens, it changes.

mod folder;
mod keyring;

pub use keyring::KeyringError;

use crate::credentials::{Credentials, CredentialsError};
use folder::{FileKind, Folder};
use keyring::Keyring;
use portcullis_core::{PublicUrl, hex, report::chain};
use sha2::{Digest as _, Sha256};
use std::{
    ffi::OsString,
    fs::File,
    io,
    path::PathBuf,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

/// The store.
#[derive(Clone, Debug)]
pub struct Store {
    folder: Folder,
    keyring: Keyring,
    choice: StoreChoice,
    /// The last sign-in that was read from the keyring: `stdio` needs it for every request.
    last: Arc<Mutex<Option<KeyringSignIn>>>,
}

/// A sign-in in the keyring, and its marker.
#[derive(Clone, Debug)]
struct KeyringSignIn {
    marker: Vec<u8>,
    credentials: Credentials,
}

/// The store for new sign-ins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreChoice {
    /// The keyring if it can be used, else a file.
    #[default]
    Auto,
    /// A file.
    File,
    /// The keyring.
    Keyring,
}

/// A name is not that of a [`StoreChoice`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{:?} is not a store; use one of {}", .0, StoreChoice::NAMES.join(", "))]
pub struct UnknownStore(String);

/// Where a sign-in was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredIn {
    /// In the keyring.
    Keyring,
    /// In this file.
    File(PathBuf),
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
    /// The content of the keyring cannot be used.
    #[error("the sign-in in the keyring cannot be used")]
    KeyringContent(#[source] CredentialsError),
    /// The keyring failed.
    #[error("the keyring of this computer cannot be used; unlock it, or sign in with: portcullis login --store file")]
    Keyring(#[from] KeyringError),
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

impl StoreChoice {
    /// The names of all choices.
    pub const NAMES: [&str; 3] = ["auto", "file", "keyring"];
}

impl FromStr for StoreChoice {
    type Err = UnknownStore;

    fn from_str(text: &str) -> Result<Self, UnknownStore> {
        match text {
            "auto" => Ok(Self::Auto),
            "file" => Ok(Self::File),
            "keyring" => Ok(Self::Keyring),
            _ => Err(UnknownStore(text.to_owned())),
        }
    }
}

impl Store {
    /// The store of a user, with the folder `$XDG_STATE_HOME/portcullis` or `~/.local/state/portcullis` (XDG Base Directory
    /// Specification).
    pub fn of_user(
        state_home: Option<OsString>,
        home: Option<OsString>,
        choice: StoreChoice,
    ) -> Result<Self, StoreError> {
        let (folder, keyring) = (Folder::of_user(state_home, home)?, Keyring::of_system());
        Ok(Self { folder, keyring, choice, last: Arc::default() })
    }

    /// The sign-in at `url`, if there is one.
    pub async fn load(&self, url: &PublicUrl) -> Result<Option<Credentials>, StoreError> {
        if let Some(content) = self.folder.read(url, FileKind::SignIn)? {
            let path = self.folder.file(url, FileKind::SignIn);
            return Credentials::parse(&content, url).map(Some).map_err(|source| StoreError::Content { path, source });
        }
        let Some(marker) = self.folder.read(url, FileKind::Marker)? else { return Ok(None) };
        if let Some(last) = self.last().filter(|last| last.marker == marker && last.credentials.url == *url) {
            return Ok(Some(last.credentials));
        }
        let Some(content) = self.keyring.get(&self.entry_name(url)).await? else { return Ok(None) };
        let credentials = Credentials::parse(&content, url).map_err(StoreError::KeyringContent)?;
        if marker_of(&content) == marker {
            self.remember(KeyringSignIn { marker, credentials: credentials.clone() });
        }
        Ok(Some(credentials))
    }

    /// Stores new tokens of a sign-in, where it is. The caller has the lock.
    pub async fn save(&self, credentials: &Credentials, _lock: &StoreLock) -> Result<(), StoreError> {
        let is = |kind| self.folder.read(&credentials.url, kind).map(|content| content.is_some());
        if is(FileKind::Marker)? && !is(FileKind::SignIn)? {
            self.save_in_keyring(credentials).await
        } else {
            self.save_in_file(credentials).await
        }
    }

    /// Stores a new sign-in in the chosen store, in place of the previous one. The caller has the lock.
    pub async fn save_new(&self, credentials: &Credentials, _lock: &StoreLock) -> Result<StoredIn, StoreError> {
        let in_keyring = match self.choice {
            StoreChoice::File => false,
            choice => match self.save_in_keyring(credentials).await {
                Ok(()) => true,
                Err(StoreError::Keyring(error)) if choice == StoreChoice::Auto => {
                    tracing::debug!(error = chain(&error), "the keyring cannot be used");
                    false
                }
                Err(error) => return Err(error),
            },
        };
        if in_keyring {
            return Ok(StoredIn::Keyring);
        }
        self.save_in_file(credentials).await?;
        Ok(StoredIn::File(self.folder.file(&credentials.url, FileKind::SignIn)))
    }

    /// Deletes the sign-in at `url`. The caller has the lock.
    pub async fn delete(&self, url: &PublicUrl, _lock: &StoreLock) -> Result<(), StoreError> {
        self.folder.remove(url, FileKind::SignIn)?;
        if self.folder.read(url, FileKind::Marker)?.is_some() {
            self.keyring.delete(&self.entry_name(url)).await?;
            self.folder.remove(url, FileKind::Marker)?;
        }
        Ok(())
    }

    /// Waits until no other process changes the sign-in at `url`, and keeps others waiting until the result is dropped.
    pub async fn lock(&self, url: &PublicUrl) -> Result<StoreLock, StoreError> {
        self.folder.lock(url, FileKind::Lock).await
    }

    /// Waits until no other process asks the user to sign in at `url`: one browser page is enough for all.
    pub async fn lock_prompt(&self, url: &PublicUrl) -> Result<StoreLock, StoreError> {
        self.folder.lock(url, FileKind::Prompt).await
    }

    /// The order survives a crash: there is always a sign-in that can be loaded.
    async fn save_in_keyring(&self, credentials: &Credentials) -> Result<(), StoreError> {
        let url = &credentials.url;
        let content = self.content(credentials)?;
        let marker = marker_of(&content);
        self.keyring.set(&self.entry_name(url), content).await?;
        self.folder.write(url, FileKind::Marker, &marker)?;
        self.folder.remove(url, FileKind::SignIn)?;
        self.remember(KeyringSignIn { marker, credentials: credentials.clone() });
        Ok(())
    }

    async fn save_in_file(&self, credentials: &Credentials) -> Result<(), StoreError> {
        let url = &credentials.url;
        self.folder.write(url, FileKind::SignIn, &self.content(credentials)?)?;
        if self.folder.read(url, FileKind::Marker)?.is_some() {
            match self.keyring.delete(&self.entry_name(url)).await {
                Ok(()) => self.folder.remove(url, FileKind::Marker)?,
                // The marker stays, so that `portcullis logout` deletes it.
                Err(error) => tracing::warn!(error = chain(&error), "the previous sign-in is still in the keyring"),
            }
        }
        Ok(())
    }

    fn content(&self, credentials: &Credentials) -> Result<Vec<u8>, StoreError> {
        let path = || self.folder.file(&credentials.url, FileKind::SignIn);
        credentials.to_json().map_err(|error| StoreError::Io { action: "written", path: path(), source: error.into() })
    }

    /// The name of an entry of the keyring. Each folder has entries of its own, as it has locks of its own.
    fn entry_name(&self, url: &PublicUrl) -> String {
        format!("{} ({})", url.resource(), self.folder.path().display())
    }

    fn last(&self) -> Option<KeyringSignIn> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remember(&self, sign_in: KeyringSignIn) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(sign_in);
    }
}

/// The marker of what is in the keyring. Tokens cannot be guessed from their hash.
fn marker_of(content: &[u8]) -> Vec<u8> {
    hex(&Sha256::digest(content)).into_bytes()
}

#[cfg(test)]
mod tests;
