use crate::refresh::*;
use crate::testing::{at, keys};
use portcullis_core::{
    Scope,
    grant::{GrantUser, RevocationReason},
};
use proptest::prelude::*;
use rand::{SeedableRng as _, rngs::StdRng};
use std::collections::BTreeSet;

const NAME: &str = "g-0123456789abcdef01234567";
const IDLE: Duration = Duration::from_secs(1000);

fn tokens(sealing: &[u64]) -> RefreshTokens {
    RefreshTokens::new(&keys(sealing), IDLE).unwrap()
}

fn grant(token: &RefreshToken, rotated_at: i64) -> Grant {
    Grant {
        name: NAME.to_owned(),
        client_id: "app".to_owned(),
        user: GrantUser { id: "local:ada".to_owned(), name: "Ada".to_owned() },
        scopes: BTreeSet::from([Scope::FilesRead]),
        resource: "https://h/mcp".to_owned(),
        created_at: at(0),
        signed_in_at: at(0),
        expires_at: at(10_000),
        refresh: Some(token.state(at(rotated_at))),
        evidence: None,
        revoked: None,
        last_used: None,
        version: "1".to_owned(),
    }
}

const ADA: Owner<'_> = Owner { client_id: "app", user_id: "local:ada" };

/// The first `count` tokens of a grant.
fn line(tokens: &RefreshTokens, count: usize) -> Vec<RefreshToken> {
    let first = tokens.first(NAME, ADA, &mut StdRng::seed_from_u64(1)).unwrap();
    let of_ada = grant(&first, 0);
    let next = |token: &RefreshToken| tokens.keys[0].after(&tokens.read(token.as_str()).unwrap(), &of_ada);
    std::iter::successors(Some(first), next).take(count).collect()
}

fn decide(tokens: &RefreshTokens, text: &str, grant: &Grant, now: i64) -> Decision {
    tokens.decide(&tokens.read(text).unwrap(), grant, at(now))
}

#[test]
fn each_token_is_good_for_one_other() {
    let tokens = tokens(&[1]);
    let line = line(&tokens, 5);
    let newest = grant(&line[2], 100);
    for (name, index, now, expected) in [
        ("the newest", 2, 100, Decision::Rotate(line[3].clone())),
        ("the newest, on its last second", 2, 1099, Decision::Rotate(line[3].clone())),
        ("the newest, unused for too long", 2, 1100, Decision::Invalid(Invalid::Idle)),
        ("the one before, in the grace", 1, 219, Decision::Repeat(line[2].clone())),
        ("the one before, by a clock that is behind", 1, 90, Decision::Repeat(line[2].clone())),
        ("the one before, after the grace", 1, 220, Decision::Replayed),
        ("an older one, in the grace", 0, 101, Decision::Replayed),
        ("one that the grant does not know yet", 3, 100, Decision::Rotate(line[4].clone())),
        ("the newest after the end", 2, 10_000, Decision::Invalid(Invalid::Ended)),
        ("an old one after the end", 0, 10_000, Decision::Invalid(Invalid::Ended)),
    ] {
        assert_eq!(decide(&tokens, line[index].as_str(), &newest, now), expected, "{name}");
    }
    let revoked = Grant { revoked: Some(RevocationReason::ByUser), ..newest.clone() };
    for token in &line {
        assert_eq!(decide(&tokens, token.as_str(), &revoked, 100), Decision::Invalid(Invalid::Revoked));
    }
    let without = Grant { refresh: None, ..newest };
    assert_eq!(decide(&tokens, line[0].as_str(), &without, 100), Decision::Invalid(Invalid::Unknown));
}

#[test]
fn nobody_ends_a_grant_with_a_token_that_was_not_made_here() {
    let (ours, theirs) = (tokens(&[1]), tokens(&[2]));
    let line_of_ours = line(&ours, 3);
    let newest = grant(&line_of_ours[2], 100);
    for forged in line(&theirs, 5) {
        assert!(ours.read(forged.as_str()).is_none());
    }
    // A genuine token of another grant.
    let other = Grant { name: "g-ffffffffffffffffffffffff".to_owned(), ..newest.clone() };
    assert_eq!(decide(&ours, line_of_ours[0].as_str(), &other, 100), Decision::Invalid(Invalid::Unknown));
    // A genuine token of this generation that was not issued.
    let twin = ours.first(NAME, ADA, &mut StdRng::seed_from_u64(2)).unwrap();
    let first = grant(&line_of_ours[0], 100);
    assert_eq!(decide(&ours, twin.as_str(), &first, 100), Decision::Invalid(Invalid::Unknown));
    // An older token of another chain: it was issued once, so there is a copy.
    let fork = line(&ours, 2).swap_remove(1);
    assert_eq!(decide(&ours, twin.as_str(), &grant(&fork, 100), 100), Decision::Replayed);
}

#[test]
fn tokens_outlive_the_rotation_of_keys() {
    let old = tokens(&[1]);
    let both = tokens(&[2, 1]);
    let line_of_old = line(&old, 3);
    let newest = grant(&line_of_old[1], 100);
    assert_eq!(
        decide(&both, line_of_old[0].as_str(), &newest, 110),
        Decision::Repeat(line_of_old[1].clone()),
        "the same answer, though another key makes the next"
    );
    let Decision::Rotate(next) = decide(&both, line_of_old[1].as_str(), &newest, 110) else { panic!() };
    let next_state = grant(&next, 110);
    assert!(matches!(decide(&both, next.as_str(), &next_state, 110), Decision::Rotate(_)));
    assert_eq!(
        decide(&old, line_of_old[1].as_str(), &next_state, 110),
        Decision::Replayed,
        "to a server that lags: safe"
    );
    assert!(both.read(line_of_old[2].as_str()).is_some(), "every key that is kept reads");
}

