//! An endpoint `agents` as the operator runs it on a real node: its servers and its workspaces in pods, the policy for
//! exec in force, and people who sign in to it.
//!
//! ```ignore
//! let Some(stage) = Stage::shared(&json!({})).await else { return };
//! let ann = stage.sign_in("ann").await;
//! ann.make("web").await;
//! assert_eq!(ann.run("web", "echo $((6 * 7))").await["stdout"], "42\n");
//! ```

use crate::{
    node::Node,
    support::{
        form_browser::Browser,
        operator::{Operator, eventually, install},
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::ListParams, core::NamespaceResourceScope};
use portcullis_config::PUBLIC_PORT;
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::OnceCell,
    task::JoinSet,
};
use url::{Url, form_urlencoded};

/// Who may sign in. The user id of `ann` is `local:ann`, her password [`PASSWORD`].
pub const PEOPLE: [&str; 3] = ["ann", "bob", "eve"];
pub const PASSWORD: &str = "correct horse battery staple";
/// The client for which people sign in. It keeps no secret, and may listen at any port.
pub const CLIENT: &str = "claude";
const CALLBACK: &str = "http://127.0.0.1/callback";
const VERIFIER: &str = "a-code-verifier-of-a-length-that-RFC-7636-allows";
const SCOPES: &str = "workspaces:read workspaces:write workspaces:exec files:read files:write templates:read";
const EXAMPLE: &str = include_str!("../../examples/workspaces.yaml");

/// The endpoint, in a namespace that admits restricted pods only, with the template `debian`.
pub struct Stage<'n> {
    pub node: &'n Node,
    pub namespace: String,
    /// May do everything.
    pub client: Client,
    /// Leads to the servers, each connection to the next one.
    pub url: String,
    servers: Arc<Mutex<Vec<SocketAddr>>>,
    _door: JoinSet<()>,
    /// Where the node is the test's own, so is the operator.
    pub operator: Option<Operator>,
}

impl Stage<'static> {
    /// One on the node that the tests share. `more` is merged over the endpoint's spec.
    pub async fn shared(more: &Value) -> Option<Self> {
        static OPERATOR: OnceCell<Operator> = OnceCell::const_new();
        let node = Node::shared_of_ours().await?;
        OPERATOR.get_or_init(|| operator_of(node)).await;
        Some(Stage::set(node, more, None).await)
    }
}

impl<'n> Stage<'n> {
    /// One on a node of the test's own, with an operator of its own.
    pub async fn on(node: &'n Node, more: &Value) -> Self {
        let operator = operator_of(node).await;
        Self::set(node, more, Some(operator)).await
    }

    /// One where an operator runs already, or with this one.
    pub async fn set(node: &'n Node, more: &Value, operator: Option<Operator>) -> Self {
        let namespace = node.create_namespace("stage").await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let servers = Arc::default();
        let mut door = JoinSet::new();
        door.spawn(forward(listener, Arc::clone(&servers)));
        let stage = Self {
            node,
            namespace,
            client: node.client().await,
            url: format!("{origin}/mcp"),
            servers,
            _door: door,
            operator,
        };
        stage.kubectl(&["label", "namespace", &stage.namespace, "pod-security.kubernetes.io/enforce=restricted"]);
        stage.apply(&stage.manifests(more));
        stage.ready().await;
        stage
    }

