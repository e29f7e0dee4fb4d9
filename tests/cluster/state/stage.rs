//! An endpoint `agents` as the operator runs it, with people who sign in and agents that they allow.

use crate::{
    operator::stage::{Operator, api, create, endpoint, eventually, operator, robot},
    support::{
        controlplane::ControlPlane,
        form_browser::{Browser, Page},
        kubelet::Kubelet,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{Api, Client, api::ListParams};
use portcullis_api::OAuthGrant;
use portcullis_config::{PRIVATE_PORT, PUBLIC_PORT};
use portcullis_telemetry::logs::DEFAULT_FILTER;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::{path::Path, time::Duration};
use url::form_urlencoded;

pub const ORIGIN: &str = "https://agents.example.com";
pub const CALLBACK: &str = "https://agent.example.com/callback";
pub const PASSWORD: &str = "correct horse battery staple";
pub const VERIFIER: &str = "a-code-verifier-of-a-length-that-RFC-7636-allows";

/// The endpoint, with the users `ann` and `bob` and the public client `claude`.
pub struct Stage<'p> {
    pub plane: &'p ControlPlane,
    pub client: Client,
    pub namespace: String,
    pub kubelet: Kubelet,
    pub operator: Operator,
}

/// One of the endpoint's servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub pod: String,
    address: String,
}

/// Status and body of an answer.
pub type Answer = (u16, Value);

impl<'p> Stage<'p> {
    /// With two servers that find the API server at `url` and log all that our own code says. `more` is merged over the endpoint's spec, `manifests` are
    /// applied besides.
    pub async fn start(
        plane: &'p ControlPlane,
        namespace: String,
        url: &str,
        more: &Value,
        manifests: &[Value],
    ) -> Self {
        let client = plane.client().await;
        let env = vec![("RUST_LOG", format!("{DEFAULT_FILTER},portcullis=trace,audit=trace"))];
        let binary = Path::new(env!("CARGO_BIN_EXE_portcullis"));
        let kubelet = Kubelet::start_with(plane, &namespace, binary, url, env).await;
        let operator = operator(plane, &namespace).await;
        let hash = bcrypt::hash(PASSWORD, 5).unwrap();
        let people: Secret = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "people", "labels": {"portcullis.dev/endpoint": "agents"}},
            "stringData": {"htpasswd": format!("ann:{hash}\nbob:{hash}\n")},
        }))
        .unwrap();
        create(&client, &namespace, &people).await;
        let mut spec = json!({
            "exposure": {"none": {}}, "deployment": {"replicas": 2},
            "limits": {"requestsPerSecond": 100_000, "burst": 100_000},
            "login": [{"name": "local", "passwords": {"secretRef": {"name": "people"}}}],
        });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        create(&client, &namespace, &endpoint("agents", &spec)).await;
        let claude = json!({
            "type": "Public", "redirectUris": [CALLBACK], "grants": ["authorization_code", "refresh_token"],
            "scopes": ["workspaces:read", "files:read"],
        });
        create(&client, &namespace, &robot("claude", "agents", &claude)).await;
        let manifests = manifests.iter().map(Value::to_string).collect::<Vec<_>>().join("\n---\n");
        if !manifests.is_empty() {
            let made = plane.kubectl_with_input(&["-n", &namespace, "apply", "--server-side", "-f", "-"], &manifests);
            assert!(made.status.success(), "{made:?}");
        }
        let stage = Self { plane, client, namespace, kubelet, operator };
        stage.ready();
        stage
    }

    /// Waits until the endpoint and its clients say that they are ready.
    pub fn ready(&self) {
        let args = ["-n", &self.namespace, "wait", "--for=condition=Ready", "mcp,oac", "--all", "--timeout=90s"];
        let waited = self.plane.kubectl(&args);
        let shown = self.plane.kubectl(&["-n", &self.namespace, "get", "mcp,oac", "-o", "yaml"]);
        let shown = String::from_utf8_lossy(&shown.stdout);
        assert!(waited.status.success(), "{waited:?}\n{shown}\n{}", self.kubelet.logs());
    }

    /// The servers that run, when there are two.
    pub async fn servers(&self) -> [Server; 2] {
        self.servers_that_are(2).await.try_into().expect("there are two")
    }

    /// The servers that run, when there are so many.
    pub async fn servers_that_are(&self, count: usize) -> Vec<Server> {
        eventually("the servers are ready", async || {
            let pods = api::<Pod>(&self.client, &self.namespace).list(&ListParams::default()).await.unwrap();
            let running = pods.items.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
            let ready = running.filter(|pod| {
                let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
                conditions.into_iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True")
            });
            let servers: Option<Vec<Server>> =
                ready.map(|pod| Some(Server { pod: pod.metadata.name?, address: pod.status?.pod_ip? })).collect();
            servers.filter(|servers| servers.len() == count)
        })
        .await
    }

    pub fn grants(&self) -> Api<OAuthGrant> {
        api(&self.client, &self.namespace)
    }
}

