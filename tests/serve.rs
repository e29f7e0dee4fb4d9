//! `serve`, whole: the real server on real sockets, on files as a kubelet mounts them.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers may fail as tests do")]

#[path = "support/clock.rs"]
mod clock;
#[path = "support/mounted.rs"]
mod mounted;

use clock::ManualClock;
use jiff::{SignedDuration, Timestamp};
use mounted::{Files, Volume};
use portcullis::{
    api::{
        ClientType, Grant, Scope,
        quantity::{ByteSize, Span},
    },
    config::{
        AccessRules, ClientVerifier, Clients, CorsRules, Limits, LoadedRevision, SecretHash, SecretVerifier,
        ServerConfig, SigningKeys, ToolRules,
    },
    mirror,
    oauth::workload::NoCluster,
    outbound::Outbound,
    server::{self, Listeners, Options, ServerError},
    state,
    workspaces::{
        Workspaces,
        local::{LocalOptions, LocalWorkspaces},
    },
};
use rand::{SeedableRng as _, rngs::StdRng};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

const SECRET: &str = "a secret of more than thirty-two characters";
/// Long enough for a slow machine; nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(30);

fn start_of_time() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn secret(text: &str) -> SecretVerifier {
    SecretVerifier { hash: SecretHash::of("agent", text), expires_at: None }
}

fn clients(secrets: Vec<SecretVerifier>) -> Clients {
    let client = ClientVerifier {
        client_id: "agent".to_owned(),
        display_name: "agent".to_owned(),
        client_type: ClientType::Confidential,
        grants: vec![Grant::ClientCredentials],
        scopes: BTreeSet::from(Scope::ALL),
        registered_at: None,
        redirect_uris: Vec::new(),
        secrets,
        private_key_jwt: None,
    };
    Clients { clients: vec![client] }
}

fn keys(seed: u64) -> SigningKeys {
    SigningKeys::generate(start_of_time(), &mut StdRng::seed_from_u64(seed)).unwrap()
}

fn config(address: SocketAddr) -> ServerConfig {
    ServerConfig {
        endpoint: "agents".to_owned(),
        url: format!("http://{address}/mcp").parse().unwrap(),
        path_aliases: Vec::new(),
        tls: false,
        access_token_lifetime: Span::from_secs(900),
        refresh_token_lifetime: Span::from_secs(30 * 24 * 3600),
        refresh_token_idle: Span::from_secs(7 * 24 * 3600),
        login: Vec::new(),
        client_policy: portcullis::api::authorization::ClientPolicy::default(),
        workload_identity: Vec::new(),
        external_issuer: None,
        workspaces: portcullis::config::WorkspaceRules::default(),
        tools: ToolRules { allow: vec!["*".to_owned()], deny: Vec::new() },
        cors: CorsRules {
            allowed_origins: vec!["https://*.example.com".to_owned()],
            max_age: Span::from_secs(600),
            answered_here: true,
        },
        limits: Limits {
            request_timeout: Span::from_secs(60),
            max_concurrent_requests: 100,
            requests_per_second: 1000,
            burst: 1000,
            max_body_size: ByteSize::from_mebibytes(1),
            max_connections: 1000,
            servers: 1,
        },
        access: AccessRules::default(),
    }
}

/// A running server and its files.
struct Server {
    http: Client,
    address: SocketAddr,
    private: SocketAddr,
    config: ServerConfig,
    volume: Volume,
    /// Where the workspaces are.
    _state: TempDir,
    clock: Arc<ManualClock>,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), ServerError>>,
}