    fn manifests(&self, more: &Value) -> Vec<Value> {
        let object = |kind: &str, name: &str, spec: Value| json!({"apiVersion": "portcullis.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
        let mut endpoint = json!({
            "url": self.url, "exposure": {"none": {}}, "deployment": {"replicas": 1},
            "limits": {"requestsPerSecond": 10_000, "burst": 10_000},
            "login": [{"name": "local", "passwords": {"secretRef": {"name": "people"}}}],
            "workspaces": {"maxPerUser": 20},
        });
        endpoint.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let client = json!({
            "endpointRef": {"name": "agents"}, "type": "Public", "redirectUris": [CALLBACK],
            "grants": ["authorization_code", "refresh_token"], "scopes": SCOPES.split(' ').collect::<Vec<_>>(),
        });
        let hash = bcrypt::hash(PASSWORD, 4).unwrap();
        let people = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "people", "labels": {"portcullis.dev/endpoint": "agents"}},
            "stringData": {"htpasswd": PEOPLE.map(|name| format!("{name}:{hash}\n")).concat()},
        });
        vec![people, object("McpEndpoint", "agents", endpoint), object("OAuthClient", CLIENT, client), template()]
    }

    /// Applies manifests in the namespace.
    pub fn apply(&self, manifests: &[Value]) {
        let text = manifests.iter().map(Value::to_string).collect::<Vec<_>>().join("\n---\n");
        let args = ["--namespace", &self.namespace, "apply", "--server-side", "--force-conflicts", "-f", "-"];
        let done = self.node.kubectl_with_input(&args, &text);
        assert!(done.status.success(), "{done:?}");
    }

    /// Runs kubectl in the namespace, and gives what it printed.
    pub fn kubectl(&self, args: &[&str]) -> String {
        let done = self.node.kubectl(&[&["--namespace", &self.namespace], args].concat());
        assert!(done.status.success(), "{args:?}: {done:?}");
        String::from_utf8(done.stdout).unwrap()
    }

    /// The typed API of the namespace.
    pub fn api<K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Waits until the endpoint and its client say that they are ready, and leads connections to the servers that there
    /// are then.
    pub async fn ready(&self) {
        let args = ["-n", &self.namespace, "wait", "--for=condition=Ready", "mcp,oac", "--all", "--timeout=90s"];
        let waited = self.node.kubectl(&args);
        assert!(waited.status.success(), "{waited:?}\n{}", self.kubectl(&["get", "mcp,oac,pods,events", "-o", "yaml"]));
        let found =
            eventually("a server is ready", async || Some(self.find_servers().await).filter(|all| !all.is_empty()));
        *self.servers.lock().unwrap() = found.await;
    }

    async fn find_servers(&self) -> Vec<SocketAddr> {
        let servers = ListParams::default().labels("portcullis.dev/endpoint=agents");
        let pods = self.api::<Pod>().list(&servers).await.unwrap().items.into_iter();
        let address = |pod: Pod| {
            let status = pod.status.filter(|_| pod.metadata.deletion_timestamp.is_none())?;
            let ready = status.conditions?.iter().any(|one| one.type_ == "Ready" && one.status == "True");
            let address = status.pod_ip.filter(|_| ready)?;
            Some(SocketAddr::new(address.parse().unwrap(), PUBLIC_PORT))
        };
        pods.filter_map(address).collect()
    }

    /// Signs a person in by password, and allows the client all that it may have.
    pub async fn sign_in(&self, name: &str) -> Person {
        let code = self.code(name).await;
        // Each request over a connection of its own, so that it comes to another server than the one before.
        let http = reqwest::Client::builder().pool_max_idle_per_host(0).timeout(Duration::from_secs(150));
        let http = http.build().unwrap();
        let answer = http.post(format!("{}/token", self.origin())).form(&Self::redemption(&code)).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        let token = answer["access_token"].as_str().unwrap_or_else(|| panic!("no token: {answer}")).to_owned();
        Person { url: self.url.clone(), token, http }
    }

    /// Signs a person in, and brings the code by which the client gets its tokens.
    pub async fn code(&self, name: &str) -> String {
        let location = self.allow(name, &authorize()).await;
        let (_, code) = location.query_pairs().find(|(key, _)| key == "code").unwrap();
        code.into_owned()
    }

    /// What the client sends for tokens.
    pub fn redemption(code: &str) -> [(&str, &str); 5] {
        [
            ("grant_type", "authorization_code"),
            ("client_id", CLIENT),
            ("code_verifier", VERIFIER),
            ("redirect_uri", CALLBACK),
            ("code", code),
        ]
    }

    /// Opens the authorization URL that a client wants a person to open, and sees it through: where the browser is sent
    /// in the end.
    pub async fn allow(&self, name: &str, authorize: &str) -> Url {
        let origin = self.origin();
        let mut browser = Browser::new(origin, origin);
        browser.sign_in("/login", name, PASSWORD).await;
        let path = authorize.strip_prefix(origin).unwrap_or(authorize);
        browser.allow(path).await.location().parse().unwrap()
    }

    fn origin(&self) -> &str {
        self.url.strip_suffix("/mcp").unwrap()
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let shown = self.node.kubectl(&["-n", &self.namespace, "get", "pods,ws,events"]);
            let logs = ["-n", &self.namespace, "logs", "-l", "portcullis.dev/endpoint=agents", "--tail=30"];
            for output in [shown, self.node.kubectl(&logs)] {
                eprintln!("{}", String::from_utf8_lossy(&output.stdout));
            }
        }
        // Not waited for: it makes room for the tests that follow.
        let _ = self.node.kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]);
    }
}

