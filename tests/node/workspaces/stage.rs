//! A workspace in a real pod, made of what the plan says, and a server's way to it.

use crate::{
    node::Node,
    support::{grants::eventually, operator::install, wire::Wire},
};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, Config,
    api::{DynamicObject, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::discovery::ApiResource,
};
use portcullis::cli::cluster;
use portcullis_agent::{
    self, AgentError,
    protocol::{Command, CommandResult},
};
use portcullis_api::{Workspace as Object, WorkspaceTemplate};
use portcullis_core::clock::{Clock as _, SystemClock};
use portcullis_plan::workspace::{SecretAccess, Secrets, WorkspaceInputs, plan};
use portcullis_reflector::Health;
use portcullis_workspaces::{
    Owner, Purpose, Status, Workspaces as _,
    kubernetes::{KINDS, KubernetesOptions, KubernetesWorkspaces},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const ACCOUNT: &str = "portcullis-server-agents";
pub const WORKSPACE: &str = "web";

/// A namespace with the workspace `web` of ann's, in a pod of its own.
pub struct Stage {
    pub node: &'static Node,
    pub namespace: String,
    pub admin: Client,
    pub wire: Wire,
}

/// A server's workspaces.
pub struct Server {
    pub workspaces: Arc<KubernetesWorkspaces>,
    stop: CancellationToken,
    task: JoinHandle<()>,
    commands: AtomicUsize,
}

impl Stage {
    pub async fn start(node: &'static Node) -> Self {
        install(node);
        let namespace = node.create_namespace("tunnel").await;
        let (admin, wire) = (node.client().await, Wire::start(node).await);
        let stage = Self { node, namespace, admin, wire };
        stage.kubectl(&["label", "namespace", &stage.namespace, "pod-security.kubernetes.io/enforce=restricted"]);
        stage.kubectl(&["create", "serviceaccount", ACCOUNT]);
        let account = format!("--serviceaccount={}:{ACCOUNT}", stage.namespace);
        let secret = format!("--from-literal=value={}", stage.secret());
        stage.kubectl(&["create", "secret", "generic", "template", &secret]);
        stage.kubectl(&["label", "secret", "template", "portcullis.dev/workspaces=true"]);
        stage.kubectl(&["create", "rolebinding", "server", "--clusterrole=portcullis-server", &account]);
        stage.kubectl(&["create", "rolebinding", "server-exec", "--clusterrole=portcullis-server-exec", &account]);
        stage.make_workspace().await;
        stage
    }

    /// What the template has from a Secret, as no other stage.
    pub fn secret(&self) -> String {
        format!("the-secret-of-{}", self.namespace)
    }

    /// Runs kubectl in the namespace.
    pub fn kubectl(&self, args: &[&str]) -> String {
        let done = self.node.kubectl(&[args, &["-n", &self.namespace]].concat());
        assert!(done.status.success(), "{args:?}: {done:?}");
        String::from_utf8(done.stdout).unwrap()
    }

    /// Runs a line in the workspace, past Portcullis.
    pub fn in_pod(&self, line: &str) -> String {
        let args = ["-n", &self.namespace, "exec", &pod(), "-c", "workspace", "--", "sh", "-c", line];
        let done = self.node.kubectl(&args);
        format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr))
    }

    /// How many connections there are to the agent.
    pub fn connections(&self) -> usize {
        self.in_pod("ps -eo args | grep -c '[p]ortcullis agent connect' || true").trim().parse().unwrap()
    }

    async fn make_workspace(&self) {
        let template: WorkspaceTemplate = serde_json::from_value(json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "WorkspaceTemplate", "metadata": {"name": "debian"},
            "spec": {
                "pod": {
                    "image": "local/workspace:1", "imagePullPolicy": "Never",
                    "command": ["sh", "-c", "for i in $(seq 30); do echo said $i; done; exec sleep infinity"],
                    "env": [{"name": "TEMPLATE_SECRET", "secretKeyRef": {"name": "template", "key": "value"}}],
                },
                "storage": {"size": "64Mi"},
            },
        }))
        .unwrap();
        let object = json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "Workspace", "metadata": {"name": WORKSPACE},
            "spec": {"endpointRef": {"name": "agents"}, "owner": {"id": "local:ann", "name": "ann"},
                "displayName": WORKSPACE, "templateRef": {"name": "debian"}},
        });
        let object: Object = serde_json::from_value(object).unwrap();
        let template = self.api::<WorkspaceTemplate>().create(&PostParams::default(), &template).await.unwrap();
        let object = self.api::<Object>().create(&PostParams::default(), &object).await.unwrap();
        let planned = plan(&WorkspaceInputs {
            workspace: &object,
            template: Some(&template.spec),
            has_endpoint: true,
            beyond_quota: None,
            secrets: &Secrets::from([("template".to_owned(), SecretAccess::Shared)]),
            live: None,
            agent_image: self.node.agent_image().await,
            pull_secrets: &BTreeSet::new(),
            internal: &[],
            now: SystemClock.now(),
        })
        .unwrap();
        for planned in planned.objects {
            let object: DynamicObject = planned.object;
            let types = object.types.clone().unwrap();
            let (group, version) = types.api_version.split_once('/').unwrap_or(("", &types.api_version));
            let resource = ApiResource::from_gvk(&kube::core::GroupVersionKind::gvk(group, version, &types.kind));
            let api: Api<DynamicObject> = Api::namespaced_with(self.admin.clone(), &self.namespace, &resource);
            let params = PatchParams::apply("tests").force();
            let name = object.metadata.name.clone().unwrap();
            api.patch(&name, &params, &Patch::Apply(&object)).await.unwrap();
        }
        self.wait_until_ready().await;
        self.found(json!({"phase": "Running", "podName": pod(), "home": "/home/dev"})).await;
    }

    pub async fn wait_until_ready(&self) {
        let pods = self.api::<Pod>();
        let mut last = None;
        for _ in 0..600 {
            last = pods.get_opt(&pod()).await.unwrap();
            let conditions = last.as_ref().and_then(|pod| pod.status.as_ref()?.conditions.as_ref());
            let leaves = last.as_ref().is_some_and(|pod| pod.metadata.deletion_timestamp.is_some());
            if !leaves && conditions.into_iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("never ready: {last:?}\n{}", self.kubectl(&["get", "events"]));
    }

    /// What the operator would find, as the spec is now.
    pub async fn found(&self, mut status: Value) {
        let objects = self.api::<Object>();
        status["observedGeneration"] = json!(objects.get(WORKSPACE).await.unwrap().metadata.generation);
        let patch = Patch::Merge(json!({"status": status}));
        objects.patch_status(WORKSPACE, &PatchParams::default(), &patch).await.unwrap();
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.admin.clone(), &self.namespace)
    }

    /// A server that reaches the API server by itself.
    pub async fn server(&self, idle: Duration) -> Server {
        self.server_at(self.node.url(), idle).await
    }

    /// A server whose wire to the API server can be cut.
    pub async fn server_on_the_wire(&self) -> Server {
        self.server_at(self.wire.url(), Duration::from_mins(5)).await
    }

    async fn server_at(&self, url: &str, idle: Duration) -> Server {
        let kubeconfig = self.node.kubeconfig_for_service_account_at(&self.namespace, ACCOUNT, url).await;
        Server::start(client(&kubeconfig).await, &self.namespace, idle).await
    }
}

