//! What every place that keeps grants and registrations must do.

use jiff::{SignedDuration, Timestamp};
use portcullis_core::{
    Scope,
    account::{CheckedEvidence, SealedToken},
    client::ClientType,
    grant::{GrantUser, LoginEvidence, RefreshState, RevocationReason},
};
use portcullis_oauth::{
    accounts::{Account, Accounts},
    client::{Held, NewRegistration, Origin, Registrations},
    grant::{Grant, GrantLookup, Grants, GrantsError},
    single_use::Mark,
};
use std::{sync::Arc, time::Duration};

/// A grant of `user`, from now on.
pub fn grant(name: &str, user: &str, now: Timestamp) -> Grant {
    Grant {
        name: name.to_owned(),
        client_id: "claude".to_owned(),
        user: GrantUser { id: format!("local:{user}"), name: user.to_owned() },
        scopes: [Scope::WorkspacesRead, Scope::FilesRead].into(),
        resource: "https://mcp.example.com/mcp".to_owned(),
        created_at: now,
        signed_in_at: now,
        expires_at: now + SignedDuration::from_hours(720),
        refresh: Some(refresh(0, now)),
        evidence: None,
        revoked: None,
        last_used: None,
        version: String::new(),
    }
}

fn refresh(generation: i64, now: Timestamp) -> RefreshState {
    RefreshState { generation, hash: format!("sha256:{generation}"), rotated_at: now }
}

fn here(grants: &dyn Grants, name: &str) -> Option<Arc<Grant>> {
    match grants.find(name) {
        GrantLookup::Present(grant) => Some(grant),
        GrantLookup::Deleted | GrantLookup::Unknown => None,
    }
}

/// Waits until memory tells what the place knows.
pub async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + Duration::from_mins(2);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "{what}: not within two minutes");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// `a` and `b` keep the same grants: two servers, or one twice.
pub async fn conform(a: Arc<dyn Grants>, b: Arc<dyn Grants>, now: Timestamp) {
    created_once(&a, &b, now).await;
    rotated_by_one(&a, &b, now).await;
    revoked_for_the_first_reason(&*a, &*b, now).await;
    belonging_to_users(&*a, &*b, now).await;
    used(&*a, &*b, now).await;
    approved_clients(&*a, &*b, now).await;
    consumed_once(&a, &b, now).await;
    assert!(matches!(a.find("g-unheard-of"), GrantLookup::Unknown));
    assert_eq!(a.read("g-unheard-of").await.unwrap(), None);
}

/// Of several creators of one name exactly one wins, and all see the winner's grant.
async fn created_once(a: &Arc<dyn Grants>, b: &Arc<dyn Grants>, now: Timestamp) {
    for round in 0..5 {
        let name = format!("g-once-{round}");
        let attempts = (0..8).map(|attempt| {
            let place = Arc::clone(if attempt % 2 == 0 { a } else { b });
            let grant = grant(&name, &format!("user-{attempt}"), now);
            tokio::spawn(async move { place.create(grant).await })
        });
        let attempts = futures::future::join_all(attempts).await;
        let (won, lost): (Vec<_>, Vec<_>) = attempts.into_iter().map(Result::unwrap).partition(Result::is_ok);
        let won: Vec<Arc<Grant>> = won.into_iter().map(Result::unwrap).collect();
        assert_eq!(won.len(), 1, "exactly one creates {name}");
        assert!(lost.iter().all(|lost| matches!(lost, Err(GrantsError::Exists))), "{lost:?}");
        for place in [a, b] {
            let seen = eventually("the created grant", || here(&**place, &name)).await;
            assert_eq!(seen.user, won[0].user);
            let read = place.read(&name).await.unwrap().expect("it is there");
            assert_eq!((&read.user, &read.version), (&won[0].user, &won[0].version));
        }
        assert!(won[0].is_active(now) && !won[0].version.is_empty());
        let (kept, expected) = ((*won[0]).clone(), grant(&name, &won[0].user.name, now));
        let expected = Grant { version: kept.version.clone(), created_at: kept.created_at, ..expected };
        assert_eq!(kept, expected, "it is kept as it was given");
    }
}

