//! The objects of an endpoint, as the operator, the kubelet and controllers would leave them.

use crate::support::{controlplane::ControlPlane, operator::eventually};
use http::{Method, Request};
use kube::Client;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use serde_json::{Value, json};

pub const INGRESS_CLASS: &str = r"
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: doctor-edge}
spec: {controller: example.com/edge}
";

/// The API of Portcullis, and that of Ingresses.
const GROUP: &str = "/apis/portcullis.dev/v1alpha1";
const NETWORKING: &str = "/apis/networking.k8s.io/v1";

/// An object to create: API, kind and content.
pub type Creation = (&'static str, &'static str, Value);

/// An endpoint and its surroundings. A test changes them before they are created.
pub struct Objects {
    pub host: String,
    pub endpoint: Value,
    /// Its conditions; `None`: the operator has not seen it.
    pub conditions: Option<Vec<Value>>,
    pub secrets: Vec<Value>,
    pub deployment: Option<Value>,
    /// The status of the pod.
    pub pod: Option<Value>,
    pub service: Option<Value>,
    /// Whether the Service leads to the pod.
    pub slice: bool,
    pub ingress: Option<Value>,
    /// Whether the Ingress has an address.
    pub address: bool,
    /// What else is created, before the rest.
    pub first: Vec<Creation>,
}

pub fn labels() -> Value {
    json!({"app.kubernetes.io/name": "portcullis", "app.kubernetes.io/instance": "agents",
        "app.kubernetes.io/component": "server", "portcullis.dev/endpoint": "agents"})
}

pub fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z"})
}

/// The status of a pod whose container is in this state.
pub fn container(state: &Value, last: &Value) -> Value {
    json!({"phase": "Pending", "containerStatuses": [{"name": "server", "image": "example.com/portcullis", "imageID": "",
        "state": state, "lastState": last, "restartCount": 4, "ready": false}]})
}

/// The same, for a container that waits.
pub fn waiting(reason: &str, message: &str) -> Value {
    container(&json!({"waiting": {"reason": reason, "message": message}}), &json!({}))
}

