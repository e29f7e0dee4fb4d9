//! The servers under attack: one, or several replicas on one store, each on a socket of its own.

use crate::{
    clock::ManualClock,
    driven::Browser,
    log::{Secrets, log},
    mounted::{Files, Volume},
    replaced_agent::Replaced,
};
use jiff::{SignedDuration, Timestamp};
use portcullis_config::{
    ClientVerifier, Clients, LoginSecret, LoginSecrets, SecretHash, SecretVerifier, ServerConfig, SigningKeys,
};
use portcullis_core::{
    Scope,
    client::{ClientType, Grant},
    clock::Clock as _,
};
use portcullis_oauth::{
    client,
    grant::{GrantLookup, Grants as _},
    workload::NoCluster,
};
use portcullis_outbound::Outbound;
use portcullis_reflector::Health;
use portcullis_server::{self, Listeners, Options, ServerError};
use portcullis_state::Local;
use portcullis_workspaces::{
    Workspaces,
    local::{LocalOptions, LocalWorkspaces},
};
use rand::{SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use std::{path::PathBuf, sync::Arc};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

pub const PASSWORD: &str = "correct horse battery staple";
pub const CALLBACK: &str = "https://agent.example.com/callback";
/// The secrets of the clients `backend`, `rival` and `rotating`.
pub const SECRET: &str = "the-secret-of-the-client-named-backend";
pub const RIVAL_SECRET: &str = "the-secret-of-the-client-named-rival";
pub const OLD_SECRET: &str = "what-the-client-named-rotating-had-before";
pub const NEW_SECRET: &str = "what-the-client-named-rotating-has-now";
/// Ours at the provider `hub`.
const HUB_SECRET: &str = "the-secret-of-this-endpoint-at-a-provider";

pub fn start_of_time() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

pub fn after(seconds: i64) -> Timestamp {
    start_of_time() + SignedDuration::from_secs(seconds)
}

/// What a test changes before the servers start.
pub struct Setup {
    pub config: ServerConfig,
    pub clients: Vec<ClientVerifier>,
    pub logins: LoginSecrets,
    pub replicas: usize,
    /// The same seed makes the same keys.
    pub seed: u64,
    pub outbound: Arc<Outbound>,
    /// Where clients are that registered themselves, if not in the state that the replicas share.
    pub registrations: Option<Arc<dyn client::Registrations>>,
    /// Whether there are tools that need a place to work.
    pub workspaces: bool,
    /// What a server may use, in bytes.
    pub memory: u64,
}

/// Running servers.
pub struct Stage {
    pub origin: String,
    /// Where each replica listens; the first is the endpoint's own address.
    pub replicas: Vec<String>,
    /// Where the private listener of each answers.
    pub private: Vec<String>,
    pub clock: Arc<ManualClock>,
    pub state: Arc<Local>,
    pub config: ServerConfig,
    pub keys: SigningKeys,
    pub http: reqwest::Client,
    pub secrets: Secrets,
    /// What is mounted; a test replaces it by [`Stage::mount`].
    pub files: Files,
    volume: Volume,
    _workspaces: TempDir,
    shutdown: CancellationToken,
    tasks: Vec<JoinHandle<Result<(), ServerError>>>,
}

impl Stage {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn replicas(replicas: usize) -> Self {
        Self::with(|setup| setup.replicas = replicas).await
    }

    pub async fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let secrets = Secrets::new();
        let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut setup = Setup {
            config: config(&format!("http://{}/mcp", first.local_addr().unwrap())),
            clients: clients(),
            logins: logins(),
            replicas: 1,
            seed: 1,
            outbound: Arc::new(Outbound::new().unwrap()),
            registrations: None,
            workspaces: false,
            memory: 512 << 20,
        };
        change(&mut setup);
        setup.clients.sort_by(|one, other| one.client_id.cmp(&other.client_id));
        let keys = SigningKeys::generate(start_of_time(), &mut StdRng::seed_from_u64(setup.seed)).unwrap();
        let mut files = Files::new(&setup.config, &Clients { clients: setup.clients }, &keys);
        files.login = serde_json::to_vec(&setup.logins).unwrap();
        let volume = Volume::new(&files);
        let clock = Arc::new(ManualClock::at(start_of_time()));
        let state = Arc::new(Local::memory(clock.clone()));
        let shutdown = CancellationToken::new();
        let folder = tempfile::tempdir().unwrap();
        let workspaces =
            if setup.workspaces { Some(workspaces(folder.path().to_owned(), clock.clone()).await) } else { None };
        let (mut listeners, mut replicas, mut tasks) = (vec![first], Vec::new(), Vec::new());
        let mut private = Vec::new();
        for _ in 1..setup.replicas {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
        }
        for public in listeners {
            replicas.push(format!("http://{}", public.local_addr().unwrap()));
            let options = Options {
                config_dir: volume.path(),
                workspaces: workspaces.clone(),
                grants: state.clone(),
                registrations: setup.registrations.clone().unwrap_or_else(|| state.clone()),
                accounts: state.clone(),
                user_rules: state.clone(),
                state: Arc::new(Health::local()),
                workloads: Arc::new(NoCluster),
                outbound: Arc::clone(&setup.outbound),
                clock: clock.clone(),
                lame_duck: std::time::Duration::ZERO,
                memory_limit: setup.memory,
            };
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            private.push(format!("http://{}", listener.local_addr().unwrap()));
            let listeners = Listeners { public, private: Some(listener) };
            tasks.push(tokio::spawn(portcullis_server::run(options, listeners, shutdown.clone())));
        }
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        for secret in [PASSWORD, SECRET, RIVAL_SECRET, OLD_SECRET, NEW_SECRET, HUB_SECRET] {
            secrets.keep(secret);
        }
        for key in &keys.keys {
            let lines: Vec<_> = key.pem.lines().collect();
            secrets.keep(lines[1]);
        }
        for key in &keys.sealing {
            secrets.keep(&key.key);
        }
        let origin = replicas[0].clone();
        Self {
            origin,
            replicas,
            private,
            clock,
            state,
            config: setup.config,
            keys,
            http,
            secrets,
            files,
            volume,
            _workspaces: folder,
            shutdown,
            tasks,
        }
    }

    pub fn browser(&self) -> Browser {
        Browser::new(&self.origin, &self.origin)
    }

    /// A browser of somebody who has signed in.
    pub async fn signed_in(&self, user: &str) -> Browser {
        let mut browser = self.browser();
        let page = browser.sign_in("/login", user, PASSWORD).await;
        assert_eq!(page.path(), "/agents");
        self.keep_cookie(&browser);
        browser
    }

    /// The session in a browser is a secret too.
    pub fn keep_cookie(&self, browser: &Browser) {
        if let Some((_, value)) = browser.cookie.as_deref().and_then(|pair| pair.split_once('=')) {
            self.secrets.keep(value);
        }
    }

    /// Mounts other files at every server.
    pub fn mount(&self, files: &Files) {
        self.volume.replace(files);
    }

    /// What the audit has of this name since the servers started; of other tests too.
    pub fn audit(&self, event: &str) -> Vec<Value> {
        log().audit(self.secrets.since(), event)
    }

    /// Whether a grant counts.
    pub fn counts(&self, grant: &str) -> bool {
        matches!(self.state.find(grant), GrantLookup::Present(grant) if grant.is_active(self.clock.now()))
    }

    /// Stops the servers, and searches what was logged for every secret that was used.
    pub async fn stop(self) {
        self.shutdown.cancel();
        for task in self.tasks {
            task.await.unwrap().unwrap();
        }
        assert_eq!(self.secrets.find(), None, "a secret was logged");
        log().check_audit(self.secrets.since());
    }
}

