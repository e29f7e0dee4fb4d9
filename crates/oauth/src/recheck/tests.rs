use crate::recheck::*;
use crate::testing::{ADA, Answer, PROVIDER, Provider, Stage, ada, refused};

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;

/// Signs Ada in at the provider, and returns the tokens of a client.
async fn signed_in(stage: &Stage, token: Option<&str>) -> Answer {
    let token = token.map(Provider::token);
    let mut rng = portcullis_core::rng::rng();
    stage
        .server
        .note_sign_in(&ada(), &LoginEvidence::default(), token.as_ref(), Some("session"), stage.now(), &mut rng)
        .await;
    stage.signed_in().await
}

fn account(stage: &Stage) -> Account {
    Account::clone(&stage.place.account(ADA).unwrap())
}

fn why(stage: &Stage) -> Option<RevocationReason> {
    stage.grant().revoked
}

#[tokio::test]
async fn a_provider_is_asked_at_most_every_recheck_after() {
    let provider = Arc::new(Provider::that_allows());
    let stage = Stage::with_provider(&provider);
    stage.pass(DAY);
    let mut tokens = signed_in(&stage, Some("secret-token")).await;
    assert!(!format!("{:?}", account(&stage)).contains("secret-token"));
    assert!(!account(&stage).token.unwrap().0.contains("secret-token"));
    for (passes, asked) in [(DAY - 1, 0), (1, 1), (DAY - 1, 1), (1, 2)] {
        stage.pass(passes);
        tokens = stage.renew(tokens.refresh()).await.unwrap();
        assert_eq!(provider.asked().len(), asked);
    }
    assert_eq!(provider.asked(), ["secret-token"; 2]);
    assert_eq!(stage.grant().evidence.as_ref().unwrap().groups, ["staff"], "the evidence is fresh");
    assert_eq!(account(&stage).lease, None);
}

#[tokio::test]
async fn a_rotated_token_is_stored_before_it_counts() {
    let provider = Arc::new(Provider { rotates: true, ..Provider::that_allows() });
    let stage = Stage::with_provider(&provider);
    let mut tokens = signed_in(&stage, Some("t")).await;
    for _ in 0..2 {
        stage.pass(DAY);
        tokens = stage.renew(tokens.refresh()).await.unwrap();
    }
    provider.says(Verdict::Unavailable);
    stage.pass(DAY);
    refused(stage.renew(tokens.refresh()).await, "temporarily_unavailable", "down");
    refused(stage.renew(tokens.refresh()).await, "temporarily_unavailable", "still down");
    assert_eq!(provider.asked(), ["t", "t+", "t++", "t+++"], "also where the answer says nothing else");
}

#[tokio::test]
async fn a_provider_that_cannot_be_asked_is_no_refusal() {
    let provider = Arc::new(Provider::that(Verdict::Unavailable));
    let stage = Stage::with_provider(&provider);
    let tokens = signed_in(&stage, Some("t")).await;
    stage.pass(DAY);
    let before = stage.grant();
    refused(stage.renew(tokens.refresh()).await, "temporarily_unavailable", "down");
    assert_eq!(stage.grant(), before, "the refresh token is not used up");
    provider.says(Verdict::Allowed(LoginEvidence::default()));
    stage.renew(tokens.refresh()).await.unwrap();
}

#[tokio::test]
async fn a_refusal_ends_every_grant_and_session_from_before() {
    for reason in [RevocationReason::ProviderRefused, RevocationReason::NotAllowed] {
        let provider = Arc::new(Provider::that(Verdict::Refused(reason)));
        let stage = Stage::with_provider(&provider);
        let first = signed_in(&stage, Some("t")).await;
        let second = stage.signed_in().await;
        stage.pass(DAY);
        refused(stage.renew(first.refresh()).await, "invalid_grant", "the provider says no");
        for grant in stage.place.of_user(ADA) {
            assert_eq!(grant.revoked, Some(reason), "{}", grant.name);
        }
        assert!(stage.caller(&second.access).await.is_err());
        assert!(stage.server.session_ended(ADA, Some("session"), stage.now()));
        assert_eq!(account(&stage).token, None);
        refused(stage.renew(second.refresh()).await, "invalid_grant", "the other agent");
        assert_eq!(provider.asked(), ["t"], "once is enough");

        stage.pass(1);
        provider.says(Verdict::Allowed(LoginEvidence::default()));
        let again = signed_in(&stage, Some("new")).await;
        stage.renew(again.refresh()).await.unwrap();
        assert!(!stage.server.session_ended(ADA, Some("another"), stage.now()));
    }
}

