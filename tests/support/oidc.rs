//! An OpenID provider in the test's process that can be told to misbehave. Real providers are in `tests/sign_in`.

use axum::{
    Form, Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use portcullis_core::clock::{Clock as _, SystemClock};
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};
use tokio::{net::TcpListener, task::JoinHandle};
use url::Url;

pub const CLIENT_ID: &str = "portcullis & co";
pub const CLIENT_SECRET: &str = "s3cret:%/+ü";

pub struct Provider {
    pub issuer: String,
    pub world: Shared,
    task: JoinHandle<()>,
}

pub type Shared = Arc<Mutex<World>>;

/// What it says; a test changes it.
#[derive(Default)]
pub struct World {
    /// Merged over the discovery document.
    pub metadata: Value,
    /// Merged over the claims of ID tokens.
    pub claims: Value,
    /// Merged over userinfo.
    pub user_info: Value,
    /// The key that signs: `p256`, `rsa`, …; and its id.
    pub key: (&'static str, String),
    /// What the token endpoint answers instead, if anything.
    pub token_answer: Option<(u16, String)>,
    /// What discovery answers instead, if anything.
    pub discovery_answer: Option<(u16, String)>,
    /// What the address of the keys answers instead, if anything.
    pub jwks_answer: Option<(u16, String)>,
    /// What was asked, by path.
    pub asked: HashMap<&'static str, usize>,
    /// How the client authenticated: `basic` or `post`.
    pub authenticated: Vec<&'static str>,
    /// The refresh token that it gives, if any; replaced at each refresh as `TOKEN+`.
    pub refresh_token: Option<String>,
    /// What the token endpoint answers to a refresh instead, if anything.
    pub refresh_answer: Option<(u16, String)>,
    /// The refresh tokens that came back.
    pub refreshed: Vec<String>,
    /// The provider's time in seconds; the real time if it is not set.
    pub now: Option<i64>,
    nonce: String,
    base: String,
}

fn merge(mut value: Value, change: &Value) -> Value {
    for (name, new) in change.as_object().into_iter().flatten() {
        if new.is_null() {
            value.as_object_mut().unwrap().remove(name);
        } else {
            value[name] = new.clone();
        }
    }
    value
}

/// As [`merge`], for a change that is still to be merged: what it removes stays to be removed.
fn changed(mut value: Value, change: &Value) -> Value {
    value.as_object_mut().unwrap().extend(change.as_object().cloned().unwrap_or_default());
    value
}

/// Keys that are used nowhere else.
fn keys() -> Value {
    serde_json::from_str(include_str!("../../crates/identity/src/oidc/test_keys.json")).unwrap()
}

impl Provider {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let world = Shared::default();
        *world.lock().unwrap() = World { base: issuer.clone(), key: ("p256", "one".to_owned()), ..World::default() };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/token", post(token))
            .route("/jwks", get(jwks))
            .route("/userinfo", get(user_info))
            .with_state(Arc::clone(&world));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { issuer, world, task }
    }

    /// What the user does there: agrees. Returns the query that the browser comes back with.
    pub fn authorize(&self, location: &str) -> String {
        let request: HashMap<String, String> = Url::parse(location).unwrap().query_pairs().into_owned().collect();
        assert_eq!((request["response_type"].as_str(), request["client_id"].as_str()), ("code", CLIENT_ID));
        self.world.lock().unwrap().nonce.clone_from(&request["nonce"]);
        "code=abc".to_owned()
    }

    pub fn change(&self, change: impl FnOnce(&mut World)) {
        change(&mut self.world.lock().unwrap());
    }

