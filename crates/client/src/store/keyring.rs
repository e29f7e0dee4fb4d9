//! The keyring of the operating system: the Secret Service of freedesktop.org on Linux, the keychain on macOS.

use keyring_core::{CredentialStore, Entry};
use std::{fmt, sync::Arc, time::Duration};
use tokio::{task::spawn_blocking, time::timeout};

/// The name of the service of all entries.
const SERVICE: &str = "portcullis";
/// The time for the connection. It may start the keyring's program.
const CONNECT: Duration = Duration::from_secs(5);
/// The time for an operation. A user may have to unlock the keyring.
const OPERATION: Duration = Duration::from_mins(1);

type Connect = dyn Fn() -> keyring_core::Result<Arc<CredentialStore>> + Send + Sync;

/// The keyring. Each operation connects anew: it may have been restarted since.
#[derive(Clone)]
pub(super) struct Keyring {
    connect: Arc<Connect>,
}

/// Why the keyring cannot be used. The messages contain no secret.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// It refused, or there is none.
    #[error("{0}")]
    Failed(String),
    /// It did not answer.
    #[error("it did not answer within {} seconds", .0.as_secs())]
    Timeout(Duration),
}

impl Keyring {
    /// The keyring of this computer's operating system.
    pub(super) fn of_system() -> Self {
        Self { connect: Arc::new(system_store) }
    }

    /// The content of an entry, if there is one.
    pub(super) async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, KeyringError> {
        self.run(name, Entry::get_secret).await
    }

    /// Creates an entry, or replaces its content.
    pub(super) async fn set(&self, name: &str, content: Vec<u8>) -> Result<(), KeyringError> {
        let set = self.run(name, move |entry| entry.set_secret(&content)).await?;
        set.ok_or_else(|| KeyringError::Failed("it has no collection for new entries".to_owned()))
    }

    /// Deletes an entry, if there is one.
    pub(super) async fn delete(&self, name: &str) -> Result<(), KeyringError> {
        self.run(name, Entry::delete_credential).await.map(|_| ())
    }

    /// The result of an operation on an entry; `None` if the entry does not exist.
    async fn run<T: Send + 'static>(
        &self,
        name: &str,
        operation: impl FnOnce(&Entry) -> keyring_core::Result<T> + Send + 'static,
    ) -> Result<Option<T>, KeyringError> {
        let (connect, name) = (Arc::clone(&self.connect), name.to_owned());
        let store = within(CONNECT, move || connect()).await?.map_err(failed)?;
        let done = within(OPERATION, move || operation(&Entry::new_in_store(&store, SERVICE, &name)?)).await?;
        match done {
            Ok(value) => Ok(Some(value)),
            Err(keyring_core::Error::NoEntry) => Ok(None),
            Err(error) => Err(failed(error)),
        }
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").finish_non_exhaustive()
    }
}

/// Runs blocking work. A thread that is still busy after the limit does not delay the end of the program.
async fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, KeyringError> {
    match timeout(limit, spawn_blocking(work)).await {
        Ok(done) => done.map_err(|error| KeyringError::Failed(error.to_string())),
        Err(_) => Err(KeyringError::Timeout(limit)),
    }
}

/// The message of an error. The error itself may have bytes of a secret.
fn failed(error: keyring_core::Error) -> KeyringError {
    KeyringError::Failed(match error {
        keyring_core::Error::PlatformFailure(source) | keyring_core::Error::NoStorageAccess(source) => {
            source.to_string()
        }
        error => error.to_string(),
    })
}

#[cfg(target_os = "linux")]
fn system_store() -> keyring_core::Result<Arc<CredentialStore>> {
    let store: Arc<CredentialStore> = zbus_secret_service_keyring_store::Store::new()?;
    Ok(store)
}

#[cfg(target_os = "macos")]
fn system_store() -> keyring_core::Result<Arc<CredentialStore>> {
    let store: Arc<CredentialStore> = apple_native_keyring_store::keychain::Store::new()?;
    Ok(store)
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn system_store() -> keyring_core::Result<Arc<CredentialStore>> {
    Err(keyring_core::Error::NotSupportedByStore("no keyring is known for this system".to_owned()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An empty keyring in memory.
    pub(crate) fn in_memory() -> Keyring {
        let store: Arc<CredentialStore> = keyring_core::mock::Store::new().unwrap();
        Keyring { connect: Arc::new(move || Ok(Arc::clone(&store))) }
    }

    /// A keyring that cannot be used.
    pub(crate) fn missing() -> Keyring {
        Keyring { connect: Arc::new(|| Err(keyring_core::Error::PlatformFailure("no bus".into()))) }
    }

    #[tokio::test]
    async fn an_entry_is_created_replaced_and_deleted() {
        let keyring = in_memory();
        assert_eq!(keyring.get("a").await.unwrap(), None);
        keyring.delete("a").await.unwrap();
        for content in [b"1".to_vec(), b"2".to_vec()] {
            keyring.set("a", content.clone()).await.unwrap();
            assert_eq!(keyring.get("a").await.unwrap(), Some(content));
        }
        assert_eq!(keyring.get("b").await.unwrap(), None);
        keyring.delete("a").await.unwrap();
        assert_eq!(keyring.get("a").await.unwrap(), None);
    }

    #[tokio::test]
    async fn an_error_has_no_secret() {
        assert_eq!(missing().get("a").await.unwrap_err().to_string(), "no bus");
        let error = failed(keyring_core::Error::BadEncoding(b"the-secret".to_vec()));
        assert!(!format!("{error} {error:?}").contains("the-secret") && !format!("{error:?}").contains("116, 104"));
    }
}