impl Server {
    /// Where browsers and agents get to it.
    pub fn url(&self) -> String {
        format!("http://{}:{PUBLIC_PORT}", self.address)
    }

    pub fn browser(&self) -> Browser {
        Browser::new(ORIGIN, &self.url())
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = reqwest::Client::new().request(method, format!("{}{path}", self.url()));
        request.header("Host", "agents.example.com").timeout(Duration::from_secs(20))
    }

    /// Sends a form, as the client of this id and secret where there is one.
    pub async fn form(&self, path: &str, fields: &[(&str, &str)], basic: Option<(&str, &str)>) -> Answer {
        let mut request = self.request(Method::POST, path).form(fields);
        if let Some((id, secret)) = basic {
            request = request.basic_auth(id, Some(secret));
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
    }

    /// Redeems a code for `claude`.
    pub async fn redeem(&self, code: &str) -> Answer {
        let fields = [("client_id", "claude"), ("code_verifier", VERIFIER), ("redirect_uri", CALLBACK), ("code", code)];
        self.form("/token", &[&fields[..], &[("grant_type", "authorization_code")]].concat(), None).await
    }

    /// Refreshes as `claude`.
    pub async fn refresh(&self, token: &str) -> Answer {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", "claude")];
        self.form("/token", &fields, None).await
    }

    /// The status of a call.
    pub async fn call(&self, token: &str) -> u16 {
        let whoami = json!({"name": "whoami", "arguments": {}});
        let request = self.request(Method::POST, "/mcp").bearer_auth(token);
        let request = request.header("Accept", "application/json, text/event-stream");
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": whoami});
        request.json(&body).send().await.unwrap().status().as_u16()
    }

    /// What its private listener answers.
    pub async fn private(&self, path: &str) -> (u16, String) {
        let answer = reqwest::get(format!("http://{}:{PRIVATE_PORT}{path}", self.address)).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

/// The authorization request of a client.
pub fn authorize(client_id: &str) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
    let parameters = [
        ("response_type", "code"),
        ("client_id", client_id),
        ("redirect_uri", CALLBACK),
        ("scope", "workspaces:read files:read"),
        ("state", "what only the client knows"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    format!("/authorize?{}", form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish())
}

/// A browser in which ann has signed in.
pub async fn signed_in(server: &Server) -> Browser {
    signed_in_as(server, "ann").await
}

/// A browser in which this user has signed in.
pub async fn signed_in_as(server: &Server, user: &str) -> Browser {
    let mut browser = server.browser();
    let page = browser.sign_in("/login", user, PASSWORD).await;
    assert_eq!(page.path(), "/agents");
    browser
}

/// Lets a client have what it asks for. What comes is the answer to the form.
pub async fn consent(browser: &mut Browser, client_id: &str) -> Page {
    browser.allow(&authorize(client_id)).await
}

/// The code that a client gets.
pub async fn code(browser: &mut Browser, client_id: &str) -> String {
    parameter(consent(browser, client_id).await.location(), "code")
}

/// A parameter of a URL's query.
pub fn parameter(url: &str, name: &str) -> String {
    let query = url.split_once('?').unwrap_or_else(|| panic!("{url} has no query")).1;
    let mut found = form_urlencoded::parse(query.as_bytes()).filter(|(known, _)| known == name);
    found.next().unwrap_or_else(|| panic!("{url} has no {name}")).1.into_owned()
}

/// A text of an answer.
pub fn text<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.1[name].as_str().unwrap_or_else(|| panic!("no {name} in {answer:?}"))
}
