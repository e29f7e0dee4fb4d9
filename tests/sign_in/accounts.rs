//! Accounts of real OpenID providers: npm's oidc-provider and Keycloak, with a person in a browser between.

use crate::{
    browser::Browser,
    idp::{Keycloak, OidcProvider, Registered},
    relying::{CALLBACK, begin, client, finish, logins, secrets, whole},
};
use portcullis_core::grant::GrantUser;
use portcullis_identity::{Logins, SignInError};
use serde_json::{Value, json};
use url::Url;

const ALICE: [&str; 2] = ["alice", "alice-secret"];
const MALLORY: [&str; 2] = ["mallory", "mallory-secret"];

fn endpoint(issuer: &str, known: Registered, change: &Value) -> Logins {
    let mut login = json!({
        "issuerUrl": issuer, "clientSecretRef": {"name": "sso"},
        "scopes": ["profile", "email"], "allowedGroups": ["developers"],
    });
    login.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let login = json!([{"name": "sso", "displayName": "Acme SSO", "oidc": login}]);
    logins(&login, &secrets("sso", client(known.client_id, known.client_secret)))
}

/// A person at a provider, whose page has these labels.
struct Person {
    browser: Browser,
    labels: [&'static str; 3],
}

impl Person {
    /// Signs in as a new visitor. The query that the browser is sent back with.
    async fn authorize(&mut self, location: &str, [user, password]: [&str; 2]) -> String {
        let [name_label, password_label, button] = self.labels;
        self.browser.visitor(Value::Null).await;
        self.browser.open(location).await;
        self.browser.fill(name_label, user).await;
        self.browser.fill(password_label, password).await;
        self.browser.press(button).await;
        let page = self.browser.look().await;
        let back = page.redirects.iter().find(|to| to.starts_with(CALLBACK)).unwrap_or_else(|| panic!("{page:?}"));
        Url::parse(back).unwrap().query().unwrap().to_owned()
    }

