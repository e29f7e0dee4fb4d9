//! Sign-ins in files and in a keyring in memory.

use super::keyring::tests::{in_memory, missing};
use super::*;
use crate::credentials::tests::credentials;
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};
use tempfile::TempDir;

const URL: &str = "https://h.example.com/mcp";

fn store(choice: StoreChoice, keyring: Keyring) -> (TempDir, Store) {
    let home = tempfile::tempdir().unwrap();
    let store = Store::of_user(None, Some(home.path().into()), choice).unwrap();
    (home, Store { keyring, ..store })
}

/// A store with the same folder and keyring, as another process has it.
fn other(store: &Store, choice: StoreChoice) -> Store {
    Store { choice, last: Arc::default(), ..store.clone() }
}

/// Signs in, and says where.
async fn sign_in(store: &Store, credentials: &Credentials) -> Result<StoredIn, StoreError> {
    store.save_new(credentials, &store.lock(&credentials.url).await.unwrap()).await
}

/// The credentials after a refresh.
fn refreshed(credentials: &Credentials) -> Credentials {
    let mut credentials = credentials.clone();
    credentials.tokens.as_mut().unwrap().access_token = "the-second-access-token".to_owned();
    credentials
}

/// The texts of all files in the folder.
fn files(store: &Store) -> String {
    let entries = fs::read_dir(store.folder.path()).unwrap();
    entries.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect()
}

#[tokio::test]
async fn a_sign_in_is_stored_for_its_owner_alone() {
    let (_home, store) = store(StoreChoice::File, missing());
    let stored = credentials(URL);
    assert_eq!(store.load(&stored.url).await.unwrap(), None);
    let file = store.folder.file(&stored.url, FileKind::SignIn);
    assert_eq!(sign_in(&store, &stored).await.unwrap(), StoredIn::File(file.clone()));
    assert_eq!(store.load(&stored.url).await.unwrap(), Some(stored.clone()));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(store.folder.path()), mode(&file)), (0o700, 0o600));
    assert_eq!(store.load(&credentials("https://h.example.com/other").url).await.unwrap(), None);
    let lock = store.lock(&stored.url).await.unwrap();
    store.delete(&stored.url, &lock).await.unwrap();
    store.delete(&stored.url, &lock).await.unwrap();
    assert_eq!(store.load(&stored.url).await.unwrap(), None);
}

#[tokio::test]
async fn what_others_can_read_is_refused() {
    let (_home, store) = store(StoreChoice::File, missing());
    let stored = credentials(URL);
    sign_in(&store, &stored).await.unwrap();
    let file = store.folder.file(&stored.url, FileKind::SignIn);
    let set = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    set(&file, 0o640);
    let error = store.load(&stored.url).await.unwrap_err().to_string();
    assert!(error.contains("chmod 600") && error.contains(file.to_str().unwrap()), "{error}");
    set(&file, 0o600);
    set(store.folder.path(), 0o755);
    assert!(store.load(&stored.url).await.unwrap_err().to_string().contains("chmod 700"));
    assert!(store.lock(&stored.url).await.unwrap_err().to_string().contains("chmod 700"));
    set(store.folder.path(), 0o700);
    fs::write(&file, "{\"version\": 1").unwrap();
    assert!(matches!(store.load(&stored.url).await, Err(StoreError::Content { .. })));
}