/// What somebody does through a client.
pub struct Person {
    url: String,
    pub token: String,
    pub http: reqwest::Client,
}

impl Person {
    /// Calls a tool over MCP. The error is what the agent reads.
    pub async fn call(&self, tool: &str, arguments: &Value) -> Result<Value, String> {
        let mut answer = self.rpc("tools/call", &json!({"name": tool, "arguments": arguments})).await?;
        if answer["isError"] == true {
            return Err(answer["content"][0]["text"].as_str().unwrap().to_owned());
        }
        Ok(answer["structuredContent"].take())
    }

    /// Sends a request of the Model Context Protocol. The error is that of JSON-RPC, as text.
    pub async fn rpc(&self, method: &str, params: &Value) -> Result<Value, String> {
        let request = self.http.post(&self.url).bearer_auth(&self.token).header("Accept", "application/json");
        let request = request.json(&json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}));
        let answer = request.send().await.map_err(|error| format!("{error:?}"))?;
        let text = answer.text().await.map_err(|error| format!("{error:?}"))?;
        let mut answer: Value = serde_json::from_str(&text).map_err(|_| text)?;
        match answer.get("error") {
            Some(error) => Err(error.to_string()),
            None => Ok(answer["result"].take()),
        }
    }

    /// Status and body of a request below the endpoint's URL.
    pub async fn rest(&self, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
        let mut request = self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
    }

    /// Makes a workspace of the template `debian`, and waits until it runs.
    pub async fn make(&self, name: &str) -> Value {
        let made = self.call("create_workspace", &json!({"template": "debian", "name": name})).await.unwrap();
        assert_eq!(made["status"], "running", "{made}");
        made
    }

    /// Runs a command line, whatever comes of it.
    pub async fn run(&self, workspace: &str, line: &str) -> Value {
        let arguments = json!({"workspace": workspace, "command": line, "timeout_seconds": 60});
        self.call("run_command", &arguments).await.unwrap()
    }
}

/// The example's template, with an image that the node has, and the way to the repositories in the same namespace.
pub fn template() -> Value {
    let documents: Vec<Value> = serde_saphyr::from_str_multiple(EXAMPLE).unwrap();
    let mut template = documents.into_iter().find(|one| one["kind"] == "WorkspaceTemplate").unwrap();
    template["spec"]["pod"]["image"] = json!("local/workspace:1");
    template["spec"]["egress"] = json!("Custom");
    template["spec"]["egressRules"] = json!([{"to": [{"podSelector": {"matchLabels": {"app": "git"}}}]}]);
    template
}

/// The operator, with the rights and the policy that are delivered with it, and this checkout's servers.
pub async fn operator_of(node: &Node) -> Operator {
    install(node);
    let image = format!("--server-image={}", node.portcullis_image().await);
    Operator::start(node, node.url(), "one", &[&image]).await
}

fn authorize() -> String {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    let parameters = [
        ("response_type", "code"),
        ("client_id", CLIENT),
        ("redirect_uri", CALLBACK),
        ("scope", SCOPES),
        ("state", "what only the client knows"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    format!("/authorize?{}", form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish())
}

/// Stands in for the load balancer: hands each connection to the next server.
async fn forward(listener: TcpListener, servers: Arc<Mutex<Vec<SocketAddr>>>) {
    let mut connections = JoinSet::new();
    for turn in 0.. {
        let Ok((mut near, _)) = listener.accept().await else { return };
        let server = {
            let servers = servers.lock().unwrap();
            servers.get(turn % servers.len().max(1)).copied()
        };
        let Some(server) = server else { continue };
        connections.spawn(async move {
            let mut far = TcpStream::connect(server).await?;
            near.set_nodelay(true)?;
            far.set_nodelay(true)?;
            copy_bidirectional(&mut near, &mut far).await?;
            Ok::<_, io::Error>(())
        });
    }
}
