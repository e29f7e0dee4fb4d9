//! Real OpenID providers: npm's oidc-provider, quick to start and with users of the test's choice, and Keycloak, as many
//! companies have it. Both on loopback, with one confidential client that has to use PKCE (S256), whose callback may be
//! any port of `http://127.0.0.1`.
//!
//! Keycloak needs about ten seconds and 350 MB: one per test binary, and one test that goes through all that it is for.

use super::script::{Script, installed};
use serde_json::{Value, json};

/// A client, as a provider knows it.
#[derive(Clone, Copy)]
pub struct Registered {
    pub client_id: &'static str,
    pub client_secret: &'static str,
}

/// npm's oidc-provider. Its page has the fields "User name" and "Password" and the button "Sign in"; it asks nobody for
/// consent. The ID token has the claims of `users`, `groups` with the scope `profile`.
pub struct OidcProvider {
    script: Option<Script>,
    settings: String,
    pub issuer: String,
    pub client: Registered,
}

impl OidcProvider {
    /// Starts one. `users` is `{NAME: {"password": …, "groups": […], and other claims}}`; the callback of its client is
    /// `http://127.0.0.1/callback` with any port, and `callbacks`.
    pub async fn start(users: &Value, callbacks: &[&str]) -> Self {
        let client = Registered { client_id: "portcullis", client_secret: "portcullis-at-oidc-provider" };
        let registration = json!({
            "client_id": client.client_id,
            "client_secret": client.client_secret,
            "redirect_uris": callbacks,
        });
        let settings = json!({"client": registration, "users": users}).to_string();
        let (script, issuer) = Self::run(&settings, "0").await;
        Self { script: Some(script), settings, issuer, client }
    }

    async fn run(settings: &str, port: &str) -> (Script, String) {
        let mut script = Script::start("idp/oidc-provider.mjs", &[], &[("SETTINGS", settings), ("PORT", port)]).await;
        let issuer = script.hear().await["listening"].as_str().unwrap().to_owned();
        (script, issuer)
    }

    /// Replaces the signing key, at once.
    pub async fn rotate_keys(&mut self) {
        self.script.as_mut().unwrap().must("rotate", Value::Null).await;
    }

    /// Replaces the users.
    pub async fn set_users(&mut self, users: &Value) {
        self.script.as_mut().unwrap().must("users", users.clone()).await;
    }

    /// Has the end of sessions told to this URL (OpenID Connect Back-Channel Logout). The logout tokens name the user only.
    pub async fn tell_logouts_to(&mut self, url: &str) {
        self.script.as_mut().unwrap().must("back-channel", json!(url)).await;
    }

    /// Nobody answers at the issuer any more.
    pub fn stop(&mut self) {
        self.script = None;
    }

    /// Starts it again after [`Self::stop`], at the same issuer, with the users of the beginning and new keys.
    pub async fn restart(&mut self) {
        let port = self.issuer.rsplit(':').next().unwrap().to_owned();
        let (script, _) = Self::run(&self.settings, &port).await;
        self.script = Some(script);
    }
}

/// Keycloak with the realm of `tests/idp/realm.json`: alice (password `alice-secret`, group `developers`) and mallory
/// (`mallory-secret`, group `other`); the claim is `groups`. Its page has the fields "Username or email" and "Password"
/// and the button "Sign In".
pub struct Keycloak {
    script: Script,
    pub issuer: String,
    pub client: Registered,
}

impl Keycloak {
    /// Starts one, after installing it where it is not yet.
    pub async fn start() -> Self {
        let folder = installed("idp/keycloak.sh").await;
        let mut script = Script::start("idp/keycloak.mjs", &[], &[("KEYCLOAK", &folder)]).await;
        let issuer = script.hear().await["listening"].as_str().unwrap().to_owned();
        let client = Registered { client_id: "portcullis", client_secret: "portcullis-at-keycloak" };
        Self { script, issuer, client }
    }

    /// Stops it; its database stays.
    pub async fn stop(&mut self) {
        self.script.must("stop", Value::Null).await;
    }

    /// Starts it again after [`Self::stop`], at the same issuer, with the same keys.
    pub async fn restart(&mut self) {
        self.script.must("start", Value::Null).await;
    }
}

impl Keycloak {
    /// Has the end of sessions told to this URL (OpenID Connect Back-Channel Logout). The logout tokens name the session too.
    pub async fn tell_logouts_to(&self, url: &str) {
        let admin = self.administrator().await;
        let found: Value = admin.get("clients?clientId=portcullis").await;
        let mut client = found[0].clone();
        client["attributes"]["backchannel.logout.url"] = json!(url);
        client["attributes"]["backchannel.logout.session.required"] = json!("true");
        admin.send(reqwest::Method::PUT, &format!("clients/{}", client["id"].as_str().unwrap()), &client).await;
    }

    /// Disables a user, as somebody does who off-boards.
    pub async fn disable(&self, user: &str) {
        let admin = self.administrator().await;
        let found: Value = admin.get(&format!("users?exact=true&username={user}")).await;
        let path = format!("users/{}", found[0]["id"].as_str().unwrap());
        admin.send(reqwest::Method::PUT, &path, &json!({"enabled": false})).await;
    }

    async fn administrator(&self) -> Administrator {
        let http = super::http();
        let form = [("grant_type", "client_credentials"), ("client_id", "keeper"), ("client_secret", "keeper-of-acme")];
        let asked = http.post(format!("{}/protocol/openid-connect/token", self.issuer)).form(&form).send().await;
        let answer: Value = asked.unwrap().json().await.unwrap();
        let token = answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        Administrator { http, base: self.issuer.replace("/realms/", "/admin/realms/"), token }
    }
}

/// Keycloak's admin API.
struct Administrator {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Administrator {
    async fn get(&self, path: &str) -> Value {
        let asked = self.http.get(format!("{}/{path}", self.base)).bearer_auth(&self.token).send().await;
        asked.unwrap().error_for_status().unwrap().json().await.unwrap()
    }

    async fn send(&self, method: reqwest::Method, path: &str, body: &Value) {
        let request = self.http.request(method, format!("{}/{path}", self.base)).bearer_auth(&self.token).json(body);
        request.send().await.unwrap().error_for_status().unwrap();
    }
}
