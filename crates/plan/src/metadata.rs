//! The common metadata of planned objects: name, labels and owner.

use crate::{CLIENT_LABEL, ENDPOINT_LABEL, MANAGED_BY, PlanError, PlannedObject};
use k8s_openapi::{
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference},
};
use kube::{Resource, ResourceExt as _, core::DynamicObject};
use portcullis_api::{McpEndpoint, OAuthClient};
use serde::Serialize;
use std::collections::BTreeMap;

const NAME_LABEL: &str = "app.kubernetes.io/name";
const INSTANCE_LABEL: &str = "app.kubernetes.io/instance";
const COMPONENT_LABEL: &str = "app.kubernetes.io/component";
const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";

/// The purpose of an object: its label `app.kubernetes.io/component`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Component {
    /// The servers and their surroundings.
    Server,
    /// A Secret with credentials.
    Credentials,
}

/// The endpoint, as the owner of its planned objects.
#[derive(Clone, Copy)]
pub(super) struct Owner<'a> {
    endpoint: &'a McpEndpoint,
    name: &'a str,
}

impl<'a> Owner<'a> {
    pub(super) fn of(endpoint: &'a McpEndpoint) -> Result<Self, PlanError> {
        let name = endpoint.metadata.name.as_deref().ok_or(PlanError::EndpointNameMissing)?;
        Ok(Self { endpoint, name })
    }

    pub(super) fn endpoint(&self) -> &'a McpEndpoint {
        self.endpoint
    }

    /// The endpoint's name, which its Deployment, Service and Ingress share.
    pub(super) fn name(&self) -> &'a str {
        self.name
    }

    /// The endpoint's namespace; `default` for a manifest of `portcullis dev` without one.
    pub(super) fn namespace(&self) -> &'a str {
        self.endpoint.metadata.namespace.as_deref().unwrap_or("default")
    }

    /// The name of one of its objects, such as `agents-config`.
    pub(super) fn named(&self, suffix: &str) -> String {
        format!("{}-{suffix}", self.name)
    }

    /// The metadata of an object that the endpoint owns.
    pub(super) fn metadata(&self, name: impl Into<String>, component: Component) -> ObjectMeta {
        ObjectMeta {
            name: Some(name.into()),
            namespace: self.endpoint.metadata.namespace.clone(),
            labels: Some(self.labels(component)),
            owner_references: owner_reference(self.endpoint).map(|reference| vec![reference]),
            ..ObjectMeta::default()
        }
    }

    /// The metadata of a client's own Secret. The client owns it, so that it is deleted with the client.
    pub(super) fn client_metadata(&self, name: impl Into<String>, client: &OAuthClient) -> ObjectMeta {
        let mut metadata = self.metadata(name, Component::Credentials);
        metadata.labels.get_or_insert_default().insert(CLIENT_LABEL.to_owned(), client.name_any());
        metadata.owner_references = owner_reference(client).map(|reference| vec![reference]);
        metadata
    }

    pub(super) fn labels(&self, component: Component) -> BTreeMap<String, String> {
        let mut labels = self.selector_labels(component);
        labels.insert(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned());
        labels.insert(ENDPOINT_LABEL.to_owned(), self.name.to_owned());
        labels
    }

    /// The labels that select the endpoint's servers. They never change, since a Deployment's selector is immutable.
    pub(super) fn server_labels(&self) -> BTreeMap<String, String> {
        self.selector_labels(Component::Server)
    }

    /// The selector of the endpoint's servers.
    pub(super) fn server_selector(&self) -> LabelSelector {
        LabelSelector { match_labels: Some(self.server_labels()), match_expressions: None }
    }

    fn selector_labels(&self, component: Component) -> BTreeMap<String, String> {
        let component = match component {
            Component::Server => "server",
            Component::Credentials => "credentials",
        };
        [(NAME_LABEL, "portcullis"), (INSTANCE_LABEL, self.name), (COMPONENT_LABEL, component)]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }

    /// Whether an observed Secret is the endpoint's own.
    pub(super) fn owns(&self, secret: &Secret) -> bool {
        belongs(secret, self.endpoint, &self.labels(Component::Credentials))
    }

    /// Whether an observed Secret is this client's own.
    pub(super) fn client_owns(&self, client: &OAuthClient, secret: &Secret) -> bool {
        let mut labels = self.labels(Component::Credentials);
        labels.insert(CLIENT_LABEL.to_owned(), client.name_any());
        belongs(secret, client, &labels)
    }
}

/// Whether a Secret belongs to `owner`, by its owner references. A Secret without owner references (in `portcullis
/// dev`, or after they were removed) belongs to it if it has the labels.
fn belongs<K>(secret: &Secret, owner: &K, labels: &BTreeMap<String, String>) -> bool
where
    K: Resource<DynamicType = ()>,
{
    match secret.owner_references() {
        [] => labels.iter().all(|(key, value)| secret.labels().get(key) == Some(value)),
        references => references.iter().any(|reference| owner.uid().as_deref() == Some(&reference.uid)),
    }
}

/// The owner reference; `None` for a resource without a uid, as in `portcullis dev`.
fn owner_reference<K>(owner: &K) -> Option<OwnerReference>
where
    K: Resource<DynamicType = ()>,
{
    let reference = owner.controller_owner_ref(&())?;
    Some(OwnerReference { block_owner_deletion: Some(true), ..reference })
}

impl PlannedObject {
    /// An object that depends on the resources only.
    pub(super) fn derived<K: Serialize>(object: &K) -> Result<Self, PlanError> {
        let object: DynamicObject = serde_json::from_value(serde_json::to_value(object)?)?;
        Ok(Self { object, replaces: None, generated: false })
    }

    /// A Secret whose content was observed, or generated in this plan.
    pub(super) fn credentials(desired: &Secret, observed: Option<&Secret>, generated: bool) -> Result<Self, PlanError> {
        let replaces = observed.and_then(|secret| secret.metadata.resource_version.clone());
        Ok(Self { replaces, generated, ..Self::derived(desired)? })
    }

    /// Its `kind`, such as `Secret`.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.object.types.as_ref().map_or("", |types| types.kind.as_str())
    }

    /// Its `metadata.name`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.object.metadata.name.as_deref().unwrap_or_default()
    }
}