    async fn sign_in(&mut self, logins: &Logins, who: [&str; 2]) -> Result<GrantUser, SignInError> {
        let (location, pending) = begin(logins, "sso").await?;
        let query = self.authorize(&location, who).await;
        assert!(query.contains("state=sealed"), "{query}");
        finish(logins, &pending, &query).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn oidc_provider() {
    let users = json!({
        "alice": {"password": ALICE[1], "groups": ["developers"], "email": "alice@acme.example"},
        "mallory": {"password": MALLORY[1], "groups": ["other"]},
    });
    let mut provider = OidcProvider::start(&users, &[CALLBACK]).await;
    let mut person = Person { browser: Browser::start().await, labels: ["User name", "Password", "Sign in"] };
    let scopes = json!({"scopes": ["profile", "email", "groups"]});
    let logins = endpoint(&provider.issuer, provider.client, &scopes);
    let alice = GrantUser { id: "sso:alice".to_owned(), name: "alice".to_owned() };

    assert_eq!(person.sign_in(&logins, ALICE).await.unwrap(), alice);
    let refused = person.sign_in(&logins, MALLORY).await.unwrap_err();
    assert_eq!(refused.title(), "This account has no access");
    insta::assert_snapshot!("wrong-group", refused);

    // A code is for one flow, and counts once. An `iss` that is another's is a mix-up; none is as bad, since this
    // provider says that it always sends one.
    let (location, pending) = begin(&logins, "sso").await.unwrap();
    let query = person.authorize(&location, ALICE).await;
    let (_, other) = begin(&logins, "sso").await.unwrap();
    let issuer: String = url::form_urlencoded::byte_serialize(provider.issuer.as_bytes()).collect();
    let iss = format!("iss={issuer}");
    assert!(query.contains(&iss), "{query}");
    for mixed in
        [query.replace(&iss, "iss=https%3A%2F%2Fevil.example"), query.replace(&iss, ""), format!("{query}&{iss}")]
    {
        assert_eq!(finish(&logins, &pending, &mixed).await.unwrap_err().reason(), "mismatch", "{mixed}");
    }
    assert_eq!(
        finish(&logins, &other, &query).await.unwrap_err().reason(),
        "expired",
        "the verifier is another flow's"
    );
    assert_eq!(finish(&logins, &pending, &query).await.unwrap(), alice);
    assert_eq!(finish(&logins, &pending, &query).await.unwrap_err().reason(), "expired", "a code counts once");

    // Names and groups by claims of the manifest's choice.
    let by_email =
        endpoint(&provider.issuer, provider.client, &json!({"scopes": scopes["scopes"], "usernameClaim": "email"}));
    assert_eq!(person.sign_in(&by_email, ALICE).await.unwrap().name, "alice@acme.example");
    let by_sub =
        endpoint(&provider.issuer, provider.client, &json!({"groupsClaim": "sub", "allowedGroups": ["alice"]}));
    assert_eq!(person.sign_in(&by_sub, ALICE).await.unwrap().id, "sso:alice");
    let anybody = endpoint(&provider.issuer, provider.client, &json!({"allowedGroups": []}));
    assert_eq!(person.sign_in(&anybody, MALLORY).await.unwrap().id, "sso:mallory");

    // The keys that are known here are not the provider's any more.
    for _ in 0..2 {
        provider.rotate_keys().await;
        assert_eq!(person.sign_in(&logins, ALICE).await.unwrap(), alice);
    }

    let wrong = Registered { client_secret: "wrong", ..provider.client };
    let refused = person.sign_in(&endpoint(&provider.issuer, wrong, &scopes), ALICE).await.unwrap_err();
    insta::assert_snapshot!("wrong-client-secret", refused);
    assert!(!whole(&refused).contains("wrong\""), "{}", whole(&refused));
    let issuer = format!("{}/", provider.issuer);
    let refused = begin(&endpoint(&issuer, provider.client, &scopes), "sso").await.unwrap_err();
    insta::assert_snapshot!("wrong-issuer", refused);

    // Down: nobody new comes in, whether the provider was heard of before or not.
    let (location, pending) = begin(&logins, "sso").await.unwrap();
    let query = person.authorize(&location, ALICE).await;
    provider.stop();
    let refused = finish(&logins, &pending, &query).await.unwrap_err();
    assert_eq!(refused.title(), "The sign-in provider cannot be reached");
    insta::assert_snapshot!("down", refused);
    let strange = endpoint(&provider.issuer, provider.client, &scopes);
    for _ in 0..2 {
        assert_eq!(begin(&strange, "sso").await.unwrap_err().reason(), "provider_unreachable");
    }
    assert!(logins.still_known("sso:alice"), "who is in stays in");

    provider.restart().await;
    assert_eq!(person.sign_in(&logins, ALICE).await.unwrap(), alice);
}

/// With Keycloak, which is started once.
pub async fn keycloak(provider: &Keycloak) {
    let labels = ["Username or email", "Password", "Sign In"];
    let mut person = Person { browser: Browser::start().await, labels };
    let logins = endpoint(&provider.issuer, provider.client, &json!({}));

    let alice = person.sign_in(&logins, ALICE).await.unwrap();
    assert_eq!(alice.name, "alice");
    assert!(alice.id.starts_with("sso:") && alice.id.len() == 40, "Keycloak's own id: {}", alice.id);
    assert_eq!(person.sign_in(&logins, ALICE).await.unwrap(), alice);
    assert_eq!(person.sign_in(&logins, MALLORY).await.unwrap_err().reason(), "not_allowed");

    let wrong = Registered { client_secret: "wrong", ..provider.client };
    let refused = person.sign_in(&endpoint(&provider.issuer, wrong, &json!({})), ALICE).await.unwrap_err();
    assert_eq!(refused.reason(), "provider_misconfigured");
    assert!(refused.to_string().contains("client-secret"), "{refused}");
}
