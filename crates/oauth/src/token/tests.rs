use crate::token::*;
use crate::{
    Approver, ConsentTicket,
    grant::Grants as _,
    testing::{
        ADA, ALLOWED, FROM, MACHINE, SECRET, Stage, ada, answer, changed, clients, encoded, headers, query, redemption,
        refused, renewal,
    },
};
use futures::FutureExt as _;
use portcullis_core::grant::RevocationReason;
use proptest::prelude::*;
use std::sync::atomic::Ordering;

const BASIC: Option<&str> = Some("agent:s%2Bc%25r+t");

#[tokio::test]
async fn a_guess_costs_no_read_and_a_grant_that_is_gone_one() {
    let here = Stage::new();
    let genuine = here.signed_in().await.refresh().to_owned();
    // An endpoint with the same keys that never had the grant.
    let elsewhere = Stage::new();
    let reads = || elsewhere.grants.reads.load(Ordering::SeqCst);
    let (message, mac) = genuine.rsplit_once('.').unwrap();
    for guess in [format!("{message}.{}", "A".repeat(43)), genuine.replace(".0.", ".1."), format!("{mac}.{mac}")] {
        refused(elsewhere.renew(&guess).await, "invalid_grant", &guess);
        elsewhere.revoke(&[("client_id", "app"), ("token", &guess)]).await.unwrap();
    }
    assert_eq!(reads(), 0);
    for _ in 0..3 {
        refused(elsewhere.renew(&genuine).await, "invalid_grant", "of no grant");
        elsewhere.revoke(&[("client_id", "app"), ("token", &genuine)]).await.unwrap();
    }
    assert_eq!(reads(), 1);
    elsewhere.pass(600);
    refused(elsewhere.renew(&genuine).await, "invalid_grant", "of no grant");
    assert_eq!(reads(), 2);
}

#[tokio::test]
async fn unattended_agents_get_tokens() {
    let stage = Stage::new();
    let all = "workspaces:read workspaces:exec files:read";
    for (name, basic, form, scope) in [
        ("basic", BASIC, vec![MACHINE], all),
        ("post", None, vec![MACHINE, ("client_id", "agent"), ("client_secret", SECRET)], all),
        ("basic with the same id in the body", BASIC, vec![MACHINE, ("client_id", "agent")], all),
        ("the old secret in the overlap", Some("agent:old"), vec![MACHINE], all),
        ("one scope", BASIC, vec![MACHINE, ("scope", "files:read")], "files:read"),
        ("more than it may have", BASIC, vec![MACHINE, ("scope", "files:read files:write")], "files:read"),
        ("empty parameters", BASIC, vec![MACHINE, ("scope", ""), ("resource", ""), ("client_secret", "")], all),
        ("the resource", BASIC, vec![MACHINE, ("resource", "https://h.example.com/team/mcp/")], all),
        ("unknown parameters", BASIC, vec![MACHINE, ("x", "1"), ("x", "2")], all),
    ] {
        let answer = stage.token_as(basic, &form).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((answer.scope.as_str(), answer.expires_in, answer.refresh), (scope, 900, None), "{name}");
        let caller = stage.caller(&answer.access).await.unwrap();
        assert_eq!(scope::join(&caller.scopes), answer.scope, "the token says what the answer says");
        assert_eq!((caller.subject.as_str(), caller.grant.as_ref()), ("client:agent", None));
    }
}