#[tokio::test]
async fn the_keyring_has_the_tokens_and_the_folder_has_none() {
    let (_home, store) = store(StoreChoice::Auto, in_memory());
    let stored = credentials(URL);
    assert_eq!(sign_in(&store, &stored).await.unwrap(), StoredIn::Keyring);
    assert!(!files(&store).contains("the-"), "{}", files(&store));
    let reader = other(&store, StoreChoice::File);
    assert_eq!(reader.load(&stored.url).await.unwrap(), Some(stored.clone()));

    // Another process refreshes the tokens: neither process returns the old ones.
    let new = refreshed(&stored);
    store.save(&new, &store.lock(&stored.url).await.unwrap()).await.unwrap();
    assert!(!files(&store).contains("the-"), "it stays in the keyring: {}", files(&store));
    for store in [&store, &reader] {
        assert_eq!(store.load(&stored.url).await.unwrap(), Some(new.clone()));
    }
    // What was read is not read again, until the marker changes.
    let offline = Store { keyring: missing(), ..reader.clone() };
    assert_eq!(offline.load(&stored.url).await.unwrap(), Some(new.clone()));
    assert!(matches!(other(&offline, StoreChoice::Auto).load(&stored.url).await, Err(StoreError::Keyring(_))));

    store.delete(&stored.url, &store.lock(&stored.url).await.unwrap()).await.unwrap();
    for store in [&store, &reader] {
        assert_eq!(store.load(&stored.url).await.unwrap(), None);
    }
    assert_eq!(store.keyring.get(&store.entry_name(&stored.url)).await.unwrap(), None);
}

#[tokio::test]
async fn without_a_keyring_it_is_a_file_unless_the_keyring_is_demanded() {
    let (_home, store) = store(StoreChoice::Auto, missing());
    let stored = credentials(URL);
    assert!(matches!(sign_in(&store, &stored).await.unwrap(), StoredIn::File(_)));
    let strict = other(&store, StoreChoice::Keyring);
    let error = sign_in(&strict, &refreshed(&stored)).await.unwrap_err();
    assert!(chain(&error).contains("--store file") && chain(&error).contains("no bus"), "{}", chain(&error));
    assert_eq!(store.load(&stored.url).await.unwrap(), Some(stored), "the previous sign-in is left");
}

#[tokio::test]
async fn a_sign_in_moves_between_the_stores() {
    let (_home, store) = store(StoreChoice::File, in_memory());
    let (first, second) = (credentials(URL), refreshed(&credentials(URL)));
    let name = store.entry_name(&first.url);
    sign_in(&store, &first).await.unwrap();
    sign_in(&other(&store, StoreChoice::Keyring), &second).await.unwrap();
    assert!(!files(&store).contains("the-"), "{}", files(&store));
    assert_eq!(store.load(&first.url).await.unwrap(), Some(second.clone()));
    sign_in(&store, &first).await.unwrap();
    assert_eq!(store.keyring.get(&name).await.unwrap(), None);
    assert_eq!(store.load(&first.url).await.unwrap(), Some(first.clone()));

    // Where the keyring cannot be used, what is in it is deleted later.
    sign_in(&other(&store, StoreChoice::Keyring), &second).await.unwrap();
    sign_in(&Store { keyring: missing(), ..other(&store, StoreChoice::File) }, &first).await.unwrap();
    assert_eq!(store.load(&first.url).await.unwrap(), Some(first.clone()), "the file counts");
    assert!(store.keyring.get(&name).await.unwrap().is_some());
    store.save(&second, &store.lock(&first.url).await.unwrap()).await.unwrap();
    assert_eq!(store.keyring.get(&name).await.unwrap(), None);
    assert_eq!(store.load(&first.url).await.unwrap(), Some(second));
}

#[tokio::test]
async fn damaged_content_of_the_keyring_is_not_quoted() {
    let (_home, store) = store(StoreChoice::Keyring, in_memory());
    let stored = credentials(URL);
    sign_in(&store, &stored).await.unwrap();
    store.keyring.set(&store.entry_name(&stored.url), b"{\"the-secret\": 1".to_vec()).await.unwrap();
    let error = other(&store, StoreChoice::Auto).load(&stored.url).await.unwrap_err();
    assert!(matches!(error, StoreError::KeyringContent(_)) && !chain(&error).contains("the-secret"), "{error:?}");
}

#[test]
fn the_names_of_the_stores_are_known() {
    for name in StoreChoice::NAMES {
        assert!(name.parse::<StoreChoice>().is_ok());
    }
    assert_eq!("auto".parse(), Ok(StoreChoice::default()));
    assert!("disk".parse::<StoreChoice>().unwrap_err().to_string().contains("auto, file, keyring"));
}