impl Server {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let public = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let private = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, private_address) = (public.local_addr().unwrap(), private.local_addr().unwrap());
        let mut config = config(address);
        change(&mut config);
        // For reqwest's clients: nobody else has chosen one in this process.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let volume = Volume::new(&Files::new(&config, &clients(vec![secret(SECRET)]), &keys(1)));
        let clock = Arc::new(ManualClock::at(start_of_time()));
        let shutdown = CancellationToken::new();
        let state = tempfile::tempdir().unwrap();
        let local = LocalOptions {
            state_dir: state.path().to_owned(),
            path: "/usr/local/bin:/usr/bin:/bin".into(),
            user: "agent".into(),
        };
        let workspaces = LocalWorkspaces::open(local, clock.clone(), StdRng::seed_from_u64(1)).await.unwrap();
        let options = options(&volume, Some(Arc::new(workspaces)), clock.clone());
        let listeners = Listeners { public, private: Some(private) };
        let task = tokio::spawn(server::run(options, listeners, shutdown.clone()));
        let http = Client::builder().timeout(PATIENCE).build().unwrap();
        Self { http, address, private: private_address, config, volume, _state: state, clock, shutdown, task }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("http://{}{path}", self.address))
    }

    async fn private(&self, path: &str) -> Response {
        self.http.get(format!("http://{}{path}", self.private)).send().await.unwrap()
    }

    async fn revision(&self) -> LoadedRevision {
        self.private("/revision").await.json().await.unwrap()
    }

    fn files(&self, secrets: Vec<SecretVerifier>) -> Files {
        Files::new(&self.config, &clients(secrets), &keys(1))
    }

    /// Mounts other files and waits until the server says that it uses them.
    async fn replace(&self, files: &Files) {
        self.volume.replace(files);
        self.eventually(|loaded| loaded.revision == files.revision() && loaded.rejected.is_none()).await;
    }

    async fn eventually(&self, reached: impl Fn(&LoadedRevision) -> bool) {
        let wait = async {
            while !reached(&self.revision().await) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the server takes notice of the files");
    }

    async fn ask_token(&self, secret: &str) -> Response {
        let form = [("grant_type", "client_credentials"), ("client_id", "agent"), ("client_secret", secret)];
        self.request(Method::POST, "/token").form(&form).send().await.unwrap()
    }

    async fn token(&self) -> String {
        let answer: Value = self.ask_token(SECRET).await.json().await.unwrap();
        answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// An MCP message of the revision 2025-06-18, which needs no session.
    fn call(&self, token: &str, message: &Value) -> RequestBuilder {
        self.request(Method::POST, "/mcp")
            .bearer_auth(token)
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2025-06-18")
            .json(message)
    }

    /// Sends half of a request, so that the server works on it until `finish`.
    async fn half_a_request(&self, token: &str) -> HalfRequest {
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
    async fn working_on(&self, count: u32) {
        let wait = async {
            let line = format!("portcullis_requests_in_flight {count}\n");
            while !self.private("/metrics").await.text().await.unwrap().contains(&line) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the server takes the requests up");
    }

    /// Calls a tool, for its `structuredContent`.
    fn tool(&self, token: &str, name: &str, arguments: &Value) -> impl Future<Output = Value> + Send + 'static {
        let params = json!({"name": name, "arguments": arguments});
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        let request = self.call(token, &message).header("accept", "application/json");
        async move {
            let answer: Value = request.send().await.unwrap().json().await.unwrap();
            assert!(answer["result"]["structuredContent"].is_object(), "{answer}");
            answer["result"]["structuredContent"].clone()
        }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.expect("the server ends").unwrap().unwrap();
    }
}

struct HalfRequest {
    stream: TcpStream,
    rest: String,
}

impl HalfRequest {
    async fn finish(mut self) -> String {
        self.stream.write_all(self.rest.as_bytes()).await.unwrap();
        self.answer().await
    }

    /// The status line and headers of the answer.
    async fn answer(mut self) -> String {
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

fn ping() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_client_finds_its_way_from_the_challenge_to_an_answer() {
    let server = Server::start().await;
    let origin = format!("http://{}", server.address);

    let refused = server.request(Method::POST, "/mcp").json(&ping()).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    let metadata_url = format!("{origin}/.well-known/oauth-protected-resource/mcp");
    let challenge = header(&refused, "www-authenticate");
    assert!(challenge.starts_with("Bearer ") && !challenge.contains("error="), "{challenge}");
    assert!(challenge.contains(&format!("resource_metadata=\"{metadata_url}\"")), "{challenge}");
    assert!(challenge.contains("scope=\"workspaces:read "), "{challenge}");

    let resource: Value = server.http.get(&metadata_url).send().await.unwrap().json().await.unwrap();
    assert_eq!(resource["resource"], format!("{origin}/mcp"));
    assert_eq!(resource["authorization_servers"], json!([origin]));
    let path = "/.well-known/oauth-authorization-server";
    let issuer: Value = server.request(Method::GET, path).send().await.unwrap().json().await.unwrap();
    assert_eq!(issuer["issuer"], origin);
    assert_eq!(issuer["grant_types_supported"], json!(["client_credentials"]));
    for (endpoint, error) in [
        ("token_endpoint", "invalid_request"),
        ("revocation_endpoint", "invalid_client"),
        ("introspection_endpoint", "invalid_client"),
    ] {
        let url = issuer[endpoint].as_str().unwrap();
        let empty = server.http.post(url).form(&[("token", "x")]).send().await.unwrap();
        assert_eq!((endpoint, header(&empty, "cache-control")), (endpoint, "no-store"));
        assert_eq!(empty.json::<Value>().await.unwrap()["error"], error, "{endpoint}");
        assert_eq!(server.http.get(url).send().await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED, "{endpoint}");
    }
    let sign_in = server.http.get(issuer["authorization_endpoint"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(sign_in.status(), StatusCode::BAD_REQUEST);
    assert!(sign_in.text().await.unwrap().contains("client_id"), "a page says what is missing");

    let answer = server
        .http
        .post(issuer["token_endpoint"].as_str().unwrap())
        .basic_auth("agent", Some(SECRET.replace(' ', "+")))
        .form(&[("grant_type", "client_credentials"), ("resource", resource["resource"].as_str().unwrap())])
        .send()
        .await
        .unwrap();
    assert_eq!(header(&answer, "cache-control"), "no-store");
    let answer: Value = answer.json().await.unwrap();
    assert_eq!((&answer["token_type"], &answer["expires_in"]), (&json!("Bearer"), &json!(900)));

    let token = answer["access_token"].as_str().unwrap();
    let kid = jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
    let jwks: Value = server.http.get(issuer["jwks_uri"].as_str().unwrap()).send().await.unwrap().json().await.unwrap();
    assert_eq!((jwks["keys"][0]["kid"].as_str(), jwks["keys"][0].get("d")), (Some(kid.as_str()), None));

    let called = server.call(token, &ping()).send().await.unwrap();
    assert_eq!(called.status(), StatusCode::OK);
    assert_eq!(called.json::<Value>().await.unwrap(), json!({"jsonrpc": "2.0", "id": 1, "result": {}}));
    server.stop().await;
}

#[tokio::test]
async fn head_and_get_answer_sensibly() {
    let server = Server::start().await;
    let token = server.token().await;
    for (method, path, authenticated, status, allow) in [
        (Method::HEAD, "/mcp", false, 401, ""),
        (Method::GET, "/mcp", false, 401, ""),
        (Method::HEAD, "/mcp", true, 405, "POST"),
        (Method::GET, "/mcp", true, 405, "POST"),
        (Method::DELETE, "/mcp", true, 405, "POST"),
        (Method::HEAD, "/token", false, 405, "POST"),
        (Method::GET, "/token", false, 405, "POST"),
        (Method::HEAD, "/jwks.json", false, 200, ""),
        (Method::POST, "/jwks.json", false, 405, "GET,HEAD"),
        (Method::HEAD, "/.well-known/oauth-protected-resource", false, 200, ""),
        (Method::GET, "/", false, 404, ""),
        (Method::GET, "/mcpx", false, 404, ""),
    ] {
        let mut request = server.request(method.clone(), path);
        if authenticated {
            request = request.bearer_auth(&token);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status, "{method} {path}");
        assert_eq!(header(&response, "allow"), allow, "{method} {path}");
        assert_eq!(!header(&response, "www-authenticate").is_empty(), status == 401, "{method} {path}");
        if status != 200 && method != Method::HEAD {
            let body: Value = response.json().await.unwrap();
            assert!(body.get("error").is_some(), "{method} {path}: {body}");
        }
    }
    // Below it is the HTTP interface, which asks who is there before it says what is.
    let below = server.request(Method::GET, "/mcp/").send().await.unwrap();
    assert_eq!(
        (below.status(), header(&below, "content-type")),
        (StatusCode::UNAUTHORIZED, "application/problem+json")
    );
    let browser = server.request(Method::GET, "/mcp").header("accept", "text/html,*/*").send().await.unwrap();
    assert_eq!(browser.status(), StatusCode::UNAUTHORIZED);
    assert!(header(&browser, "content-type").starts_with("text/plain"));
    assert!(browser.text().await.unwrap().contains("MCP endpoint"));
    server.stop().await;
}

#[tokio::test]
async fn tokens_that_do_not_count_get_the_right_challenge() {
    let server = Server::start().await;
    let token = server.token().await;
    let (message, _) = token.rsplit_once('.').unwrap();
    let challenge = async |token: &str| {
        let response = server.call(token, &ping()).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        let challenge = header(&response, "www-authenticate").to_owned();
        assert!(challenge.contains("error=\"invalid_token\"") && challenge.contains("resource_metadata="));
        let body: Value = response.json().await.unwrap();
        assert_eq!((&body["jsonrpc"], &body["id"]), (&json!("2.0"), &Value::Null));
        challenge
    };
    assert!(challenge("junk").await.contains("malformed"));
    let metrics = server.private("/metrics").await.text().await.unwrap();
    for line in [
        "portcullis_authentication_failures_total{reason=\"malformed\"} 1\n",
        "portcullis_requests_total{route=\"Mcp\",status=\"401\"} 1\n",
        "portcullis_token_requests_total{outcome=\"issued\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    assert!(metrics.ends_with("# EOF\n"));
    assert!(challenge(&format!("{message}.")).await.contains("signature"));

    assert_eq!(server.call(&token, &ping()).send().await.unwrap().status(), StatusCode::OK);
    server.clock.set(start_of_time() + SignedDuration::from_secs(900));
    assert!(challenge(&token).await.contains("expired"));
    server.clock.set(start_of_time());
    assert_eq!(server.call(&token, &ping()).send().await.unwrap().status(), StatusCode::OK);

    server.replace(&Files::new(&server.config, &Clients::default(), &keys(1))).await;
    assert!(challenge(&token).await.contains("no longer registered"), "though its token is remembered");
    server.replace(&Files::new(&server.config, &clients(vec![secret(SECRET)]), &keys(2))).await;
    assert!(challenge(&token).await.contains("a key that this endpoint does not hold"));
    server.stop().await;
}

#[tokio::test]
async fn a_replaced_secret_is_live_without_a_restart() {
    let server = Server::start().await;
    let token = server.token().await;
    let new = "another secret of more than thirty-two characters";
    let end = start_of_time() + SignedDuration::from_secs(60);
    let old = SecretVerifier { expires_at: Some(end), ..secret(SECRET) };
    server.replace(&server.files(vec![secret(new), old])).await;
    for accepted in [new, SECRET] {
        assert_eq!(server.ask_token(accepted).await.status(), StatusCode::OK, "both count in the overlap");
    }
    server.clock.set(end);
    assert_eq!(server.ask_token(new).await.status(), StatusCode::OK);
    let refused = server.ask_token(SECRET).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert!(header(&refused, "www-authenticate").starts_with("Basic "));
    assert_eq!(refused.json::<Value>().await.unwrap()["error"], "invalid_client");
    let called = server.call(&token, &ping()).send().await.unwrap();
    assert_eq!(called.status(), StatusCode::OK, "tokens given before live on");
    server.stop().await;
}

#[tokio::test]
async fn corrupt_files_keep_the_last_good_ones_in_force() {
    let server = Server::start().await;
    let good = server.files(vec![secret(SECRET)]);
    let state = async || {
        let metrics = server.private("/metrics").await.text().await.unwrap();
        let line = metrics.lines().find(|line| line.starts_with("portcullis_config_last_reload_successful ")).unwrap();
        (line.ends_with(" 1"), server.private("/readyz").await.status(), server.ask_token(SECRET).await.status())
    };
    assert_eq!(state().await, (true, StatusCode::OK, StatusCode::OK));
    for corrupt in [
        Files { clients: br#"{"clients": [{"hush": 1}]}"#.to_vec(), ..good.clone() },
        Files { keys: b"hush".to_vec(), ..good.clone() },
        Files { config: b"{".to_vec(), ..good.clone() },
    ] {
        server.volume.replace(&corrupt);
        server.eventually(|loaded| loaded.rejected.is_some()).await;
        let loaded = server.revision().await;
        assert_eq!(loaded.revision, good.revision());
        assert!(!loaded.rejected.unwrap().contains("hush"));
        assert_eq!(state().await, (false, StatusCode::OK, StatusCode::OK));
        server.replace(&good).await;
        assert_eq!(state().await, (true, StatusCode::OK, StatusCode::OK));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_folder_of_plain_files_is_followed_too() {
    let server = Server::start().await;
    assert_eq!(server.ask_token(SECRET).await.status(), StatusCode::OK);
    let folder = server.volume.path();
    // As a person would do: the link away, the files in its place.
    std::fs::remove_file(folder.join("..data")).unwrap();
    for name in ["config.json", "clients.json", "signing-keys.json", "login.json"] {
        std::fs::remove_file(folder.join(name)).unwrap();
    }
    server.eventually(|loaded| loaded.rejected.as_deref().is_some_and(|reason| reason.contains("config.json"))).await;
    let files = server.files(vec![secret("a secret of somebody who edits files by hand")]);
    files.write(&folder);
    server.eventually(|loaded| loaded.revision == files.revision() && loaded.rejected.is_none()).await;
    assert_eq!(server.ask_token(SECRET).await.status(), StatusCode::UNAUTHORIZED);
    server.stop().await;
}

#[tokio::test]
async fn a_refused_request_leaves_its_connection_usable() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let body = ping().to_string();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        server.address,
        body.len()
    );
    // Head and body in two packets, as Python's clients send them. The refusal needs the head only.
    for _ in 0..3 {
        stream.write_all(head.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        stream.write_all(body.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            let read = tokio::time::timeout(PATIENCE, stream.read_buf(&mut answer)).await.unwrap().unwrap();
            assert_ne!(read, 0, "closed after {}", String::from_utf8_lossy(&answer));
        }
        assert!(answer.starts_with(b"HTTP/1.1 401"), "{}", String::from_utf8_lossy(&answer));
    }

    // One that does not come to its end is not waited for; the client is told that the connection closes.
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("\r\nconnection: close\r\n"), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn http_2_is_spoken_and_drained() {
    use hyper_util::{
        client::legacy,
        rt::{TokioExecutor, TokioTimer},
    };
    let server = Server::start().await;
    let client = legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .http2_only(true)
        .build_http::<axum::body::Body>();
    let uri: http::Uri = format!("http://{}/jwks.json", server.address).parse().unwrap();
    let answer = client.get(uri.clone()).await.unwrap();
    assert_eq!((answer.status(), answer.version()), (StatusCode::OK, http::Version::HTTP_2));
    server.shutdown.cancel();
    tokio::time::timeout(PATIENCE, server.task)
        .await
        .expect("an idle connection does not hold it up")
        .unwrap()
        .unwrap();
    assert!(client.get(uri).await.is_err());
}

fn options(volume: &Volume, workspaces: Option<Arc<dyn Workspaces>>, clock: Arc<ManualClock>) -> Options {
    let grants = Arc::new(state::Local::memory(Arc::clone(&clock) as _));
    Options {
        config_dir: volume.path(),
        workspaces,
        grants: Arc::clone(&grants) as _,
        registrations: grants,
        workloads: Arc::new(NoCluster),
        state: Arc::new(mirror::Health::local()),
        outbound: Arc::new(Outbound::new().unwrap()),
        clock,
    }
}

#[tokio::test]
async fn at_the_start_wrong_files_are_fatal() {
    let address = "127.0.0.1:1".parse().unwrap();
    let mut files = Files::new(&config(address), &Clients::default(), &keys(1));
    files.keys = b"{}".to_vec();
    let volume = Volume::new(&files);
    let options = options(&volume, None, Arc::new(ManualClock::at(start_of_time())));
    let listeners = Listeners { public: TcpListener::bind("127.0.0.1:0").await.unwrap(), private: None };
    let error = server::run(options, listeners, CancellationToken::new()).await.unwrap_err();
    let reason = std::error::Error::source(&error).unwrap().to_string();
    assert!(reason.contains("signing-keys.json"), "{reason}");
}

#[tokio::test]
async fn too_many_and_too_much_are_refused_with_a_time_to_come_again() {
    let server = Server::with(|config| {
        config.limits.burst = 4;
        config.limits.requests_per_second = 1;
        config.limits.max_concurrent_requests = 2;
        config.limits.max_body_size = serde_json::from_value(json!("1Ki")).unwrap();
    })
    .await;
    let token = server.token().await;

    let large = json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"filler": "x".repeat(1024)}});
    let refused = server.call(&token, &large).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert!(refused.text().await.unwrap().contains("larger than"));

    let (first, second) = (server.half_a_request(&token).await, server.half_a_request(&token).await);
    server.working_on(2).await;
    let busy = server.call(&token, &ping()).send().await.unwrap();
    assert_eq!((busy.status(), header(&busy, "retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
    for half in [first, second] {
        assert!(half.finish().await.starts_with("HTTP/1.1 200 "));
    }

    let mut last = server.call(&token, &ping()).send().await.unwrap();
    // The bucket fills up by one a second while this runs.
    for _ in 0..50 {
        if last.status() == StatusCode::TOO_MANY_REQUESTS {
            break;
        }
        last = server.call(&token, &ping()).send().await.unwrap();
    }
    assert_eq!((last.status(), header(&last, "retry-after")), (StatusCode::TOO_MANY_REQUESTS, "1"));

    let mut last = server.ask_token("wrong").await;
    for _ in 0..50 {
        if last.status() == StatusCode::TOO_MANY_REQUESTS {
            break;
        }
        last = server.ask_token("wrong").await;
    }
    assert_eq!((last.status(), header(&last, "retry-after")), (StatusCode::TOO_MANY_REQUESTS, "1"));
    assert_eq!(last.json::<Value>().await.unwrap()["error"], "rate_limited");
    server.stop().await;
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_given_up() {
    let server = Server::with(|config| config.limits.request_timeout = Span::from_secs(1)).await;
    let token = server.token().await;
    let half = server.half_a_request(&token).await;
    let answer = half.answer().await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn pages_of_allowed_origins_may_call_and_others_may_not() {
    let server = Server::start().await;
    let token = server.token().await;
    let from = |method, path, origin: &str| server.request(method, path).header("origin", origin);

    let preflight = from(Method::OPTIONS, "/mcp", "https://app.example.com")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,mcp-protocol-version")
        .send()
        .await
        .unwrap();
    assert!(preflight.status().is_success(), "without a token");
    assert_eq!(header(&preflight, "access-control-allow-origin"), "https://app.example.com");
    assert!(header(&preflight, "access-control-allow-headers").to_lowercase().contains("authorization"));
    assert_eq!(header(&preflight, "access-control-max-age"), "600");

    let refused = from(Method::POST, "/mcp", "https://app.example.com").json(&ping()).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(header(&refused, "access-control-allow-origin"), "https://app.example.com");
    assert!(header(&refused, "access-control-expose-headers").to_lowercase().contains("www-authenticate"));
    assert!(header(&refused, "vary").to_lowercase().contains("origin"));
    assert_eq!(header(&refused, "access-control-allow-credentials"), "");

    let own = format!("http://{}", server.address);
    for (origin, status) in
        [("https://app.example.com", 200), (own.as_str(), 200), ("https://evil.com", 403), ("null", 403)]
    {
        let response = server.call(&token, &ping()).header("origin", origin).send().await.unwrap();
        assert_eq!(response.status(), status, "{origin}");
        let allowed = header(&response, "access-control-allow-origin");
        assert_eq!(allowed, if status == 200 { origin } else { "" });
    }
    let document = from(Method::GET, "/jwks.json", "https://evil.com").send().await.unwrap();
    assert_eq!((document.status(), header(&document, "access-control-allow-origin")), (StatusCode::OK, "*"));
    server.stop().await;
}

#[tokio::test]
async fn where_the_ingress_speaks_cors_the_server_is_silent_but_still_checks_origins() {
    let server = Server::with(|config| config.cors.answered_here = false).await;
    let token = server.token().await;
    for (path, origin, status) in [
        ("/mcp", "https://app.example.com", 200),
        ("/mcp", "https://evil.com", 403),
        ("/jwks.json", "https://app.example.com", 200),
    ] {
        let request = match path {
            "/mcp" => server.call(&token, &ping()),
            _ => server.request(Method::GET, path),
        };
        let response = request.header("origin", origin).send().await.unwrap();
        assert_eq!(response.status(), status, "{path} {origin}");
        assert_eq!(header(&response, "access-control-allow-origin"), "", "{path} {origin}");
    }
    server.stop().await;
}

#[tokio::test]
async fn only_listed_networks_may_come() {
    let server = Server::with(|config| {
        config.access.allowed_cidrs = vec!["198.51.100.0/24".parse().unwrap()];
        config.access.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    })
    .await;
    for (forwarded, status) in [("198.51.100.7", 200), ("203.0.113.7", 403), ("198.51.100.7, 203.0.113.7", 403)] {
        let response =
            server.request(Method::GET, "/jwks.json").header("x-forwarded-for", forwarded).send().await.unwrap();
        assert_eq!(response.status(), status, "{forwarded}");
    }
    assert_eq!(server.private("/readyz").await.status(), StatusCode::OK, "the private listener is not concerned");
    server.stop().await;
}

#[tokio::test]
async fn a_shutdown_lets_running_requests_finish_and_takes_no_more() {
    let server = Server::start().await;
    let token = server.token().await;
    let running = server.half_a_request(&token).await;
    server.working_on(1).await;
    assert_eq!(server.private("/readyz").await.status(), StatusCode::OK);

    server.shutdown.cancel();
    let refused = async {
        while TcpStream::connect(server.address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.expect("new connections are refused");
    assert_eq!(server.private("/readyz").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(!server.task.is_finished());

    let answer = running.finish().await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn a_command_that_runs_at_the_shutdown_comes_to_its_end() {
    let server = Server::start().await;
    let token = server.token().await;
    let workspace = server.tool(&token, "create_workspace", &json!({"template": "blank", "name": "web"})).await;
    let home = PathBuf::from(workspace["home"].as_str().unwrap_or_else(|| panic!("{workspace}")));
    let command = "touch begun; until test -e go; do sleep 0.02; done; echo done";
    let running = tokio::spawn(server.tool(&token, "run_command", &json!({"workspace": "web", "command": command})));
    let begun = async {
        while !home.join("begun").exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.expect("the command begins");

    server.shutdown.cancel();
    let draining = async {
        while server.private("/readyz").await.status() == StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, draining).await.expect("the server drains");
    std::fs::write(home.join("go"), "").unwrap();
    let result = tokio::time::timeout(PATIENCE, running).await.expect("the command ends").unwrap();
    assert_eq!((&result["exit_code"], &result["stdout"]), (&json!(0), &json!("done\n")), "{result}");
    server.stop().await;
}