/// A rotation counts only from the state that was read, so of several at a time one wins.
async fn rotated_by_one(a: &Arc<dyn Grants>, b: &Arc<dyn Grants>, now: Timestamp) {
    let first = a.create(grant("g-rotated", "ann", now)).await.unwrap();
    let attempts = (0..6).map(|attempt| {
        let (place, from) = (Arc::clone(if attempt % 2 == 0 { a } else { b }), Arc::clone(&first));
        let next = RefreshState { hash: format!("by {attempt}"), ..refresh(1, now) };
        tokio::spawn(async move { place.rotate(&from, next, None).await })
    });
    let attempts: Vec<_> = futures::future::join_all(attempts).await.into_iter().map(Result::unwrap).collect();
    let won: Vec<&Arc<Grant>> = attempts.iter().filter_map(|attempt| attempt.as_ref().ok()).collect();
    assert_eq!(won.len(), 1, "exactly one rotates: {attempts:?}");
    assert!(attempts.iter().all(|attempt| matches!(attempt, Ok(_) | Err(GrantsError::Conflict))), "{attempts:?}");
    for place in [a, b] {
        eventually("the rotation", || here(&**place, "g-rotated").filter(|seen| seen.refresh == won[0].refresh)).await;
    }
    let second = b.rotate(won[0], refresh(2, now), None).await.unwrap();
    assert_eq!(second.refresh, Some(refresh(2, now)));
    assert!(matches!(a.rotate(won[0], refresh(2, now), None).await, Err(GrantsError::Conflict)));
    let nowhere = grant("g-nowhere", "ann", now);
    assert!(matches!(
        a.rotate(&Grant { version: "1".to_owned(), ..nowhere }, refresh(1, now), None).await,
        Err(GrantsError::NotFound)
    ));
}

async fn revoked_for_the_first_reason(a: &dyn Grants, b: &dyn Grants, now: Timestamp) {
    a.create(grant("g-revoked", "ann", now)).await.unwrap();
    a.revoke("g-revoked", RevocationReason::ByUser, now).await.unwrap();
    let own = here(a, "g-revoked").expect("it is there");
    assert_eq!(own.revoked, Some(RevocationReason::ByUser), "whoever revokes sees it at once");
    assert!(!own.is_active(now));
    b.revoke("g-revoked", RevocationReason::CodeReplayed, now).await.unwrap();
    assert_eq!(a.read("g-revoked").await.unwrap().unwrap().revoked, Some(RevocationReason::ByUser));
    eventually("the revocation", || here(b, "g-revoked").filter(|seen| seen.revoked.is_some())).await;
    a.revoke("g-never-there", RevocationReason::ByClient, now).await.unwrap();
    // Not even a rotation that was under way makes it count again.
    let before = a.create(grant("g-racing", "ann", now)).await.unwrap();
    b.revoke("g-racing", RevocationReason::ByClient, now).await.unwrap();
    assert!(matches!(a.rotate(&before, refresh(1, now), None).await, Err(GrantsError::Conflict)));
}

async fn belonging_to_users(a: &dyn Grants, b: &dyn Grants, now: Timestamp) {
    for name in ["g-bob-laptop", "g-bob-desktop"] {
        a.create(grant(name, "bob", now)).await.unwrap();
    }
    for place in [a, b] {
        let mut names = eventually("bob's grants", || {
            let of_bob = place.of_user("local:bob");
            (of_bob.len() == 2).then(|| of_bob.iter().map(|grant| grant.name.clone()).collect::<Vec<_>>())
        })
        .await;
        names.sort();
        assert_eq!(names, ["g-bob-desktop", "g-bob-laptop"]);
        let users = |after: &str, most, at| -> Vec<String> {
            place.users(after, most, at).into_iter().map(|user| user.id).collect()
        };
        assert_eq!(users("local:ba", 1, now), ["local:bob"]);
        assert!(users("", 1000, now).is_sorted_by(|one, other| one < other));
        assert_eq!(users("", 1000, now + SignedDuration::from_hours(720)), [""; 0], "they have expired");
    }
    assert!(a.of_user("github:bob").is_empty());
}

