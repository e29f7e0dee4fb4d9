use crate::accounts::*;

const HOUR: i64 = 3600;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn ada() -> GrantUser {
    GrantUser { id: "sso:ada".to_owned(), name: "Ada".to_owned() }
}

fn token(text: &str) -> SealedToken {
    SealedToken(text.to_owned())
}

fn policy() -> RecheckPolicy {
    RecheckPolicy { after: SignedDuration::from_hours(24), oldest: SignedDuration::from_hours(168) }
}

fn signed_in(seconds: i64, with: Option<&str>) -> Account {
    Account::new(ada()).signed_in(&ada(), with.map(token), Some("one"), at(seconds))
}

/// Every combination of a token, the ages of sign-in and check, and what was recorded since.
#[test]
fn what_a_refresh_does_depends_on_the_token_and_on_ages() {
    use RevocationReason::{NotAllowed, SignInTooOld};
    let now = 1000 * HOUR;
    let ago = |hours: i64| now - hours * HOUR;
    let end = Due::End;
    let check = || Due::Check(token("t"));
    let with = |hours| signed_in(ago(hours), Some("t"));
    let without = |hours| signed_in(ago(hours), None);
    let rows = [
        ("nothing is kept, signed in lately", ago(100), None, Due::Nothing),
        ("nothing is kept, signed in long ago", ago(168), None, end(SignInTooOld)),
        ("no token, signed in lately", ago(167), Some(without(167)), Due::Nothing),
        ("no token, signed in long ago", ago(168), Some(without(168)), end(SignInTooOld)),
        ("no token, but signed in again", ago(300), Some(without(1)), Due::Nothing),
        ("a token, checked lately", ago(23), Some(with(23)), Due::Nothing),
        ("a token, checked long ago", ago(24), Some(with(24)), check()),
        ("a token, an old grant checked lately", ago(700), Some(with(700).allowed(None, at(ago(1)))), Due::Nothing),
        ("a token, an old grant checked long ago", ago(700), Some(with(700).allowed(None, at(ago(25)))), check()),
        ("a token, checked in the future", ago(700), Some(with(700).allowed(None, at(ago(-100)))), check()),
        ("a logout since the check", ago(1), Some(with(1).logged_out(Some("one"), at(ago(0)))), check()),
        ("a logout without a token", ago(1), Some(without(1).logged_out(None, at(ago(0)))), Due::Nothing),
        ("another server asks", ago(25), Some(with(25).leased("other", at(now - 59))), Due::Wait),
        ("another server asked and ended", ago(25), Some(with(25).leased("other", at(now - 60))), check()),
        ("a lease by a clock that is wrong", ago(25), Some(with(25).leased("other", at(now + 61))), check()),
        ("a lease that does not matter", ago(1), Some(with(1).leased("other", at(now))), Due::Nothing),
        ("refused since", ago(30), Some(with(30).refused(NotAllowed, at(ago(1)))), end(NotAllowed)),
        (
            "refused in the second of the sign-in",
            ago(1),
            Some(with(1).refused(NotAllowed, at(ago(1)))),
            end(NotAllowed),
        ),
        (
            "refused before, and signed in again",
            ago(1),
            Some(with(30).refused(NotAllowed, at(ago(2))).signed_in(&ada(), Some(token("t")), None, at(ago(1)))),
            Due::Nothing,
        ),
    ];
    for (name, since, account, expected) in rows {
        assert_eq!(due(&policy(), at(since), account.as_ref(), |_| true, at(now)), expected, "{name}");
    }
    for (hours, expected) in [(167, Due::Nothing), (168, end(SignInTooOld))] {
        let account = with(hours);
        let found = due(&policy(), at(ago(hours)), Some(&account), |_| false, at(now));
        assert_eq!(found, expected, "a token whose key is gone is as none, {hours}");
    }
}

#[test]
fn the_newest_sign_in_wins_and_keeps_a_token_that_it_does_not_replace() {
    let account = signed_in(10, Some("old")).leased("server", at(20));
    let again = account.clone().signed_in(&ada(), None, None, at(30));
    assert_eq!((again.token, again.lease), (Some(token("old")), account.lease.clone()));
    let again = account.signed_in(&ada(), Some(token("new")), None, at(30));
    assert_eq!((again.token, again.lease), (Some(token("new")), None));
    assert_eq!((again.signed_in_at, again.checked_at), (Some(at(30)), Some(at(30))));
}

#[test]
fn a_logout_ends_its_session_or_all_from_before() {
    let account = signed_in(10, None).signed_in(&ada(), None, Some("two"), at(20));
    let ended = |account: &Account, session: Option<&str>, since: i64| account.session_ended(session, at(since));
    assert!(!ended(&account, Some("one"), 10) && !ended(&account, None, 10));

    let one = account.clone().logged_out(Some("one"), at(30));
    assert!(ended(&one, Some("one"), 10) && ended(&one, Some("one"), 100), "a session that ended does not come back");
    assert!(!ended(&one, Some("two"), 20) && !ended(&one, None, 10));
    let again = one.signed_in(&ada(), None, Some("one"), at(40));
    assert!(ended(&again, Some("one"), 40));

    let all = account.logged_out(None, at(30));
    for session in [None, Some("one"), Some("two"), Some("unheard-of")] {
        assert!(ended(&all, session, 30) && !ended(&all, session, 31), "{session:?}");
    }
    assert_eq!(all.clone().logged_out(None, at(25)).sessions_end_before, Some(at(30)), "a late one changes nothing");
    let refused = signed_in(10, None).refused(RevocationReason::ProviderRefused, at(30));
    assert!(ended(&refused, Some("one"), 30) && !ended(&refused, Some("three"), 31));
}

#[test]
fn few_sessions_are_kept_and_those_that_ended_stay_ended() {
    let mut account = Account::new(ada()).logged_out(Some("ended"), at(5));
    for number in 0..40 {
        account = account.signed_in(&ada(), None, Some(&format!("s{number}")), at(10 + number));
    }
    assert_eq!(account.sessions.len(), MAX_SESSIONS);
    assert!(account.session_ended(Some("ended"), at(4)));
    assert!(!account.session_ended(Some("s0"), at(10)));
}

#[test]
fn names_are_of_one_user_of_one_endpoint() {
    let names = [("agents", "sso:ada"), ("agents", "sso:bob"), ("agentss", "so:ada"), ("others", "sso:ada")];
    let names = names.map(|(endpoint, user)| object_name(endpoint, user));
    assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>().len(), names.len());
    assert!(names.iter().all(|name| name.len() == 42));
}

#[test]
fn what_is_logged_of_an_account_has_no_token() {
    assert!(!format!("{:?}", signed_in(1, Some("sealed-text"))).contains("sealed-text"));
}
