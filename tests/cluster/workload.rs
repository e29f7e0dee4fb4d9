//! Pods obtain tokens with the tokens of their service accounts, which a real API server makes and publishes keys for.

use crate::support::{
    api_server::client_of,
    clock::ManualClock,
    controlplane::ControlPlane,
    mounted::{Files, Volume},
    operator::PATIENCE,
};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use portcullis_config::{Clients, ServerConfig, SigningKeys};
use portcullis_core::{
    clock::{Clock as _, SystemClock},
    rng,
};
use portcullis_identity::workload::ServiceAccounts;
use portcullis_oauth::workload::GRANT_TYPE;
use portcullis_reflector::Health;
use portcullis_server::{self, Listeners, Options};
use portcullis_state::Local;
use serde_json::{Value, json};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

const AUDIENCE: &str = "https://mcp.example.com";

/// A server in this process that speaks to the API server as `client`.
struct Server {
    address: SocketAddr,
    volume: Volume,
    files: Files,
    clock: Arc<ManualClock>,
    stop: CancellationToken,
    task: JoinHandle<Result<(), portcullis_server::ServerError>>,
}

impl Server {
    async fn start(client: Client, rules: &Value) -> Self {
        let keys = SigningKeys::generate(SystemClock.now(), &mut rng::rng()).unwrap();
        let files = Files::new(&config(rules), &Clients::default(), &keys);
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
            workloads: Arc::new(ServiceAccounts::of(client)),
            state: Arc::new(Health::local()),
            outbound: Arc::new(portcullis_outbound::Outbound::new().unwrap()),
            clock: clock.clone(),
            lame_duck: std::time::Duration::ZERO,
            memory_limit: 512 << 20,
        };
        let public = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = public.local_addr().unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(portcullis_server::run(options, Listeners { public, private: None }, stop.clone()));
        Self { address, volume, files, clock, stop, task }
    }

    /// Status and body of a token request.
    async fn exchange(&self, assertion: &str, more: &[(&str, &str)]) -> (u16, Value) {
        let form: Vec<(&str, &str)> =
            [("grant_type", GRANT_TYPE), ("assertion", assertion)].into_iter().chain(more.iter().copied()).collect();
        let request = reqwest::Client::new()
            .post(format!("http://{}/token", self.address))
            .header("host", "mcp.example.com")
            .form(&form);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Whether discovery says that service accounts' tokens are taken.
    async fn advertises(&self) -> bool {
        let url = format!("http://{}/.well-known/oauth-authorization-server", self.address);
        let document: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
        document["grant_types_supported"].as_array().unwrap().contains(&json!(GRANT_TYPE))
    }

    /// Status and body of a call to the endpoint.
    async fn whoami(&self, token: &str) -> (u16, String) {
        let request = reqwest::Client::new()
            .post(format!("http://{}/mcp", self.address))
            .header("host", "mcp.example.com")
            .header("accept", "application/json, text/event-stream")
            .bearer_auth(token)
            .json(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "whoami", "arguments": {}}}));
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }
}

fn config(rules: &Value) -> ServerConfig {
    let config = json!({
        "endpoint": "agents", "url": "https://mcp.example.com/mcp", "accessTokenLifetime": "15m",
        "refreshTokenLifetime": "720h", "refreshTokenIdle": "168h", "workloadIdentity": rules,
        "tools": {"allow": ["*"], "deny": []},
        "cors": {"allowedOrigins": [], "maxAge": "2h", "answeredHere": true},
        "limits": {"requestTimeout": "2m", "maxConcurrentRequests": 100, "requestsPerSecond": 100, "burst": 200,
            "maxBodySize": "4Mi"},
        "access": {"allowedCidrs": [], "trustedProxies": []},
    });
    serde_json::from_value(config).unwrap()
}

async fn account(client: &Client, namespace: &str, name: &str) {
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    let account = ServiceAccount { metadata, ..ServiceAccount::default() };
    Api::namespaced(client.clone(), namespace).create(&PostParams::default(), &account).await.unwrap();
}