async fn used(a: &dyn Grants, b: &dyn Grants, now: Timestamp) {
    a.create(grant("g-used", "ann", now)).await.unwrap();
    a.used("g-used", now);
    a.used("g-unheard-of", now);
    for place in [a, b] {
        eventually("the last use", || here(place, "g-used").filter(|seen| seen.last_used == Some(now))).await;
    }
}

/// The clients whose grants count.
async fn approved_clients(a: &dyn Grants, b: &dyn Grants, now: Timestamp) {
    let approved = Grant { client_id: "approved".to_owned(), ..grant("g-approved", "ann", now) };
    a.create(approved).await.unwrap();
    for place in [a, b] {
        eventually("a client with a grant", || place.clients(now).contains("approved").then_some(())).await;
        assert!(!place.clients(now + SignedDuration::from_hours(720)).contains("approved"), "it has expired");
    }
    b.revoke("g-approved", RevocationReason::ByUser, now).await.unwrap();
    for place in [a, b] {
        eventually("a client without one", || (!place.clients(now).contains("approved")).then_some(())).await;
    }
}

/// Of several who present the same thing one wins, wherever they do.
async fn consumed_once(a: &Arc<dyn Grants>, b: &Arc<dyn Grants>, now: Timestamp) {
    let mark = |jti: &str| Mark::assertion("https://mcp.example.com", "robot", jti, now + SignedDuration::from_mins(5));
    let attempts = (0..8).map(|attempt| {
        let (place, mark) = (Arc::clone(if attempt % 2 == 0 { a } else { b }), mark("once"));
        tokio::spawn(async move { place.consume(&mark).await })
    });
    let attempts: Vec<_> = futures::future::join_all(attempts).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(attempts.iter().filter(|attempt| attempt.is_ok()).count(), 1, "{attempts:?}");
    assert!(attempts.iter().all(|attempt| matches!(attempt, Ok(()) | Err(GrantsError::Exists))), "{attempts:?}");
    b.consume(&mark("another")).await.unwrap();
    assert!(matches!(a.consume(&mark("another")).await, Err(GrantsError::Exists)));
}

/// `a` and `b` keep the same registrations.
pub async fn conform_registrations(a: &dyn Registrations, b: &dyn Registrations, now: Timestamp) {
    let expires_at = now + SignedDuration::from_hours(1);
    let before = a.held(now).len();
    let new = NewRegistration {
        name: Some("An agent".to_owned()),
        redirect_uris: vec!["http://127.0.0.1/callback".to_owned()],
        scopes: [Scope::WorkspacesRead].into(),
        expires_at,
        source: Some("0123456789abcdef".to_owned()),
    };
    let made = a.create("dyn-0123456789", new.clone()).await.unwrap();
    let verifier = &made.verifier;
    assert_eq!((verifier.client_id.as_str(), verifier.display_name.as_str()), ("dyn-0123456789", "An agent"));
    assert_eq!(verifier.client_type, ClientType::Public);
    assert_eq!(verifier.redirect_uris, new.redirect_uris);
    assert_eq!(verifier.scopes, new.scopes);
    assert!(verifier.registered_at.is_some());
    assert_eq!(made.origin, Origin::Registered { expires_at });
    for place in [a, b] {
        let seen = eventually("the registration", || place.find("dyn-0123456789")).await;
        assert_eq!(seen, made);
        assert_eq!((place.held(now).len(), place.held(expires_at).len()), (before + 1, 0));
        let registered_at = verifier.registered_at.unwrap();
        let held = Held { client_id: verifier.client_id.clone(), registered_at, source: new.source.clone() };
        assert!(place.held(now).contains(&held));
        assert_eq!(place.read("dyn-0123456789").await.unwrap(), Some(Arc::clone(&made)));
        assert!(place.find("dyn-other").is_none() && place.read("dyn-other").await.unwrap().is_none());
    }
    let unnamed = NewRegistration { name: None, ..new.clone() };
    assert_eq!(b.create("dyn-unnamed", unnamed).await.unwrap().verifier.display_name, "dyn-unnamed");
    assert!(a.create("dyn-unnamed", new).await.is_err(), "a name is used once");
    a.remove("dyn-0123456789").await.unwrap();
    b.remove("dyn-0123456789").await.unwrap();
    for place in [a, b] {
        eventually("the deletion", || place.find("dyn-0123456789").is_none().then_some(())).await;
        assert_eq!(place.held(now).len(), before + 1, "the other stays");
    }
}

