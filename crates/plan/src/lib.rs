//! The plan: (resources, observed credentials, facts about the cluster, time, randomness) -> the desired Kubernetes
//! objects, the servers' configuration, and when to plan again.
//!
//! The plan is pure: no I/O, no clock and no randomness of its own. `operator` applies the result; `portcullis dev`
//! writes the same Secrets and ConfigMap to files.

mod admission_policy;
mod autoscaling;
mod backend;
mod client_secret;
mod cors;
mod credentials;
mod deployment;
mod disruption;
mod exposure_rules;
mod http_route;
mod ingress;
mod key_schedule;
mod keys;
mod login;
mod metadata;
mod network_policy;
mod optional;
mod paths;
mod pull_secrets;
mod quantity;
mod rbac;
mod route;
mod server_config;
mod service;
#[cfg(test)]
mod tests;
pub mod workspace;

pub use admission_policy::{DeliveredPolicy, EXEC_POLICY, PolicyProblem, SERVER_WRITES_POLICY};
pub use exposure_rules::{ExposureRules, ExposureRulesError};
use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::core::DynamicObject;
pub use login::LoginProblem;
use metadata::Owner;
pub use network_policy::{Neighbours, Peers};
pub use optional::OptionalKind;
pub use paths::shared_url;
use portcullis_api::{McpEndpoint, OAuthClient};
use portcullis_config::{KeyError, Revision, ServerConfig, SigningKeys, memory::Division};
use portcullis_core::{PublicUrl, public_url::PublicUrlError};
use rand::CryptoRng;
pub use rbac::{EXEC_ROLE, SERVER_ROLE};
pub use route::RouteProblem;
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

pub use portcullis_api::labels::ENDPOINT_LABEL;
/// The label of a client's Secret, with the client's name.
pub const CLIENT_LABEL: &str = "portcullis.dev/client";
/// `app.kubernetes.io/managed-by` of every planned object.
pub const MANAGED_BY: &str = "portcullis";
/// Annotation of a pod: the revision that it should have loaded. A change makes a kubelet refresh the pod's volumes at
/// once.
pub const REVISION_ANNOTATION: &str = "portcullis.dev/revision";
/// Annotation of a client's Secret: when its secret was generated (RFC 3339).
pub const ROTATED_AT_ANNOTATION: &str = "portcullis.dev/rotated-at";
/// Annotation of an `OAuthClient`: a new value requests a rotation of its secret, with the usual overlap. Annotation of
/// an `McpEndpoint`: the same for its keys. Annotation of their Secrets: the last value that was acted on.
pub const ROTATE_ANNOTATION: &str = "portcullis.dev/rotate";
/// Annotation of a client's Secret: the hash of the previous secret, while both are valid.
pub const PREVIOUS_HASH_ANNOTATION: &str = "portcullis.dev/previous-hash";
/// Annotation of a client's Secret: when the previous secret becomes invalid (RFC 3339).
pub const PREVIOUS_EXPIRES_ANNOTATION: &str = "portcullis.dev/previous-expires-at";

/// The maximum length of [`ROTATE_ANNOTATION`] in characters; the rest is ignored.
const LONGEST_REQUEST: usize = 128;

/// Everything that a plan depends on.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The endpoint.
    pub endpoint: &'a McpEndpoint,
    /// The clients whose `endpointRef` names the endpoint, in any order.
    pub clients: &'a [&'a OAuthClient],
    /// The Secrets of the endpoint's namespace with [`ENDPOINT_LABEL`], by name.
    pub secrets: &'a BTreeMap<String, Secret>,
    /// The facts about the cluster.
    pub cluster: &'a ClusterFacts,
    /// The conflict with another endpoint about the host or the URL.
    pub taken: Option<&'a RouteProblem>,
    /// `spec.replicas` of the live Deployment; `None` if it does not exist yet.
    pub replicas: Option<i32>,
    /// The current time.
    pub now: Timestamp,
}

/// Facts about the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterFacts {
    /// The image of the servers, which is that of the operator.
    pub server_image: String,
    /// The Secrets with registry credentials that the servers' pods name, in the namespace of the endpoint.
    pub pull_secrets: BTreeSet<String>,
    /// `spec.controller` of each IngressClass, by name.
    pub ingress_classes: BTreeMap<String, String>,
    /// The IngressClass that is marked as default.
    pub default_ingress_class: Option<String>,
    /// The optional kinds that the cluster serves.
    pub optional: BTreeSet<OptionalKind>,
    /// The Ingress and HTTPRoute settings that endpoints may use.
    pub exposure: ExposureRules,
    /// Why the servers do not get the permission to exec.
    pub exec_problem: Option<PolicyProblem>,
    /// The addresses of the API server; empty if they are unknown.
    pub api_servers: BTreeSet<SocketAddr>,
    /// The pods that may connect to the private port of servers.
    pub neighbours: Neighbours,
}

