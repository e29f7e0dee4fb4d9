//! The server under test, its clients and its users.

use crate::pages::{
    browser::Browser,
    clock::ManualClock,
    mounted::{Files, Volume},
    replaced_agent::Replaced,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use portcullis_config::{
    AccessRules, ClientVerifier, Clients, CorsRules, LoginSecret, LoginSecrets, ServerConfig, ServerLimits,
    SigningKeys, ToolRules,
};
use portcullis_core::{
    Scope,
    client::{ClientType, Grant},
    console::Console,
    quantity::{ByteSize, Span},
};
use portcullis_oauth::client::{NewRegistration, Registrations as _};
use portcullis_reflector::Health;
use portcullis_server::{self, Listeners, Options, ServerError};
use portcullis_state::Local;
use portcullis_workspaces::{
    CreateWorkspace, Owner, Workspace, Workspaces,
    local::{LocalOptions, LocalWorkspaces},
};
use rand::{SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock},
};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::fmt::MakeWriter;
use url::form_urlencoded;

pub const PASSWORD: &str = "correct horse battery staple";
/// The local users.
const USERS: [&str; 5] = ["ada", "bob", "root", "olga", "former"];
pub const CALLBACK: &str = "https://agent.example.com/callback";
pub const VERIFIER: &str = "a-code-verifier-of-a-length-that-RFC-7636-allows";
/// A client whose name is an attack.
pub const HOSTILE_NAME: &str = "<script>alert(1)</script>\"' onfocus=x \u{202e}";

pub fn start_of_time() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

/// A local user as the owner of workspaces.
pub fn owner(user: &str) -> Owner {
    Owner { id: format!("local:{user}"), name: user.to_owned() }
}

/// A running server.
pub struct Stage {
    pub origin: String,
    pub clock: Arc<ManualClock>,
    pub state: Arc<Local>,
    pub volume: Volume,
    pub files: Files,
    pub config: ServerConfig,
    /// The workspaces, where the test has some.
    workspaces: Option<(Arc<dyn Workspaces>, TempDir)>,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), ServerError>>,
}

impl Stage {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut ServerConfig)) -> Self {
        Self::begin(change, None).await
    }

    /// A server with workspaces on this machine.
    pub async fn with_workspaces(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options =
            LocalOptions { state_dir: folder.path().to_owned(), path: "/usr/bin:/bin".into(), user: "agent".into() };
        let clock = Arc::new(ManualClock::at(start_of_time()));
        let local = LocalWorkspaces::open(options, clock, StdRng::seed_from_u64(2)).await.unwrap();
        Self::begin(change, Some((Arc::new(Replaced(Arc::new(local))), folder))).await
    }

    async fn begin(change: impl FnOnce(&mut ServerConfig), workspaces: Option<(Arc<dyn Workspaces>, TempDir)>) -> Self {
        log();
        let public = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = public.local_addr().unwrap();
        let mut config = config(address);
        change(&mut config);
        let keys = SigningKeys::generate(start_of_time(), &mut StdRng::seed_from_u64(1)).unwrap();
        let mut files = Files::new(&config, &clients(), &keys);
        files.login = serde_json::to_vec(&logins(&USERS.map(|user| (user, PASSWORD)))).unwrap();
        let volume = Volume::new(&files);
        let clock = Arc::new(ManualClock::at(start_of_time()));
        let state = Arc::new(Local::memory(clock.clone()));
        let options = Options {
            config_dir: volume.path(),
            workspaces: workspaces.as_ref().map(|(workspaces, _)| Arc::clone(workspaces)),
            grants: state.clone(),
            registrations: state.clone(),
            accounts: state.clone(),
            user_rules: state.clone(),
            state: Arc::new(Health::local()),
            workloads: Arc::new(portcullis_oauth::workload::NoCluster),
            outbound: Arc::new(portcullis_outbound::Outbound::new().unwrap()),
            clock: clock.clone(),
            lame_duck: std::time::Duration::ZERO,
            memory_limit: 512 << 20,
        };
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(portcullis_server::run(options, Listeners { public, private: None }, shutdown.clone()));
        let origin = config.url.origin().to_owned();
        Self { origin, clock, state, volume, files, config, workspaces, shutdown, task }
    }

    /// The workspaces.
    pub fn workspaces(&self) -> &Arc<dyn Workspaces> {
        &self.workspaces.as_ref().unwrap().0
    }

    /// A running workspace of a local user.
    pub async fn workspace(&self, user: &str, name: &str) -> Workspace {
        let request = CreateWorkspace {
            template: "blank".to_owned(),
            name: name.to_owned(),
            parameters: BTreeMap::new(),
            wait: None,
        };
        self.workspaces().create(&owner(user), request).await.unwrap()
    }

    pub fn browser(&self) -> Browser {
        Browser::new(&self.origin, &self.origin)
    }

    /// A browser of somebody who has signed in.
    pub async fn signed_in(&self, user: &str) -> Browser {
        let mut browser = self.browser();
        let page = browser.sign_in("/login", user, PASSWORD).await;
        assert_eq!(page.path(), "/agents");
        browser
    }

    /// A client that registered itself.
    pub async fn register(&self, client_id: &str, name: &str, redirect_uri: &str) {
        let new = NewRegistration {
            name: Some(name.to_owned()),
            redirect_uris: vec![redirect_uri.to_owned()],
            scopes: Scope::ALL.into(),
            expires_at: start_of_time() + jiff::SignedDuration::from_hours(24),
            source: None,
        };
        self.state.create(client_id, new).await.unwrap();
    }

    /// Redeems the code of a redirect to a client. What comes back is the token response.
    pub async fn redeem(&self, location: &str) -> Value {
        self.redeem_for("agent", location).await
    }

    pub async fn redeem_for(&self, client_id: &str, location: &str) -> Value {
        let code = parameter(location, "code").unwrap();
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", CALLBACK),
            ("client_id", client_id),
            ("code_verifier", VERIFIER),
        ];
        let response = reqwest::Client::new().post(format!("{}/token", self.origin)).form(&form).send().await.unwrap();
        assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
        response.json().await.unwrap()
    }

    /// The status of a call with an access token.
    pub async fn call(&self, token: &str) -> u16 {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
        let request = reqwest::Client::new().post(self.config.url.resource()).bearer_auth(token).json(&body);
        request.header("Accept", "application/json, text/event-stream").send().await.unwrap().status().as_u16()
    }

    /// The result of a tool.
    pub async fn tool(&self, token: &str, name: &str, arguments: Value) -> Value {
        let params = json!({"name": name, "arguments": arguments});
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        let request = reqwest::Client::new().post(self.config.url.resource()).bearer_auth(token).json(&body);
        let request = request.header("Accept", "application/json, text/event-stream");
        let text = request.send().await.unwrap().text().await.unwrap();
        let event = text.lines().filter_map(|line| line.strip_prefix("data:")).next_back();
        let answer: Value = serde_json::from_str(event.unwrap_or(&text)).unwrap();
        assert!(answer["result"].is_object(), "{name}: {answer}");
        answer["result"].clone()
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}

