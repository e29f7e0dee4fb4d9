//! Servers side by side, and an operator's findings.

use crate::{
    operator::stage::install,
    support::{api_server::client_of, controlplane::ControlPlane, grants::eventually, operator::PATIENCE},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use portcullis_api::{Workspace as Object, WorkspaceTemplate};
use portcullis_config::WorkspaceRules;
use portcullis_core::{clock::SystemClock, workspace::AuthorizationMode};
use portcullis_reflector::Health;
use portcullis_workspaces::{
    CreateWorkspace, Owner, Workspaces as _,
    kubernetes::{KINDS, KubernetesOptions, KubernetesWorkspaces},
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub const ENDPOINT: &str = "agents";

/// A server's workspaces, which follow the API server until they are stopped.
pub struct Server {
    pub workspaces: Arc<KubernetesWorkspaces>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    pub async fn start(client: &Client, namespace: &str) -> Self {
        let (workspaces, health) = Self::still(client, namespace);
        let (workspaces, stop) = (Arc::new(workspaces), CancellationToken::new());
        let task = tokio::spawn({
            let (workspaces, stop) = (Arc::clone(&workspaces), stop.clone());
            async move { workspaces.run(&stop).await }
        });
        eventually("the first list", || health.is_complete().then_some(())).await;
        Self { workspaces, stop, task }
    }

    /// Workspaces that do not follow the API server yet.
    pub fn still(client: &Client, namespace: &str) -> (KubernetesWorkspaces, Arc<Health>) {
        let clock = Arc::new(SystemClock);
        let health = Arc::new(Health::remote(KINDS, clock.clone()));
        let options = KubernetesOptions::default();
        let workspaces = KubernetesWorkspaces::new(client, namespace, ENDPOINT, Arc::clone(&health), clock, options);
        (workspaces, health)
    }

    pub fn apply(&self, mode: AuthorizationMode, max_per_user: u32) {
        self.workspaces.apply(&WorkspaceRules { mode, max_per_user });
    }

    pub async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.expect("it ends").unwrap();
    }
}

/// A namespace with the template `node` and an account that has the rights of a server.
pub struct Stage {
    pub plane: &'static ControlPlane,
    pub namespace: String,
    pub admin: Client,
}

impl Stage {
    pub async fn start() -> Self {
        let plane = ControlPlane::shared().await;
        install(plane);
        let namespace = plane.create_namespace("workspaces").await;
        let admin = plane.client().await;
        let stage = Self { plane, namespace, admin };
        stage.kubectl(&["create", "serviceaccount", "server"]);
        let account = format!("--serviceaccount={}:server", stage.namespace);
        stage.kubectl(&["create", "rolebinding", "server", "--clusterrole=portcullis-server", &account]);
        let template: WorkspaceTemplate = serde_json::from_value(json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "WorkspaceTemplate", "metadata": {"name": "node"},
            "spec": {
                "displayName": "Node.js", "description": "For JavaScript",
                "parameters": [{"name": "memory", "type": "enum", "options": ["1Gi", "2Gi"], "default": "1Gi"}],
                "pod": {"image": "example.com/node", "resources": {"limits": {"memory": "$(parameters.memory)"}}},
                "storage": {"mountPath": "/home/node"},
            },
        }))
        .unwrap();
        Api::namespaced(stage.admin.clone(), &stage.namespace).create(&PostParams::default(), &template).await.unwrap();
        stage
    }

    /// Runs kubectl in the namespace.
    pub fn kubectl(&self, args: &[&str]) -> String {
        let done = self.plane.kubectl(&[args, &["-n", &self.namespace]].concat());
        assert!(done.status.success(), "{args:?}: {done:?}");
        String::from_utf8(done.stdout).unwrap()
    }

    /// A client with a server's rights.
    pub async fn client(&self) -> Client {
        client_of(&self.plane.kubeconfig_for_service_account(&self.namespace, "server").await).await.unwrap()
    }

    pub async fn server(&self) -> Server {
        Server::start(&self.client().await, &self.namespace).await
    }

    pub fn objects(&self) -> Api<Object> {
        Api::namespaced(self.admin.clone(), &self.namespace)
    }

    /// What the operator would find of a workspace, as its spec is now.
    pub async fn found(&self, id: &str, phase: &str, reason: Option<(&str, &str)>) {
        let generation = self.objects().get(id).await.unwrap().metadata.generation;
        let (ready, (reason, message)) = (reason.is_none(), reason.unwrap_or(("Ready", "")));
        let condition = json!({
            "type": "Ready", "status": if ready { "True" } else { "False" }, "reason": reason, "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": generation,
        });
        let status: Value = json!({"observedGeneration": generation, "phase": phase, "conditions": [condition]});
        let patch = Patch::Merge(json!({"status": status}));
        self.objects().patch_status(id, &PatchParams::default(), &patch).await.unwrap();
    }
}

pub fn owner(name: &str) -> Owner {
    Owner { id: format!("local:{name}"), name: name.to_owned() }
}

pub fn new(name: &str) -> CreateWorkspace {
    CreateWorkspace { template: "node".to_owned(), name: name.to_owned(), parameters: BTreeMap::new(), wait: None }
}