/// Plans the desired objects of an endpoint.
///
/// The same inputs give the same plan. Randomness is used only for credentials that are missing in `inputs.secrets`, so
/// a plan from the Secrets of a previous plan uses none.
pub fn plan(inputs: &Inputs<'_>, rng: &mut dyn CryptoRng) -> Result<Plan, PlanError> {
    let owner = Owner::of(inputs.endpoint)?;
    let spec = &inputs.endpoint.spec;
    let url: PublicUrl = spec.url.parse().map_err(PlanError::Url)?;
    let controller = backend::Controller::of(spec, inputs.cluster);
    let cors = cors::Cors::decide(spec, &controller, inputs.cluster);
    let backend = backend::Backend::decide(&owner, &url, &controller, inputs.cluster);

    let route = route::Route::decide(&owner, &url, &controller, inputs.cluster, inputs.taken);

    let config =
        server_config::config(&owner, url.clone(), cors.enforcer, deployment::servers(&owner, inputs.replicas))?;
    let config_file = json(&config)?;
    let credentials = credentials::plan(inputs, &owner, &url, rng);
    let clients_file = json(&credentials.verifiers)?;
    let keys = keys::plan(inputs, &owner, rng)?;

    let login = login::plan(inputs);
    let login_file = json(&login.secrets)?;

    let mut objects = Objects(Vec::new());
    for secret in &credentials.secrets {
        objects.0.push(PlannedObject::credentials(&secret.desired, secret.observed, secret.generated)?);
    }
    objects.0.push(keys.secret);
    objects.add([credentials::verifiers_secret(&owner, &clients_file)])?;
    objects.add([login::secret(&owner, &login_file)])?;
    objects.add([server_config::config_map(&owner, &config_file)])?;
    objects.add([deployment::service_account(&owner)])?;
    objects.add([rbac::role_binding(&owner)])?;
    if inputs.cluster.exec_problem.is_none() {
        objects.add([rbac::exec_binding(&owner)])?;
    }
    objects.add(network_policy::network_policy(&owner, inputs.cluster))?;
    objects.add([deployment::deployment(&owner, inputs.cluster)])?;
    objects.add(disruption::disruption_budget(&owner))?;
    objects.add(autoscaling::autoscaler(&owner))?;
    objects.add(backend.transport.as_ref())?;
    objects.add([service::service(&owner, backend.service_annotations())])?;
    objects.add(cors.middleware(&owner))?;
    objects.add(ingress::ingress(&owner, &url, &controller, &cors, &backend, &route))?;
    objects.add(http_route::http_route(&owner, &url, inputs.cluster, &cors, &route))?;

    let memory = deployment::memory(&owner);
    Ok(Plan {
        limits_problem: memory.and_then(|memory| Division::of(&config.limits, memory).problem()),
        config,
        revision: Revision::of(config_file.as_bytes(), clients_file.as_bytes(), &keys.file, login_file.as_bytes()),
        signing_keys: keys.keys,
        key_changes: keys.changes,
        keys_rotated_for: keys.rotated_for,
        objects: objects.0,
        next_change: credentials.next_change().into_iter().chain(keys.next_change).min(),
        clients: credentials.plans,
        login_problems: login.problems,
        cors_enforcer: cors.enforcer,
        cors_note: cors.note,
        backend_note: backend.note,
        route_problem: route.problem,
        annotations_note: route.refused,
    })
}

/// The significant part of [`ROTATE_ANNOTATION`].
fn rotation_request(metadata: &ObjectMeta) -> Option<String> {
    let value = metadata.annotations.as_ref()?.get(ROTATE_ANNOTATION)?;
    Some(value.chars().take(LONGEST_REQUEST).collect())
}

/// The planned objects, in the order of application.
struct Objects(Vec<PlannedObject>);

impl Objects {
    fn add<K: Serialize>(&mut self, objects: impl IntoIterator<Item = K>) -> Result<(), PlanError> {
        for object in objects {
            self.0.push(PlannedObject::derived(&object)?);
        }
        Ok(())
    }
}

/// The content of a mounted file: indented JSON.
fn json<T: Serialize>(content: &T) -> Result<String, PlanError> {
    let mut text = serde_json::to_string_pretty(content)?;
    text.push('\n');
    Ok(text)
}