async fn workspaces(state_dir: PathBuf, clock: Arc<ManualClock>) -> Arc<dyn Workspaces> {
    let options = LocalOptions { state_dir, path: "/usr/local/bin:/usr/bin:/bin".into(), user: "agent".into() };
    Arc::new(Replaced(Arc::new(LocalWorkspaces::open(options, clock, StdRng::seed_from_u64(1)).await.unwrap())))
}

pub fn logins() -> LoginSecrets {
    let users = ["ada", "bob"].map(|name| (name.to_owned(), bcrypt::hash(PASSWORD, 4).unwrap()));
    let passwords = LoginSecret::Passwords(users.into_iter().collect());
    let client = LoginSecret::Client { client_id: "portcullis".to_owned(), client_secret: HUB_SECRET.to_owned() };
    LoginSecrets {
        logins: [("local".to_owned(), passwords), ("hub".to_owned(), client)].into(),
        ..LoginSecrets::default()
    }
}

/// A public client with one callback, for people.
pub fn public(client_id: &str) -> ClientVerifier {
    ClientVerifier {
        client_id: client_id.to_owned(),
        display_name: client_id.to_owned(),
        client_type: ClientType::Public,
        grants: vec![Grant::AuthorizationCode, Grant::RefreshToken],
        scopes: Scope::ALL.into(),
        registered_at: None,
        redirect_uris: vec![CALLBACK.to_owned()],
        secrets: Vec::new(),
        private_key_jwt: None,
    }
}

/// A client that can keep secrets, until these times.
pub fn confidential(client_id: &str, secrets: &[(&str, Option<Timestamp>)]) -> ClientVerifier {
    let verifier = |(secret, expires_at): &(&str, Option<Timestamp>)| SecretVerifier {
        hash: SecretHash::of(client_id, secret),
        expires_at: *expires_at,
    };
    ClientVerifier {
        client_type: ClientType::Confidential,
        grants: vec![Grant::AuthorizationCode, Grant::RefreshToken, Grant::ClientCredentials],
        secrets: secrets.iter().map(verifier).collect(),
        ..public(client_id)
    }
}

fn clients() -> Vec<ClientVerifier> {
    let with = |client_id: &str, redirect_uri: &str| ClientVerifier {
        redirect_uris: vec![redirect_uri.to_owned()],
        ..public(client_id)
    };
    vec![
        public("agent"),
        public("other"),
        ClientVerifier { scopes: [Scope::WorkspacesRead, Scope::FilesRead].into(), ..public("reader") },
        with("loopback", "http://127.0.0.1/callback"),
        with("localhost", "http://localhost/callback"),
        with("pattern", "https://chatgpt.com/connector/oauth/{id}"),
        with("native", "com.example.app:/callback"),
        confidential("backend", &[(SECRET, None)]),
        confidential("rival", &[(RIVAL_SECRET, None)]),
        confidential("rotating", &[(NEW_SECRET, None), (OLD_SECRET, Some(after(3600)))]),
    ]
}

fn config(url: &str) -> ServerConfig {
    let config = json!({
        "endpoint": "agents", "url": url, "accessTokenLifetime": "15m",
        "refreshTokenLifetime": "720h", "refreshTokenIdle": "168h",
        "login": [{"name": "local", "passwords": {"secretRef": {"name": "users"}}}],
        "tools": {"allow": ["*"], "deny": []},
        "cors": {"allowedOrigins": ["https://*.example.com"], "maxAge": "10m", "answeredHere": true},
        "limits": {"requestTimeout": "1m", "maxConcurrentRequests": 100, "requestsPerSecond": 100_000,
            "burst": 100_000, "maxBodySize": "1Mi"},
        "access": {"allowedCidrs": [], "trustedProxies": []},
    });
    serde_json::from_value(config).unwrap()
}
