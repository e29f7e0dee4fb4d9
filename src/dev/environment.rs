//! One endpoint on this machine: plans it from manifests, and writes the plan's Secrets and mounted files.

use super::{
    manifests::{ManifestErrors, Manifests, Source, load},
    served::{ignored, open_to_clients, served_locally},
    store::{Store, StoreError},
    user::{self, LocalUser, LocalUserError},
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{ResourceExt as _, core::dynamic::ParseDynamicObjectError};
use portcullis_api::{McpEndpoint, OAuthClient, OAuthUser, WorkspaceTemplate};
use portcullis_config::{CLIENTS_FILE, CONFIG_FILE, KEYS_FILE, LOGIN_FILE};
use portcullis_core::public_url::PublicUrlError;
use portcullis_plan::{self, ClusterFacts, ENDPOINT_LABEL, Plan, PlanError};
use rand::rngs::StdRng;
use std::collections::{BTreeMap, BTreeSet};

/// Why an endpoint could not be planned, or its files could not be written.
#[derive(Debug, thiserror::Error)]
pub enum DevEnvironmentError {
    /// The manifests are invalid.
    #[error(transparent)]
    Manifests(#[from] ManifestErrors),
    /// The manifests have no endpoint.
    #[error("the manifests have no McpEndpoint; add one, such as that of examples/quickstart.yaml")]
    NoEndpoint,
    /// The manifests have several endpoints, and `--endpoint` is missing.
    #[error("the manifests have several McpEndpoints: {}; select one with --endpoint", .0.join(", "))]
    SeveralEndpoints(Vec<String>),
    /// The manifests have no endpoint with the given name.
    #[error("there is no McpEndpoint {name:?} in the manifests; they have {}", .known.join(", "))]
    UnknownEndpoint {
        /// The given name.
        name: String,
        /// The existing endpoints.
        known: Vec<String>,
    },
    /// The endpoint's URL is invalid.
    #[error("spec.url of the McpEndpoint cannot be used")]
    Url(#[from] PublicUrlError),
    /// The plan failed.
    #[error("the endpoint could not be planned")]
    Plan(#[from] PlanError),
    /// A planned object does not match its kind.
    #[error("a planned object could not be parsed")]
    Object(#[from] ParseDynamicObjectError),
    /// The state directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The local user could not be created.
    #[error(transparent)]
    LocalUser(#[from] LocalUserError),
}

/// The endpoint, its manifests, and its state directory.
#[derive(Debug)]
pub(super) struct DevEnvironment {
    /// The sources of the manifests.
    pub sources: Vec<Source>,
    /// The endpoint to serve, if there are several: its name, or its namespace and name.
    pub endpoint: Option<String>,
    /// Scheme, host and port of the listener.
    pub origin: String,
    /// The state directory.
    pub store: Store,
    /// The name of the local user.
    pub user: String,
    /// The generator for new credentials.
    pub rng: StdRng,
}

/// The result of a plan, for the server, the workspaces and the output.
#[derive(Debug)]
pub(super) struct PlannedEndpoint {
    /// The endpoint with the local changes of [`served_locally`].
    pub endpoint: McpEndpoint,
    /// The fields of its manifest that have no effect here.
    pub ignored: Vec<&'static str>,
    /// Whether every client may join, since the manifest has no `spec.clients`.
    pub is_open: bool,
    /// Its clients.
    pub clients: Vec<OAuthClient>,
    /// The user rules.
    pub users: Vec<OAuthUser>,
    /// The templates for workspaces.
    pub templates: Vec<WorkspaceTemplate>,
    /// The Secrets of the manifests, which a template's environment may name.
    pub secrets: Vec<Secret>,
    /// The plan.
    pub plan: Plan,
    /// The local user, if the manifest has no login.
    pub local_user: Option<LocalUser>,
    /// Whether the mounted files changed.
    pub changed: bool,
}

impl DevEnvironment {
    /// Reads the manifests. Blocks.
    pub(super) fn read(&self) -> Result<Manifests, DevEnvironmentError> {
        Ok(load(&self.sources, self.store.root())?)
    }

    /// Plans the endpoint, and writes the files of the plan. Blocks.
    pub(super) fn apply(
        &mut self,
        manifests: &Manifests,
        now: Timestamp,
    ) -> Result<PlannedEndpoint, DevEnvironmentError> {
        let picked = pick(&manifests.endpoints, self.endpoint.as_deref())?;
        let mut endpoint = served_locally(picked, &self.origin)?;
        let (name, namespace) = (endpoint.name_any(), endpoint.namespace());
        let key = (namespace.clone().unwrap_or_default(), name.clone());
        let is_open = endpoint.spec.external_issuer.is_none() && !manifests.with_client_policy.contains(&key);
        if is_open {
            open_to_clients(&mut endpoint.spec);
        }
        let clients: Vec<OAuthClient> = manifests
            .clients
            .iter()
            .filter(|client| client.spec.endpoint_ref.name == name && client.namespace() == namespace)
            .cloned()
            .collect();
        let users: Vec<OAuthUser> = manifests
            .users
            .iter()
            .filter(|user| user.spec.endpoint_ref.name == name && user.namespace() == namespace)
            .cloned()
            .collect();
        let templates: Vec<WorkspaceTemplate> =
            manifests.templates.iter().filter(|template| template.namespace() == namespace).cloned().collect();
        let given: Vec<Secret> =
            manifests.secrets.iter().filter(|secret| secret.namespace() == namespace).cloned().collect();

        let mut secrets = self.store.secrets()?;
        secrets.extend(given.iter().map(|secret| (secret.name_any(), secret.clone())));
        secrets.retain(|_, secret| secret.labels().get(ENDPOINT_LABEL) == Some(&name));

        let local_user = self.local_user(&mut endpoint, &mut secrets)?;
        let inputs = portcullis_plan::Inputs {
            endpoint: &endpoint,
            clients: &clients.iter().collect::<Vec<_>>(),
            secrets: &secrets,
            cluster: &ClusterFacts::default(),
            taken: None,
            replicas: None,
            now,
        };
        let plan = portcullis_plan::plan(&inputs, &mut self.rng)?;
        let kept = local_user.as_ref().map(|user| user.secret_name.as_str());
        let changed = self.write(&name, &plan, &secrets, kept)?;
        let ignored = ignored(&picked.spec);
        Ok(PlannedEndpoint {
            endpoint,
            ignored,
            is_open,
            clients,
            users,
            templates,
            secrets: given,
            plan,
            local_user,
            changed,
        })
    }

    /// Adds a login for the local user, if one is needed.
    fn local_user(
        &mut self,
        endpoint: &mut McpEndpoint,
        secrets: &mut BTreeMap<String, Secret>,
    ) -> Result<Option<LocalUser>, DevEnvironmentError> {
        if !user::is_needed(endpoint) {
            return Ok(None);
        }
        let secret_name = user::secret_name(&endpoint.name_any());
        let observed = secrets.get(&secret_name);
        let secret = user::secret(&endpoint.name_any(), &self.user, observed, &mut self.rng)?;
        self.store.write_secret(&secret_name, &secret, observed)?;
        secrets.insert(secret_name.clone(), secret);
        endpoint.spec.login.push(user::login(&secret_name));
        Ok(Some(LocalUser { name: self.user.clone(), secret_name }))
    }

    /// Writes the planned Secrets and mounted files, and removes Secrets that are no longer planned, except `kept`.
    /// Returns whether mounted files changed.
    fn write(
        &self,
        endpoint: &str,
        plan: &Plan,
        observed: &BTreeMap<String, Secret>,
        kept: Option<&str>,
    ) -> Result<bool, DevEnvironmentError> {
        let mut mounted: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
        let mut planned: BTreeSet<&str> = kept.into_iter().collect();
        for object in &plan.objects {
            match object.kind() {
                "Secret" => {
                    let secret: Secret = object.object.clone().try_parse()?;
                    self.store.write_secret(object.name(), &secret, observed.get(object.name()))?;
                    planned.insert(object.name());
                    for file in [CLIENTS_FILE, KEYS_FILE, LOGIN_FILE] {
                        let content = secret.data.as_ref().and_then(|data| data.get(file));
                        mounted.extend(content.map(|content| (file, content.0.clone())));
                    }
                }
                "ConfigMap" => {
                    let map: ConfigMap = object.object.clone().try_parse()?;
                    let content = map.data.as_ref().and_then(|data| data.get(CONFIG_FILE));
                    mounted.extend(content.map(|content| (CONFIG_FILE, content.clone().into_bytes())));
                }
                _ => {}
            }
        }
        for name in observed.keys().filter(|name| !planned.contains(name.as_str())) {
            // Secrets of the manifests have no folder.
            if self.store.secret_folder(name).is_dir() {
                self.store.remove_secret(name)?;
            }
        }
        Ok(self.store.mount(endpoint, &plan.revision, &mounted)?)
    }
}

fn pick<'a>(endpoints: &'a [McpEndpoint], wanted: Option<&str>) -> Result<&'a McpEndpoint, DevEnvironmentError> {
    let qualified =
        |endpoint: &McpEndpoint| format!("{}/{}", endpoint.namespace().unwrap_or_default(), endpoint.name_any());
    let unique = |name: &str| endpoints.iter().filter(|endpoint| endpoint.name_any() == name).count() == 1;
    let shown = || {
        let name = |endpoint: &McpEndpoint| {
            let name = endpoint.name_any();
            if unique(&name) { name } else { qualified(endpoint) }
        };
        endpoints.iter().map(name).collect::<Vec<_>>()
    };
    match (endpoints, wanted) {
        ([], _) => Err(DevEnvironmentError::NoEndpoint),
        ([only], None) => Ok(only),
        (_, None) => Err(DevEnvironmentError::SeveralEndpoints(shown())),
        (_, Some(wanted)) => endpoints
            .iter()
            .find(|endpoint| qualified(endpoint) == wanted || (endpoint.name_any() == wanted && unique(wanted)))
            .ok_or_else(|| DevEnvironmentError::UnknownEndpoint { name: wanted.to_owned(), known: shown() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_api::McpEndpointSpec;

    fn endpoint(namespace: &str, name: &str) -> McpEndpoint {
        let spec: McpEndpointSpec = serde_json::from_value(serde_json::json!({
            "url": "https://mcp.example.com/team/mcp",
            "exposure": {"ingress": {"className": "traefik"}},
            "network": {"allowedCidrs": ["160.79.104.0/21"]},
        }))
        .unwrap();
        let mut endpoint = McpEndpoint::new(name, spec);
        endpoint.metadata.namespace = Some(namespace.to_owned());
        endpoint
    }

    #[test]
    fn one_endpoint_is_picked() {
        let two = [endpoint("dev", "a"), endpoint("dev", "b")];
        let twins = [endpoint("dev", "a"), endpoint("test", "a")];
        for (endpoints, wanted, found) in [
            (&two[..1], None, Ok("dev")),
            (&two, Some("b"), Ok("dev")),
            (&twins, Some("test/a"), Ok("test")),
            (&[], None, Err("the manifests have no McpEndpoint; add one")),
            (&two, None, Err("several McpEndpoints: a, b; select one with --endpoint")),
            (&twins, Some("a"), Err("there is no McpEndpoint \"a\" in the manifests; they have dev/a, test/a")),
            (&two, Some("c"), Err("there is no McpEndpoint \"c\" in the manifests; they have a, b")),
        ] {
            match (pick(endpoints, wanted), found) {
                (Ok(endpoint), Ok(namespace)) => assert_eq!(endpoint.namespace().as_deref(), Some(namespace)),
                (Err(error), Err(said)) => assert!(error.to_string().contains(said), "{error}"),
                (picked, _) => panic!("{wanted:?}: {picked:?}"),
            }
        }
    }
}
