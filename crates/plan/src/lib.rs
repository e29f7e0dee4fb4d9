//! The plan: (resources, observed credentials, facts about the cluster, time, randomness) -> the Kubernetes objects
//! that should exist, the servers' configuration, and when to look again.
//!
//! Pure: no I/O, no clock and no randomness of its own. `operator` applies what comes out; `portcullis dev` lays the
//! same Secrets and ConfigMap out as files.

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
/// On a pod: the revision that it should have loaded. Changing it makes a kubelet refresh the pod's volumes at once.
pub const REVISION_ANNOTATION: &str = "portcullis.dev/revision";
/// On a client's Secret: when its secret was made (RFC 3339).
pub const ROTATED_AT_ANNOTATION: &str = "portcullis.dev/rotated-at";
/// On an `OAuthClient`: another value than before has its secret replaced, with the overlap of a scheduled rotation. On an
/// `McpEndpoint`: the same of its keys. On their Secrets: the value that was acted on last.
pub const ROTATE_ANNOTATION: &str = "portcullis.dev/rotate";
/// On a client's Secret: the hash of the secret before, while both count.
pub const PREVIOUS_HASH_ANNOTATION: &str = "portcullis.dev/previous-hash";
/// On a client's Secret: when the secret before stops counting (RFC 3339).
pub const PREVIOUS_EXPIRES_ANNOTATION: &str = "portcullis.dev/previous-expires-at";

/// How many characters of [`ROTATE_ANNOTATION`] count.
const LONGEST_REQUEST: usize = 128;

/// Everything that a plan depends on.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// The endpoint.
    pub endpoint: &'a McpEndpoint,
    /// The clients whose `endpointRef` names it, in any order.
    pub clients: &'a [&'a OAuthClient],
    /// The Secrets of its namespace that carry [`ENDPOINT_LABEL`], by name.
    pub secrets: &'a BTreeMap<String, Secret>,
    /// What the cluster offers.
    pub cluster: &'a ClusterFacts,
    /// What of its routes another endpoint has.
    pub taken: Option<&'a RouteProblem>,
    /// How many servers the live Deployment wants; `None`: there is none yet.
    pub replicas: Option<i32>,
    /// The time now.
    pub now: Timestamp,
}

/// What the operator knows of the cluster that it runs in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClusterFacts {
    /// The image of the servers: the operator's own.
    pub server_image: String,
    /// IngressClass name -> its `spec.controller`.
    pub ingress_classes: BTreeMap<String, String>,
    /// The IngressClass that is marked as default.
    pub default_ingress_class: Option<String>,
    /// Which of the kinds that others bring are served.
    pub optional: BTreeSet<OptionalKind>,
    /// What endpoints may ask for of Ingresses and HTTPRoutes.
    pub exposure: ExposureRules,
    /// Why the servers may not exec, if they may not.
    pub exec_problem: Option<PolicyProblem>,
    /// Where the API server is; none: that is not known.
    pub api_servers: BTreeSet<SocketAddr>,
    /// Which pods may connect to the private port of servers.
    pub neighbours: Neighbours,
}

/// Plans what should exist for an endpoint.
///
/// The same inputs give the same plan. Randomness is used only for credentials that `inputs.secrets` has not got: fed
/// with the Secrets of its own plan, it needs none.
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
    objects.add([deployment::deployment(&owner, &inputs.cluster.server_image)])?;
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

/// What somebody wrote as [`ROTATE_ANNOTATION`], as far as it is told apart from other values.
fn rotation_request(metadata: &ObjectMeta) -> Option<String> {
    let value = metadata.annotations.as_ref()?.get(ROTATE_ANNOTATION)?;
    Some(value.chars().take(LONGEST_REQUEST).collect())
}

/// In the order in which to apply them.
struct Objects(Vec<PlannedObject>);

impl Objects {
    fn add<K: Serialize>(&mut self, objects: impl IntoIterator<Item = K>) -> Result<(), PlanError> {
        for object in objects {
            self.0.push(PlannedObject::derived(&object)?);
        }
        Ok(())
    }
}

/// A mounted file: for machines, but a person may look at it too.
fn json<T: Serialize>(content: &T) -> Result<String, PlanError> {
    let mut text = serde_json::to_string_pretty(content)?;
    text.push('\n');
    Ok(text)
}

