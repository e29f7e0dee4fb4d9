//! An endpoint under test, whole: manifests that admission lets in, the plan that the operator makes of them, and a real
//! server on the planned files.

use crate::{
    browser::Browser,
    clock::ManualClock,
    mounted::{Files, Volume},
    web::{Page, Web},
};
use jiff::SignedDuration;
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
};
use portcullis_api::{McpEndpoint, OAuthClient, validation::admit};
use portcullis_config::{CLIENTS_FILE, CONFIG_FILE, KEYS_FILE, LOGIN_FILE};
use portcullis_core::{
    clock::{Clock as _, SystemClock},
    rng,
};
use portcullis_oauth::workload::NoCluster;
use portcullis_plan::{ClusterFacts, Inputs, Plan, plan};
use portcullis_reflector::Health;
use portcullis_server::{self, Listeners, Options};
use portcullis_state::Local;
use portcullis_workspaces::local::{LocalOptions, LocalWorkspaces};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

pub const USER: &str = "alice";
pub const PASSWORD: &str = "alice's own secret";
/// A client of a preset that keeps no secret.
pub const PUBLIC: &str = "claude-code";
/// A client that keeps one.
pub const CONFIDENTIAL: &str = "backend";
/// The callbacks of the clients of the tests.
const CALLBACKS: [&str; 2] = ["http://127.0.0.1/callback", "http://localhost/oauth/callback"];
/// Where the test's own web has a client's metadata document.
pub const DOCUMENT: &str = "https://agents.example.com/client";

/// A running server.
pub struct Stage {
    /// The issuer.
    pub origin: String,
    /// The endpoint.
    pub url: String,
    clock: Arc<ManualClock>,
    plan: Plan,
    /// Where grants and accounts are kept.
    pub state: Arc<Local>,
    /// The workspaces of all users.
    pub workspaces: Arc<LocalWorkspaces>,
    _web: Web,
    _state: TempDir,
    _volume: Volume,
    _running: DropGuard,
}

/// What an endpoint is made of.
pub struct Manifests {
    /// `spec` of the endpoint, without its URL.
    pub endpoint: Value,
    /// Names and `spec` of its clients, without `endpointRef`.
    pub clients: Vec<(&'static str, Value)>,
    /// The Secrets that `spec.login` names.
    pub secrets: BTreeMap<String, BTreeMap<String, ByteString>>,
}

impl Manifests {
    /// Local users, a public and a confidential client, and no others.
    pub fn new() -> Self {
        let scopes = json!(["workspaces:read", "workspaces:write", "templates:read"]);
        let users = format!("{USER}:{}\n", bcrypt::hash(PASSWORD, 4).unwrap());
        Self {
            endpoint: json!({
                "login": [{"name": "local", "passwords": {"secretRef": {"name": "users"}}}],
                "limits": {"requestsPerSecond": 1000, "burst": 1000},
            }),
            clients: vec![
                (PUBLIC, json!({"preset": "claude-code", "redirectUris": [CALLBACKS[1]], "scopes": scopes})),
                (CONFIDENTIAL, json!({"redirectUris": CALLBACKS, "scopes": scopes})),
            ],
            secrets: [("users".to_owned(), [("htpasswd".to_owned(), ByteString(users.into()))].into())].into(),
        }
    }

    /// Clients that describe or register themselves may come too.
    pub fn open(mut self) -> Self {
        self.endpoint["clients"] =
            json!({"metadataDocuments": {"allowedHosts": ["agents.example.com"]}, "dynamicRegistration": {}});
        self
    }

    /// A provider besides the local users, or in their place.
    pub fn provider(mut self, name: &str, login: Value, client_id: &str, client_secret: &str) -> Self {
        let secret = [("client-id", client_id), ("client-secret", client_secret)];
        let secret = secret.map(|(key, value)| (key.to_owned(), ByteString(value.into())));
        self.secrets.insert(name.to_owned(), secret.into());
        self.endpoint["login"].as_array_mut().unwrap().push(login);
        self
    }

    fn plan(&self, url: &str) -> Plan {
        let manifest = |kind: &str, name: &str, spec: &Value| {
            json!({"apiVersion": "portcullis.dev/v1alpha1", "kind": kind,
                "metadata": {"name": name, "namespace": "default", "uid": "0"}, "spec": spec})
        };
        let mut endpoint = self.endpoint.clone();
        endpoint["url"] = url.into();
        let endpoint: McpEndpoint = admit(manifest("McpEndpoint", "agents", &endpoint)).unwrap();
        let clients: Vec<OAuthClient> = self
            .clients
            .iter()
            .map(|(name, spec)| {
                let mut spec = spec.clone();
                spec["endpointRef"] = json!({"name": "agents"});
                admit(manifest("OAuthClient", name, &spec)).unwrap()
            })
            .collect();
        let secret = |data: &BTreeMap<_, _>| Secret { data: Some(data.clone()), ..Secret::default() };
        let inputs = Inputs {
            endpoint: &endpoint,
            clients: &clients.iter().collect::<Vec<_>>(),
            secrets: &self.secrets.iter().map(|(name, data)| (name.clone(), secret(data))).collect(),
            cluster: &ClusterFacts::default(),
            taken: None,
            replicas: None,
            now: SystemClock.now(),
        };
        let plan = plan(&inputs, &mut rng::rng()).unwrap();
        assert!(plan.login_problems.is_empty(), "{:?}", plan.login_problems);
        plan
    }

