//! Accounts of an OpenID provider that does not behave.

use crate::identity::{
    clock::ManualClock,
    provider::{CLIENT_ID, CLIENT_SECRET, Provider, World, public_key},
    relying::{CALLBACK, begin, client, finish, logins, now, secrets, whole},
};
use jiff::SignedDuration;
use portcullis_core::grant::GrantUser;
use portcullis_identity::{Logins, SignInError};
use portcullis_outbound::Outbound;
use serde_json::{Value, json};
use std::sync::Arc;

fn endpoint(provider: &Provider, change: &Value) -> Logins {
    let mut login = json!({
        "issuerUrl": provider.issuer, "clientSecretRef": {"name": "sso"}, "allowedGroups": ["developers"],
    });
    login.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let login = json!([{"name": "sso", "oidc": login}]);
    logins(&login, &secrets("sso", client(CLIENT_ID, CLIENT_SECRET)))
}

async fn sign_in(provider: &Provider, logins: &Logins) -> Result<GrantUser, SignInError> {
    let (location, pending) = begin(logins, "sso").await?;
    finish(logins, &pending, &provider.authorize(&location)).await
}

/// Signs in at a provider that was changed.
async fn outcome(change: impl FnOnce(&mut World)) -> Result<GrantUser, &'static str> {
    let provider = Provider::start().await;
    provider.change(change);
    sign_in(&provider, &endpoint(&provider, &json!({}))).await.map_err(|error| {
        let shown = whole(&error);
        assert!(
            !shown.contains("opaque-access-token") && !shown.contains(CLIENT_SECRET) && !shown.contains("eyJ"),
            "{shown}"
        );
        error.reason()
    })
}

#[tokio::test]
async fn a_provider_is_asked_no_more_than_needed() {
    let provider = Provider::start().await;
    let logins = endpoint(&provider, &json!({}));
    let (location, _) = begin(&logins, "sso").await.unwrap();
    assert!(location.contains("/authorize?tenant=a&response_type=code&"), "its own query stays: {location}");
    assert!(location.contains("&scope=openid+email+offline_access+profile&"), "{location}");
    for _ in 0..3 {
        let user = sign_in(&provider, &logins).await.unwrap();
        assert_eq!(user, GrantUser { id: "sso:7".to_owned(), name: "alice".to_owned() });
    }
    let asked = ["discovery", "jwks", "userinfo"].map(|what| provider.asked(what));
    assert_eq!(asked, [1, 1, 0]);
}

#[tokio::test]
async fn the_client_authenticates_as_the_provider_says() {
    for (methods, by) in [
        (Value::Null, "basic"),
        (json!(["client_secret_post"]), "post"),
        (json!(["client_secret_post", "client_secret_basic"]), "basic"),
        (json!(["private_key_jwt", "client_secret_post"]), "post"),
    ] {
        let provider = Provider::start().await;
        provider.change(|world| world.metadata = json!({"token_endpoint_auth_methods_supported": methods}));
        sign_in(&provider, &endpoint(&provider, &json!({}))).await.unwrap();
        assert_eq!(provider.world.lock().unwrap().authenticated, [by], "{methods}");
    }
}

#[tokio::test]
async fn groups_and_names_that_the_id_token_lacks_come_from_userinfo() {
    let bare = json!({"groups": null, "preferred_username": null});
    let alice = Ok(GrantUser { id: "sso:7".to_owned(), name: "ada".to_owned() });
    let said = |user_info: Value| {
        let claims = bare.clone();
        move |world: &mut World| (world.claims, world.user_info) = (claims, user_info)
    };
    let more = json!({"groups": ["developers"], "preferred_username": "ada"});
    assert_eq!(outcome(said(more.clone())).await, alice);
    assert_eq!(outcome(said(json!({"groups": ["other"]}))).await, Err("not_allowed"));
    assert_eq!(outcome(said(json!({}))).await, Err("not_allowed"));
    let mut another = more.clone();
    another["sub"] = json!("8");
    assert_eq!(outcome(said(another)).await, Err("provider_unexpected"), "it is about somebody else");

    // What the ID token says is signed, and is not overruled.
    let signed = outcome(|world| {
        world.claims = json!({"groups": ["other"], "preferred_username": null});
        world.user_info = more;
    });
    assert_eq!(signed.await, Err("not_allowed"));
    let none = outcome(|world| (world.claims, world.metadata) = (bare.clone(), json!({"userinfo_endpoint": null})));
    assert_eq!(none.await, Err("provider_misconfigured"));
    // A name alone is not worth failing for.
    let nameless = outcome(|world| {
        world.claims = json!({"preferred_username": null, "email": "a@b.example"});
        world.user_info = json!({"sub": "8"});
    });
    assert_eq!(nameless.await.unwrap().name, "a@b.example");
}