#[tokio::test]
async fn requests_are_refused_by_the_right_code() {
    let stage = Stage::new();
    stage.pass(500);
    let other = ("resource", "https://h.example.com/other");
    let assertion = ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    for (name, basic, form, code) in [
        ("no grant", BASIC, vec![], "invalid_request"),
        ("other grant", BASIC, vec![("grant_type", "password")], "unsupported_grant_type"),
        ("grant twice", BASIC, vec![MACHINE, MACHINE], "invalid_request"),
        ("both ways", BASIC, vec![MACHINE, ("client_secret", SECRET)], "invalid_request"),
        ("secret and assertion", BASIC, vec![MACHINE, assertion], "invalid_request"),
        ("two ids", BASIC, vec![MACHINE, ("client_id", "other")], "invalid_request"),
        ("secret without id", None, vec![MACHINE, ("client_secret", "x")], "invalid_request"),
        ("control", BASIC, vec![MACHINE, ("scope", "files:read\0")], "invalid_request"),
        ("assertion", None, vec![MACHINE, assertion], "invalid_request"),
        ("no credentials", None, vec![MACHINE], "invalid_client"),
        ("id only", None, vec![MACHINE, ("client_id", "agent")], "invalid_client"),
        ("unknown client", Some("who:s"), vec![MACHINE], "invalid_client"),
        ("unknown public client", None, vec![MACHINE, ("client_id", "who")], "invalid_client"),
        ("nobody", Some("nobody:"), vec![MACHINE], "invalid_client"),
        ("wrong secret", Some("agent:s"), vec![MACHINE], "invalid_client"),
        ("another's secret", Some("other:old"), vec![MACHINE], "invalid_client"),
        ("public client with a secret", Some("app:s"), vec![MACHINE], "invalid_client"),
        ("the old secret after the overlap", Some("agent:old"), vec![MACHINE], "invalid_client"),
        ("malformed basic", Some("agent"), vec![MACHINE], "invalid_client"),
        ("client without the grant", Some("other:s%2Bc%25r+t"), vec![MACHINE], "unauthorized_client"),
        ("public client for itself", None, vec![MACHINE, ("client_id", "app")], "unauthorized_client"),
        ("unknown scope", BASIC, vec![MACHINE, ("scope", "everything")], "invalid_scope"),
        ("none of its scopes", BASIC, vec![MACHINE, ("scope", "files:write")], "invalid_scope"),
        ("other resource", BASIC, vec![MACHINE, other], "invalid_target"),
        ("one of two", BASIC, vec![MACHINE, ("resource", "https://h.example.com/team/mcp"), other], "invalid_target"),
    ] {
        refused(stage.token_as(basic, &form).await, code, name);
    }
    let mut twice = headers(BASIC);
    twice.append(header::AUTHORIZATION, http::HeaderValue::from_static("Basic YTpi"));
    let body = encoded(&[MACHINE]);
    let mut rng = portcullis_core::rng::rng();
    let answer = stage.server.token(&twice, body.as_bytes(), &FROM, stage.now(), &mut rng).await;
    refused(answer, "invalid_request", "two headers");
    let answer = stage.server.token(&HeaderMap::new(), body.as_bytes(), &FROM, stage.now(), &mut rng).await;
    refused(answer, "invalid_request", "no form");
}

#[tokio::test]
async fn a_code_becomes_a_grant_with_tokens() {
    let stage = Stage::new();
    stage.pass(1000);
    let code = stage.code("app", &[Scope::FilesRead]).await;
    stage.pass(59);
    let answer = stage.redeem(&code).await.unwrap();
    assert_eq!((answer.scope.as_str(), answer.expires_in), ("files:read", 900));
    let caller = stage.caller(&answer.access).await.unwrap();
    let grant = stage.grant();
    assert_eq!((caller.client_id.as_str(), caller.subject.as_str()), ("app", ADA));
    assert_eq!((caller.user_name.as_deref(), caller.grant.as_deref()), (Some("Ada"), Some(grant.name.as_str())));
    assert_eq!(grant.scopes, BTreeSet::from([Scope::FilesRead]));
    assert_eq!((grant.user.clone(), grant.resource.as_str()), (ada(), "https://h.example.com/team/mcp"));
    assert_eq!(grant.expires_at.as_second(), 1059 + 720 * 3600);
    assert!(!format!("{grant:?}").contains(answer.refresh()) && !grant.name.contains(&code));

    let code = stage.code("brief", &ALLOWED).await;
    let brief = stage.token(&redemption("brief", &code)).await.unwrap();
    assert_eq!(brief.refresh, None, "a client that does not renew gets nothing to renew with");
    let code = stage.code("agent", &ALLOWED).await;
    let confidential = changed(&redemption("agent", &code), &[("client_secret", SECRET)]);
    assert!(stage.token(&confidential).await.unwrap().refresh.is_some());
    // OAuth 2.1 clients do not send it.
    let code = stage.code("app", &ALLOWED).await;
    assert!(stage.token(&changed(&redemption("app", &code), &[("redirect_uri", "")])).await.is_ok());
}

