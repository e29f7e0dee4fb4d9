//! Tests of the plan with resources, observed Secrets and time.

mod credentials;
mod edge;
mod keys;
mod login;
mod network;
mod properties;
mod snapshots;

use crate::{
    ClusterFacts, Inputs, Neighbours, OptionalKind, Peers, Plan, PlanError, PlannedObject, RouteProblem, plan,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use portcullis_api::{McpEndpoint, OAuthClient};
use portcullis_config::{CLIENTS_FILE, Clients};
use rand::{CryptoRng, SeedableRng as _, TryCryptoRng, TryRng, rngs::StdRng};
use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
};

/// The inputs of a plan, which a test changes between plans.
struct PlanScenario {
    endpoint: McpEndpoint,
    clients: Vec<OAuthClient>,
    secrets: BTreeMap<String, Secret>,
    cluster: ClusterFacts,
    taken: Option<RouteProblem>,
    replicas: Option<i32>,
    now: Timestamp,
    rng: StdRng,
}

impl PlanScenario {
    /// The endpoint `agents` in the namespace `dev`, in a cluster with Traefik.
    fn new(spec: &str) -> Self {
        let manifest = format!(
            "apiVersion: portcullis.dev/v1alpha1\nkind: McpEndpoint\n\
             metadata: {{name: agents, namespace: dev, uid: endpoint-uid}}\nspec:\n{}",
            indented(spec)
        );
        Self {
            endpoint: serde_saphyr::from_str(&manifest).unwrap(),
            clients: Vec::new(),
            secrets: BTreeMap::new(),
            cluster: ClusterFacts {
                server_image: "ghcr.io/portcullis-dev/portcullis:1.2.3".to_owned(),
                pull_secrets: BTreeSet::new(),
                ingress_classes: [
                    ("traefik", "traefik.io/ingress-controller"),
                    ("nginx", "k8s.io/ingress-nginx"),
                    ("haproxy", "haproxy.org/ingress-controller/haproxy"),
                ]
                .map(|(class, controller)| (class.to_owned(), controller.to_owned()))
                .into(),
                default_ingress_class: Some("traefik".to_owned()),
                optional: OptionalKind::ALL.into(),
                exposure: r#"{"annotations": ["*"]}"#.parse().unwrap(),
                exec_problem: None,
                api_servers: ["203.0.113.1:6443".parse().unwrap(), "203.0.113.2:6443".parse().unwrap()].into(),
                neighbours: Neighbours {
                    monitoring: "[{\"namespaceSelector\": {\"matchLabels\": {\"kubernetes.io/metadata.name\": \"monitoring\"}}}]"
                        .parse::<Peers>()
                        .unwrap()
                        .0,
                    ..Neighbours::of_operator(
                        "portcullis-system",
                        [("app.kubernetes.io/component".to_owned(), "operator".to_owned())].into(),
                    )
                },
            },
            taken: None,
            replicas: None,
            now: "2026-03-01T10:00:00.25Z".parse().unwrap(),
            rng: StdRng::seed_from_u64(7),
        }
    }

    fn plain() -> Self {
        Self::new("url: https://mcp.example.com/mcp")
    }

    fn with_client(mut self, name: &str, spec: &str) -> Self {
        let manifest = format!(
            "apiVersion: portcullis.dev/v1alpha1\nkind: OAuthClient\n\
             metadata: {{name: {name}, namespace: dev, uid: {name}-uid}}\nspec:\n  endpointRef: {{name: agents}}\n{}",
            indented(spec)
        );
        self.clients.push(serde_saphyr::from_str(&manifest).unwrap());
        self
    }

    /// Removes namespace and uid, as in manifests that `portcullis dev` reads.
    fn without_cluster(mut self) -> Self {
        let metadata = self.clients.iter_mut().map(|client| &mut client.metadata);
        for metadata in metadata.chain([&mut self.endpoint.metadata]) {
            metadata.uid = None;
            metadata.namespace = None;
        }
        self
    }

    fn at(&mut self, time: &str) {
        self.now = time.parse().unwrap();
    }

    fn try_plan(&mut self) -> Result<Plan, PlanError> {
        let mut rng = StdRng::from_rng(&mut self.rng);
        self.plan_with(&mut rng)
    }

    fn plan_with(&self, rng: &mut dyn CryptoRng) -> Result<Plan, PlanError> {
        let clients: Vec<&OAuthClient> = self.clients.iter().collect();
        plan(
            &Inputs {
                endpoint: &self.endpoint,
                clients: &clients,
                secrets: &self.secrets,
                cluster: &self.cluster,
                taken: self.taken.as_ref(),
                replicas: self.replicas,
                now: self.now,
            },
            rng,
        )
    }

    fn plan(&mut self) -> Plan {
        self.try_plan().unwrap()
    }

    /// Plans, and makes the planned Secrets the observed ones.
    fn apply(&mut self) -> Plan {
        let plan = self.plan();
        let secrets = plan.objects.iter().filter(|planned| planned.kind() == "Secret");
        self.secrets = secrets
            .map(|planned| {
                let mut secret: Secret = typed(planned);
                secret.metadata.resource_version = Some(format!("{}", self.now.as_second()));
                (secret.name_any(), secret)
            })
            .collect();
        plan
    }

    fn secret(&mut self, name: &str) -> &mut Secret {
        self.secrets.get_mut(name).unwrap()
    }

    /// The value of a key of an observed Secret.
    fn text(&self, name: &str, key: &str) -> String {
        String::from_utf8(self.secrets[name].data.as_ref().unwrap()[key].0.clone()).unwrap()
    }
}

/// The planned object of this kind and name.
fn find<'a>(plan: &'a Plan, kind: &str, name: &str) -> &'a PlannedObject {
    let matches = |planned: &&PlannedObject| planned.kind() == kind && planned.name() == name;
    plan.objects.iter().find(matches).unwrap_or_else(|| panic!("{kind} {name} is not planned"))
}

fn typed<K: serde::de::DeserializeOwned>(planned: &PlannedObject) -> K {
    serde_json::from_value(serde_json::to_value(&planned.object).unwrap()).unwrap()
}

/// The planned verifiers of clients.
fn verifiers(plan: &Plan) -> Clients {
    let secret: Secret = typed(find(plan, "Secret", "agents-clients"));
    serde_json::from_slice(&secret.data.unwrap()[CLIENTS_FILE].0).unwrap()
}

fn indented(text: &str) -> String {
    text.lines().flat_map(|line| ["  ", line, "\n"]).collect()
}

/// A generator for plans that must not use randomness.
struct NoRandomness;

impl TryRng for NoRandomness {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        panic!("randomness was used")
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        panic!("randomness was used")
    }
    fn try_fill_bytes(&mut self, _: &mut [u8]) -> Result<(), Infallible> {
        panic!("randomness was used")
    }
}

impl TryCryptoRng for NoRandomness {}