/// Why a plan could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The resource has no name.
    #[error("an McpEndpoint has no metadata.name; give it one")]
    EndpointNameMissing,
    /// `spec.url` is invalid.
    #[error("spec.url of the McpEndpoint cannot be used")]
    Url(#[source] PublicUrlError),
    /// A network is not a valid CIDR block.
    #[error(
        "{field} of the McpEndpoint: {value:?} is not a valid CIDR block; for example 10.0.0.0/8 or 2607:6bc0::/48"
    )]
    Network {
        /// The field.
        field: &'static str,
        /// The value.
        value: String,
        /// Why it is invalid.
        source: ipnet::AddrParseError,
    },
    /// A Secret that the endpoint does not own has a name that the endpoint needs.
    #[error("Secret {secret:?}, which the McpEndpoint needs, belongs to something else; rename or delete that Secret")]
    NameTaken {
        /// The Secret's name.
        secret: String,
    },
    /// A signing key could not be generated.
    #[error("the endpoint's signing key could not be generated")]
    SigningKey(#[from] KeyError),
    /// An object or a file could not be serialized to JSON.
    #[error("a planned object could not be written as JSON")]
    Json(#[from] serde_json::Error),
}

/// The result of a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The servers' configuration.
    pub config: ServerConfig,
    /// The revision of the planned files.
    pub revision: Revision,
    /// The servers' signing keys.
    pub signing_keys: SigningKeys,
    /// The changes of the keys, for Events.
    pub key_changes: Vec<KeyChange>,
    /// The last value of [`ROTATE_ANNOTATION`] on the endpoint that was acted on.
    pub keys_rotated_for: Option<String>,
    /// The desired objects, in the order of application: credentials first, routes last.
    pub objects: Vec<PlannedObject>,
    /// One per client, sorted by name.
    pub clients: Vec<ClientPlan>,
    /// The problems of logins.
    pub login_problems: Vec<LoginProblem>,
    /// The component that answers CORS.
    pub cors_enforcer: CorsEnforcer,
    /// A sentence for the status if the component is an unexpected one.
    pub cors_note: Option<String>,
    /// A sentence for the status about the TLS configuration of the proxy in front of the servers.
    pub backend_note: Option<String>,
    /// Why there is no Ingress or HTTPRoute.
    pub route_problem: Option<RouteProblem>,
    /// A sentence for the status about omitted annotations.
    pub annotations_note: Option<String>,
    /// Why the limits do not fit the memory limit of the servers, and which values to change.
    pub limits_problem: Option<String>,
    /// When the plan changes without new inputs: the next rotation of a client's secret or of keys, or the end of an
    /// overlap.
    pub next_change: Option<Timestamp>,
}

/// One desired object: only the fields that the plan owns, for server-side apply.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedObject {
    /// The object with `apiVersion`, `kind`, name, namespace, labels and an owner reference.
    pub object: DynamicObject,
    /// The `resourceVersion` of the observed credentials that the plan keeps or replaces: the write must be conditional
    /// on it. `None` with `generated`: the write must fail if the object exists.
    pub replaces: Option<String>,
    /// Whether the content is newly generated: the writer must check with a live read that no credentials are lost.
    pub generated: bool,
}

/// The plan of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientPlan {
    /// The name of the OAuthClient.
    pub name: String,
    /// The `client_id`.
    pub client_id: String,
    /// The Secret with its credentials; `None` for a public client.
    pub secret_name: Option<String>,
    /// When its secret was generated.
    pub rotated_at: Option<Timestamp>,
    /// When its secret will be replaced.
    pub next_rotation: Option<Timestamp>,
    /// The last value of [`ROTATE_ANNOTATION`] on the client that was acted on.
    pub rotated_for: Option<String>,
    /// Why it cannot obtain tokens.
    pub problem: Option<ClientProblem>,
    /// The change of its Secret, for an Event.
    pub change: Option<CredentialChange>,
}

/// Why a client cannot obtain tokens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientProblem {
    /// `existingSecret` does not exist, or lacks the label.
    #[error(
        "Secret {secret:?} was not found with the label portcullis.dev/endpoint={endpoint}; create it, or add the label to it"
    )]
    SecretNotFound {
        /// The Secret's name.
        secret: String,
        /// The endpoint's name.
        endpoint: String,
    },
    /// `existingSecret` lacks the key, or its value is empty.
    #[error(
        "Secret {secret:?} has no text under the key {key:?}; add the client secret there, or name another key in spec.existingSecret.key"
    )]
    SecretKeyMissing {
        /// The Secret's name.
        secret: String,
        /// The key.
        key: String,
    },
    /// The secret in `existingSecret` is too short: it could be guessed.
    #[error(
        "the client secret in Secret {secret:?} is shorter than 32 characters; use a longer random one, such as from `openssl rand -base64 32`"
    )]
    SecretTooShort {
        /// The Secret's name.
        secret: String,
    },
    /// The endpoint has an external issuer.
    #[error(
        "tokens for this endpoint come from {issuer} (spec.externalIssuer of the McpEndpoint); register the client there, and delete this OAuthClient"
    )]
    ExternalIssuer {
        /// The authorization server.
        issuer: String,
    },
    /// A Secret of another owner has the name of the client's Secret.
    #[error("Secret {secret:?} belongs to something else; give spec.secret.name another name")]
    SecretNameTaken {
        /// The Secret's name.
        secret: String,
    },
}

/// A change of a client's Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialChange {
    /// The first secret was generated.
    Created,
    /// The secret was rotated, on schedule or on request.
    Rotated,
    /// The Secret was damaged; its old content is no longer valid.
    Healed,
}

/// A change of the endpoint's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyChange {
    /// The first keys were generated.
    Created,
    /// Damaged keys were removed, and new ones generated if none was left.
    Healed,
    /// The next signing key is published.
    Published,
    /// The published key signs now; the previous one is kept until its last token has expired.
    Rotated,
}

/// The component that answers preflights and adds the CORS headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CorsEnforcer {
    /// The endpoint's servers.
    Server,
    /// Traefik, by a Middleware.
    Traefik,
    /// A controller that reads ingress-nginx's annotations.
    IngressNginx,
    /// A Gateway, by the filter of its HTTPRoute.
    Gateway,
}
