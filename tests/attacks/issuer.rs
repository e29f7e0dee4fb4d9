//! An authorization server elsewhere, on loopback, whose tokens an endpoint takes: keys that it withdraws, and outages.

use crate::{
    forge::Parts,
    stage::{Stage, start_of_time},
};
use axum::{Json, Router, extract::State, routing::get};
use jiff::SignedDuration;
use p256::{ecdsa, pkcs8::DecodePrivateKey as _};
use portcullis_config::SigningKey;
use portcullis_core::rng;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::{net::TcpListener, task::JoinHandle};

struct Issuer {
    url: String,
    keys: Arc<Mutex<Vec<SigningKey>>>,
    task: JoinHandle<()>,
}

fn key() -> SigningKey {
    SigningKey::generate(start_of_time(), &mut rng::rng()).unwrap()
}

impl Issuer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let metadata = json!({"issuer": url, "jwks_uri": format!("{url}/keys")});
        let published = async |State(keys): State<Arc<Mutex<Vec<SigningKey>>>>| {
            let keys: Vec<Value> = keys.lock().unwrap().iter().map(|key| key.public_jwk().unwrap()).collect();
            Json(json!({"keys": keys}))
        };
        let keys = Arc::new(Mutex::new(vec![key()]));
        let router = Router::new()
            .route("/.well-known/oauth-authorization-server", get(async || Json(metadata)))
            .route("/keys", get(published))
            .with_state(Arc::clone(&keys));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, keys, task }
    }

    /// A token of the newest key that counts until 2036, as far as it goes.
    fn token(&self, stage: &Stage, number: u32) -> String {
        let key = self.keys.lock().unwrap().last().unwrap().clone();
        let now = start_of_time().as_second();
        let parts = Parts {
            header: json!({"alg": "ES256", "typ": "at+jwt", "kid": key.kid}),
            claims: json!({"iss": self.url, "aud": format!("{}/mcp", stage.origin), "sub": "7", "client_id": "claude",
                "scope": "files:read", "iat": now, "exp": now + 9 * 365 * 86_400, "jti": number.to_string()}),
        };
        parts.signed(&ecdsa::SigningKey::from_pkcs8_pem(&key.pem).unwrap())
    }
}

async fn staged(issuer: &Issuer) -> Stage {
    Stage::with(|setup| {
        let external = json!({"issuerUrl": issuer.url, "usernameClaim": "preferred_username"});
        setup.config.external_issuer = Some(serde_json::from_value(external).unwrap());
    })
    .await
}

fn later(stage: &Stage, minutes: i64) {
    stage.clock.set(start_of_time() + SignedDuration::from_mins(minutes));
}

/// An external issuer withdraws a key, since it leaked; a token of it that is good for years was seen here before → refused
/// within ten minutes, as one that was never seen is.
#[tokio::test]
async fn a_withdrawn_key_of_the_issuer() {
    let issuer = Issuer::start().await;
    let stage = staged(&issuer).await;
    let (seen, unseen) = (issuer.token(&stage, 1), issuer.token(&stage, 2));
    assert_eq!(stage.status(&seen).await, 200);
    let leaked = issuer.keys.lock().unwrap().pop().unwrap();
    issuer.keys.lock().unwrap().push(key());
    later(&stage, 4);
    assert_eq!(stage.status(&seen).await, 200, "verified less than five minutes ago");
    later(&stage, 10);
    assert_eq!((stage.status(&seen).await, stage.status(&unseen).await), (401, 401));
    assert_eq!(stage.status(&issuer.token(&stage, 3)).await, 200, "one of the new key");
    issuer.keys.lock().unwrap().push(leaked);
    issuer.task.abort();
    stage.stop().await;
}

/// The issuer is made unreachable, so that users are signed out → tokens of known keys go on, seen or not, beyond the five
/// minutes for which a verification counts.
#[tokio::test]
async fn an_issuer_that_is_kept_away() {
    let issuer = Issuer::start().await;
    let stage = staged(&issuer).await;
    let (seen, unseen) = (issuer.token(&stage, 1), issuer.token(&stage, 2));
    assert_eq!(stage.status(&seen).await, 200);
    issuer.task.abort();
    for minutes in [6, 12, 60] {
        later(&stage, minutes);
        assert_eq!((stage.status(&seen).await, stage.status(&unseen).await), (200, 200), "{minutes}");
    }
    stage.stop().await;
}
