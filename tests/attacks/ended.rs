//! Access whose reason has ended: a changed password, a narrowed rule, a sign-in that was long ago.

use crate::{
    agent::{authorize, parameter},
    driven::Browser,
    mounted::Files,
    provider::{CLIENT_ID, CLIENT_SECRET, Provider},
    stage::{PASSWORD, Setup, Stage, after, logins, start_of_time},
};
use portcullis_config::LoginSecret;
use portcullis_core::{grant::RevocationReason, login::Login};
use portcullis_oauth::grant::{GrantLookup, Grants as _};
use serde_json::{Value, json};
use std::time::Duration;

/// A login at `provider`, with a rule.
fn sso(provider: &Provider, groups: &Value) -> Login {
    let oidc = json!({"issuerUrl": provider.issuer, "clientSecretRef": {"name": "sso"}, "allowedGroups": groups});
    serde_json::from_value(json!({"name": "sso", "oidc": oidc})).unwrap()
}

/// Servers where people sign in at `provider`.
pub async fn with_provider(provider: &Provider, groups: &Value) -> Stage {
    with_provider_and(provider, groups, |_| {}).await
}

/// The same, with a change of what they are.
pub async fn with_provider_and(provider: &Provider, groups: &Value, change: impl FnOnce(&mut Setup)) -> Stage {
    provider.change(|world| world.now = Some(start_of_time().as_second()));
    Stage::with(|setup| {
        change(setup);
        setup.config.login.push(sso(provider, groups));
        let client = LoginSecret::Client { client_id: CLIENT_ID.to_owned(), client_secret: CLIENT_SECRET.to_owned() };
        setup.logins.logins.insert("sso".to_owned(), client);
    })
    .await
}

/// Goes through the provider from a page that leads to it. What comes is where the browser is sent then.
pub async fn through(stage: &Stage, provider: &Provider, browser: &mut Browser, page: &str) -> String {
    let location = browser.get(page).await.location().to_owned();
    let state = parameter(&location, "state").unwrap();
    let query = provider.authorize(&location);
    let back = browser.get(&format!("/login/sso/callback?{query}&state={state}")).await;
    stage.keep_cookie(browser);
    back.path().to_owned()
}

/// The same endpoint where these groups are allowed.
fn allowing(stage: &Stage, provider: &Provider, groups: &Value) -> Files {
    let mut config = stage.config.clone();
    *config.login.iter_mut().find(|login| login.name == "sso").unwrap() = sso(provider, groups);
    Files { config: serde_json::to_vec(&config).unwrap(), ..stage.files.clone() }
}

