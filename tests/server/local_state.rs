//! Grants and registrations on one machine: in memory, and in a folder that survives restarts.

use crate::{clock, grants};

use clock::ManualClock;
use grants::{conform, conform_accounts, conform_registrations, eventually, grant};
use jiff::{SignedDuration, Timestamp};
use portcullis_api::OAuthUser;
use portcullis_core::{
    account::SealedToken,
    clock::Clock as _,
    grant::{GrantUser, RefreshState, RevocationReason},
};
use portcullis_oauth::{
    accounts::{Account, Accounts as _},
    client::{NewRegistration, Registrations},
    grant::{GrantLookup, Grants, GrantsError},
    single_use::{Mark, SingleUse as _},
};
use portcullis_state::Local;
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc};

fn start() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(start()))
}

async fn open(folder: &Path, clock: &Arc<ManualClock>) -> Arc<Local> {
    Arc::new(Local::open(folder, Arc::clone(clock) as _).await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_conforms() {
    let local = Arc::new(Local::memory(clock()));
    conform(Arc::clone(&local) as _, Arc::clone(&local) as _, start()).await;
    conform_registrations(&*local, &*local, start()).await;
    conform_accounts(&*local, &*local, start()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_conforms() {
    let folder = tempfile::tempdir().unwrap();
    let local = open(folder.path(), &clock()).await;
    conform(Arc::clone(&local) as _, Arc::clone(&local) as _, start()).await;
    conform_registrations(&*local, &*local, start()).await;
    conform_accounts(&*local, &*local, start()).await;
}

#[tokio::test]
async fn what_is_kept_survives_a_restart() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let registration = NewRegistration {
        name: None,
        redirect_uris: vec!["http://127.0.0.1/callback".to_owned()],
        scopes: [portcullis_core::Scope::FilesRead].into(),
        expires_at: start() + SignedDuration::from_hours(1),
        source: None,
    };
    let mark = Mark::assertion("https://h", "robot", "once", start() + SignedDuration::from_mins(5));
    let (kept, client) = {
        let local = open(folder.path(), &clock).await;
        let made = Grants::create(&*local, grant("g-1", "ann", start())).await.unwrap();
        let next = RefreshState { generation: 1, hash: "sha256:1".to_owned(), rotated_at: start() };
        local.rotate(&made, next, None).await.unwrap();
        Grants::create(&*local, grant("g-2", "ann", start())).await.unwrap();
        local.revoke("g-2", RevocationReason::ByUser, start()).await.unwrap();
        local.used("g-1", start());
        let client = Registrations::create(&*local, "dyn-1", registration).await.unwrap();
        local.consume(&mark).await.unwrap();
        local.close().await;
        (local.of_user("local:ann"), client)
    };
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.path().join("grants")), 0o700);
    assert_eq!(mode(&folder.path().join("grants/g-1.json")), 0o600);

    // What a crash left unfinished, what somebody damaged, and a copy under another name.
    fs::write(folder.path().join("grants/.new-g-3"), "{").unwrap();
    fs::write(folder.path().join("grants/g-4.json"), "{").unwrap();
    fs::copy(folder.path().join("grants/g-1.json"), folder.path().join("grants/g-5.json")).unwrap();
    let local = open(folder.path(), &clock).await;
    let mut after = local.of_user("local:ann");
    after.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(after, kept);
    assert_eq!(after[0].last_used, Some(start()));
    assert_eq!(Registrations::find(&*local, "dyn-1"), Some(client));
    assert!(!folder.path().join("grants/.new-g-3").exists());
    assert!(matches!(local.consume(&mark).await, Err(GrantsError::Exists)), "an assertion counts once");

    // Versions go on where they were: an old state is not taken for a new one.
    let next = RefreshState { generation: 2, hash: "sha256:2".to_owned(), rotated_at: start() };
    let rotated = local.rotate(&after[0], next.clone(), None).await.unwrap();
    assert_eq!(rotated.refresh, Some(next));
}

#[tokio::test]
async fn deleting_the_file_of_a_grant_takes_the_consent_back() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let local = open(folder.path(), &clock).await;
    Grants::create(&*local, grant("g-1", "ann", start())).await.unwrap();
    Grants::create(&*local, grant("g-2", "ann", start())).await.unwrap();
    local.used("g-1", start());
    fs::remove_file(folder.path().join("grants/g-1.json")).unwrap();
    eventually("the deletion", || matches!(Grants::find(&*local, "g-1"), GrantLookup::Deleted).then_some(())).await;
    assert_eq!(local.of_user("local:ann").len(), 1);
    assert_eq!(Grants::read(&*local, "g-1").await.unwrap(), None);
    clock.set(start() + SignedDuration::from_mins(5));
    assert!(matches!(Grants::find(&*local, "g-1"), GrantLookup::Deleted), "its name is remembered");
    local.close().await;
    assert!(!folder.path().join("grants/g-1.json").exists(), "noting its last use does not bring it back");
}

