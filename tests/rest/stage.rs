//! A running `portcullis dev`, and a client of it with every scope.

use crate::rest::dev::Dev;
use http::{Method, StatusCode};
use portcullis_core::Scope;
use serde_json::{Value, json};
use std::{fs, path::Path};
use tempfile::TempDir;

/// The path that the guide's JavaScript is written for.
pub const ALIAS: &str = "/api/experimental/mcp/http";

pub struct Stage {
    pub url: String,
    pub token: String,
    pub client: reqwest::Client,
    folder: TempDir,
    dev: Dev,
}

/// An answer, and its body as JSON.
pub struct Answer {
    pub status: StatusCode,
    pub headers: http::HeaderMap,
    pub body: Value,
}

impl Stage {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let manifests = folder.path().join("endpoint.yaml");
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart.yaml");
        let mut documents: Vec<Value> = serde_saphyr::from_slice_multiple(&fs::read(example).unwrap()).unwrap();
        // More than it is meant for: schemathesis asks as fast as it can.
        documents[0]["spec"]["limits"] = json!({"requestsPerSecond": 10_000, "burst": 10_000, "maxBodySize": "32Mi"});
        documents[0]["spec"]["pathAliases"] = json!([ALIAS]);
        documents[1]["spec"]["scopes"] = json!(Scope::ALL);
        let text: Vec<String> = documents.iter().map(Value::to_string).collect();
        fs::write(&manifests, text.join("\n---\n")).unwrap();
        let dev = Dev::serve(&manifests, folder.path());
        // For reqwest's clients: nobody else has chosen one in this process.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut stage = Self { url: dev.url(), token: String::new(), client: reqwest::Client::new(), folder, dev };
        stage.token = stage.token_for(None).await;
        stage
    }

    /// The server's process.
    pub fn server(&self) -> u32 {
        self.dev.child.id()
    }

    /// A token of the client's, for fewer scopes where they are given.
    pub async fn token_for(&self, scopes: Option<&str>) -> String {
        self.token_with(&scopes.map(|scopes| ("scope", scopes)).into_iter().collect::<Vec<_>>()).await
    }

    /// One for which these parameters are sent too.
    pub async fn token_with(&self, more: &[(&str, &str)]) -> String {
        let answer = self.try_token_with(more).await;
        answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// What the token endpoint answers to it.
    pub async fn try_token_with(&self, more: &[(&str, &str)]) -> Value {
        let of = |file: &str| fs::read_to_string(self.folder.path().join("secrets/ci-agent-oauth").join(file)).unwrap();
        let (id, secret, token_url) = (of("client-id"), of("client-secret"), of("token-url"));
        let mut form = vec![("grant_type", "client_credentials"), ("client_id", &id), ("client_secret", &secret)];
        form.extend(more);
        self.client.post(token_url).form(&form).send().await.unwrap().json().await.unwrap()
    }

    /// The same endpoint, as the guide knows it.
    pub fn alias(&self) -> String {
        self.url.replace("/mcp", ALIAS)
    }

    pub async fn send(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let mut request = self.client.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        answered(request).await
    }

    /// Makes a workspace and gives its id.
    pub async fn workspace(&self, name: &str) -> String {
        let made = self.send(Method::POST, "/workspaces", Some(json!({"template": "blank", "name": name}))).await;
        assert_eq!(made.status, 201, "{}", made.body);
        let id = made.body["id"].as_str().unwrap().to_owned();
        assert_eq!(made.headers["location"].to_str().unwrap(), format!("{}/workspaces/{id}", self.url));
        id
    }
}

pub async fn answered(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.unwrap();
    Answer { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
}
