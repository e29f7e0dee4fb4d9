//! The identity providers of the tests are as real ones are: a code for a person, PKCE demanded, groups in the ID token,
//! keys that rotate, and gone when they are stopped.

use crate::{
    browser::Browser,
    idp::{Keycloak, OidcProvider, Registered},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use url::Url;

const VERIFIER: &str = "a-verifier-of-at-least-forty-three-characters-long";
/// Nobody listens there; the browser shows where it was sent.
const CALLBACK: &str = "http://127.0.0.1:9/callback";

/// A relying party that is just enough.
struct Party {
    client: Registered,
    metadata: Value,
    http: reqwest::Client,
}

impl Party {
    async fn discover(issuer: &str, client: Registered) -> Self {
        let http = crate::http();
        let metadata = fetch(&http, &format!("{issuer}/.well-known/openid-configuration")).await;
        assert_eq!(metadata["issuer"], issuer);
        Self { client, metadata, http }
    }

    fn endpoint(&self, name: &str) -> &str {
        self.metadata[name].as_str().unwrap()
    }

    /// The authorization request, with PKCE or without.
    fn request(&self, pkce: bool) -> String {
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
        let mut url = Url::parse(self.endpoint("authorization_endpoint")).unwrap();
        url.query_pairs_mut()
            .extend_pairs([("response_type", "code"), ("client_id", self.client.client_id), ("redirect_uri", CALLBACK)])
            .extend_pairs([("scope", "openid profile email"), ("state", "state"), ("nonce", "nonce")]);
        if pkce {
            url.query_pairs_mut()
                .extend_pairs([("code_challenge", challenge.as_str()), ("code_challenge_method", "S256")]);
        }
        url.into()
    }

    /// The code in the redirect that the browser was sent to.
    fn answer(redirects: &[String], name: &str) -> String {
        let back =
            redirects.iter().find(|location| location.starts_with(CALLBACK)).unwrap_or_else(|| panic!("{redirects:?}"));
        let pairs = Url::parse(back).unwrap();
        pairs.query_pairs().find_map(|(key, value)| (key == name).then(|| value.into_owned())).unwrap()
    }

    /// The header and the claims of the ID token for a code.
    async fn redeem(&self, code: &str) -> (Value, Value) {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        let asked = self.http.post(self.endpoint("token_endpoint")).form(&form);
        let answer = asked.basic_auth(self.client.client_id, Some(self.client.client_secret)).send().await.unwrap();
        let tokens: Value = answer.json().await.unwrap();
        let token = tokens["id_token"].as_str().unwrap_or_else(|| panic!("{tokens}")).to_owned();
        let part =
            |at| serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(at).unwrap()).unwrap());
        (part(0).unwrap(), part(1).unwrap())
    }

    /// The ids of the keys that it publishes for signatures.
    async fn key_ids(&self) -> Vec<Value> {
        let keys = fetch(&self.http, self.endpoint("jwks_uri")).await;
        keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].clone()).collect()
    }
}

async fn fetch(http: &reqwest::Client, url: &str) -> Value {
    http.get(url).send().await.unwrap().json().await.unwrap()
}

/// Has a person go through the provider's page, whose labels are those given, until it sends the browser back.
async fn sign_in(
    person: &mut Browser,
    url: &str,
    [name, password, button]: [&str; 3],
    [user, secret]: [&str; 2],
) -> String {
    person.visitor(Value::Null).await;
    person.open(url).await;
    person.fill(name, user).await;
    person.fill(password, secret).await;
    person.press(button).await;
    let page = person.look().await;
    Party::answer(&page.redirects, "code")
}

#[tokio::test(flavor = "multi_thread")]
async fn oidc_provider() {
    let users = json!({
        "alice": {"password": "alice's own", "groups": ["developers"], "email": "alice@acme.example"},
        "mallory": {"password": "mallory's own", "groups": ["other"]},
    });
    let mut provider = OidcProvider::start(&users, &["http://127.0.0.1/login/sso/callback"]).await;
    let mut person = Browser::start().await;
    let labels = ["User name", "Password", "Sign in"];
    let party = Party::discover(&provider.issuer, provider.client).await;

    let code = sign_in(&mut person, &party.request(true), labels, ["alice", "alice's own"]).await;
    let (header, claims) = party.redeem(&code).await;
    assert_eq!(claims["groups"], json!(["developers"]));
    assert_eq!((&claims["sub"], &claims["nonce"]), (&json!("alice"), &json!("nonce")));
    assert_eq!(party.key_ids().await, [header["kid"].clone()]);

    person.visitor(Value::Null).await;
    assert!(person.try_open(&party.request(false)).await.is_err(), "nobody listens at the callback");
    assert_eq!(Party::answer(&person.look().await.redirects, "error"), "invalid_request", "PKCE is demanded");

    person.visitor(Value::Null).await;
    person.open(&party.request(true)).await;
    person.fill("User name", "alice").await;
    person.fill("Password", "wrong").await;
    person.press("Sign in").await;
    person.find("That is not the password.").await;

    provider.rotate_keys().await;
    provider.set_users(&json!({"alice": {"password": "new", "groups": []}})).await;
    let party = Party::discover(&provider.issuer, provider.client).await;
    assert_ne!(party.key_ids().await, [header["kid"].clone()]);
    let code = sign_in(&mut person, &party.request(true), labels, ["alice", "new"]).await;
    assert_eq!(party.redeem(&code).await.1["groups"], json!([]));

    let url = format!("{}/.well-known/openid-configuration", provider.issuer);
    let http = crate::http();
    provider.stop();
    assert!(http.get(&url).send().await.unwrap_err().is_connect());
    provider.restart().await;
    assert_eq!(http.get(&url).send().await.unwrap().status(), 200);
}

/// What there is to know of Keycloak, which is started once.
pub async fn keycloak(provider: &Keycloak) {
    let mut person = Browser::start().await;
    let labels = ["Username or email", "Password", "Sign In"];
    let party = Party::discover(&provider.issuer, provider.client).await;
    for (user, secret, group) in [("alice", "alice-secret", "developers"), ("mallory", "mallory-secret", "other")] {
        let code = sign_in(&mut person, &party.request(true), labels, [user, secret]).await;
        let (header, claims) = party.redeem(&code).await;
        assert_eq!((&claims["groups"], &claims["preferred_username"]), (&json!([group]), &json!(user)));
        assert!(party.key_ids().await.contains(&header["kid"]));
    }
    person.visitor(Value::Null).await;
    assert!(person.try_open(&party.request(false)).await.is_err());
    assert_eq!(Party::answer(&person.look().await.redirects, "error"), "invalid_request", "PKCE is demanded");
}