/// `a` and `b` keep the same accounts: two servers, or one twice.
pub async fn conform_accounts(a: &dyn Accounts, b: &dyn Accounts, now: Timestamp) {
    let user = GrantUser { id: "sso:ann".to_owned(), name: "Ann".to_owned() };
    let id = user.id.as_str();
    assert!(a.account(id).is_none() && a.read_account(id).await.unwrap().is_none());

    let token = |text: &str| Some(SealedToken(text.to_owned()));
    let new = Account::new(user.clone()).signed_in(&user, token("one"), Some("session"), now);
    let made = a.write_account(new.clone()).await.unwrap();
    assert!(!made.version.is_empty());
    assert_eq!(Account { version: String::new(), ..Account::clone(&made) }, new, "all that went in comes back");
    assert_eq!(a.account(id), Some(Arc::clone(&made)), "who writes sees it at once");
    assert!(matches!(b.write_account(new).await, Err(GrantsError::Exists)), "one user has one account");
    eventually("the account", || b.account(id)).await;
    assert_eq!(b.read_account(id).await.unwrap(), Some(Arc::clone(&made)));
    eventually("the session", || (b.users_of_session("sso", "session") == [id]).then_some(())).await;
    assert!(b.users_of_session("ss", "session").is_empty() && b.users_of_session("sso", "other").is_empty());

    // Of two that take the lease, one has it.
    let one = Account::clone(&made).leased("one", now);
    let two = Account::clone(&made).leased("two", now);
    let (one, two) = tokio::join!(a.write_account(one), b.write_account(two));
    let (held, refused) = if one.is_ok() { (one, two) } else { (two, one) };
    assert!(matches!(refused, Err(GrantsError::Conflict)), "{refused:?}");
    let held = held.unwrap();

    // What is no longer there goes.
    let refused = Account::clone(&held).refused(RevocationReason::ProviderRefused, now).logged_out(None, now);
    let kept = b.write_account(refused.clone()).await.unwrap();
    assert_eq!((&kept.token, &kept.lease, kept.checked_at), (&None, &None, None));
    assert_eq!(*kept, Account { version: kept.version.clone(), ..refused });
    eventually("the refusal", || a.account(id).filter(|known| known.refused.is_some())).await;
    assert_eq!(a.read_account(id).await.unwrap(), Some(Arc::clone(&kept)));

    // The evidence of a check replaces the one of the check before, as a whole.
    let evidence = |groups: &[&str], administrator_groups: &[&str]| {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (groups, administrator_groups) = (names(groups), names(administrator_groups));
        LoginEvidence { groups, administrator_groups, ..LoginEvidence::default() }
    };
    let mut kept = Account::clone(&kept);
    for evidence in [evidence(&["staff"], &["ops", "platform"]), evidence(&[], &["ops"]), evidence(&["staff"], &[])] {
        kept = Account::clone(&a.write_account(kept.checked(&evidence, now)).await.unwrap());
        assert_eq!(kept.checked_evidence, Some(CheckedEvidence { at: now, evidence }));
        assert_eq!(b.read_account(id).await.unwrap().as_deref(), Some(&kept));
    }
    let kept = a.write_account(kept.access_ended(now)).await.unwrap();
    assert!(kept.ends_access(now) && !kept.ends_access(now + SignedDuration::from_secs(1)));
    eventually("the end of the access", || b.account(id).filter(|known| known.ends_access(now))).await;
    assert_eq!(b.users("", 10), std::slice::from_ref(&user));
    assert_eq!((b.users(id, 10), b.users("", 0)), (Vec::new(), Vec::new()));
}