#[tokio::test]
async fn who_cannot_prove_that_a_code_is_theirs_gets_nothing_and_burns_nothing() {
    let stage = Stage::new();
    let code = stage.code("app", &ALLOWED).await;
    let other_code = stage.code("agent", &ALLOWED).await;
    let good = redemption("app", &code);
    let plain = crate::testing::challenge();
    for (name, changes, expected) in [
        ("no code", &[("code", "")][..], "invalid_request"),
        ("no verifier", &[("code_verifier", "")], "invalid_request"),
        ("wrong verifier", &[("code_verifier", "another-verifier-of-43-characters-or-a-few-more")], "invalid_grant"),
        ("the challenge as the verifier", &[("code_verifier", plain.as_str())], "invalid_grant"),
        ("short verifier", &[("code_verifier", "short")], "invalid_grant"),
        ("other callback", &[("redirect_uri", "http://localhost:4712/callback")], "invalid_grant"),
        ("other resource", &[("resource", "https://evil.com")], "invalid_target"),
        ("another client", &[("client_id", "brief")], "invalid_grant"),
        ("another, confidential client", &[("client_id", "other"), ("client_secret", SECRET)], "invalid_grant"),
        ("another client's code", &[("code", other_code.as_str())], "invalid_grant"),
        ("a client that has no codes", &[("client_id", "robot"), ("client_secret", SECRET)], "unauthorized_client"),
        ("made up", &[("code", "AAAA")], "invalid_grant"),
        ("confidential without its secret", &[("client_id", "agent"), ("code", other_code.as_str())], "invalid_client"),
    ] {
        refused(stage.token(&changed(&good, changes)).await, expected, name);
    }
    refused(stage.with(clients(), &[7], &["bob"]).redeem(&code).await, "invalid_grant", "the user is gone");
    refused(stage.with(clients(), &[8], &["ada"]).redeem(&code).await, "invalid_grant", "another endpoint's keys");
    assert!(stage.place.of_user(ADA).is_empty());
    assert!(stage.redeem(&code).await.is_ok(), "the right one still gets it");

    let late = stage.code("app", &ALLOWED).await;
    stage.pass(60);
    refused(stage.redeem(&late).await, "invalid_grant", "too late");
}

#[tokio::test]
async fn a_code_that_comes_twice_ends_what_came_of_it() {
    let stage = Stage::new();
    let code = stage.code("app", &ALLOWED).await;
    let answer = stage.redeem(&code).await.unwrap();
    refused(stage.redeem(&code).await, "invalid_grant", "again");
    assert_eq!(stage.grant().revoked, Some(RevocationReason::CodeReplayed));
    assert!(stage.caller(&answer.access).await.is_err());
    refused(stage.renew(answer.refresh()).await, "invalid_grant", "its refresh token");
    refused(stage.redeem(&code).await, "invalid_grant", "a third time");
}

#[tokio::test]
async fn of_two_servers_at_once_one_redeems_and_the_grant_ends() {
    let here = Stage::new();
    let there = here.replica();
    // Neither server has seen what the other one does.
    here.grants.lags.store(true, Ordering::SeqCst);
    there.grants.lags.store(true, Ordering::SeqCst);
    let code = here.code("app", &ALLOWED).await;
    let (first, second) = tokio::join!(here.redeem(&code), there.redeem(&code));
    assert!(first.is_ok() != second.is_ok(), "exactly one");
    assert_eq!(here.grant().revoked, Some(RevocationReason::CodeReplayed));
    let access = first.or(second).unwrap().access;
    assert!(here.caller(&access).await.is_err() && there.caller(&access).await.is_err());
}

#[tokio::test]
async fn refresh_tokens_rotate_and_an_old_one_ends_the_grant() {
    let stage = Stage::new();
    let first = stage.signed_in().await;
    let second = stage.renew(first.refresh()).await.unwrap();
    assert_ne!(first.refresh, second.refresh);
    assert_eq!(stage.caller(&second.access).await.unwrap().subject, ADA);

    stage.pass(29);
    let again = stage.renew(first.refresh()).await.unwrap();
    assert_eq!(again.refresh, second.refresh, "the answer was lost on its way");
    let third = stage.renew(second.refresh()).await.unwrap();
    refused(stage.renew(first.refresh()).await, "invalid_grant", "an old one");
    assert_eq!(stage.grant().revoked, Some(RevocationReason::RefreshTokenReplayed));
    refused(stage.renew(third.refresh()).await, "invalid_grant", "the newest, now that a copy was seen");
    assert!(stage.caller(&third.access).await.is_err());
}