pub fn logins(users: &[(&str, &str)]) -> LoginSecrets {
    let users = users.iter().map(|(name, password)| ((*name).to_owned(), bcrypt::hash(password, 4).unwrap()));
    let client = LoginSecret::Client { client_id: "portcullis".to_owned(), client_secret: "github secret".to_owned() };
    LoginSecrets {
        logins: [("local".to_owned(), LoginSecret::Passwords(users.collect())), ("hub".to_owned(), client)].into(),
        ..LoginSecrets::default()
    }
}

fn clients() -> Clients {
    let client = |client_id: &str, display_name: &str| ClientVerifier {
        client_id: client_id.to_owned(),
        display_name: display_name.to_owned(),
        client_type: ClientType::Public,
        grants: vec![Grant::AuthorizationCode, Grant::RefreshToken],
        scopes: Scope::ALL.into(),
        registered_at: None,
        redirect_uris: vec![CALLBACK.to_owned(), "http://127.0.0.1/callback".to_owned()],
        secrets: Vec::new(),
        private_key_jwt: None,
    };
    Clients { clients: vec![client("agent", "Claude"), client("hostile", HOSTILE_NAME)] }
}

fn config(address: SocketAddr) -> ServerConfig {
    let login = json!([{"name": "local", "passwords": {"secretRef": {"name": "users"}}}]);
    ServerConfig {
        endpoint: "agents".to_owned(),
        url: format!("http://{address}/mcp").parse().unwrap(),
        path_aliases: Vec::new(),
        tls: false,
        access_token_lifetime: Span::from_secs(900),
        refresh_token_lifetime: Span::from_secs(30 * 24 * 3600),
        refresh_token_idle: Span::from_secs(7 * 24 * 3600),
        login: serde_json::from_value(login).unwrap(),
        console: Console::default(),
        client_policy: portcullis_core::authorization::ClientPolicy::default(),
        workload_identity: Vec::new(),
        external_issuer: None,
        workspaces: portcullis_config::WorkspaceRules::default(),
        tools: ToolRules { allow: vec!["*".to_owned()], deny: Vec::new() },
        cors: CorsRules {
            allowed_origins: vec!["https://*.example.com".to_owned()],
            max_age: Span::from_secs(600),
            answered_here: true,
        },
        limits: ServerLimits {
            request_timeout: Span::from_secs(60),
            requests_per_second: 1000,
            burst: 1000,
            max_body_size: ByteSize::from_mebibytes(1),
            ..ServerLimits::default()
        },
        access: AccessRules::default(),
    }
}

/// An authorization request, with more parameters, or others.
pub fn authorize(more: &[(&str, &str)]) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    let mut parameters = vec![
        ("response_type", "code"),
        ("client_id", "agent"),
        ("redirect_uri", CALLBACK),
        ("scope", "workspaces:read files:read"),
        ("state", "the client's own"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    for (name, value) in more {
        parameters.retain(|(known, _)| known != name);
        if !value.is_empty() {
            parameters.push((name, value));
        }
    }
    format!("/authorize?{}", form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish())
}

/// A parameter of a URL's query.
pub fn parameter(url: &str, name: &str) -> Option<String> {
    let query = url.split_once('?')?.1;
    let mut found = form_urlencoded::parse(query.as_bytes()).filter(|(known, _)| known == name);
    found.next().map(|(_, value)| value.into_owned())
}

/// The scopes that a token response names.
pub fn scopes(token: &Value) -> BTreeSet<String> {
    token["scope"].as_str().unwrap().split(' ').map(ToOwned::to_owned).collect()
}

static LOG: OnceLock<Log> = OnceLock::new();

/// All that was logged by all tests of this program.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

pub fn log() -> &'static Log {
    LOG.get_or_init(|| {
        // For the tests' own HTTP client.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let log = Log::default();
        let filter = "off,portcullis=debug,audit=info";
        tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(log.clone()).init();
        log
    })
}

impl Log {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The fields of the audit events of this name.
    pub fn audit(&self, event: &str) -> Vec<Value> {
        let lines = self.text();
        let events = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let events = events.filter(|line| line["target"] == "audit" && line["fields"]["event"] == event);
        events.map(|mut line| line["fields"].take()).collect()
    }
}

impl io::Write for &Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = &'a Log;
    fn make_writer(&'a self) -> &'a Log {
        self
    }
}