    pub async fn start(self) -> Stage {
        let public = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", public.local_addr().unwrap());
        let url = format!("{origin}/mcp");
        let plan = self.plan(&url);
        let volume = Volume::new(&files(&plan));

        let web = Web::start(&["agents.example.com"]).await;
        let document = json!({"client_id": DOCUMENT, "client_name": "An agent of example.com", "redirect_uris": CALLBACKS,
            "token_endpoint_auth_method": "none", "grant_types": ["authorization_code", "refresh_token"]});
        web.publish("agents.example.com/client", Page::json(&document));

        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        let state = tempfile::tempdir().unwrap();
        let local =
            LocalOptions { state_dir: state.path().to_owned(), path: "/usr/bin:/bin".into(), user: USER.into() };
        let workspaces = Arc::new(LocalWorkspaces::open(local, clock.clone(), rng::rng()).await.unwrap());
        let kept = Arc::new(Local::memory(clock.clone()));
        let options = Options {
            config_dir: volume.path(),
            workspaces: Some(workspaces.clone()),
            grants: kept.clone(),
            registrations: kept.clone(),
            accounts: kept.clone(),
            user_rules: kept.clone(),
            workloads: Arc::new(NoCluster),
            state: Arc::new(Health::local()),
            outbound: web.outbound(),
            clock: clock.clone(),
            lame_duck: std::time::Duration::ZERO,
            memory_limit: 512 << 20,
        };
        let shutdown = CancellationToken::new();
        tokio::spawn(portcullis_server::run(options, Listeners { public, private: None }, shutdown.clone()));
        let running = shutdown.drop_guard();
        Stage {
            origin,
            url,
            clock,
            plan,
            state: kept,
            workspaces,
            _web: web,
            _state: state,
            _volume: volume,
            _running: running,
        }
    }
}

impl Stage {
    /// A browser in which the user is signed in.
    pub async fn signed_in(&self) -> Browser {
        let mut browser = Browser::start().await;
        browser.open(&format!("{}/login", self.origin)).await;
        browser.fill("User name", USER).await;
        browser.fill("Password", PASSWORD).await;
        browser.press("Sign in").await;
        browser.find("No agent has access").await;
        browser
    }

    /// Lets time pass.
    pub fn pass(&self, minutes: i64) {
        self.clock.set(self.clock.now() + SignedDuration::from_mins(minutes));
    }

    /// The secret that the operator made for a client.
    pub fn secret(&self, client: &str) -> String {
        let data = data(&self.plan).find(|(name, _)| *name == format!("{client}-oauth")).unwrap().1;
        String::from_utf8(data["client-secret"].clone()).unwrap()
    }

    /// The metadata of the authorization server.
    pub async fn metadata(&self) -> Value {
        let url = format!("{}/.well-known/oauth-authorization-server", self.origin);
        let http = crate::http();
        http.get(url).send().await.unwrap().json().await.unwrap()
    }
}

/// Names and data of the planned ConfigMaps and Secrets.
fn data(plan: &Plan) -> impl Iterator<Item = (&str, BTreeMap<String, Vec<u8>>)> {
    plan.objects.iter().filter_map(|planned| {
        let object = planned.object.clone();
        let data: BTreeMap<_, _> = match planned.kind() {
            "Secret" => {
                let data = object.try_parse::<Secret>().unwrap().data?;
                data.into_iter().map(|(key, bytes)| (key, bytes.0)).collect()
            }
            "ConfigMap" => {
                let data = object.try_parse::<ConfigMap>().unwrap().data?;
                data.into_iter().map(|(key, text)| (key, text.into_bytes())).collect()
            }
            _ => return None,
        };
        Some((planned.name(), data))
    })
}

/// What a kubelet mounts into the planned pods.
fn files(plan: &Plan) -> Files {
    let file = |name: &str| data(plan).find_map(|(_, mut data)| data.remove(name)).unwrap();
    let (config, clients) = (file(CONFIG_FILE), file(CLIENTS_FILE));
    Files { config, clients, keys: file(KEYS_FILE), login: file(LOGIN_FILE), certificate: None }
}
