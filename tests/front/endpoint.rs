//! An endpoint `agents` in a namespace of its own, with people who sign in to it and clients that they use.

use crate::{
    front::Front,
    support::{
        form_browser::{Browser, Page},
        operator::eventually,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{Api, Client, api::ListParams, core::NamespaceResourceScope};
use portcullis_config::PUBLIC_PORT;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::net::SocketAddr;
use tokio::task::block_in_place;
use url::{Url, form_urlencoded};

/// Who may sign in: `local:ann` and `local:bob`.
pub const PEOPLE: [&str; 2] = ["ann", "bob"];
pub const PASSWORD: &str = "correct horse battery staple";
/// The client for which people sign in. It keeps no secret.
pub const CLIENT: &str = "claude";
/// The client that obtains tokens for itself.
pub const ROBOT: &str = "robot";
pub const CALLBACK: &str = "http://127.0.0.1/callback";
pub const VERIFIER: &str = "a-code-verifier-of-a-length-that-RFC-7636-allows";
const SCOPES: &str = "workspaces:read workspaces:write workspaces:exec files:read files:write templates:read";

pub struct Endpoint {
    pub front: &'static Front,
    pub namespace: String,
    /// Where the public finds it.
    pub host: String,
    /// May do everything in the cluster.
    pub client: Client,
    /// Finds it as the public does.
    pub http: reqwest::Client,
}

/// What a server is, to one who goes around all that is in front of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub name: String,
    pub address: SocketAddr,
}

/// What a client got for a person.
#[derive(Clone, Debug)]
pub struct Tokens {
    pub access: String,
    pub refresh: String,
}

impl Endpoint {
    /// In a new namespace, after which its host is called. `spec` is merged over what any endpoint here has.
    pub async fn set(front: &'static Front, prefix: &str, spec: &Value) -> Self {
        let namespace = front.node.create_namespace(prefix).await;
        let host = format!("{namespace}.example.test");
        let endpoint = Self::at(front, namespace, host).await;
        let hash = bcrypt::hash(PASSWORD, 4).unwrap();
        let people = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "people", "labels": {"portcullis.dev/endpoint": "agents"}},
            "stringData": {"htpasswd": PEOPLE.map(|name| format!("{name}:{hash}\n")).concat()},
        });
        let mut own = json!({
            "url": endpoint.url(),
            "limits": {"requestsPerSecond": 10_000, "burst": 10_000},
            "login": [{"name": "local", "passwords": {"secretRef": {"name": "people"}}}],
            // All requests come from one address otherwise.
            "network": {"trustedProxies": ["198.51.100.0/24"]},
            "exposure": {"ingress": {"className": "traefik", "tls": {"secretName": "certificate"}}},
        });
        own.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let scopes: Vec<&str> = SCOPES.split(' ').collect();
        let certificate = front.authority.certify(&[&endpoint.host]).secret("certificate");
        endpoint.apply(&[
            people,
            certificate,
            portcullis("McpEndpoint", "agents", &own),
            portcullis(
                "OAuthClient",
                CLIENT,
                &json!({"endpointRef": {"name": "agents"}, "type": "Public", "redirectUris": [CALLBACK], "scopes": scopes}),
            ),
            portcullis(
                "OAuthClient",
                ROBOT,
                &json!({"endpointRef": {"name": "agents"}, "grants": ["client_credentials"], "scopes": scopes}),
            ),
        ]);
        endpoint.ready();
        endpoint
    }

    /// One whose manifests are applied elsewhere.
    pub async fn at(front: &'static Front, namespace: String, host: String) -> Self {
        let http = front.http().build().unwrap();
        let endpoint = Self { front, namespace, host, client: front.node.client().await, http };
        endpoint.kubectl(&["label", "namespace", &endpoint.namespace, "pod-security.kubernetes.io/enforce=restricted"]);
        endpoint
    }

    pub fn origin(&self) -> String {
        format!("https://{}", self.host)
    }

    pub fn url(&self) -> String {
        format!("https://{}/mcp", self.host)
    }

    /// Applies manifests in the namespace.
    pub fn apply(&self, manifests: &[Value]) {
        let text = manifests.iter().map(Value::to_string).collect::<Vec<_>>().join("\n---\n");
        self.kubectl_with_input(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &text);
    }

    /// Merges into the endpoint's spec.
    pub fn patch(&self, spec: &Value) {
        self.kubectl(&["patch", "mcp", "agents", "--type=merge", "-p", &json!({"spec": spec}).to_string()]);
    }

    /// Runs kubectl in the namespace, and gives what it printed.
    pub fn kubectl(&self, args: &[&str]) -> String {
        self.kubectl_with_input(args, "")
    }

    fn kubectl_with_input(&self, args: &[&str], input: &str) -> String {
        let args = [&["--namespace", &self.namespace], args].concat();
        // What else the test does goes on meanwhile.
        let done = block_in_place(|| self.front.node.kubectl_with_input(&args, input));
        assert!(done.status.success(), "{args:?}: {done:?}\n{}", self.shown());
        String::from_utf8(done.stdout).unwrap()
    }

    /// What there is in the namespace, for a test that fails.
    fn shown(&self) -> String {
        let shown = [
            &["get", "mcp,oac,pods,ws,ingresses,httproutes", "-o", "wide"][..],
            &["get", "events", "--field-selector", "type=Warning"],
            &["logs", "-l", "portcullis.dev/endpoint=agents", "--tail=30", "--prefix"],
        ];
        let mut text = String::new();
        for args in shown {
            let output = self.front.node.kubectl(&[&["-n", &self.namespace], args].concat());
            text.push_str(&String::from_utf8_lossy(&output.stdout));
        }
        text
    }

    /// The typed API of the namespace.
    pub fn api<K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Waits until the endpoint and its clients say that they are ready.
    pub fn ready(&self) {
        self.kubectl(&["wait", "--for=condition=Ready", "mcp,oac", "--all", "--timeout=90s"]);
    }

    /// Waits until the public gets through.
    pub async fn reachable(&self) {
        let url = format!("{}/.well-known/oauth-authorization-server", self.origin());
        eventually("it is reached from outside", async || {
            let answer = self.http.get(&url).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    /// The servers that are not about to end.
    pub async fn servers(&self) -> Vec<Server> {
        let servers = ListParams::default().labels("portcullis.dev/endpoint=agents");
        let pods = self.api::<Pod>().list(&servers).await.unwrap().items.into_iter();
        let server = |pod: Pod| {
            let status = pod.status.filter(|_| pod.metadata.deletion_timestamp.is_none())?;
            let address = SocketAddr::new(status.pod_ip?.parse().unwrap(), PUBLIC_PORT);
            Some(Server { name: pod.metadata.name?, address })
        };
        pods.filter_map(server).collect()
    }

    /// What a Secret of the namespace says under a key.
    pub async fn secret(&self, name: &str, key: &str) -> Option<String> {
        let secret = self.api::<Secret>().get_opt(name).await.unwrap()?;
        Some(String::from_utf8(secret.data?.remove(key)?.0).unwrap())
    }

    /// A browser that has opened nothing yet.
    pub fn browser(&self) -> Browser {
        Browser::over(self.http.clone(), &self.origin())
    }

    /// Signs a person in, who allows the client all that it may have; the code that the client gets.
    pub async fn code(&self, browser: &mut Browser, person: &str) -> String {
        browser.sign_in("/login", person, PASSWORD).await;
        let allowed: Page = browser.allow(&authorize(CLIENT, CALLBACK)).await;
        let location: Url = allowed.location().parse().unwrap();
        let code = location.query_pairs().find(|(key, _)| key == "code");
        code.unwrap_or_else(|| panic!("no code: {location}")).1.into_owned()
    }

    /// The same, and redeems the code.
    pub async fn sign_in(&self, person: &str) -> Tokens {
        let code = self.code(&mut self.browser(), person).await;
        let (status, answer) = self.token(&redeem(&code)).await;
        let token = |name: &str| answer[name].as_str().map(str::to_owned);
        match (token("access_token"), token("refresh_token")) {
            (Some(access), Some(refresh)) => Tokens { access, refresh },
            _ => panic!("no tokens: {status} {answer}"),
        }
    }

    /// Status and answer of the token endpoint.
    pub async fn token(&self, fields: &[(&str, &str)]) -> (u16, Value) {
        answer(self.http.post(format!("{}/token", self.origin())).form(fields)).await
    }

    /// Status and answer of a tool call.
    pub async fn call(&self, token: &str, tool: &str, arguments: &Value) -> (u16, Value) {
        answer(call(&self.http, &self.url(), token, tool, arguments)).await
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}\n{}", self.shown(), self.front.traefik.log_tail());
        }
        // Not waited for: it makes room for the tests that follow.
        let _ = self.front.node.kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]);
    }
}