#[tokio::test]
async fn what_has_ended_is_collected() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let local = open(folder.path(), &clock).await;
    for name in ["g-expired", "g-revoked", "g-kept"] {
        let mut grant = grant(name, "ann", start());
        if name == "g-expired" {
            grant.expires_at = start() + SignedDuration::from_mins(1);
        }
        Grants::create(&*local, grant).await.unwrap();
    }
    local.revoke("g-revoked", RevocationReason::ByClient, start()).await.unwrap();
    let new = |hours| NewRegistration {
        name: None,
        redirect_uris: vec!["http://127.0.0.1/callback".to_owned()],
        scopes: [portcullis_core::Scope::FilesRead].into(),
        expires_at: start() + SignedDuration::from_hours(hours),
        source: None,
    };
    Registrations::create(&*local, "dyn-short", new(1)).await.unwrap();

    let names = |local: &Local| {
        let mut names: Vec<String> = local.of_user("local:ann").iter().map(|grant| grant.name.clone()).collect();
        names.sort();
        names
    };
    clock.set(start() + SignedDuration::from_mins(30));
    Registrations::create(&*local, "dyn-long", new(9)).await.unwrap();
    assert_eq!(names(&local), ["g-kept", "g-revoked"], "people see for a while why it ended");
    assert_eq!(local.held(clock.now()).len(), 2);

    let mark = |jti| Mark::assertion("https://h", "robot", jti, start() + SignedDuration::from_mins(35));
    local.consume(&mark("short")).await.unwrap();
    clock.set(start() + SignedDuration::from_hours(2));
    local.consume(&mark("next")).await.unwrap();
    assert_eq!(fs::read_dir(folder.path().join("assertions")).unwrap().count(), 1, "what has expired is not kept");
    let local = open(folder.path(), &clock).await;
    assert_eq!(names(&local), ["g-kept"]);
    assert_eq!(local.held(clock.now()).len(), 1);
    assert_eq!(fs::read_dir(folder.path().join("grants")).unwrap().count(), 1);
}

/// In `dev`, the files say what ended also when the manifest that ended it is gone.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_oauth_user_ended_stays_ended_after_a_restart() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let user = serde_json::json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "OAuthUser", "metadata": {"name": "off"},
        "spec": {"endpointRef": {"name": "agents"}, "user": {"id": "local:ann"}, "notBefore": start()},
    });
    let user: OAuthUser = serde_json::from_value(user).unwrap();
    let local = open(folder.path(), &clock).await;
    let later = start() + SignedDuration::from_secs(1);
    for (name, user, at) in [("g-old", "ann", start()), ("g-new", "ann", later), ("g-other", "bob", start())] {
        Grants::create(&*local, grant(name, user, at)).await.unwrap();
    }
    let set = Arc::clone(&local);
    tokio::task::spawn_blocking(move || set.set_users(&[user])).await.unwrap();
    local.close().await;
    drop(local);

    let local = open(folder.path(), &clock).await;
    let revoked = |name: &str| match Grants::find(&*local, name) {
        GrantLookup::Present(grant) => grant.revoked,
        GrantLookup::Deleted | GrantLookup::Unknown => panic!("{name} is not there"),
    };
    assert_eq!(revoked("g-old"), Some(RevocationReason::UserEnded));
    assert_eq!((revoked("g-new"), revoked("g-other")), (None, None));
}

#[tokio::test]
async fn an_account_survives_a_restart_and_goes_when_nothing_needs_it() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let user = GrantUser { id: "sso:ann".to_owned(), name: "Ann".to_owned() };
    let token = Some(SealedToken("sealed".to_owned()));
    let kept = {
        let local = open(folder.path(), &clock).await;
        let account = Account::new(user.clone()).signed_in(&user, token, None, start());
        local.write_account(account.logged_out(Some("one"), start())).await.unwrap()
    };
    let file = fs::read_dir(folder.path().join("accounts")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    // As long as a browser session can last that has ended, or the user has a grant.
    clock.set(start() + SignedDuration::from_hours(12) - SignedDuration::from_secs(1));
    let local = open(folder.path(), &clock).await;
    assert_eq!(local.account("sso:ann"), Some(Arc::clone(&kept)));
    let mut grant = grant("g-1", "ann", start());
    grant.user = user;
    Grants::create(&*local, grant).await.unwrap();
    drop(local);
    clock.set(start() + SignedDuration::from_hours(100));
    let local = open(folder.path(), &clock).await;
    assert_eq!(local.account("sso:ann"), Some(kept));
    drop(local);
    fs::remove_file(folder.path().join("grants/g-1.json")).unwrap();
    let local = open(folder.path(), &clock).await;
    assert!(local.account("sso:ann").is_none() && !file.exists());
}