#[test]
fn a_chosen_hash_issues_nothing() {
    let (ours, theirs) = (tokens(&[1]), tokens(&[2]));
    let forged = line(&theirs, 1).remove(0);
    // The grant contains the hash of exactly this token, but another key made its MAC.
    assert!(ours.read(forged.as_str()).is_none());
    assert!(matches!(decide(&theirs, forged.as_str(), &grant(&forged, 0), 1), Decision::Rotate(_)), "with its own key");
}

#[test]
fn a_token_is_for_its_client_and_its_user() {
    let tokens = tokens(&[2, 1]);
    let token = line(&tokens, 1).remove(0);
    let own = grant(&token, 0);
    assert!(matches!(decide(&tokens, token.as_str(), &own, 1), Decision::Rotate(_)));
    let mut of_another = own.clone();
    of_another.user.id = "local:bob".to_owned();
    for forged in [of_another, Grant { client_id: "other".to_owned(), ..own.clone() }] {
        assert_eq!(decide(&tokens, token.as_str(), &forged, 1), Decision::Invalid(Invalid::Unknown));
    }
    // A token of a server that did not bind tokens.
    let message = format!("{OLD_PREFIX}.{NAME}.0.{}", URL_SAFE_NO_PAD.encode([7; 32]));
    let mac = URL_SAFE_NO_PAD.encode(hmac(&tokens.keys[1].mac, &[message.as_bytes()]));
    let old = RefreshToken { text: format!("{message}.{mac}"), generation: 0 };
    let Decision::Rotate(next) = decide(&tokens, old.as_str(), &grant(&old, 0), 1) else { panic!() };
    assert!(next.as_str().starts_with(PREFIX), "the next one is bound");
}

#[test]
fn what_is_stored_and_shown_is_no_token() {
    let tokens = tokens(&[1]);
    let token = line(&tokens, 1).remove(0);
    let secret = token.as_str().split('.').nth(3).unwrap();
    let shown = format!("{token:?} {:?} {:?}", tokens.read(token.as_str()).unwrap(), grant(&token, 0));
    assert!(!shown.contains(secret) && !shown.contains(token.as_str()));
    assert!(token.state(at(0)).hash.starts_with("sha256:"));
}

#[test]
fn only_the_one_spelling_is_read() {
    let tokens = tokens(&[1]);
    let good = line(&tokens, 1).remove(0).text;
    assert!(tokens.read(&good).is_some());
    for broken in [
        String::new(),
        "prt2".to_owned(),
        good.replace("prt2", "prt3"),
        good.replace("prt2", "prt1"),
        good.replace(".0.", ".00."),
        good.replace(".0.", ".+0."),
        good.replace(".0.", ".-1."),
        good.replace(".0.", ".9223372036854775808."),
        good.replace("g-0", "g-A"),
        good.replace("g-0", "../0"),
        good.replace("g-0123", "g-012"),
        format!("{good}."),
        format!("{good}="),
        format!("{good}A"),
        format!(" {good}"),
        "a.".repeat(200),
    ] {
        assert!(tokens.read(&broken).is_none(), "{broken}");
    }
    // The generation cannot overflow.
    let last = tokens.keys[0].token(NAME, ADA, i64::MAX, &Secret::default());
    assert_eq!(decide(&tokens, last.as_str(), &grant(&last, 0), 1), Decision::Invalid(Invalid::Unknown));
}

proptest! {
    #[test]
    fn no_text_panics_and_none_but_ours_is_read(text in "\\PC{0,200}|prt[12]\\.g-[0-9a-f]{24}\\.[0-9]{1,20}\\.[A-Za-z0-9_-]{43}\\.[A-Za-z0-9_-]{43}") {
        prop_assert!(tokens(&[1]).read(&text).is_none());
    }

    #[test]
    fn a_changed_token_never_counts(at in 0usize..140, to in "[A-Za-z0-9_.-]") {
        let tokens = tokens(&[1]);
        let good = line(&tokens, 1).remove(0).text;
        let at = at.min(good.len() - 1);
        let changed = format!("{}{to}{}", &good[..at], &good[at + 1..]);
        if changed != good {
            let newest = grant(&line(&tokens, 1)[0], 0);
            prop_assert!(!tokens.read(&changed).is_some_and(|presented| tokens.belongs(&presented, &newest)));
        }
    }

    /// Whatever two holders of the same tokens do, in whatever order: as soon as both have used a token, the grant has
    /// ended or both hold the same token.
    #[test]
    fn a_thief_is_found_out(stored in 0usize..6, presented in 0usize..8, age in 0i64..240) {
        let tokens = tokens(&[1]);
        let line = line(&tokens, 9);
        let decision = decide(&tokens, line[presented].as_str(), &grant(&line[stored], 100), 100 + age);
        let expected = if presented >= stored {
            Decision::Rotate(line[presented + 1].clone())
        } else if presented + 1 == stored && age < 120 {
            Decision::Repeat(line[stored].clone())
        } else {
            Decision::Replayed
        };
        prop_assert_eq!(decision, expected);
    }
}
