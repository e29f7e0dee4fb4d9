//! The logins of an endpoint as a whole: which are offered, local users, and a reload.

use crate::identity::relying::{begin, client, config, keys, logins, now, secrets};
use portcullis_config::{LoginSecret, LoginSecrets};
use portcullis_identity::{LoginInfo, LoginKind, Logins};
use serde_json::{Value, json};
use std::net::IpAddr;

fn three() -> Value {
    json!([
        {"name": "local", "passwords": {"secretRef": {"name": "users"}}},
        {"name": "github", "github": {"clientSecretRef": {"name": "app"}, "allowedOrganizations": ["acme"]}},
        {"name": "sso", "displayName": "Acme SSO", "oidc": {"issuerUrl": "http://127.0.0.1:9", "clientSecretRef": {"name": "sso"}}},
    ])
}

fn users(users: &[&str]) -> LoginSecret {
    let hash = bcrypt::hash_with_salt("right", 4, [1; 16]).unwrap().to_string();
    LoginSecret::Passwords(users.iter().map(|name| ((*name).to_owned(), hash.clone())).collect())
}

fn address() -> IpAddr {
    "192.0.2.1".parse().unwrap()
}

async fn check(logins: &Logins, user: &str, password: &str) -> Result<String, &'static str> {
    let checked = logins.check_password("local", user, password.to_owned(), address(), now()).await;
    checked.map(|it| format!("{} {}", it.user.id, it.user.name)).map_err(|error| error.reason())
}

#[test]
fn what_can_be_used_is_offered_in_the_manifests_order() {
    let info = |name: &str, title: &str, kind| LoginInfo { name: name.to_owned(), title: title.to_owned(), kind };
    let mut all = secrets("local", users(&["ada"]));
    all.logins.insert("sso".to_owned(), client("id", "secret"));
    all.logins.insert("github".to_owned(), client("id", "secret"));
    let offered: Vec<LoginInfo> = logins(&three(), &all).list().collect();
    let local = info("local", "local", LoginKind::Password);
    let sso = info("sso", "Acme SSO", LoginKind::Redirect);
    assert_eq!(offered, [local, info("github", "GitHub", LoginKind::Redirect), sso.clone()]);

    all.logins.remove("github");
    all.logins.insert("local".to_owned(), users(&[]));
    assert_eq!(logins(&three(), &all).list().collect::<Vec<_>>(), [sso], "no secret, nobody who could");
    assert_eq!(logins(&three(), &LoginSecrets::default()).list().count(), 0);
}

#[tokio::test]
async fn a_local_user_signs_in_and_is_known_while_there() {
    let endpoint = logins(&three(), &secrets("local", users(&["ada", "o:reilly"])));
    assert_eq!(check(&endpoint, "ada", "right").await.unwrap(), "local:ada ada");
    for (user, password) in [("ada", "wrong"), ("grace", "right"), ("", "right"), (&"x".repeat(300), "right")] {
        assert_eq!(check(&endpoint, user, password).await, Err("wrong_password"), "{user}");
    }
    for (id, known) in
        [("local:ada", true), ("local:grace", false), ("sso:ada", false), ("ada", false), ("local:o:reilly", true)]
    {
        assert_eq!(endpoint.still_known(id), known, "{id}");
    }
    let fewer = endpoint.reloaded(&config(&three()), &secrets("local", users(&["grace"])), &keys()).unwrap();
    assert!(!fewer.still_known("local:ada") && fewer.still_known("local:grace"));
}

#[tokio::test]
async fn wrong_passwords_stay_counted_when_the_files_change() {
    let endpoint = logins(&three(), &secrets("local", users(&["ada"])));
    for _ in 0..5 {
        assert_eq!(check(&endpoint, "ada", "wrong").await, Err("wrong_password"));
    }
    let reloaded = endpoint.reloaded(&config(&three()), &secrets("local", users(&["ada", "grace"])), &keys()).unwrap();
    let refused = reloaded.check_password("local", "ada", "right".to_owned(), address(), now()).await.unwrap_err();
    assert_eq!(refused.reason(), "too_many_attempts");
    assert!(refused.retry_after().is_some_and(|wait| wait.as_secs() <= 1), "{refused}");
    assert!(refused.to_string().starts_with("There were too many wrong passwords. Try again in a second"), "{refused}");
    assert!(reloaded.check_password("local", "grace", "right".to_owned(), address(), now()).await.is_ok());
}

#[tokio::test]
async fn a_login_is_used_only_as_what_it_is() {
    let mut all = secrets("local", users(&["ada"]));
    all.logins.insert("github".to_owned(), client("id", "secret"));
    let endpoint = logins(&three(), &all);
    for login in ["local", "sso", "nowhere", ""] {
        assert_eq!(begin(&endpoint, login).await.unwrap_err().reason(), "unknown_login", "{login}");
    }
    for login in ["github", "sso", "nowhere"] {
        let refused = endpoint.check_password(login, "ada", "right".to_owned(), address(), now()).await.unwrap_err();
        assert_eq!(refused.reason(), "unknown_login", "{login}");
    }
    let (location, _) = begin(&endpoint, "github").await.unwrap();
    assert!(location.starts_with("https://github.com/login/oauth/authorize?client_id=id&"), "{location}");
    assert!(location.ends_with("&state=sealed+%2B%26%3Dstate"), "{location}");
    let shown = format!(
        "{:?} {endpoint:?}",
        endpoint.begin("github", "http://127.0.0.1/", None, &mut portcullis_core::rng::rng()).await
    );
    assert!(!shown.contains("verifier") && !shown.contains("secret"), "{shown}");
}