#[tokio::test]
async fn a_grant_that_could_not_be_revoked_is_refused_all_the_same() {
    let provider = Arc::new(Provider::that_allows());
    let stage = Stage::with_provider(&provider);
    let tokens = signed_in(&stage, Some("t")).await;
    stage.pass(HOUR);
    let refusal = account(&stage).refused(RevocationReason::ProviderRefused, stage.now());
    stage.place.write_account(refusal).await.unwrap();
    refused(stage.renew(tokens.refresh()).await, "invalid_grant", "refused elsewhere");
    assert_eq!((why(&stage), provider.asked().len()), (Some(RevocationReason::ProviderRefused), 0));
}

#[tokio::test]
async fn without_a_token_a_grant_counts_for_max_grant_age() {
    for token in [None, Some("t")] {
        let provider = Arc::new(Provider::that(Verdict::Unsupported));
        let stage = Stage::with_provider(&provider);
        let mut tokens = signed_in(&stage, token).await;
        stage.pass(6 * DAY);
        tokens = stage.renew(tokens.refresh()).await.unwrap();
        stage.pass(DAY);
        refused(stage.renew(tokens.refresh()).await, "invalid_grant", "too old");
        assert_eq!(why(&stage), Some(RevocationReason::SignInTooOld), "{token:?}");
    }
}

/// This is the state of grants from before accounts were stored, and of accounts that were deleted by hand.
#[tokio::test]
async fn without_an_account_a_grant_counts_for_max_grant_age() {
    let provider = Arc::new(Provider::that_allows());
    let stage = Stage::with_provider(&provider);
    let mut tokens = stage.signed_in().await;
    for _ in 0..6 {
        stage.pass(DAY);
        tokens = stage.renew(tokens.refresh()).await.unwrap();
    }
    stage.pass(DAY);
    refused(stage.renew(tokens.refresh()).await, "invalid_grant", "too old");
    assert_eq!((why(&stage), provider.asked().len()), (Some(RevocationReason::SignInTooOld), 0));
}

#[tokio::test]
async fn a_local_user_needs_none_of_this() {
    let stage = Stage::new();
    let mut tokens = stage.signed_in().await;
    for _ in 0..9 {
        stage.pass(DAY);
        tokens = stage.renew(tokens.refresh()).await.unwrap();
    }
    assert!(stage.place.account(ADA).is_none());
}

#[tokio::test]
async fn one_server_at_a_time_uses_the_token() {
    let provider = Arc::new(Provider { answers: tokio::sync::Semaphore::new(0), ..Provider::that_allows() });
    let one = Stage::with_provider(&provider);
    let two = one.replica_with_provider(&[7], &provider);
    let first = signed_in(&one, Some("t")).await;
    let second = two.signed_in().await;
    one.pass(DAY);
    let asking = async { tokio::join!(one.renew(first.refresh()), two.renew(second.refresh())) };
    let slow = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(provider.asked().len(), 1);
        provider.answers.add_permits(1);
    };
    let ((renewed, waited), ()) = tokio::join!(asking, slow);
    assert!(renewed.is_ok() && waited.is_ok(), "{renewed:?} {waited:?}");
    assert_eq!(provider.asked(), ["t"]);

    // The wait is bounded, and the client may retry.
    one.pass(DAY);
    let (first, second) = (renewed.unwrap(), waited.unwrap());
    let never = one.renew(first.refresh());
    let bounded = two.renew(second.refresh());
    tokio::select! {
        biased;
        _ = never => panic!("the provider does not answer"),
        refusal = bounded => refused(refusal, "temporarily_unavailable", "another server asks"),
    }
    assert_eq!(provider.asked().len(), 2);
}

/// Otherwise, a client that disconnects would leave the old token in the account, while the provider accepts only the
/// new one.
#[tokio::test]
async fn a_check_goes_on_when_its_client_is_gone() {
    let answers = tokio::sync::Semaphore::new(0);
    let provider = Arc::new(Provider { rotates: true, answers, ..Provider::that_allows() });
    let stage = Stage::with_provider(&provider);
    let tokens = signed_in(&stage, Some("t")).await;
    stage.pass(DAY);
    let gone = tokio::time::timeout(Duration::from_millis(100), stage.renew(tokens.refresh())).await;
    assert!(gone.is_err());
    provider.answers.add_permits(9);
    stage.server.checks().close();
    stage.server.checks().wait().await;
    stage.pass(DAY);
    stage.renew(tokens.refresh()).await.unwrap();
    assert_eq!(provider.asked(), ["t", "t+"]);
}

#[tokio::test]
async fn a_newer_sign_in_makes_a_refusal_of_the_older_token_void() {
    let answers = tokio::sync::Semaphore::new(0);
    let refusal = Verdict::Refused(RevocationReason::ProviderRefused);
    let provider = Arc::new(Provider { answers, ..Provider::that(refusal) });
    let stage = Stage::with_provider(&provider);
    let tokens = signed_in(&stage, Some("old")).await;
    stage.pass(DAY);
    let again = async {
        while provider.asked().is_empty() {
            tokio::task::yield_now().await;
        }
        let mut rng = portcullis_core::rng::rng();
        stage
            .server
            .note_sign_in(&ada(), &LoginEvidence::default(), Some(&Provider::token("new")), None, stage.now(), &mut rng)
            .await;
        provider.answers.add_permits(1);
    };
    let (renewed, ()) = tokio::join!(stage.renew(tokens.refresh()), again);
    renewed.unwrap();
    assert_eq!((why(&stage), provider.asked()), (None, vec!["old".to_owned()]));
}