/// Why nothing can be planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The resource has no name.
    #[error("an McpEndpoint has no metadata.name; give it one")]
    EndpointNameMissing,
    /// The URL cannot be used.
    #[error("spec.url of the McpEndpoint cannot be used")]
    Url(#[source] PublicUrlError),
    /// A network cannot be read.
    #[error(
        "{field} of the McpEndpoint: {value:?} is not a valid CIDR block; for example 10.0.0.0/8 or 2607:6bc0::/48"
    )]
    Network {
        /// The field that holds it.
        field: &'static str,
        /// What it says.
        value: String,
        /// Why it is none.
        source: ipnet::AddrParseError,
    },
    /// A Secret's name that the endpoint needs is in use.
    #[error("Secret {secret:?}, which the McpEndpoint needs, belongs to something else; rename or delete that Secret")]
    NameTaken {
        /// The Secret's name.
        secret: String,
    },
    /// No signing key could be made.
    #[error("the endpoint's signing key could not be made")]
    SigningKey(#[from] KeyError),
    /// An object or a file could not be written as JSON.
    #[error("a planned object could not be written as JSON")]
    Json(#[from] serde_json::Error),
}

/// What should exist.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The servers' configuration.
    pub config: ServerConfig,
    /// What a server reports once it has loaded the planned files.
    pub revision: Revision,
    /// The servers' signing keys.
    pub signing_keys: SigningKeys,
    /// What this plan did to them, worth Events.
    pub key_changes: Vec<KeyChange>,
    /// The value of [`ROTATE_ANNOTATION`] on the endpoint that was acted on last.
    pub keys_rotated_for: Option<String>,
    /// Every object that should exist, in the order in which to apply them: credentials first, routes last.
    pub objects: Vec<PlannedObject>,
    /// One per client, sorted by name.
    pub clients: Vec<ClientPlan>,
    /// What keeps a login of the manifest from being offered.
    pub login_problems: Vec<LoginProblem>,
    /// Who speaks CORS.
    pub cors_enforcer: CorsEnforcer,
    /// Why it is not who the manifest might lead one to expect; a sentence for the status.
    pub cors_note: Option<String>,
    /// What whoever stands in front of servers that speak TLS does not do by itself; a sentence for the status.
    pub backend_note: Option<String>,
    /// Why there is no Ingress or HTTPRoute.
    pub route_problem: Option<RouteProblem>,
    /// Which annotations were left out; a sentence for the status.
    pub annotations_note: Option<String>,
    /// Why the limits do not fit the memory limit of the servers, and which values to change.
    pub limits_problem: Option<String>,
    /// When the plan changes by itself next: a rotation, of a client's secret or of keys, or the end of an overlap.
    pub next_change: Option<Timestamp>,
}

/// One desired object: only the fields that the plan owns, for server-side apply.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedObject {
    /// With `apiVersion`, `kind`, name, namespace, labels and an owner reference.
    pub object: DynamicObject,
    /// Set where the plan keeps or replaces credentials that were observed: if there is anything to write, write it
    /// only if the live object still has this `resourceVersion`, and, if `None` with `generated`, only if there is none.
    pub replaces: Option<String>,
    /// Whether this plan made up new random content: the writer must make sure by a live read that nothing is lost.
    pub generated: bool,
}

/// What the plan says about one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientPlan {
    /// The name of the OAuthClient.
    pub name: String,
    /// What it presents as `client_id`.
    pub client_id: String,
    /// The Secret with its credentials; `None` for a public client.
    pub secret_name: Option<String>,
    /// When its secret was made.
    pub rotated_at: Option<Timestamp>,
    /// When its secret will be replaced.
    pub next_rotation: Option<Timestamp>,
    /// The value of [`ROTATE_ANNOTATION`] on the client that was acted on last.
    pub rotated_for: Option<String>,
    /// Why it cannot obtain tokens.
    pub problem: Option<ClientProblem>,
    /// What this plan did to its Secret, worth an Event.
    pub change: Option<CredentialChange>,
}

/// Why a client cannot obtain tokens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientProblem {
    /// Its `existingSecret` is not there, or lacks the label.
    #[error(
        "Secret {secret:?} was not found with the label portcullis.dev/endpoint={endpoint}; create it, or add the label to it"
    )]
    SecretNotFound {
        /// The Secret's name.
        secret: String,
        /// The endpoint's name.
        endpoint: String,
    },
    /// Its `existingSecret` has no such key, or no text under it.
    #[error(
        "Secret {secret:?} has no text under the key {key:?}; add the client secret there, or name another key in spec.existingSecret.key"
    )]
    SecretKeyMissing {
        /// The Secret's name.
        secret: String,
        /// The key.
        key: String,
    },
    /// Its `existingSecret` could be guessed.
    #[error(
        "the client secret in Secret {secret:?} is shorter than 32 characters; use a longer random one, such as from `openssl rand -base64 32`"
    )]
    SecretTooShort {
        /// The Secret's name.
        secret: String,
    },
    /// Tokens for the endpoint come from elsewhere.
    #[error(
        "tokens for this endpoint come from {issuer} (spec.externalIssuer of the McpEndpoint); register the client there, and delete this OAuthClient"
    )]
    ExternalIssuer {
        /// The authorization server.
        issuer: String,
    },
    /// Its Secret's name is taken by an object that is not its own.
    #[error("Secret {secret:?} belongs to something else; give spec.secret.name another name")]
    SecretNameTaken {
        /// The Secret's name.
        secret: String,
    },
}

/// What a plan did to a client's Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialChange {
    /// The first secret.
    Created,
    /// It was time by the schedule, or somebody asked for it.
    Rotated,
    /// The Secret was damaged; what was left of it no longer counts.
    Healed,
}

/// What a plan did to the endpoint's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyChange {
    /// The first ones.
    Created,
    /// Damaged ones were removed, and new ones made where none was left.
    Healed,
    /// The key that will sign next is published.
    Published,
    /// It signs now; the one before is kept until its last token has expired.
    Rotated,
}

/// Who answers preflights and adds the CORS headers.
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
