//! An endpoint whose tokens come from an authorization server elsewhere: it is a resource server and nothing else, and
//! goes on while that server is away. The issuer here is a small one, on loopback.

use crate::{clock, mounted};

use axum::{Json, Router, extract::State, routing::get};
use clock::ManualClock;
use jiff::SignedDuration;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use mounted::{Files, Volume};
use p256::{
    SecretKey,
    pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _},
};
use portcullis_config::{
    ClientVerifier, Clients, LoadedRevision, OPERATOR_CLIENT_ID, ServerConfig, SigningKey, SigningKeys,
};
use portcullis_core::{
    clock::{Clock as _, SystemClock},
    rng,
};
use portcullis_oauth::{
    jwt::{AccessTokens, Subject},
    workload::NoCluster,
};
use portcullis_reflector::Health;
use portcullis_server::{self, Listeners, Options};
use portcullis_state::Local;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

const RESOURCE: &str = "https://mcp.example.com/mcp";

/// An authorization server at `/realms/a`, as Keycloak lays one out: with OpenID Connect discovery only.
struct Issuer {
    address: SocketAddr,
    keys: Arc<Mutex<Vec<SigningKey>>>,
    task: JoinHandle<()>,
}

impl Issuer {
    async fn start() -> Self {
        // For reqwest's clients: nobody else has chosen one in this process.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let keys = Arc::new(Mutex::new(vec![key()]));
        let task = serve(listener, Arc::clone(&keys));
        Self { address, keys, task }
    }

    fn url(&self) -> String {
        format!("http://{}/realms/a", self.address)
    }

    async fn goes_down(&mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    async fn comes_back(&mut self) {
        self.task = serve(TcpListener::bind(self.address).await.unwrap(), Arc::clone(&self.keys));
    }

    /// A token of the newest key.
    fn token(&self, claims: &Value) -> String {
        let key = self.keys.lock().unwrap().last().unwrap().clone();
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(key.kid.clone());
        let der = SecretKey::from_pkcs8_pem(&key.pem).unwrap().to_pkcs8_der().unwrap();
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_ec_der(der.as_bytes())).unwrap()
    }

    fn claims(&self) -> Value {
        let now = SystemClock.now().as_second();
        json!({"iss": self.url(), "aud": RESOURCE, "sub": "7", "azp": "claude", "scope": "openid files:read",
            "preferred_username": "ada", "typ": "Bearer", "iat": now, "exp": now + 7200})
    }
}

fn key() -> SigningKey {
    SigningKey::generate(SystemClock.now(), &mut rng::rng()).unwrap()
}

fn serve(listener: TcpListener, keys: Arc<Mutex<Vec<SigningKey>>>) -> JoinHandle<()> {
    let issuer = format!("http://{}/realms/a", listener.local_addr().unwrap());
    let metadata = json!({"issuer": issuer, "jwks_uri": format!("{issuer}/keys")});
    let jwks = async |State(keys): State<Arc<Mutex<Vec<SigningKey>>>>| {
        let keys: Vec<Value> = keys.lock().unwrap().iter().map(|key| key.public_jwk().unwrap()).collect();
        Json(json!({"keys": keys}))
    };
    let router = Router::new()
        .route("/realms/a/.well-known/openid-configuration", get(async || Json(metadata)))
        .route("/realms/a/keys", get(jwks))
        .with_state(keys);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() })
}

struct Endpoint {
    address: SocketAddr,
    keys: SigningKeys,
    clock: Arc<ManualClock>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), portcullis_server::ServerError>>,
    _volume: Volume,
}

impl Endpoint {
    async fn start(issuer: &Issuer) -> Self {
        let config = json!({
            "endpoint": "agents", "url": RESOURCE, "accessTokenLifetime": "15m",
            "refreshTokenLifetime": "720h", "refreshTokenIdle": "168h",
            "externalIssuer": {"issuerUrl": issuer.url(), "usernameClaim": "preferred_username"},
            "tools": {"allow": ["*"], "deny": []},
            "cors": {"allowedOrigins": [], "maxAge": "2h", "answeredHere": true},
            "limits": {"requestTimeout": "2m", "maxConcurrentRequests": 100, "requestsPerSecond": 100, "burst": 200,
                "maxBodySize": "4Mi"},
            "access": {"allowedCidrs": [], "trustedProxies": []},
        });
        let config: ServerConfig = serde_json::from_value(config).unwrap();
        let keys = SigningKeys::generate(SystemClock.now(), &mut rng::rng()).unwrap();
        let clients = Clients { clients: vec![ClientVerifier::operator()] };
        let files = Files::new(&config, &clients, &keys);
        let volume = Volume::new(&files);
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        let state = Arc::new(Local::memory(clock.clone()));
        let options = Options {
            config_dir: volume.path(),
            workspaces: None,
            grants: state.clone(),
            registrations: state.clone(),
            accounts: state.clone(),
            user_rules: state,
            workloads: Arc::new(NoCluster),
            state: Arc::new(Health::local()),
            outbound: Arc::new(portcullis_outbound::Outbound::new().unwrap()),
            clock: clock.clone(),
            lame_duck: std::time::Duration::ZERO,
            memory_limit: 512 << 20,
        };
        let (public, private) =
            (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let (address, private_address) = (public.local_addr().unwrap(), private.local_addr().unwrap());
        let stop = CancellationToken::new();
        let task =
            tokio::spawn(portcullis_server::run(options, Listeners { public, private: Some(private) }, stop.clone()));
        let loaded = reqwest::get(format!("http://{private_address}/revision")).await.unwrap();
        assert_eq!(loaded.json::<LoadedRevision>().await.unwrap().revision, files.revision());
        Self { address, keys, clock, stop, task, _volume: volume }
    }

    fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        reqwest::Client::new()
            .request(method, format!("http://{}{path}", self.address))
            .header("host", "mcp.example.com")
    }