/// The client that servers have.
async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    cluster::client(config, || {}).unwrap()
}

impl Server {
    async fn start(client: Client, namespace: &str, idle: Duration) -> Self {
        let clock = Arc::new(SystemClock);
        let health = Arc::new(Health::remote(KINDS, clock.clone()));
        let options = KubernetesOptions { idle };
        let workspaces = KubernetesWorkspaces::new(&client, namespace, "agents", Arc::clone(&health), clock, options);
        let (workspaces, stop) = (Arc::new(workspaces), CancellationToken::new());
        let task = tokio::spawn({
            let (workspaces, stop) = (Arc::clone(&workspaces), stop.clone());
            async move { workspaces.run(&stop).await }
        });
        eventually("the first list", || health.is_complete().then_some(())).await;
        let server = Self { workspaces, stop, task, commands: AtomicUsize::new(0) };
        for _ in 0..200 {
            if server.workspaces.get(&ann(), WORKSPACE).await.unwrap().status == Status::Running {
                return server;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the workspace does not run");
    }

    pub async fn agent(&self) -> portcullis_agent::Client {
        self.workspaces.agent(&ann(), WORKSPACE, Purpose::Work).await.unwrap()
    }

    /// Whether the workspace is known to run.
    pub async fn workspaces_agent(&self) -> Result<(), String> {
        let agent = self.workspaces.agent(&ann(), WORKSPACE, Purpose::Work).await;
        agent.map(drop).map_err(|error| error.to_string())
    }

    /// Runs a command line, as a tool does.
    pub async fn run(&self, line: &str) -> Result<CommandResult, AgentError> {
        let id = format!("c{}", self.commands.fetch_add(1, Ordering::Relaxed));
        let command =
            Command { command: line.to_owned(), timeout: Some(Duration::from_secs(30)), ..Command::default() };
        self.agent().await.run(&format!("{:p}-{id}", Arc::as_ptr(&self.workspaces)), &command, None).await
    }

    pub async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(20), self.task).await.expect("it ends").unwrap();
    }
}

pub fn ann() -> Owner {
    Owner { id: "local:ann".to_owned(), name: "ann".to_owned() }
}

pub fn pod() -> String {
    format!("workspace-{WORKSPACE}-0")
}