/// As a kubelet obtains it for a projected volume.
async fn token(client: &Client, namespace: &str, name: &str, audience: Option<&str>, seconds: i64) -> String {
    let audiences = audience.into_iter().map(ToOwned::to_owned).collect();
    let spec = TokenRequestSpec { audiences, expiration_seconds: Some(seconds), ..TokenRequestSpec::default() };
    let request = TokenRequest { spec, ..TokenRequest::default() };
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    accounts.create_token_request(name, &PostParams::default(), &request).await.unwrap().status.unwrap().token
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_gets_in_by_its_service_account_and_nobody_else() {
    let plane = ControlPlane::shared().await;
    let admin = plane.client().await;
    let (here, elsewhere) = (plane.create_namespace("ci").await, plane.create_namespace("other").await);
    for (namespace, name) in [(&here, "runner"), (&here, "stranger"), (&elsewhere, "runner"), (&here, "server")] {
        account(&admin, namespace, name).await;
    }
    // A service account without a single right: every one may read the keys.
    let kubeconfig = plane.kubeconfig_for_service_account(&here, "server").await;
    let rules = json!([
        {"name": "ci", "namespaces": [here], "serviceAccounts": ["runner"], "scopes": ["files:read"]},
        {"name": "all", "namespaces": [here], "serviceAccounts": ["runner"], "scopes": ["workspaces:read"]},
    ]);
    let server = Server::start(client_of(&kubeconfig).await.unwrap(), &rules).await;

    let good = token(&admin, &here, "runner", Some(AUDIENCE), 3600).await;
    let (status, answer) = server.exchange(&good, &[]).await;
    assert_eq!((status, &answer["scope"]), (200, &json!("workspaces:read files:read")), "{answer}");
    let access = answer["access_token"].as_str().unwrap().to_owned();
    assert!(server.advertises().await);
    let (status, body) = server.whoami(&access).await;
    assert!(status == 200 && body.contains(&format!("workload:{here}:runner")), "{status} {body}");
    let narrow = [("scope", "files:read files:write"), ("resource", "https://mcp.example.com/mcp")];
    let (status, answer) = server.exchange(&good, &narrow).await;
    assert_eq!((status, &answer["scope"]), (200, &json!("files:read")), "{answer}");

    let mut tampered = good.clone().into_bytes();
    let at = good.find('.').unwrap() + 20;
    tampered[at] = if tampered[at] == b'A' { b'B' } else { b'A' };
    let tampered = String::from_utf8(tampered).unwrap();
    let rows = [
        ("another audience", token(&admin, &here, "runner", Some("https://mcp.example.org"), 3600).await, AUDIENCE),
        ("the API server's audience", token(&admin, &here, "runner", None, 3600).await, AUDIENCE),
        ("another account", token(&admin, &here, "stranger", Some(AUDIENCE), 3600).await, "service account stranger"),
        ("another namespace", token(&admin, &elsewhere, "runner", Some(AUDIENCE), 3600).await, "no rule"),
        ("a long life", token(&admin, &here, "runner", Some(AUDIENCE), 48 * 3600).await, "24 hours"),
        ("tampered", tampered, "token"),
        ("junk", "junk".to_owned(), "malformed"),
        ("the access token itself", access.clone(), "a key that its issuer does not publish"),
    ];
    for (what, assertion, says) in rows {
        let (status, answer) = server.exchange(&assertion, &[]).await;
        assert_eq!((status, &answer["error"]), (400, &json!("invalid_grant")), "{what}: {answer}");
        assert!(answer["error_description"].as_str().unwrap().contains(says), "{what}: {answer}");
    }
    let (_, answer) = server.exchange(&good, &[("resource", "https://mcp.example.com/other")]).await;
    assert_eq!(answer["error"], "invalid_target");
    let (_, answer) = server.exchange(&good, &[("scope", "files:write")]).await;
    assert_eq!(answer["error"], "invalid_scope");

    // Without its rule the account is nobody, at once.
    let files = Files { config: serde_json::to_vec(&config(&json!([]))).unwrap(), ..server.files.clone() };
    assert_ne!(files.revision(), server.files.revision());
    server.volume.replace(&files);
    let refused = async {
        while server.whoami(&access).await.0 != 401 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, refused).await.unwrap();
    assert_eq!(server.exchange(&good, &[]).await.1["error"], "unsupported_grant_type");
    assert!(!server.advertises().await);
    server.volume.replace(&server.files);
    let again = async {
        while server.whoami(&access).await.0 != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.unwrap();

    server.clock.set(SystemClock.now() + jiff::SignedDuration::from_hours(2));
    let (_, answer) = server.exchange(&good, &[]).await;
    assert!(answer["error_description"].as_str().unwrap().contains("expired"), "{answer}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_api_server_is_away_pods_are_told_to_come_again() {
    let plane = ControlPlane::shared().await;
    let admin = plane.client().await;
    let namespace = plane.create_namespace("ci").await;
    account(&admin, &namespace, "runner").await;
    let nobody_there = plane.kubeconfig_for_service_account_at(&namespace, "runner", "http://127.0.0.1:9").await;
    let rules = json!([{"name": "ci", "namespaces": [namespace], "serviceAccounts": ["*"], "scopes": ["files:read"]}]);
    let server = Server::start(client_of(&nobody_there).await.unwrap(), &rules).await;
    let good = token(&admin, &namespace, "runner", Some(AUDIENCE), 3600).await;
    let (status, answer) = server.exchange(&good, &[]).await;
    assert_eq!((status, &answer["error"]), (503, &json!("temporarily_unavailable")), "{answer}");
    server.stop().await;
}