#[tokio::test]
async fn a_logout_has_the_provider_asked_at_the_next_refresh() {
    let provider = Arc::new(Provider::that_allows());
    let stage = Stage::with_provider(&provider);
    let tokens = signed_in(&stage, Some("t")).await;
    let users = stage.server.note_logout("local", None, Some("session"), stage.now()).await.unwrap();
    assert_eq!(users, [ADA]);
    assert!(stage.server.session_ended(ADA, Some("session"), stage.now()));
    assert!(!stage.server.session_ended(ADA, Some("another"), stage.now()));
    let users = stage.server.note_logout("other", None, Some("session"), stage.now()).await.unwrap();
    assert!(users.is_empty(), "a session of another login");
    stage.renew(tokens.refresh()).await.unwrap();
    assert_eq!(provider.asked(), ["t"]);
    assert!(stage.server.session_ended(ADA, Some("session"), stage.now()), "a check does not bring it back");
}

#[tokio::test]
async fn a_sealed_token_counts_for_its_user_its_provider_and_its_keys_only() {
    let provider = Arc::new(Provider::that_allows());
    let stage = Stage::with_provider(&provider);
    let tokens = signed_in(&stage, Some("t")).await;
    let rechecks = &stage.server.rechecks;
    let mut rng = portcullis_core::rng::rng();
    let elsewhere = ProviderToken { provider: format!("{PROVIDER}/other"), ..Provider::token("t") };
    let of_bob = rechecks.seal("local:bob", &Provider::token("t"), &mut rng).unwrap();
    let of_other_provider = rechecks.seal(ADA, &elsewhere, &mut rng).unwrap();
    let other_keys = stage.replica_with_provider(&[8], &provider);
    let of_other_endpoint = other_keys.server.rechecks.seal(ADA, &Provider::token("t"), &mut rng).unwrap();
    for (name, sealed) in [("user", of_bob), ("provider", of_other_provider), ("endpoint", of_other_endpoint)] {
        assert!(rechecks.open(ADA, &sealed, stage.now()).is_none(), "of another {name}");
    }
    let long = Provider::token(&"x".repeat(MAX_TOKEN + 1));
    assert!(rechecks.seal(ADA, &long, &mut rng).is_none());

    // The longest token that is stored can be opened again.
    let longest = Provider::token(&"x".repeat(MAX_TOKEN));
    let sealed = rechecks.seal(ADA, &longest, &mut rng).unwrap();
    assert_eq!(rechecks.open(ADA, &sealed, stage.now()), Some(longest));

    // A token that was moved into the account of another user counts as absent.
    let moved = rechecks.seal("local:bob", &Provider::token("t"), &mut rng);
    stage.place.write_account(Account { token: moved, ..account(&stage) }).await.unwrap();
    stage.pass(6 * DAY);
    let tokens = stage.renew(tokens.refresh()).await.unwrap();
    stage.pass(DAY);
    refused(stage.renew(tokens.refresh()).await, "invalid_grant", "nothing to ask with");
    assert!(provider.asked().is_empty());
}

#[tokio::test]
async fn a_rotated_key_still_opens_and_each_check_seals_anew() {
    let provider = Arc::new(Provider::that_allows());
    let old = Stage::with_provider(&provider);
    let tokens = signed_in(&old, Some("t")).await;
    let both = old.replica_with_provider(&[8, 7], &provider);
    old.pass(DAY);
    let tokens = both.renew(tokens.refresh()).await.unwrap();
    let new = old.replica_with_provider(&[8], &provider);
    old.pass(DAY);
    new.renew(tokens.refresh()).await.unwrap();
    assert_eq!(provider.asked(), ["t", "t"]);
}

/// If two servers sign in the same user at the same time, one object is created, and both sessions are recorded.
#[tokio::test]
async fn concurrent_notes_lose_nothing() {
    let provider = Arc::new(Provider::that_allows());
    let one = Stage::with_provider(&provider);
    let two = one.replica_with_provider(&[7], &provider);
    let sign_in = async |stage: &Stage, session: &str| {
        let mut rng = portcullis_core::rng::rng();
        stage.server.note_sign_in(&ada(), &LoginEvidence::default(), None, Some(session), stage.now(), &mut rng).await;
    };
    tokio::join!(sign_in(&one, "a"), sign_in(&two, "b"));
    let mut sessions: Vec<String> = account(&one).sessions.into_iter().map(|session| session.id).collect();
    sessions.sort();
    assert_eq!(sessions, ["a", "b"]);
}
