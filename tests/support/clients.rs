//! Real MCP clients that act for a person: they find the authorization server, are who they are by one of three ways, send
//! the person to it, and take the code at a loopback callback of their own.
//!
//! ```ignore
//! let mut client = Client::start(Kind::Python, "2025-11-25", &url, &Identity::Dynamic).await;
//! client.connect(async |url| { person.authorize(url, "alice", "secret").await; }).await.unwrap();
//! client.call("whoami", &json!({}), nobody).await.unwrap();
//! ```

use super::script::{PATIENCE, Script, installed, outcome};
use serde_json::{Value, json};
use std::{path::Path, time::Duration};
use tokio::{net::TcpStream, time::Instant};

/// The clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `@modelcontextprotocol/sdk` 1.x. It cannot step up while it has a refresh token.
    TypeScript1,
    /// `@modelcontextprotocol/client` 2.x.
    TypeScript2,
    /// `mcp` from PyPI.
    Python,
    /// `mcp-remote`, spoken to as a desktop client does.
    McpRemote,
    /// The command line of the MCP Inspector.
    Inspector,
    /// `fastmcp` from PyPI, which registers itself and negotiates the revision.
    FastMcp,
    /// `portcullis stdio`, as an agent without OAuth starts it: the one of `@modelcontextprotocol/sdk` 1.x. It knows no
    /// metadata document.
    Stdio1,
    /// The same for `@modelcontextprotocol/client` 2.x.
    Stdio2,
}

/// How the client is known to the server.
#[derive(Clone, Copy, Debug)]
pub enum Identity<'a> {
    /// As an administrator registered it: `http://127.0.0.1/callback` is its callback, for mcp-remote
    /// `http://localhost/oauth/callback`, with any port.
    Preset { client_id: &'a str, client_secret: Option<&'a str> },
    /// By a document at this https URL, which has to list the same callbacks.
    Document(&'a str),
    /// By registering itself.
    Dynamic,
}

/// A running client of one endpoint.
pub struct Client {
    script: Script,
    kind: Kind,
}

impl Client {
    /// Starts one that will speak `revision` to the endpoint at `url`.
    pub async fn start(kind: Kind, revision: &str, url: &str, identity: &Identity<'_>) -> Self {
        let (script, args): (_, &[&str]) = match kind {
            Kind::TypeScript1 => ("clients/authorize.mjs", &["1", revision]),
            Kind::TypeScript2 => ("clients/authorize.mjs", &["2", revision]),
            Kind::Python => ("clients/authorize.py", &[revision]),
            Kind::McpRemote => ("clients/mcp-remote.mjs", &[revision]),
            Kind::Inspector => ("clients/inspector.mjs", &[revision]),
            Kind::FastMcp => ("clients/fastmcp-client.py", &[]),
            Kind::Stdio1 => ("clients/stdio.mjs", &["1", revision]),
            Kind::Stdio2 => ("clients/stdio.mjs", &["2", revision]),
        };
        let mut env = vec![("URL", url), ("PORTCULLIS", env!("CARGO_BIN_EXE_portcullis"))];
        match *identity {
            Identity::Preset { client_id, client_secret } => {
                env.push(("CLIENT_ID", client_id));
                env.extend(client_secret.map(|secret| ("CLIENT_SECRET", secret)));
            }
            Identity::Document(url) => env.push(("CLIENT_METADATA_URL", url)),
            Identity::Dynamic => {}
        }
        if kind == Kind::FastMcp {
            let python = installed("clients/frameworks.sh").await;
            return Self { script: Script::start_by(Path::new(&python), script, args, &env).await, kind };
        }
        Self { script: Script::start(script, args, &env).await, kind }
    }

    /// Connects and lists the tools. `approve` gets each authorization URL that the client wants a person to open.
    pub async fn connect(&mut self, approve: impl AsyncFnMut(&str)) -> Result<Vec<String>, String> {
        let done = self.step("connect", Value::Null, approve).await?;
        Ok(serde_json::from_value(done["tools"].clone()).unwrap())
    }

    /// Calls a tool, and gives the result as the protocol has it.
    pub async fn call(&mut self, tool: &str, args: &Value, approve: impl AsyncFnMut(&str)) -> Result<Value, String> {
        self.step("call", json!({"name": tool, "arguments": args}), approve).await
    }

    /// Makes its access token useless, so that it must refresh it before the next call. Only the SDKs and `stdio` can.
    pub async fn spoil(&mut self) {
        self.script.must("spoil", Value::Null).await;
    }

    /// The tools that the Inspector lists with the same sign-in. Only `stdio` can.
    pub async fn inspect(&mut self) -> Vec<String> {
        serde_json::from_value(self.script.must("inspect", Value::Null).await["tools"].take()).unwrap()
    }

    /// What it got from the token endpoint. Only the SDKs tell.
    pub async fn tokens(&mut self) -> Value {
        self.script.must("tokens", Value::Null).await
    }

    async fn step(&mut self, name: &str, with: Value, mut approve: impl AsyncFnMut(&str)) -> Result<Value, String> {
        self.script.tell(name, with).await;
        loop {
            let said = self.script.hear().await;
            match (outcome(&said), said["authorize"].as_str()) {
                (Some(outcome), _) => return outcome,
                (None, Some(url)) => {
                    // It sends the user away before it listens for the answer: a person is slower than this test.
                    if self.kind == Kind::McpRemote {
                        listens(url).await;
                    }
                    approve(url).await;
                }
                (None, None) => panic!("it said {said}"),
            }
        }
    }
}

/// Waits until the client listens at the callback of an authorization request.
async fn listens(authorization_url: &str) {
    let url = url::Url::parse(authorization_url).unwrap();
    let callback = url.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1.into_owned();
    let port = url::Url::parse(&callback).unwrap().port().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        assert!(Instant::now() < deadline, "the client does not listen at {callback}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Nobody is asked: panics where somebody is.
pub async fn nobody(url: &str) {
    panic!("nobody was to be asked, but: {url}");
}

/// The official conformance suite's part for authorization servers.
pub struct Conformance(Script);

/// What it found.
#[derive(Debug)]
pub struct Verdict {
    /// `id`, `status` (`SUCCESS`, `FAILURE`, `SKIPPED`, …) and `errorMessage` of each check.
    pub checks: Vec<Value>,
    /// All that it printed.
    pub text: String,
}

impl Conformance {
    /// Starts it.
    pub async fn start() -> Self {
        Self(Script::start("clients/conformance.mjs", &[], &[]).await)
    }

    /// Runs both scenarios as `client_id`, whose callback is `http://127.0.0.1:PORT/callback`.
    pub async fn run(
        &mut self,
        issuer: &str,
        resource: &str,
        (client_id, client_secret): (&str, Option<&str>),
        port: u16,
        mut approve: impl AsyncFnMut(&str),
    ) -> Verdict {
        let with = json!({
            "issuer": issuer, "resource": resource, "client_id": client_id, "client_secret": client_secret, "port": port,
        });
        self.0.tell("run", with).await;
        loop {
            let said = self.0.hear().await;
            if let Some(url) = said["authorize"].as_str() {
                approve(url).await;
                continue;
            }
            let done = outcome(&said).unwrap().unwrap();
            let checks = serde_json::from_value(done["checks"].clone()).unwrap();
            return Verdict { checks, text: done["text"].as_str().unwrap().to_owned() };
        }
    }
}
