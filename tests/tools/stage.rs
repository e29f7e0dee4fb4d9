//! A registry over the local backend, and callers.

use portcullis_core::{Scope, clock::SystemClock, report::chain, rng::rng};
use portcullis_oauth::Caller;
use portcullis_telemetry::audit::RequestContext;
use portcullis_tools::{Call, Definition, Registry, ToolAnswer, ToolLookup};
use portcullis_workspaces::local::{LocalOptions, LocalWorkspaces};
use serde_json::{Map, Value, json};
use std::{sync::Arc, time::Duration};
use tempfile::TempDir;

pub const URL: &str = "http://127.0.0.1:8080/mcp";

pub struct Stage {
    pub registry: Registry,
    pub backend: Arc<LocalWorkspaces>,
    _state: TempDir,
}

impl Stage {
    pub async fn new() -> Self {
        Self::with_tools(&json!({"allow": ["*"], "deny": []})).await
    }

    pub async fn with_tools(rules: &Value) -> Self {
        let state = tempfile::tempdir().unwrap();
        let options =
            LocalOptions { state_dir: state.path().to_owned(), path: "/usr/bin:/bin".into(), user: "nobody".into() };
        let backend = Arc::new(LocalWorkspaces::open(options, Arc::new(SystemClock), rng()).await.unwrap());
        let config = json!({
            "endpoint": "agents", "url": URL, "accessTokenLifetime": "15m",
            "refreshTokenLifetime": "720h", "refreshTokenIdle": "168h", "tools": rules,
            "cors": {"allowedOrigins": [], "maxAge": "1h", "answeredHere": true},
            "limits": {
                "requestTimeout": "60s", "maxConcurrentRequests": 100, "requestsPerSecond": 10, "burst": 20,
                "maxBodySize": "4Mi"
            },
            "access": {"allowedCidrs": [], "trustedProxies": []}
        });
        let registry = Registry::new(&serde_json::from_value(config).unwrap(), Some(Arc::clone(&backend) as _));
        Self { registry, backend, _state: state }
    }

    pub fn definitions(&self) -> Vec<Definition> {
        self.registry.definitions().cloned().collect()
    }

    /// What the tool answers, or what its error says.
    pub async fn call(&self, who: &Arc<Caller>, tool: &str, arguments: Value) -> Result<Value, String> {
        self.answer(who, tool, arguments).await.map(ToolAnswer::into_json)
    }

    pub async fn answer(&self, who: &Arc<Caller>, tool: &str, arguments: Value) -> Result<ToolAnswer, String> {
        let ToolLookup::Found(entry) = self.registry.lookup(tool, who) else { panic!("{tool} may not be called") };
        let arguments: Map<String, Value> = serde_json::from_value(arguments).unwrap();
        let call = Call::of(Arc::clone(who), RequestContext::UNKNOWN);
        let answer = tokio::time::timeout(Duration::from_mins(1), entry.call(arguments, call)).await;
        answer.unwrap_or_else(|_| panic!("{tool} hangs")).map_err(|error| chain(&error))
    }

    pub async fn done(&self, who: &Arc<Caller>, tool: &str, arguments: Value) -> Value {
        self.call(who, tool, arguments).await.unwrap_or_else(|error| panic!("{tool}: {error}"))
    }
}

pub fn caller(name: &str, scopes: &[Scope]) -> Arc<Caller> {
    Arc::new(Caller {
        client_id: "agent".to_owned(),
        subject: format!("local:{name}"),
        user_name: Some(name.to_owned()),
        grant: Some(format!("g-{name}")),
        scopes: scopes.iter().copied().collect(),
        issued_at: "2030-01-02T02:49:05Z".parse().unwrap(),
        expires_at: "2030-01-02T03:04:05Z".parse().unwrap(),
    })
}