    pub fn asked(&self, what: &str) -> usize {
        self.world.lock().unwrap().asked.get(what).copied().unwrap_or_default()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn instead(answer: Option<&(u16, String)>) -> Option<Response> {
    let (status, body) = answer?;
    Some((StatusCode::from_u16(*status).unwrap(), body.clone()).into_response())
}

async fn discovery(State(world): State<Shared>) -> Response {
    let mut world = world.lock().unwrap();
    *world.asked.entry("discovery").or_default() += 1;
    let url = |path: &str| format!("{}{path}", world.base);
    let metadata = json!({
        "issuer": world.base, "authorization_endpoint": url("/authorize?tenant=a"), "token_endpoint": url("/token"),
        "jwks_uri": url("/jwks"), "userinfo_endpoint": url("/userinfo"),
    });
    instead(world.discovery_answer.as_ref()).unwrap_or_else(|| Json(merge(metadata, &world.metadata)).into_response())
}

async fn token(State(world): State<Shared>, headers: HeaderMap, Form(form): Form<HashMap<String, String>>) -> Response {
    let mut world = world.lock().unwrap();
    let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let basic =
        format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{}", encoded(CLIENT_ID), encoded(CLIENT_SECRET))));
    let by = if let Some(header) = headers.get("authorization") {
        assert!(*header == basic.as_str() && !form.contains_key("client_secret"));
        "basic"
    } else {
        assert_eq!((form["client_id"].as_str(), form["client_secret"].as_str()), (CLIENT_ID, CLIENT_SECRET));
        "post"
    };
    world.authenticated.push(by);
    let mut claims = json!({"nonce": world.nonce, "preferred_username": "alice", "groups": ["developers"]});
    let mut other = world.token_answer.clone();
    if form["grant_type"] == "refresh_token" {
        claims["nonce"].take();
        other.clone_from(&world.refresh_answer);
        let presented = form["refresh_token"].clone();
        world.refreshed.push(presented.clone());
        if other.is_none() {
            assert_eq!(Some(&presented), world.refresh_token.as_ref(), "a token counts once");
            world.refresh_token = Some(format!("{presented}+"));
        }
    } else {
        assert_eq!(form["grant_type"], "authorization_code");
    }
    let id_token = world.sign(&changed(claims, &world.claims));
    let mut answer = json!({"access_token": "opaque-access-token", "token_type": "Bearer", "id_token": id_token});
    if let Some(token) = &world.refresh_token {
        answer["refresh_token"] = json!(token);
    }
    instead(other.as_ref()).unwrap_or_else(|| Json(answer).into_response())
}

impl World {
    /// A token about the user, with `change` merged over its claims.
    pub fn sign(&self, change: &Value) -> String {
        let now = self.now.unwrap_or_else(|| SystemClock.now().as_second());
        let claims = json!({"iss": self.base, "sub": "7", "aud": CLIENT_ID, "iat": now, "exp": now + 300});
        let (name, kid) = self.key.clone();
        let der = BASE64_STANDARD.decode(keys()[name]["der"].as_str().unwrap()).unwrap();
        let (algorithm, key) = match name {
            "rsa" => (Algorithm::RS256, EncodingKey::from_rsa_der(&der)),
            _ => (Algorithm::ES256, EncodingKey::from_ec_der(&der)),
        };
        let header = Header { kid: Some(kid), ..Header::new(algorithm) };
        jsonwebtoken::encode(&header, &merge(claims, change), &key).unwrap()
    }
}

/// The claims that make a logout token of one, with `change` merged over them.
pub fn logout(change: &Value) -> Value {
    let event = json!({"http://schemas.openid.net/event/backchannel-logout": {}});
    changed(json!({"jti": "once", "events": event, "sid": "one"}), change)
}

/// A key as it is published: `p256`, the one that signs at first, or another.
pub fn public_key(name: &str) -> Value {
    let mut key = keys()[name]["jwk"].clone();
    key["kid"] = json!("one");
    key
}

async fn jwks(State(world): State<Shared>) -> Response {
    let mut world = world.lock().unwrap();
    *world.asked.entry("jwks").or_default() += 1;
    let key = public_key(world.key.0);
    // One that nobody understands is no reason to understand none.
    let keys = json!({"keys": [{"kty": "AKP", "kid": "future", "alg": "ML-DSA-44"}, {"kty": 7}, key]});
    instead(world.jwks_answer.as_ref()).unwrap_or_else(|| Json(keys).into_response())
}

async fn user_info(State(world): State<Shared>, headers: HeaderMap) -> Json<Value> {
    let mut world = world.lock().unwrap();
    *world.asked.entry("userinfo").or_default() += 1;
    assert_eq!(headers["authorization"], "Bearer opaque-access-token");
    Json(merge(json!({"sub": "7"}), &world.user_info))
}