/// A Deployment that creates no pods, because it is paused.
pub fn deployment(labels: &Value) -> Value {
    json!({"metadata": {"name": "agents"}, "spec": {"replicas": 1, "paused": true, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": pod_spec()}}})
}

fn pod_spec() -> Value {
    json!({"containers": [{"name": "server", "image": "example.com/portcullis"}]})
}

impl Objects {
    fn healthy(host: &str) -> Self {
        let rule = json!({"host": host, "http": {"paths": [{"path": "/mcp", "pathType": "Exact",
            "backend": {"service": {"name": "agents", "port": {"number": 80}}}}]}});
        Self {
            host: host.to_owned(),
            endpoint: json!({"apiVersion": "portcullis.dev/v1alpha1", "kind": "McpEndpoint",
            "metadata": {"name": "agents"}, "spec": {
                "url": format!("https://{host}/mcp"),
                "login": [{"name": "local", "passwords": {"secretRef": {"name": "people"}}}],
                "exposure": {"ingress": {"className": "doctor-edge"}},
            }}),
            conditions: Some(vec![condition("Ready", "True", "Ready", "agents connect")]),
            secrets: vec![json!({"metadata": {"name": "people", "labels": {"portcullis.dev/endpoint": "agents"}},
                "stringData": {"htpasswd": "ann:x"}})],
            deployment: Some(deployment(&labels())),
            pod: Some(json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})),
            service: Some(json!({"metadata": {"name": "agents"},
                "spec": {"selector": labels(), "ports": [{"name": "http", "port": 80}]}})),
            slice: true,
            ingress: Some(json!({"metadata": {"name": "agents"},
                "spec": {"ingressClassName": "doctor-edge", "rules": [rule]}})),
            address: true,
            first: Vec::new(),
        }
    }

    /// Replaces the conditions by one that is false.
    pub fn condition(&mut self, kind: &str, reason: &str, message: &str) {
        self.conditions =
            Some(vec![condition("Ready", "False", reason, message), condition(kind, "False", reason, message)]);
    }

    /// TLS with the Secret `cert`: a certificate for a host, until the begin of a year.
    pub fn tls(&mut self, certificate: Option<(&str, i32)>) {
        self.endpoint["spec"]["exposure"]["ingress"]["tls"] = json!({"secretName": "cert"});
        if let Some((host, year)) = certificate {
            let mut parameters = CertificateParams::new(vec![host.to_owned()]).unwrap();
            parameters.not_before = date_time_ymd(2019, 1, 1);
            parameters.not_after = date_time_ymd(year, 1, 1);
            let key = KeyPair::generate().unwrap();
            let data = json!({"tls.crt": parameters.self_signed(&key).unwrap().pem(), "tls.key": key.serialize_pem()});
            self.secrets.push(json!({"metadata": {"name": "cert"}, "type": "kubernetes.io/tls", "stringData": data}));
        }
    }
}

/// A namespace with one endpoint.
pub struct Stage {
    client: Client,
    pub namespace: String,
}

impl Stage {
    pub async fn new(plane: &ControlPlane) -> Self {
        Self { client: plane.client().await, namespace: plane.create_namespace("doctor").await }
    }

    /// As `--endpoint` names it.
    pub fn endpoint(&self) -> String {
        format!("{}/agents", self.namespace)
    }

    pub fn url(&self) -> String {
        format!("https://{}.invalid/mcp", self.namespace)
    }

    fn path(&self, api: &str, kind: &str) -> String {
        format!("{api}/namespaces/{}/{kind}", self.namespace)
    }

    async fn get(&self, api: &str, object: &str) -> Option<Value> {
        let request = Request::get(self.path(api, object)).body(Vec::new()).unwrap();
        self.client.request(request).await.ok()
    }

    async fn try_post(&self, api: &str, kind: &str, object: &Value) -> Result<Value, kube::Error> {
        let request = Request::builder().method(Method::POST).uri(self.path(api, kind));
        let request = request.header("content-type", "application/json").body(object.to_string().into_bytes()).unwrap();
        self.client.request(request).await
    }

    pub async fn post(&self, api: &str, kind: &str, object: &Value) {
        self.try_post(api, kind, object).await.unwrap_or_else(|error| panic!("{object}: {error}"));
    }

    pub async fn patch_status(&self, api: &str, object: &str, status: &Value) {
        let request = Request::builder().method(Method::PATCH).uri(self.path(api, &format!("{object}/status")));
        let request = request.header("content-type", "application/merge-patch+json");
        let request = request.body(json!({"status": status}).to_string().into_bytes()).unwrap();
        self.client.request::<Value>(request).await.unwrap_or_else(|error| panic!("{object}: {error}"));
    }

    /// A pod with this status.
    pub async fn pod(&self, labels: &Value, status: &Value) {
        let pod = json!({"metadata": {"name": "agents-1", "labels": labels}, "spec": pod_spec()});
        // The service account of the namespace comes a moment later than the namespace.
        eventually("a pod can be created", async || self.try_post("/api/v1", "pods", &pod).await.ok()).await;
        self.patch_status("/api/v1", "pods/agents-1", status).await;
    }

    /// Creates a healthy endpoint with this change.
    pub async fn create(&self, change: impl FnOnce(&mut Objects)) {
        let mut objects = Objects::healthy(&format!("{}.invalid", self.namespace));
        change(&mut objects);
        for (api, kind, object) in &objects.first {
            self.post(api, kind, object).await;
        }
        // Until controllers have seen them, pods are refused for other reasons than the test's.
        let quotas = objects.first.iter().any(|(_, kind, _)| *kind == "resourcequotas");
        eventually("the namespace is ready", async || {
            self.get("/api/v1", "serviceaccounts/default").await?;
            if quotas {
                self.get("/api/v1", "resourcequotas/none").await?["status"]["hard"].as_object()?;
            }
            Some(())
        })
        .await;
        for secret in &objects.secrets {
            self.post("/api/v1", "secrets", secret).await;
        }
        self.post(GROUP, "mcpendpoints", &objects.endpoint).await;
        if let Some(conditions) = &objects.conditions {
            let status = json!({"observedGeneration": 1, "conditions": conditions});
            self.patch_status(GROUP, "mcpendpoints/agents", &status).await;
        }
        if let Some(deployment) = &objects.deployment {
            self.post("/apis/apps/v1", "deployments", deployment).await;
        }
        if let Some(status) = &objects.pod {
            self.pod(&labels(), status).await;
        }
        if let Some(service) = &objects.service {
            self.post("/api/v1", "services", service).await;
        }
        if objects.slice {
            let slice = json!({"metadata": {"name": "agents-own", "labels": {"kubernetes.io/service-name": "agents"}},
                "addressType": "IPv4", "endpoints": [{"addresses": ["10.1.0.9"], "conditions": {"ready": true}}],
                "ports": [{"name": "http", "port": 8080}]});
            self.post("/apis/discovery.k8s.io/v1", "endpointslices", &slice).await;
        }
        if let Some(ingress) = &objects.ingress {
            self.post(NETWORKING, "ingresses", ingress).await;
            if objects.address {
                let status = json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.5"}]}});
                self.patch_status(NETWORKING, "ingresses/agents", &status).await;
            }
        }
    }

    /// Waits until the Deployment reports that its pods are refused.
    pub async fn replica_failure(&self) {
        eventually("the pods are refused", async || {
            let deployment = self.get("/apis/apps/v1", "deployments/agents").await?;
            let conditions = deployment["status"]["conditions"].as_array()?;
            conditions.iter().any(|one| one["type"] == "ReplicaFailure" && one["status"] == "True").then_some(())
        })
        .await;
    }
}