#[tokio::test]
async fn an_id_token_that_does_not_hold_lets_nobody_in() {
    for claims in [
        json!({"iss": "https://evil.example"}),
        json!({"aud": "somebody else"}),
        json!({"nonce": "another flow's"}),
        json!({"exp": 1}),
        json!({"sub": null}),
        json!({"sub": ""}),
        json!({"sub": "x".repeat(256)}),
    ] {
        assert_eq!(outcome(|world| world.claims = claims.clone()).await, Err("provider_unexpected"), "{claims}");
    }
    let answer = |body: Value| move |world: &mut World| world.token_answer = Some((200, body.to_string()));
    assert_eq!(outcome(answer(json!({"access_token": "a"}))).await, Err("provider_unexpected"), "no ID token");
    let unsigned = "eyJhbGciOiJub25lIn0.eyJzdWIiOiI3In0.";
    let unsigned = answer(json!({"access_token": "a", "id_token": unsigned}));
    assert_eq!(outcome(unsigned).await, Err("provider_unexpected"));
}

#[tokio::test]
async fn answers_have_names_not_positions() {
    let provider = Provider::start().await;
    let at = |path: &str| format!("{}{path}", provider.issuer);
    let metadata =
        json!([provider.issuer, at("/authorize"), at("/token"), at("/jwks"), at("/userinfo"), null, null, false]);
    provider.change(|world| world.discovery_answer = Some((200, metadata.to_string())));
    let begun = begin(&endpoint(&provider, &json!({})), "sso").await;
    assert_eq!(begun.map(drop).map_err(|error| error.reason()), Err("provider_unexpected"), "discovery");
    provider.change(|world| world.discovery_answer = None);

    // Each array has in its places what lets somebody in where it has names.
    let alice = json!({"preferred_username": "alice", "groups": ["developers"]});
    for (named, outcome) in [(true, Ok(())), (false, Err("provider_unexpected"))] {
        let logins = endpoint(&provider, &json!({}));
        let (location, pending) = begin(&logins, "sso").await.unwrap();
        let query = provider.authorize(&location);
        provider.change(|world| {
            let mut claims = alice.clone();
            claims["nonce"] =
                json!(url::Url::parse(&location).unwrap().query_pairs().find(|(name, _)| name == "nonce").unwrap().1);
            let id_token = world.sign(&claims);
            let answer = if named {
                json!({"access_token": "opaque-access-token", "id_token": id_token})
            } else {
                json!(["opaque-access-token", id_token, null])
            };
            world.token_answer = Some((200, answer.to_string()));
        });
        let finished = finish(&logins, &pending, &query).await;
        assert_eq!(finished.map(drop).map_err(|error| error.reason()), outcome, "token endpoint");
    }
    let keys = json!([[public_key("p256")]]);
    let found = outcome(|world| world.jwks_answer = Some((200, keys.to_string()))).await;
    assert_eq!(found, Err("provider_unexpected"), "keys");
    let refused = outcome(|world| world.token_answer = Some((400, r#"["invalid_grant"]"#.to_owned()))).await;
    assert_eq!(refused, Err("provider_unexpected"), "an error");
}

#[tokio::test]
async fn what_the_token_endpoint_refuses_is_told_apart() {
    for (status, body, reason) in [
        (400, r#"{"error": "invalid_grant"}"#, "expired"),
        (400, r#"{"error": "invalid_client"}"#, "provider_misconfigured"),
        (401, r#"{"error": "invalid_client", "error_description": "opaque-access-token"}"#, "provider_misconfigured"),
        (400, r#"{"error": "unauthorized_client"}"#, "provider_misconfigured"),
        (401, "<html>", "provider_misconfigured"),
        (400, r#"{"error": "invalid_request"}"#, "provider_unexpected"),
        (404, "", "provider_unexpected"),
        (302, "", "provider_unexpected"),
        (200, "opaque-access-token", "provider_unexpected"),
        (503, "", "provider_unreachable"),
    ] {
        let found = outcome(|world| world.token_answer = Some((status, body.to_owned()))).await;
        assert_eq!(found, Err(reason), "{status} {body}");
    }
}

#[tokio::test]
async fn a_discovery_document_must_be_the_issuers_and_safe() {
    for (metadata, reason) in [
        (json!({"issuer": "https://evil.example"}), "provider_misconfigured"),
        (json!({"token_endpoint": "http://evil.example/token"}), "provider_misconfigured"),
        (json!({"jwks_uri": "ftp://127.0.0.1/jwks"}), "provider_misconfigured"),
        (json!({"userinfo_endpoint": "file:///etc/passwd"}), "provider_misconfigured"),
        (json!({"authorization_endpoint": "javascript:alert(1)"}), "provider_misconfigured"),
        (json!({"token_endpoint": null}), "provider_unexpected"),
    ] {
        assert_eq!(outcome(|world| world.metadata = metadata.clone()).await, Err(reason), "{metadata}");
    }
    for (status, body, reason) in [
        (404, "", "provider_misconfigured"),
        (301, "", "provider_misconfigured"),
        (200, "<html>", "provider_unexpected"),
        (500, "", "provider_unreachable"),
    ] {
        let found = outcome(|world| world.discovery_answer = Some((status, body.to_owned()))).await;
        assert_eq!(found, Err(reason), "{status} {body}");
    }
}

#[tokio::test]
async fn groups_of_administrators_are_kept_beside_those_that_let_in() {
    let evidence = async |allowed: &[&str], change: &dyn Fn(&mut World)| {
        let provider = Provider::start().await;
        provider.change(change);
        let login = json!({
            "issuerUrl": provider.issuer, "clientSecretRef": {"name": "sso"}, "allowedGroups": allowed,
        });
        let mut config = crate::identity::relying::config(&json!([{"name": "sso", "oidc": login}]));
        config.console.administrators.groups = ["sso:platform", "other:developers"].map(str::to_owned).to_vec();
        let (known, keys) = (secrets("sso", client(CLIENT_ID, CLIENT_SECRET)), crate::identity::relying::keys());
        let outbound = Arc::new(Outbound::new().unwrap());
        let logins = Logins::new(&config, &known, &keys, outbound, Arc::new(ManualClock::at(now()))).unwrap();
        let (location, pending) = begin(&logins, "sso").await.unwrap();
        let query = provider.authorize(&location);
        let signed_in = logins.finish(&pending, &query, CALLBACK, now()).await;
        let evidence = signed_in.map_err(|error| error.reason())?.evidence;
        assert_eq!(logins.is_administrator("sso:7", Some(&evidence)), !evidence.administrator_groups.is_empty());
        Ok((evidence.groups, evidence.administrator_groups))
    };
    let groups = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let claims = |value: Value| move |world: &mut World| world.claims = json!({"groups": value});
    let both = claims(json!(["developers", "platform", "other"]));
    assert_eq!(evidence(&["developers"], &both).await, Ok((groups(&["developers"]), groups(&["platform"]))));
    assert_eq!(evidence(&[], &both).await, Ok((groups(&[]), groups(&["platform"]))));
    let administers = claims(json!(["platform"]));
    assert_eq!(evidence(&["developers"], &administers).await, Err("not_allowed"), "it is not enough");
    assert_eq!(
        evidence(&["developers"], &claims(json!(["developers"]))).await,
        Ok((groups(&["developers"]), groups(&[])))
    );
    // The groups are asked for at userinfo; without them, users sign in and are no administrators.
    let more = |world: &mut World| {
        (world.claims, world.user_info) = (json!({"groups": null}), json!({"groups": ["platform"]}));
    };
    assert_eq!(evidence(&[], &more).await, Ok((groups(&[]), groups(&["platform"]))));
    let none = |world: &mut World| (world.claims, world.user_info) = (json!({"groups": null}), json!({"sub": "8"}));
    assert_eq!(evidence(&[], &none).await, Ok((groups(&[]), groups(&[]))));
}

#[tokio::test]
async fn a_provider_in_trouble_is_not_asked_by_everybody_at_once() {
    let provider = Provider::start().await;
    provider.change(|world| world.discovery_answer = Some((500, String::new())));
    let logins = endpoint(&provider, &json!({}));
    let all = futures::future::join_all((0..20).map(|_| begin(&logins, "sso"))).await;
    assert!(all.iter().all(|found| found.as_ref().is_err_and(|error| error.reason() == "provider_unreachable")));
    assert_eq!(provider.asked("discovery"), 1);
}

#[tokio::test]
async fn nobody_is_sent_to_a_provider_that_does_not_answer() {
    let provider = Provider::start().await;
    let clock = Arc::new(ManualClock::at(now()));
    let login = json!([{"name": "sso", "oidc": {"issuerUrl": provider.issuer, "clientSecretRef": {"name": "sso"}}}]);
    let outbound = Arc::new(Outbound::new().unwrap());
    let known = secrets("sso", client(CLIENT_ID, CLIENT_SECRET));
    let logins = Logins::new(
        &crate::identity::relying::config(&login),
        &known,
        &crate::identity::relying::keys(),
        outbound,
        clock.clone(),
    )
    .unwrap();
    let start = now();
    let down = Some((503, String::new()));
    for (second, answer, outcome) in [
        (0, None, Ok(())),
        (9, down.clone(), Ok(())),
        (10, down.clone(), Err("provider_unreachable")),
        // It is left alone for five seconds.
        (14, None, Err("provider_unreachable")),
        (15, None, Ok(())),
        // What it says is no use; but it answers, and what it said before was.
        (25, Some((200, "<html>".to_owned())), Ok(())),
        (35, down, Err("provider_unreachable")),
    ] {
        provider.change(|world| world.discovery_answer = answer.clone());
        clock.set(start + SignedDuration::from_secs(second));
        let begun = begin(&logins, "sso").await;
        assert_eq!(begun.map(drop).map_err(|error| error.reason()), outcome, "after {second} seconds");
    }
}

#[tokio::test]
async fn keys_are_fetched_anew_for_a_new_name_but_not_in_vain_again_and_again() {
    let provider = Provider::start().await;
    let logins = endpoint(&provider, &json!({}));
    sign_in(&provider, &logins).await.unwrap();
    provider.change(|world| world.key = ("rsa", "one".to_owned()));
    assert_eq!(sign_in(&provider, &logins).await.unwrap().id, "sso:7", "another kind of key under the same name");
    assert_eq!(provider.asked("jwks"), 2);
    provider.change(|world| world.key.1 = "unpublished".to_owned());
    for _ in 0..5 {
        assert_eq!(sign_in(&provider, &logins).await.unwrap_err().reason(), "provider_unexpected");
    }
    assert_eq!(provider.asked("jwks"), 3);
}

#[tokio::test]
async fn known_keys_stay_in_use_while_the_provider_is_down_and_one_caller_asks_for_all() {
    let provider = Provider::start().await;
    let logins = endpoint(&provider, &json!({}));
    let start = now();
    let sign_in_at = async |logins: &Logins, second: i64| {
        let at = start + SignedDuration::from_secs(second);
        provider.change(|world| world.now = Some(at.as_second()));
        let (location, pending) = begin(logins, "sso").await.unwrap();
        let finished = logins.finish(&pending, &provider.authorize(&location), CALLBACK, at).await;
        finished.map(drop).map_err(|error| error.reason())
    };
    assert_eq!(sign_in_at(&logins, 0).await, Ok(()));
    provider.change(|world| world.jwks_answer = Some((503, String::new())));
    for (second, asked) in [(3599, 1), (3600, 2), (3609, 2), (3610, 3)] {
        assert_eq!(sign_in_at(&logins, second).await, Ok(()), "after {second} seconds");
        assert_eq!(provider.asked("jwks"), asked, "after {second} seconds");
    }

    let other = endpoint(&provider, &json!({}));
    let all = futures::future::join_all((0..20).map(|_| sign_in_at(&other, 0))).await;
    assert!(all.iter().all(|found| *found == Err("provider_unreachable")), "{all:?}");
    assert_eq!(provider.asked("jwks"), 4, "one of them asked");
    provider.change(|world| world.jwks_answer = None);
    assert_eq!(sign_in_at(&other, 9).await, Err("provider_unreachable"), "a failure pauses the next");
    assert_eq!(sign_in_at(&other, 10).await, Ok(()));
}

#[tokio::test]
async fn what_was_learnt_of_a_provider_outlives_a_reload_that_does_not_concern_it() {
    let provider = Provider::start().await;
    let logins = endpoint(&provider, &json!({}));
    sign_in(&provider, &logins).await.unwrap();
    let same = json!([{"name": "sso", "oidc": {"issuerUrl": provider.issuer, "clientSecretRef": {"name": "sso"}, "allowedGroups": ["developers"]}}]);
    let known = secrets("sso", client(CLIENT_ID, CLIENT_SECRET));
    let reloaded =
        logins.reloaded(&crate::identity::relying::config(&same), &known, &crate::identity::relying::keys()).unwrap();
    sign_in(&provider, &reloaded).await.unwrap();
    assert_eq!(provider.asked("discovery"), 1);
    let other = logins
        .reloaded(
            &crate::identity::relying::config(&same),
            &secrets("sso", client(CLIENT_ID, "new")),
            &crate::identity::relying::keys(),
        )
        .unwrap();
    begin(&other, "sso").await.unwrap();
    assert_eq!(provider.asked("discovery"), 2);
}

/// How a login asks for a token that outlives the provider's session.
#[tokio::test]
async fn offline_access_is_asked_for_where_it_may_be_had() {
    let with = json!(["openid", "offline_access"]);
    for (login, supported, scope, prompt) in [
        (json!({}), Value::Null, true, false),
        (json!({}), with.clone(), true, false),
        (json!({}), json!(["openid", "email"]), false, false),
        (json!({"offlineAccess": "RequestWithConsent"}), with.clone(), true, true),
        (json!({"offlineAccess": "RequestWithConsent"}), json!(["openid"]), false, false),
        (json!({"offlineAccess": "Never"}), with, false, false),
    ] {
        let provider = Provider::start().await;
        provider.change(|world| {
            world.metadata = json!({"scopes_supported": supported});
            world.refresh_token = Some("a-refresh-token".to_owned());
        });
        let logins = endpoint(&provider, &login);
        let (location, pending) = begin(&logins, "sso").await.unwrap();
        assert_eq!(location.contains("offline_access"), scope, "{login} {supported}: {location}");
        assert_eq!(location.contains("&prompt=consent"), prompt, "{login} {supported}: {location}");
        let signed_in = logins.finish(&pending, &provider.authorize(&location), CALLBACK, now()).await.unwrap();
        let token = signed_in.token.as_ref().map(|token| token.token.as_str());
        assert_eq!(token, scope.then_some("a-refresh-token"), "one that was not asked for is dropped");
        assert!(!format!("{signed_in:?}").contains("a-refresh-token"));
    }
}

/// What a provider answers to a refresh, and what it means.
#[tokio::test]
async fn what_a_provider_answers_about_a_user_decides() {
    use portcullis_core::grant::RevocationReason::{NotAllowed, ProviderRefused};
    use portcullis_oauth::Verdict::{Refused, Unavailable, Unsupported};
    let error = |status: u16, code: &str| Some((status, json!({"error": code}).to_string()));
    for (name, refusal, verdict) in [
        ("gone or disabled", error(400, "invalid_grant"), Refused(ProviderRefused)),
        ("must do something there", error(400, "interaction_required"), Refused(ProviderRefused)),
        ("must sign in there", error(400, "login_required"), Refused(ProviderRefused)),
        ("the client may not refresh", error(400, "unauthorized_client"), Unsupported),
        ("refreshes are unknown", error(400, "unsupported_grant_type"), Unsupported),
        ("the client's secret is wrong", error(401, "invalid_client"), Unavailable),
        ("another error", error(400, "invalid_request"), Unavailable),
        ("no error at all", Some((403, "no".to_owned())), Unavailable),
        ("too many requests", error(429, "invalid_grant"), Unavailable),
        ("trouble of its own", error(503, "invalid_grant"), Unavailable),
        ("no JSON", Some((200, "<html>".to_owned())), Unavailable),
    ] {
        let provider = Provider::start().await;
        provider.change(|world| world.refresh_token = Some("a-refresh-token".to_owned()));
        let logins = endpoint(&provider, &json!({}));
        let (location, pending) = begin(&logins, "sso").await.unwrap();
        let token =
            logins.finish(&pending, &provider.authorize(&location), CALLBACK, now()).await.unwrap().token.unwrap();
        provider.change(|world| world.refresh_answer = refusal);
        assert_eq!(logins.recheck("sso:7", &token, now()).await, verdict.into(), "{name}");
    }

    for (name, change, allowed) in [
        ("still there", json!({}), Ok(())),
        ("of no allowed group any more", json!({"groups": ["others"]}), Err(Refused(NotAllowed))),
        ("about somebody else", json!({"sub": "8"}), Err(Unavailable)),
        ("for another client", json!({"aud": "them"}), Err(Unavailable)),
        ("of another issuer", json!({"iss": "https://evil.test"}), Err(Unavailable)),
        ("expired", json!({"exp": 1}), Err(Unavailable)),
    ] {
        let provider = Provider::start().await;
        provider.change(|world| world.refresh_token = Some("a-refresh-token".to_owned()));
        let logins = endpoint(&provider, &json!({}));
        let (location, pending) = begin(&logins, "sso").await.unwrap();
        let token =
            logins.finish(&pending, &provider.authorize(&location), CALLBACK, now()).await.unwrap().token.unwrap();
        provider.change(|world| world.claims = change);
        let answer = logins.recheck("sso:7", &token, now()).await;
        assert_eq!(
            answer.token.map(|token| token.token).as_deref(),
            Some("a-refresh-token+"),
            "{name}: it was replaced"
        );
        match allowed {
            Ok(()) => assert!(matches!(answer.verdict, portcullis_oauth::Verdict::Allowed(_)), "{name}"),
            Err(verdict) => assert_eq!(answer.verdict, verdict, "{name}"),
        }
    }
}

/// The token goes to the provider that gave it, and to no other.
#[tokio::test]
async fn a_token_is_sent_to_its_own_provider_only() {
    let (one, other) = (Provider::start().await, Provider::start().await);
    one.change(|world| world.refresh_token = Some("a-refresh-token".to_owned()));
    let logins = endpoint(&one, &json!({}));
    let (location, pending) = begin(&logins, "sso").await.unwrap();
    let token = logins.finish(&pending, &one.authorize(&location), CALLBACK, now()).await.unwrap().token.unwrap();
    let moved = endpoint(&other, &json!({}));
    assert!(logins.accepts("sso:7", &token) && !moved.accepts("sso:7", &token));
    assert!(!logins.accepts("gone:7", &token));
    assert_eq!(moved.recheck("sso:7", &token, now()).await, portcullis_oauth::Verdict::Unavailable.into());
    assert!(other.world.lock().unwrap().refreshed.is_empty());
}