#[tokio::test]
async fn racing_renewals_get_the_same_next_token() {
    let here = Stage::new();
    let there = here.replica();
    let first = here.signed_in().await;
    let (one, two) = tokio::join!(here.renew(first.refresh()), there.renew(first.refresh()));
    assert_eq!(one.unwrap().refresh, two.unwrap().refresh);
    assert_eq!(here.grant().refresh.as_ref().unwrap().generation, 1);
    here.grants.lags.store(true, Ordering::SeqCst);
    there.grants.lags.store(true, Ordering::SeqCst);
    let again = there.renew(first.refresh()).await.unwrap();
    let next = here.renew(again.refresh()).await.unwrap();
    assert!(here.grant().is_active(here.now()) && next.refresh.is_some(), "a watch that lags harms nobody");
}

#[tokio::test]
async fn renewal_needs_the_client_the_user_and_the_scopes() {
    let stage = Stage::new();
    let first = stage.signed_in().await;
    let token = first.refresh();
    for (name, form, code) in [
        ("no token", vec![("grant_type", "refresh_token"), ("client_id", "app")], "invalid_request"),
        ("no client", vec![("grant_type", "refresh_token"), ("refresh_token", token)], "invalid_client"),
        ("another client", changed(&renewal("other", token), &[("client_secret", SECRET)]), "invalid_grant"),
        ("a client that does not renew", renewal("brief", token).to_vec(), "unauthorized_client"),
        ("unknown scope", changed(&renewal("app", token), &[("scope", "everything")]), "invalid_scope"),
        ("beyond the grant", changed(&renewal("app", token), &[("scope", "files:write")]), "invalid_scope"),
        ("other resource", changed(&renewal("app", token), &[("resource", "https://evil.com")]), "invalid_target"),
        ("an access token", renewal("app", &first.access).to_vec(), "invalid_grant"),
        ("changed", renewal("app", &token.replace(".0.", ".1.")).to_vec(), "invalid_grant"),
    ] {
        refused(stage.token(&form).await, code, name);
    }
    refused(stage.with(clients(), &[7], &["bob"]).renew(token).await, "invalid_grant", "the user is gone");
    assert_eq!(stage.grant().refresh.as_ref().unwrap().generation, 0, "none of these used it up");

    let narrow = stage.token(&changed(&renewal("app", token), &[("scope", "files:read files:write")])).await.unwrap();
    assert_eq!(narrow.scope, "files:read", "never more than was granted");
    let whole = stage.renew(narrow.refresh()).await.unwrap();
    assert_eq!(whole.scope, first.scope, "RFC 6749 §6: asking for less once is not for ever");

    let mut lesser = clients();
    lesser[1].scopes = BTreeSet::from([Scope::FilesRead]);
    let answer = stage.with(lesser, &[7], &["ada"]).renew(whole.refresh()).await.unwrap();
    assert_eq!(answer.scope, "files:read", "the client may have less by now");
}

#[tokio::test]
async fn renewal_ends_with_the_grant_and_with_disuse() {
    const WEEK: i64 = 7 * 24 * 3600;
    let stage = Stage::new();
    let mut newest = stage.signed_in().await;
    for _ in 0..4 {
        stage.pass(WEEK - 1);
        newest = stage.renew(newest.refresh()).await.unwrap();
    }
    stage.pass(WEEK - 1);
    refused(stage.renew(newest.refresh()).await, "invalid_grant", "however much it is used");

    let stage = Stage::new();
    let first = stage.signed_in().await;
    stage.pass(WEEK);
    refused(stage.renew(first.refresh()).await, "invalid_grant", "unused for a week");
    assert_eq!(stage.grant().revoked, None);
}

#[tokio::test]
async fn two_machines_have_a_grant_each() {
    let stage = Stage::new();
    let (one, two) = (stage.signed_in().await, stage.signed_in().await);
    let name = stage.caller(&one.access).await.unwrap().grant.clone().unwrap();
    stage.place.revoke(&name, RevocationReason::ByUser, stage.now()).await.unwrap();
    assert!(stage.caller(&one.access).await.is_err() && stage.renew(one.refresh()).await.is_err());
    assert!(stage.caller(&two.access).await.is_ok() && stage.renew(two.refresh()).await.is_ok());
}