/// Waits until a request for the connected agents is answered like this.
async fn until(browser: &mut Browser, status: u16) {
    for _ in 0..1200 {
        if browser.get("/agents").await.status == status {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the servers did not load the new files");
}

pub fn reason(stage: &Stage, grant: &str) -> Option<RevocationReason> {
    match stage.state.find(grant) {
        GrantLookup::Present(grant) => grant.revoked,
        GrantLookup::Deleted | GrantLookup::Unknown => None,
    }
}

/// A browser and an agent go on after the user's password was changed → the session is over, the access token is
/// refused at once, and so is the refresh token; those of other users go on.
#[tokio::test]
async fn a_changed_password() {
    let stage = Stage::start().await;
    let tokens = stage.tokens().await;
    let mut ada = stage.signed_in("ada").await;
    let mut bob = stage.signed_in("bob").await;
    let code = parameter(&stage.consent(&mut bob, &[]).await, "code").unwrap();
    let others = stage.redeem(&code, &[]).await.tokens();
    let late = parameter(&stage.consent(&mut ada, &[]).await, "code").unwrap();

    let mut changed = logins();
    let mut before: portcullis_config::LoginSecrets = serde_json::from_slice(&stage.files.login).unwrap();
    let LoginSecret::Passwords(mut users) = before.logins.remove("local").unwrap() else {
        panic!("local users have passwords")
    };
    // The same password again, with another salt: a hash is all that servers know of it.
    users.insert("ada".to_owned(), bcrypt::hash(PASSWORD, 4).unwrap());
    changed.logins.insert("local".to_owned(), LoginSecret::Passwords(users));
    stage.mount(&Files { login: serde_json::to_vec(&changed).unwrap(), ..stage.files.clone() });
    until(&mut ada, 303).await;

    let asked = ada.get(&authorize(&[])).await;
    assert!(asked.path().starts_with("/login?continue="), "the session approves nothing: {}", asked.path());
    assert_eq!(stage.redeem(&late, &[]).await.error(), "invalid_grant", "a code from before");
    assert_eq!(stage.status(&tokens.access).await, 401);
    assert_eq!(stage.refresh(&tokens.refresh, &[]).await.error(), "invalid_grant");
    assert_eq!(reason(&stage, &tokens.grant), Some(RevocationReason::PasswordChanged));
    assert_eq!(bob.get("/agents").await.status, 200);
    assert_eq!(stage.status(&others.access).await, 200);
    stage.refresh(&others.refresh, &[]).await.tokens();
    stage.stop().await;
}

/// A user goes on whose groups are allowed no longer → the session, the access token and the refresh token end; a user
/// who still matches goes on, and so does everybody after a new name, client secret or signing keys.
#[tokio::test]
async fn narrowed_groups() {
    let provider = Provider::start().await;
    let stage = with_provider(&provider, &json!(["developers", "operators", "guests"])).await;
    let mut people = Vec::new();
    for (subject, groups) in [("7", json!(["guests"])), ("8", json!(["guests", "operators"]))] {
        provider.change(|world| world.claims = json!({"sub": subject, "groups": groups}));
        let mut browser = stage.browser();
        assert_eq!(through(&stage, &provider, &mut browser, "/login/sso").await, "/agents");
        let code = parameter(&stage.consent(&mut browser, &[]).await, "code").unwrap();
        people.push((browser, stage.redeem(&code, &[]).await.tokens()));
    }
    let [(guest, lost), (operator, kept)] = people.as_mut_slice() else { panic!("two people") };

    let mut renamed = allowing(&stage, &provider, &json!(["developers", "operators", "guests", "new"]));
    let mut config: Value = serde_json::from_slice(&renamed.config).unwrap();
    config["login"][1]["displayName"] = json!("A marker that pages show");
    renamed.config = serde_json::to_vec(&config).unwrap();
    renamed.login = String::from_utf8(renamed.login).unwrap().replace("portcullis & co", "portcullis too").into();
    stage.mount(&renamed);
    let mut anybody = stage.browser();
    while !anybody.get("/login").await.html.contains("A marker that pages show") {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for (browser, tokens) in [(&mut *guest, &*lost), (&mut *operator, &*kept)] {
        assert_eq!(browser.get("/agents").await.status, 200);
        assert_eq!(stage.status(&tokens.access).await, 200);
    }

    stage.mount(&allowing(&stage, &provider, &json!(["developers", "operators"])));
    until(guest, 303).await;
    assert!(guest.get(&authorize(&[])).await.path().starts_with("/login?continue="));
    assert_eq!(stage.status(&lost.access).await, 401);
    assert_eq!(stage.refresh(&lost.refresh, &[]).await.error(), "invalid_grant");
    assert_eq!(reason(&stage, &lost.grant), Some(RevocationReason::NotAllowed));
    assert_eq!(operator.get("/agents").await.status, 200);
    assert_eq!(stage.status(&kept.access).await, 200);
    stage.refresh(&kept.refresh, &[]).await.tokens();
    stage.stop().await;
}

/// A session from an hour ago approves an agent, on a page that was opened before too → the user signs in again first,
/// with the password or at the provider, and is asked once more.
#[tokio::test]
async fn a_session_of_long_ago_at_consent() {
    let provider = Provider::start().await;
    let stage = with_provider(&provider, &json!([])).await;
    let mut ada = stage.signed_in("ada").await;
    let mut guest = stage.browser();
    through(&stage, &provider, &mut guest, "/login/sso").await;
    stage.clock.set(after(3599));
    let open = ada.get(&authorize(&[])).await;
    assert_eq!(open.status, 200);
    stage.clock.set(after(3600));
    provider.change(|world| world.now = Some(after(3600).as_second()));

    let refused = ada.submit("/consent", &open.form("/consent").with("decision", "allow").0).await;
    assert_eq!(refused.status, 401);
    assert!(refused.text().contains("Sign in again"), "{}", refused.text());
    let again = ada.get(&authorize(&[])).await.path().to_owned();
    assert!(again.starts_with("/login?continue="), "{again}");
    assert!(ada.get(&again).await.text().contains("Sign in again to approve an agent"));
    let back = ada.sign_in(&again, "ada", PASSWORD).await.path().to_owned();
    assert_eq!(ada.get(&back).await.status, 200);
    stage.keep_cookie(&ada);

    let again = guest.get(&authorize(&[])).await.path().to_owned();
    assert!(again.starts_with("/login/sso?continue="), "{again}");
    let location = guest.get(&again).await.location().to_owned();
    assert_eq!(parameter(&location, "max_age").as_deref(), Some("3600"));
    // A provider that let the user in by a sign-in of its own from before.
    provider.change(|world| world.claims = json!({"auth_time": start_of_time().as_second() - 100}));
    let state = parameter(&location, "state").unwrap();
    let query = provider.authorize(&location);
    assert_eq!(guest.get(&format!("/login/sso/callback?{query}&state={state}")).await.status, 400);
    provider.change(|world| world.claims = json!({"auth_time": after(3600).as_second()}));
    let back = through(&stage, &provider, &mut guest, &again).await;
    assert_eq!(guest.get(&back).await.status, 200);
    stage.stop().await;
}