fn portcullis(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "portcullis.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// The authorization request of a client, as a path.
pub fn authorize(client: &str, callback: &str) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    let parameters = [
        ("response_type", "code"),
        ("client_id", client),
        ("redirect_uri", callback),
        ("scope", SCOPES),
        ("state", "what only the client knows"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    format!("/authorize?{}", form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish())
}

/// What redeems a code.
pub fn redeem(code: &str) -> [(&str, &str); 5] {
    [
        ("grant_type", "authorization_code"),
        ("client_id", CLIENT),
        ("code_verifier", VERIFIER),
        ("redirect_uri", CALLBACK),
        ("code", code),
    ]
}

/// What rotates a refresh token.
pub fn refresh(token: &str) -> [(&str, &str); 3] {
    [("grant_type", "refresh_token"), ("client_id", CLIENT), ("refresh_token", token)]
}

/// What obtains a token for a client itself.
pub fn credentials<'a>(client: &'a str, secret: &'a str) -> [(&'a str, &'a str); 3] {
    [("grant_type", "client_credentials"), ("client_id", client), ("client_secret", secret)]
}

/// A tool call, to be sent.
pub fn call(http: &reqwest::Client, url: &str, token: &str, tool: &str, arguments: &Value) -> reqwest::RequestBuilder {
    let call =
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}});
    http.post(url).bearer_auth(token).header("Accept", "application/json").json(&call)
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
}