#[tokio::test]
async fn a_place_that_cannot_be_reached_costs_nobody_a_credential() {
    let stage = Stage::new();
    let first = stage.signed_in().await;
    let code = stage.code("app", &ALLOWED).await;
    stage.grants.unreachable.store(true, Ordering::SeqCst);
    refused(stage.redeem(&code).await, "temporarily_unavailable", "code");
    refused(stage.renew(first.refresh()).await, "temporarily_unavailable", "refresh token");
    refused(stage.revoke(&[("client_id", "app"), ("token", first.refresh())]).await, "temporarily_unavailable", "gift");
    stage.grants.unreachable.store(false, Ordering::SeqCst);
    assert!(stage.redeem(&code).await.is_ok() && stage.renew(first.refresh()).await.is_ok());
}

#[test]
fn answers_show_no_credential_by_debug() {
    let response = TokenResponse {
        access_token: "hidden".to_owned(),
        token_type: "Bearer",
        expires_in: 1,
        scope: "files:read".to_owned(),
        refresh_token: Some("hidden".to_owned()),
    };
    assert!(!format!("{response:?}").contains("hidden"));
}

proptest! {
    #[test]
    fn no_form_and_no_header_panics(body in prop::collection::vec(any::<u8>(), 0..200), basic in "\\PC{0,40}") {
        let stage = Stage::new();
        let mut rng = portcullis_core::rng::rng();
        for header in [None, Some(basic.as_str())] {
            let answer = stage.server.token(&headers(header), &body, &FROM, stage.now(), &mut rng).now_or_never();
            prop_assert!(answer.unwrap().is_err());
        }
    }

    #[test]
    fn no_grant_is_had_with_parameters_made_up(
        grant_type in prop::sample::select(&["authorization_code", "refresh_token", "client_credentials", "x"][..]),
        values in prop::collection::vec((prop::sample::select(&NAMES[1..]), "\\PC{0,60}"), 0..6),
    ) {
        let stage = Stage::new();
        let mut form = vec![("grant_type", grant_type), ("client_id", "app")];
        form.extend(values.iter().map(|(name, value)| (*name, value.as_str())));
        prop_assert!(stage.token(&form).now_or_never().unwrap().is_err());
        prop_assert!(stage.place.of_user(ADA).is_empty());
    }

    /// Whatever a client requests and a user approves, a token has no more scopes than either.
    #[test]
    fn scopes_only_ever_shrink(
        asked in prop::sample::subsequence(Scope::ALL.to_vec(), 1..=6),
        ticked in prop::sample::subsequence(Scope::ALL.to_vec(), 1..=6),
        renewed in prop::sample::subsequence(Scope::ALL.to_vec(), 1..=6),
    ) {
        let stage = Stage::new();
        let (asked, ticked, renewed): (BTreeSet<_>, BTreeSet<_>, BTreeSet<_>) =
            (asked.into_iter().collect(), ticked.into_iter().collect(), renewed.into_iter().collect());
        let query = query("app", &[("scope", &scope::join(&asked))]);
        let Ok(request) = stage.check(&query).now_or_never().unwrap() else {
            prop_assert!(asked.is_disjoint(&BTreeSet::from(ALLOWED)));
            return Ok(());
        };
        let mut rng = portcullis_core::rng::rng();
        let Ok(location) = stage.server.approve(&request, Approver { user: &ada(), since: stage.now(), evidence: None }, &ticked, &ConsentTicket::new(&mut rng), stage.now(), &mut rng) else {
            prop_assert!(!ticked.is_subset(&(&asked & &BTreeSet::from(ALLOWED))));
            return Ok(());
        };
        let first = stage.redeem(&answer(&location)["code"]).now_or_never().unwrap().unwrap();
        prop_assert_eq!(&first.scope, &scope::join(&ticked));
        let wanted = scope::join(&renewed);
        let form = changed(&renewal("app", first.refresh()), &[("scope", &wanted)]);
        match stage.token(&form).now_or_never().unwrap() {
            Ok(second) => prop_assert_eq!(second.scope, scope::join(&(&ticked & &renewed))),
            Err(error) => prop_assert!(error.code() == "invalid_scope" && ticked.is_disjoint(&renewed)),
        }
    }
}
