//! The server, its files, and who asks it.

use crate::serve::{
    clock::ManualClock,
    mounted::{Files, Volume},
    replaced_agent::Replaced,
};
use jiff::Timestamp;
use portcullis_config::{
    AccessRules, ClientVerifier, Clients, CorsRules, LoadedRevision, SecretHash, SecretVerifier, ServerConfig,
    ServerLimits, SigningKeys, ToolRules,
};
use portcullis_core::{
    Scope,
    client::{ClientType, Grant},
    quantity::{ByteSize, Span},
};
use portcullis_oauth::workload::NoCluster;
use portcullis_outbound::Outbound;
use portcullis_server::{self, Listeners, Options, ServerError};
use portcullis_workspaces::{
    Workspaces,
    local::{LocalOptions, LocalWorkspaces},
};
use rand::{SeedableRng as _, rngs::StdRng};
use reqwest::{Client, ClientBuilder, Method, RequestBuilder, Response};
use serde_json::{Value, json};
use std::{collections::BTreeSet, net::SocketAddr, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

pub const SECRET: &str = "a secret of more than thirty-two characters";
/// Clients beside `agent`, each of which is a user of its own.
pub const OTHERS: [&str; 5] = ["other-1", "other-2", "other-3", "other-4", "other-5"];
/// Long enough for a slow machine; nothing waits for it when all is well.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn start_of_time() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

pub fn secret(text: &str) -> SecretVerifier {
    SecretVerifier { hash: SecretHash::of("agent", text), expires_at: None }
}

pub fn clients(secrets: Vec<SecretVerifier>) -> Clients {
    let client = |id: &str, secrets| ClientVerifier {
        client_id: id.to_owned(),
        display_name: id.to_owned(),
        client_type: ClientType::Confidential,
        grants: vec![Grant::ClientCredentials],
        scopes: BTreeSet::from(Scope::ALL),
        registered_at: None,
        redirect_uris: Vec::new(),
        secrets,
        private_key_jwt: None,
    };
    let other = |id: &&str| client(id, vec![SecretVerifier { hash: SecretHash::of(id, SECRET), expires_at: None }]);
    Clients { clients: [client("agent", secrets)].into_iter().chain(OTHERS.iter().map(other)).collect() }
}

pub fn keys(seed: u64) -> SigningKeys {
    SigningKeys::generate(start_of_time(), &mut StdRng::seed_from_u64(seed)).unwrap()
}

pub fn config(address: SocketAddr) -> ServerConfig {
    ServerConfig {
        endpoint: "agents".to_owned(),
        url: format!("http://{address}/mcp").parse().unwrap(),
        path_aliases: Vec::new(),
        tls: false,
        access_token_lifetime: Span::from_secs(900),
        refresh_token_lifetime: Span::from_secs(30 * 24 * 3600),
        refresh_token_idle: Span::from_secs(7 * 24 * 3600),
        login: Vec::new(),
        console: portcullis_core::console::Console::default(),
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

/// A running server and its files.
pub struct Server {
    pub http: Client,
    pub address: SocketAddr,
    pub private: SocketAddr,
    pub config: ServerConfig,
    pub volume: Volume,
    /// Where the workspaces are.
    _state: TempDir,
    pub clock: Arc<ManualClock>,
    pub shutdown: CancellationToken,
    pub task: JoinHandle<Result<(), ServerError>>,
}

/// What a test changes before the server starts.
pub struct Setup {
    pub config: ServerConfig,
    pub lame_duck: Duration,
    /// What the server may use, in bytes.
    pub memory: u64,
    /// The mounted certificate and its key.
    pub certificate: Option<(String, String)>,
}

impl Server {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut ServerConfig)) -> Self {
        Self::set(|setup| change(&mut setup.config)).await
    }

    pub async fn set(change: impl FnOnce(&mut Setup)) -> Self {
        let public = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let private = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, private_address) = (public.local_addr().unwrap(), private.local_addr().unwrap());
        let mut setup =
            Setup { config: config(address), lame_duck: Duration::ZERO, memory: 512 << 20, certificate: None };
        change(&mut setup);
        let Setup { config, lame_duck, memory, certificate } = setup;
        // For reqwest's clients: nobody else has chosen one in this process.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut files = Files::new(&config, &clients(vec![secret(SECRET)]), &keys(1));
        files.certificate = certificate;
        let volume = Volume::new(&files);
        let clock = Arc::new(ManualClock::at(start_of_time()));
        let shutdown = CancellationToken::new();
        let state = tempfile::tempdir().unwrap();
        let local = LocalOptions {
            state_dir: state.path().to_owned(),
            path: "/usr/local/bin:/usr/bin:/bin".into(),
            user: "agent".into(),
        };
        let workspaces = LocalWorkspaces::open(local, clock.clone(), StdRng::seed_from_u64(1)).await.unwrap();
        let workspaces = Replaced(Arc::new(workspaces));
        let options = options(&volume, Some(Arc::new(workspaces)), clock.clone());
        let options = Options { lame_duck, memory_limit: memory, ..options };
        let listeners = Listeners { public, private: Some(private) };
        let task = tokio::spawn(portcullis_server::run(options, listeners, shutdown.clone()));
        let http = client();
        Self { http, address, private: private_address, config, volume, _state: state, clock, shutdown, task }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let scheme = if self.config.tls { "https" } else { "http" };
        self.http.request(method, format!("{scheme}://{}{path}", self.address))
    }

    pub async fn private(&self, path: &str) -> Response {
        self.http.get(format!("http://{}{path}", self.private)).send().await.unwrap()
    }

    pub async fn revision(&self) -> LoadedRevision {
        self.private("/revision").await.json().await.unwrap()
    }

    pub fn files(&self, secrets: Vec<SecretVerifier>) -> Files {
        Files::new(&self.config, &clients(secrets), &keys(1))
    }

    /// Mounts other files and waits until the server says that it uses them.
    pub async fn replace(&self, files: &Files) {
        self.volume.replace(files);
        self.eventually(|loaded| loaded.revision == files.revision() && loaded.rejected.is_none()).await;
    }

    pub async fn eventually(&self, reached: impl Fn(&LoadedRevision) -> bool) {
        let wait = async {
            while !reached(&self.revision().await) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the server takes notice of the files");
    }

    pub async fn ask_token(&self, secret: &str) -> Response {
        self.ask_token_of("agent", secret).await
    }

    async fn ask_token_of(&self, client: &str, secret: &str) -> Response {
        let form = [("grant_type", "client_credentials"), ("client_id", client), ("client_secret", secret)];
        self.request(Method::POST, "/token").form(&form).send().await.unwrap()
    }

    pub async fn token(&self) -> String {
        self.token_of("agent").await
    }

    /// The token of `agent`, or of one of [`OTHERS`].
    pub async fn token_of(&self, client: &str) -> String {
        let answer: Value = self.ask_token_of(client, SECRET).await.json().await.unwrap();
        answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// An MCP message of the revision 2025-06-18, which needs no session.
    pub fn call(&self, token: &str, message: &Value) -> RequestBuilder {
        self.request(Method::POST, "/mcp")
            .bearer_auth(token)
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2025-06-18")
            .json(message)
    }

    /// Sends half of a request, so that the server works on it until `finish`.
    pub async fn half_a_request(&self, token: &str) -> HalfRequest {
        let body = ping().to_string();
        let (first, rest) = body.split_at(10);
        let head = format!(
            "POST /mcp HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
             Accept: application/json, text/event-stream\r\nContent-Length: {}\r\n\r\n{first}",
            self.address,
            body.len()
        );
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        HalfRequest { stream, rest: rest.to_owned() }
    }

    /// Waits until the server works on `count` requests.
    pub async fn working_on(&self, count: u32) {
        let wait = async {
            let line = format!("portcullis_requests_in_flight {count}\n");
            while !self.private("/metrics").await.text().await.unwrap().contains(&line) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the server takes the requests up");
    }

    /// Calls a tool, for its `structuredContent`.
    pub fn tool(&self, token: &str, name: &str, arguments: &Value) -> impl Future<Output = Value> + Send + 'static {
        let params = json!({"name": name, "arguments": arguments});
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        let mut request = self.call(token, &message).build().unwrap();
        request.headers_mut().insert("accept", "application/json".parse().unwrap());
        let http = self.http.clone();
        async move {
            let answer: Value = http.execute(request).await.unwrap().json().await.unwrap();
            assert!(answer["result"]["structuredContent"].is_object(), "{answer}");
            answer["result"]["structuredContent"].clone()
        }
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.expect("the server ends").unwrap().unwrap();
    }
}

/// A client that follows no redirect and looks at no certificate's issuer: the tests compare certificates themselves.
pub fn client() -> Client {
    builder().build().unwrap()
}

pub fn builder() -> ClientBuilder {
    let builder = Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none());
    builder.danger_accept_invalid_certs(true).tls_info(true)
}

/// All that comes back for these bytes until the connection is closed.
pub async fn answer_to(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> String {
    // The server may have closed it already.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the connection is closed");
    String::from_utf8_lossy(&answer).into_owned()
}

pub struct HalfRequest {
    stream: TcpStream,
    rest: String,
}

impl HalfRequest {
    pub async fn finish(mut self) -> String {
        self.stream.write_all(self.rest.as_bytes()).await.unwrap();
        self.answer().await
    }

    /// The status line and headers of the answer.
    pub async fn answer(mut self) -> String {
        let mut answer = String::new();
        let mut buffer = [0; 4096];
        while !answer.contains("\r\n\r\n") {
            let count = self.stream.read(&mut buffer).await.unwrap();
            assert_ne!(count, 0, "the connection was closed after {answer:?}");
            answer.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
        answer
    }
}

pub fn ping() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})
}

pub fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

pub fn options(volume: &Volume, workspaces: Option<Arc<dyn Workspaces>>, clock: Arc<ManualClock>) -> Options {
    let grants = Arc::new(portcullis_state::Local::memory(Arc::clone(&clock) as _));
    Options {
        config_dir: volume.path(),
        workspaces,
        grants: Arc::clone(&grants) as _,
        registrations: Arc::clone(&grants) as _,
        accounts: grants.clone(),
        user_rules: grants,
        workloads: Arc::new(NoCluster),
        state: Arc::new(portcullis_reflector::Health::local()),
        outbound: Arc::new(Outbound::new().unwrap()),
        clock,
        lame_duck: Duration::ZERO,
        memory_limit: 512 << 20,
    }
}
