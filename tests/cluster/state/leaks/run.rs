//! The place of a run, and what notes the credentials that come up in it.

use super::trail::Trail;
use crate::{
    operator::stage::api,
    state::stage::{Answer, CALLBACK, ORIGIN, PASSWORD, Server, Stage, VERIFIER, code, text},
    support::{
        controlplane::ControlPlane,
        form_browser::{Browser, Page},
        github::{CLIENT_ID, CLIENT_SECRET, GitHub, TOKEN},
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::EncodingKey;
use k8s_openapi::api::core::v1::Secret;
use p256::pkcs8::DecodePrivateKey as _;
use portcullis_config::SigningKeys;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
use regex::Regex;
use serde_json::{Value, json};
use std::{fs, time::Duration};

/// What somebody types by mistake.
pub(super) const WRONG_PASSWORD: &str = "an altogether wrong password";

/// A run, and what it came across.
pub struct Run<'p> {
    pub stage: Stage<'p>,
    pub trail: Trail,
    pub(super) servers: [Server; 2],
    pub(super) github: GitHub,
    /// What the client `signer` proves itself with.
    pub(super) signer: EncodingKey,
    pub(super) client_secret: String,
    /// Tokens of a grant that lasts.
    pub(super) lasting: Option<Answer>,
}

impl<'p> Run<'p> {
    pub async fn start(plane: &'p ControlPlane) -> Self {
        let github = GitHub::start(&format!("{ORIGIN}/login/hub/callback")).await;
        github.world.lock().unwrap().organizations.push(("acme", "active"));
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let namespace = plane.create_namespace("leaks").await;
        let more = json!({
            "login": [
                {"name": "local", "passwords": {"secretRef": {"name": "people"}}},
                {"name": "hub", "github": {
                    "url": github.url, "clientSecretRef": {"name": "hub"}, "allowedOrganizations": ["acme"],
                }},
            ],
            "clients": {"dynamicRegistration": {}},
            "workloadIdentity": {"rules": [
                {"name": "ci", "namespaces": [namespace], "serviceAccounts": ["runner"], "scopes": ["files:read"]},
            ]},
        });
        let stage = Stage::start(plane, namespace, plane.url(), &more, &manifests(&pair)).await;
        let mut trail = Trail::default();
        for (name, credential) in [
            ("password", PASSWORD),
            ("wrong password", WRONG_PASSWORD),
            ("code verifier", VERIFIER),
            ("client secret at the provider", CLIENT_SECRET),
            ("access token of the provider", TOKEN),
        ] {
            trail.note(name, credential.as_bytes());
        }
        let key = p256::SecretKey::from_pkcs8_der(&pair.serialize_der()).unwrap();
        trail.note("private key of a client", &key.to_bytes());
        let signer = EncodingKey::from_ec_der(&pair.serialize_der());
        let servers = stage.servers().await;
        let mut run = Self { stage, trail, servers, github, signer, client_secret: String::new(), lasting: None };
        run.note_keys().await;
        run.client_secret = run.read_client_secret().await.unwrap();
        run.trail.note("client secret", run.client_secret.as_bytes());
        run
    }

    async fn note_keys(&mut self) {
        let keys: SigningKeys =
            serde_json::from_slice(&self.secret("agents-signing-keys", "signing-keys.json").await).unwrap();
        for key in &keys.keys {
            // What every such key begins with, and its public half, are no secrets.
            let scalar = p256::SecretKey::from_pkcs8_pem(&key.pem).unwrap().to_bytes();
            self.trail.note("signing key", &scalar);
        }
        for key in &keys.sealing {
            self.trail.note("sealing key", key.key.as_bytes());
            self.trail.note("sealing key", &key.bytes().unwrap());
        }
    }

    pub(super) async fn secret(&self, name: &str, key: &str) -> Vec<u8> {
        let secret = api::<Secret>(&self.stage.client, &self.stage.namespace).get(name).await.unwrap();
        secret.data.unwrap().remove(key).unwrap().0
    }

    pub(super) async fn read_client_secret(&self) -> Option<String> {
        let secret = api::<Secret>(&self.stage.client, &self.stage.namespace).get_opt("robot-oauth").await.unwrap()?;
        Some(String::from_utf8(secret.data?.remove("client-secret")?.0).unwrap())
    }

    /// Notes what a browser was given.
    pub(super) fn seen(&mut self, browser: &Browser, page: Page) -> Page {
        if let Some((_, session)) = browser.cookie.as_ref().and_then(|cookie| cookie.split_once('=')) {
            self.trail.note("session cookie", session.as_bytes());
        }
        let hidden = Regex::new(r#"name="(form|request|continue)" value="([^"]+)""#).unwrap();
        for field in hidden.captures_iter(&page.html) {
            self.trail.note("form ticket", field[2].as_bytes());
        }
        let location = page.headers.get("location").and_then(|location| location.to_str().ok()).unwrap_or_default();
        let query = location.split_once('?').map_or("", |(_, query)| query);
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "code" => self.trail.note("authorization code", value.as_bytes()),
                "continue" | "state" => self.trail.note("state of a sign-in", value.as_bytes()),
                _ => {}
            }
        }
        page
    }

    /// Notes what a client was given, and passes it on.
    pub(super) fn given(&mut self, answer: Answer) -> Answer {
        assert_eq!(answer.0, 200, "{answer:?}");
        self.trail.note_jwt("access token", text(&answer, "access_token"));
        if let Some(token) = answer.1["refresh_token"].as_str() {
            self.trail.note_refresh_token(token);
        }
        answer
    }

    pub(super) fn robot(&self) -> (&str, &str) {
        ("robot", &self.client_secret)
    }

    pub(super) async fn refresh(&mut self, server: &Server, tokens: &Answer) -> Answer {
        let refresh = [("grant_type", "refresh_token"), ("refresh_token", text(tokens, "refresh_token"))];
        let answer = server.form("/token", &refresh, Some(self.robot())).await;
        self.given(answer)
    }

    pub(super) async fn allow(&mut self, browser: &mut Browser, client_id: &str) -> String {
        let code = code(browser, client_id).await;
        self.trail.note("authorization code", code.as_bytes());
        code
    }

    /// Those of the servers and of the operator itself.
    pub async fn note_tokens_of_service_accounts(&mut self) {
        let mut count = 0;
        for volume in
            fs::read_dir(self.stage.kubelet.folder()).unwrap().flatten().filter_map(|pod| fs::read_dir(pod.path()).ok())
        {
            for token in volume.flatten().filter_map(|volume| fs::read_to_string(volume.path().join("token")).ok()) {
                self.trail.note_jwt("token of a service account", token.trim());
                count += 1;
            }
        }
        assert!(count >= 2, "every server has one");
        let kubeconfigs = fs::read_dir(self.stage.plane.folder()).unwrap().flatten();
        for path in
            kubeconfigs.map(|file| file.path()).filter(|path| path.extension().is_some_and(|end| end == "kubeconfig"))
        {
            let kubeconfig: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
            let token = kubeconfig["users"][0]["user"]["token"].as_str().filter(|token| token.contains('.'));
            if let Some(token) = token {
                self.trail.note_jwt("token of a service account", token);
            }
        }
        // Last uses are written down some time later, and are to be searched too.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn manifests(signer: &KeyPair) -> [Value; 4] {
    let client = |name: &str, more: Value| {
        let mut spec = json!({"endpointRef": {"name": "agents"}, "scopes": ["workspaces:read", "files:read"]});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"apiVersion": "portcullis.dev/v1alpha1", "kind": "OAuthClient", "metadata": {"name": name}, "spec": spec})
    };
    let (x, y) = signer.der_bytes()[1..].split_at(32);
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    let key = json!({"kty": "EC", "crv": "P-256", "kid": "one", "alg": "ES256", "x": x, "y": y});
    [
        json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "hub", "labels": {"portcullis.dev/endpoint": "agents"}},
            "stringData": {"client-id": CLIENT_ID, "client-secret": CLIENT_SECRET},
        }),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "runner"}}),
        client(
            "robot",
            json!({"redirectUris": [CALLBACK], "grants": ["authorization_code", "refresh_token", "client_credentials"]}),
        ),
        client("signer", json!({"grants": ["client_credentials"], "privateKeyJwt": {"jwks": {"keys": [key]}}})),
    ]
}
