use crate::testing::{ADA, ALLOWED, MACHINE, Stage, at, clients};
use crate::verify::*;
use futures::FutureExt as _;
use http::HeaderValue;
use portcullis_core::grant::RevocationReason;
use proptest::prelude::*;
use std::sync::atomic::Ordering;

async fn machine(stage: &Stage) -> String {
    stage.token_as(Some("agent:s%2Bc%25r+t"), &[MACHINE]).await.unwrap().access
}

fn rejected(why: AccessTokenError) -> Result<Arc<Caller>, Unauthenticated> {
    Err(why.into())
}

#[tokio::test]
async fn a_remembered_token_still_depends_on_its_client_and_the_time() {
    let stage = Stage::new();
    let token = machine(&stage).await;
    let first = stage.caller(&token).await.unwrap();
    let second = stage.caller(&token).await.unwrap();
    assert!(Arc::ptr_eq(&first, &second), "the second comes from the cache");

    let mut changed = clients();
    changed[0].scopes = BTreeSet::from([Scope::FilesRead]);
    let scopes = stage.with(changed, &[7], &["ada"]).caller(&token).await.unwrap().scopes.clone();
    assert_eq!(scopes, BTreeSet::from([Scope::FilesRead]), "scopes taken away count at once");
    assert_eq!(stage.with(Vec::new(), &[7], &["ada"]).caller(&token).await, rejected(AccessTokenError::Client));
    for (registered_at, accepted) in [(0, true), (1, false)] {
        let mut namesake = clients();
        namesake[0].registered_at = Some(at(registered_at));
        let caller = stage.with(namesake, &[7], &["ada"]).caller(&token).await;
        assert_eq!(caller.is_ok(), accepted, "{registered_at}");
    }
    stage.pass(900);
    assert_eq!(stage.caller(&token).await, rejected(AccessTokenError::Expired));
}

#[tokio::test]
async fn a_users_token_depends_on_the_grant() {
    let stage = Stage::new();
    let answer = stage.signed_in().await;
    let first = stage.caller(&answer.access).await.unwrap();
    assert!(Arc::ptr_eq(&first, &stage.caller(&answer.access).await.unwrap()), "nothing is copied");
    assert_eq!((first.subject.as_str(), &first.scopes), (ADA, &BTreeSet::from(ALLOWED)));

    let mut namesake = clients();
    namesake[1].registered_at = Some(at(1));
    assert!(stage.with(namesake, &[7], &["ada"]).caller(&answer.access).await.is_ok(), "the grant governs");
    let mut lesser = clients();
    lesser[1].scopes = BTreeSet::from([Scope::FilesRead]);
    let caller = stage.with(lesser, &[7], &["ada"]).caller(&answer.access).await.unwrap();
    assert_eq!(caller.scopes, BTreeSet::from([Scope::FilesRead]));
    let mut without = clients();
    without.remove(1);
    assert_eq!(stage.with(without, &[7], &["ada"]).caller(&answer.access).await, rejected(AccessTokenError::Client));

    let name = stage.grant().name.clone();
    stage.place.revoke(&name, RevocationReason::ByUser, stage.now()).await.unwrap();
    assert_eq!(stage.caller(&answer.access).await, rejected(AccessTokenError::Revoked), "with the next request");
    assert_eq!(AccessTokenError::Revoked.reason(), "revoked");
}

#[tokio::test]
async fn a_grant_that_is_not_known_yet_is_read_once_while_the_token_is_fresh() {
    let here = Stage::new();
    let there = here.replica();
    let access = here.signed_in().await.access;
    there.grants.lags.store(true, Ordering::SeqCst);
    let reads = || there.grants.reads.load(Ordering::SeqCst);

    let (one, two, three) = tokio::join!(there.caller(&access), there.caller(&access), there.caller(&access));
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    assert_eq!(reads(), 1, "one read for all who wait");

    // The store is read again, so its answer takes effect at once.
    let name = here.grant().name.clone();
    here.place.revoke(&name, RevocationReason::ByUser, here.now()).await.unwrap();
    assert_eq!(there.caller(&access).await, rejected(AccessTokenError::Revoked));
    assert_eq!(reads(), 2);

    there.pass(10);
    assert_eq!(there.caller(&access).await, rejected(AccessTokenError::Revoked), "an older token is not worth a read");
    assert_eq!(reads(), 2);
}

