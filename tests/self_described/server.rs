//! A real server whose documents come from a [`Web`], and clients that sign.

use crate::self_described::{
    clock::ManualClock,
    mounted::{Files, Volume},
    web::Web,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey};
use portcullis_config::{ClientVerifier, Clients, ServerConfig, SigningKeys};
use portcullis_core::{
    Scope,
    authorization::ClientPolicy,
    client::{ClientType, Grant},
};
use portcullis_oauth::workload::NoCluster;
use portcullis_reflector::Health;
use portcullis_server::{self, Listeners, Options};
use portcullis_state::Local;
use rand::{SeedableRng as _, rngs::StdRng};
use rcgen::{KeyPair, PublicKeyData as _};
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

const START: i64 = 1_800_000_000;

pub struct Server {
    pub http: reqwest::Client,
    pub issuer: String,
    pub clock: Arc<ManualClock>,
    _volume: Volume,
    _running: DropGuard,
}

pub fn client(id: &str) -> ClientVerifier {
    ClientVerifier {
        client_id: id.to_owned(),
        display_name: id.to_owned(),
        client_type: ClientType::Confidential,
        grants: vec![Grant::ClientCredentials],
        scopes: BTreeSet::from(Scope::ALL),
        registered_at: None,
        redirect_uris: Vec::new(),
        secrets: Vec::new(),
        private_key_jwt: None,
    }
}

impl Server {
    pub async fn start(policy: ClientPolicy, clients: Vec<ClientVerifier>, web: &Web) -> Self {
        let public = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", public.local_addr().unwrap());
        let config = json!({
            "endpoint": "agents", "url": format!("{issuer}/mcp"), "accessTokenLifetime": "15m",
            "refreshTokenLifetime": "720h", "refreshTokenIdle": "168h",
            "tools": {"allow": ["*"], "deny": []},
            "cors": {"allowedOrigins": [], "maxAge": "2h", "answeredHere": true},
            "limits": {"requestTimeout": "1m", "maxConcurrentRequests": 100, "requestsPerSecond": 1000, "burst": 1000,
                "maxBodySize": "1Mi"},
            "access": {"allowedCidrs": [], "trustedProxies": ["127.0.0.0/8"]},
        });
        let config = ServerConfig { client_policy: policy, ..serde_json::from_value(config).unwrap() };
        let start = Timestamp::from_second(START).unwrap();
        let keys = SigningKeys::generate(start, &mut StdRng::seed_from_u64(1)).unwrap();
        let volume = Volume::new(&Files::new(&config, &Clients { clients }, &keys));
        let clock = Arc::new(ManualClock::at(start));
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
            outbound: web.outbound(),
            clock: clock.clone(),
            lame_duck: std::time::Duration::ZERO,
            memory_limit: 512 << 20,
        };
        let shutdown = CancellationToken::new();
        tokio::spawn(portcullis_server::run(options, Listeners { public, private: None }, shutdown.clone()));
        // A process has one; whoever is first installs it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { http, issuer, clock, _volume: volume, _running: shutdown.drop_guard() }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.issuer)
    }

    pub async fn metadata(&self) -> Value {
        let url = self.url("/.well-known/oauth-authorization-server");
        self.http.get(url).send().await.unwrap().json().await.unwrap()
    }

    pub async fn token(&self, form: &[(&str, &str)]) -> (StatusCode, Value) {
        let response = self.http.post(self.url("/token")).form(form).send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    pub async fn asserting(&self, assertion: &str, form: &[(&str, &str)]) -> (StatusCode, Value) {
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        let proof = [("client_assertion", assertion), ("client_assertion_type", kind)];
        self.token(&[&proof[..], form].concat()).await
    }
}

/// A client's key.
pub struct Signer {
    key: EncodingKey,
    pub jwk: Value,
}

pub fn signer(kid: &str) -> Signer {
    let pair = KeyPair::generate().unwrap();
    let (x, y) = pair.der_bytes()[1..].split_at(32);
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    let jwk = json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": kid});
    Signer { key: EncodingKey::from_ec_der(&pair.serialize_der()), jwk }
}

pub fn claims(client: &str, issuer: &str, jti: &str) -> Value {
    json!({"iss": client, "sub": client, "aud": issuer, "exp": START + 300, "jti": jti})
}

pub fn sign(signer: &Signer, claims: &Value) -> String {
    let mut header = jsonwebtoken::Header::new(Algorithm::ES256);
    header.kid = signer.jwk["kid"].as_str().map(ToOwned::to_owned);
    jsonwebtoken::encode(&header, claims, &signer.key).unwrap()
}