    async fn get(&self, path: &str) -> Response {
        self.request(reqwest::Method::GET, path).send().await.unwrap()
    }

    async fn call(&self, token: &str, method: &str, params: &Value) -> Response {
        self.request(reqwest::Method::POST, "/mcp")
            .header("accept", "application/json, text/event-stream")
            .bearer_auth(token)
            .json(&json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
            .send()
            .await
            .unwrap()
    }

    async fn ping(&self, token: &str) -> StatusCode {
        self.call(token, "ping", &json!({})).await.status()
    }

    fn later(&self, span: SignedDuration) {
        self.clock.set(self.clock.now() + span);
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn the_endpoint_is_a_resource_server_and_nothing_else() {
    let issuer = Issuer::start().await;
    let endpoint = Endpoint::start(&issuer).await;
    for path in ["/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource"] {
        let document: Value = endpoint.get(path).await.json().await.unwrap();
        assert_eq!(document["authorization_servers"], json!([issuer.url()]), "{path}");
        assert_eq!(document["resource"], RESOURCE);
    }
    let gone = [
        "/.well-known/oauth-authorization-server",
        "/jwks.json",
        "/authorize",
        "/token",
        "/revoke",
        "/introspect",
        "/register",
        "/login",
        "/consent",
        "/logout",
        "/agents",
        "/agents/revoke",
    ];
    for path in gone {
        assert_eq!(endpoint.get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
        let posted = endpoint.request(reqwest::Method::POST, path).form(&[("grant_type", "client_credentials")]);
        assert_eq!(posted.send().await.unwrap().status(), StatusCode::NOT_FOUND, "{path}");
    }
    let refused = endpoint.request(reqwest::Method::POST, "/mcp").json(&json!({})).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert!(refused.headers()["www-authenticate"].to_str().unwrap().contains("resource_metadata="));
    assert!(refused.text().await.unwrap().contains(&issuer.url()), "it says where tokens come from");

    let token = issuer.token(&issuer.claims());
    let answer = endpoint.call(&token, "tools/call", &json!({"name": "whoami", "arguments": {}})).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let said = answer.text().await.unwrap();
    assert!(said.contains("external:7") && said.contains("claude"), "{said}");

    let wrong = |claim: &str, value: Value| {
        let mut claims = issuer.claims();
        claims[claim] = value;
        issuer.token(&claims)
    };
    for (what, token) in [
        ("another audience", wrong("aud", json!("https://mcp.example.com/other"))),
        ("another issuer", wrong("iss", json!("https://evil.example.com"))),
        ("an ID token", wrong("typ", json!("ID"))),
        ("expired", wrong("exp", json!(endpoint.clock.now().as_second() - 1))),
    ] {
        let answer = endpoint.call(&token, "ping", &json!({})).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{what}");
        let challenge = answer.headers()["www-authenticate"].to_str().unwrap().to_owned();
        assert!(challenge.contains("invalid_token"), "{what}: {challenge}");
    }

    // Of the endpoint's own keys only the operator's tokens count.
    let own = AccessTokens::new(&RESOURCE.parse().unwrap(), std::time::Duration::from_mins(5), &endpoint.keys).unwrap();
    let (now, scopes) = (endpoint.clock.now(), BTreeSet::new());
    for (client, status) in [(OPERATOR_CLIENT_ID, StatusCode::OK), ("claude", StatusCode::UNAUTHORIZED)] {
        let token = own.issue(&Subject::client(client, &scopes), now, &mut rng::rng()).unwrap();
        assert_eq!(endpoint.ping(&token).await, status, "{client}");
    }
    endpoint.stop().await;
}

#[tokio::test]
async fn while_the_issuer_is_down_known_tokens_go_on_and_unknown_ones_are_not_called_wrong() {
    let mut issuer = Issuer::start().await;
    let endpoint = Endpoint::start(&issuer).await;
    let token = issuer.token(&issuer.claims());
    assert_eq!(endpoint.ping(&token).await, StatusCode::OK);

    issuer.goes_down().await;
    endpoint.later(SignedDuration::from_mins(30));
    let mut claims = issuer.claims();
    claims["jti"] = json!("another");
    assert_eq!(endpoint.ping(&token).await, StatusCode::OK, "remembered");
    assert_eq!(endpoint.ping(&issuer.token(&claims)).await, StatusCode::OK, "another one of a known key");
    issuer.keys.lock().unwrap().push(key());
    let by_new_key = issuer.token(&issuer.claims());
    endpoint.later(SignedDuration::from_mins(1));
    let answer = endpoint.call(&by_new_key, "ping", &json!({})).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after") && !answer.headers().contains_key("www-authenticate"));

    issuer.comes_back().await;
    endpoint.later(SignedDuration::from_mins(1));
    assert_eq!(endpoint.ping(&by_new_key).await, StatusCode::OK, "the issuer's rotation is followed");
    endpoint.stop().await;
}