#[tokio::test]
async fn a_grant_that_is_not_there_is_asked_for_once() {
    let here = Stage::new();
    let access = here.signed_in().await.access;
    // An endpoint with the same keys that never had the grant, as after a deletion that it did not see.
    let elsewhere = Stage::new();
    for _ in 0..3 {
        assert_eq!(elsewhere.caller(&access).await, rejected(AccessTokenError::Revoked));
    }
    assert_eq!(elsewhere.grants.reads.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_place_that_cannot_be_reached_is_not_the_tokens_fault() {
    let here = Stage::new();
    let there = here.replica();
    let access = here.signed_in().await.access;
    there.grants.lags.store(true, Ordering::SeqCst);
    there.grants.unreachable.store(true, Ordering::SeqCst);
    assert_eq!(there.caller(&access).await, Err(Unauthenticated::Unavailable));
    there.grants.unreachable.store(false, Ordering::SeqCst);
    assert!(there.caller(&access).await.is_ok(), "nothing is remembered of it");
}

#[tokio::test]
async fn only_one_bearer_token_in_the_header_counts() {
    let stage = Stage::new();
    let ask = async |headers: &HeaderMap| stage.server.caller(headers, stage.now()).await;
    for (value, expected) in [
        ("Basic YTpi", Unauthenticated::OtherScheme),
        ("Basic", Unauthenticated::OtherScheme),
        ("Bearer", Unauthenticated::NotBearer),
        ("Bearer ", Unauthenticated::NotBearer),
        ("Bearer a b", Unauthenticated::NotBearer),
        ("Bearer abc", Unauthenticated::Rejected(AccessTokenError::Malformed)),
    ] {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(value))]);
        assert_eq!(ask(&headers).await, Err(expected), "{value}");
    }
    assert_eq!(ask(&HeaderMap::new()).await, Err(Unauthenticated::Missing));
    let token = machine(&stage).await;
    let mut twice = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::try_from(format!("bearer {token}")).unwrap())]);
    assert!(ask(&twice).await.is_ok());
    twice.append(AUTHORIZATION, HeaderValue::from_static("Bearer x"));
    assert_eq!(ask(&twice).await, Err(Unauthenticated::NotBearer));
}

#[test]
fn the_memory_of_tokens_is_bounded() {
    let cache = TokenCache::default();
    let verified = |second: usize| Caller {
        client_id: "claude".to_owned(),
        subject: "client:claude".to_owned(),
        user_name: None,
        grant: None,
        scopes: BTreeSet::new(),
        issued_at: at(0),
        expires_at: at(i64::try_from(second).unwrap()),
    };
    let hash = |number: usize| TokenHash::from(Sha256::digest(number.to_be_bytes()));
    let many = 3 * CAPACITY;
    for number in 0..many {
        cache.insert(hash(number), verified(number + 100), at(0));
    }
    let known = |numbers: std::ops::Range<usize>| numbers.filter(|number| cache.get(&hash(*number)).is_some()).count();
    assert!(known(0..many) <= CAPACITY);
    assert_eq!(known(many - CAPACITY / 2..many), CAPACITY / 2, "the newest are remembered");
}

proptest! {
    #[test]
    fn no_header_panics_and_none_made_up_is_accepted(value in prop::collection::vec(any::<u8>(), 0..120), jwt in "[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,60}") {
        let stage = Stage::new();
        let bearer = format!("Bearer {jwt}").into_bytes();
        for value in [value, bearer].into_iter().filter_map(|value| HeaderValue::from_bytes(&value).ok()) {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
            prop_assert!(stage.server.caller(&headers, at(0)).now_or_never().unwrap().is_err());
        }
    }

    #[test]
    fn a_changed_token_is_refused(at_byte in 0usize..600, to in "[A-Za-z0-9_.-]") {
        let stage = Stage::new();
        let token = machine(&stage).now_or_never().unwrap();
        let at_byte = at_byte.min(token.len() - 1);
        let changed = format!("{}{to}{}", &token[..at_byte], &token[at_byte + 1..]);
        let caller = stage.caller(&changed).now_or_never().unwrap();
        // The last character of a base64url text has unused bits; strict decoders refuse those that are not zero.
        prop_assert_eq!(caller.is_ok(), changed == token);
    }
}
