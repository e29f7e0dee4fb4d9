//! An endpoint in its cluster: what was read from the Kubernetes API, as plain data without secrets. `read` does the I/O,
//! with the feature `kube`; the rest is pure.

pub(crate) mod certificate;
#[cfg(feature = "kube")]
mod read;
pub(crate) mod references;
pub(crate) mod selector;
pub(crate) mod value;

#[cfg(feature = "kube")]
pub use read::{ClusterError, ClusterTarget, read};

use jiff::Timestamp;
use serde_json::Value;
use std::{collections::BTreeMap, fmt, str::FromStr};

/// The endpoint to examine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointTarget {
    /// The McpEndpoint with this `spec.url`, or with this URL as an alias.
    Url(String),
    /// The McpEndpoint with this name.
    Name(EndpointName),
}

/// Namespace and name of an McpEndpoint, such as `agents/main`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointName {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// A text is not the name of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write NAMESPACE/NAME of the McpEndpoint; for example default/agents")]
pub struct EndpointNameError;

impl FromStr for EndpointName {
    type Err = EndpointNameError;

    fn from_str(text: &str) -> Result<Self, EndpointNameError> {
        let is_name = |part: &str| {
            let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
            !part.is_empty() && part.len() <= 253 && part.bytes().all(known)
        };
        match text.split_once('/') {
            Some((namespace, name)) if is_name(namespace) && is_name(name) => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(EndpointNameError),
        }
    }
}

impl fmt::Display for EndpointName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What was read, or why it was not.
pub type Reading<T> = Result<T, ReadFailure>;

/// Why something was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadFailure {
    /// Nothing asked for it yet.
    NotRead,
    /// The user of the kubeconfig has no permission.
    Forbidden(Permission),
    /// The API did not answer, or with something else.
    Unavailable(String),
}

/// A permission (RBAC).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// `get` or `list`.
    pub verb: &'static str,
    /// The resource, with its group, such as `ingresses.networking.k8s.io`.
    pub resource: String,
    /// The namespace; `None`: all of them.
    pub namespace: Option<String>,
}

/// A Secret without its values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretSummary {
    /// The names of its keys.
    pub keys: Vec<String>,
    /// The value of the label `portcullis.dev/endpoint`.
    pub endpoint: Option<String>,
    /// The certificates in `tls.crt`, which are public.
    pub certificate: Option<String>,
}

/// Everything that was read from the cluster. Objects are as the API has them.
#[derive(Clone, Debug)]
pub struct ClusterObservations {
    /// The time, by this machine's clock.
    pub time: Timestamp,
    /// The endpoint to examine.
    pub target: EndpointTarget,
    /// The plural names of the kinds that the cluster serves for Portcullis.
    pub kinds: Reading<Vec<String>>,
    /// The McpEndpoint; `None` if there is no such one.
    pub endpoint: Reading<Option<Value>>,
    /// The endpoints that there are, if none is the right one.
    pub others: Vec<String>,
    /// The Deployments of the operator.
    pub operators: Reading<Vec<Value>>,
    /// The pods of the operator.
    pub operator_pods: Reading<Vec<Value>>,
    /// The Secrets to which the endpoint refers, by name.
    pub secrets: BTreeMap<String, Reading<Option<SecretSummary>>>,
    /// The keys of the ConfigMaps to which the endpoint refers, by name.
    pub config_maps: BTreeMap<String, Reading<Option<Vec<String>>>>,
    /// The Deployment of the servers.
    pub deployment: Reading<Option<Value>>,
    /// The pods of the servers.
    pub pods: Reading<Vec<Value>>,
    /// The Service of the servers.
    pub service: Reading<Option<Value>>,
    /// Its EndpointSlices.
    pub slices: Reading<Vec<Value>>,
    /// The Ingress of the endpoint.
    pub ingress: Reading<Option<Value>>,
    /// Every Ingress, of all namespaces or, without permission, of the endpoint's.
    pub ingresses: Reading<Vec<Value>>,
    /// The IngressClasses.
    pub ingress_classes: Reading<Vec<Value>>,
    /// The HTTPRoute of the endpoint.
    pub http_route: Reading<Option<Value>>,
    /// The NetworkPolicies of the namespace.
    pub policies: Reading<Vec<Value>>,
    /// The ResourceQuotas of the namespace.
    pub quotas: Reading<Vec<Value>>,
    /// The Warning events of the namespace.
    pub events: Reading<Vec<Value>>,
    /// The OAuthClients of the namespace.
    pub clients: Reading<Vec<Value>>,
    /// The OAuthGrants of the endpoint.
    pub grants: Reading<Vec<Value>>,
}

const fn not_read<T>() -> Reading<T> {
    Err(ReadFailure::NotRead)
}

impl ClusterObservations {
    /// The observations before any I/O.
    #[must_use]
    pub fn new(target: EndpointTarget, time: Timestamp) -> Self {
        Self {
            time,
            target,
            kinds: not_read(),
            endpoint: not_read(),
            others: Vec::new(),
            operators: not_read(),
            operator_pods: not_read(),
            secrets: BTreeMap::new(),
            config_maps: BTreeMap::new(),
            deployment: not_read(),
            pods: not_read(),
            service: not_read(),
            slices: not_read(),
            ingress: not_read(),
            ingresses: not_read(),
            ingress_classes: not_read(),
            http_route: not_read(),
            policies: not_read(),
            quotas: not_read(),
            events: not_read(),
            clients: not_read(),
            grants: not_read(),
        }
    }

    /// The URL of the endpoint, if it is known.
    #[must_use]
    pub fn url(&self) -> Option<String> {
        match (&self.target, &self.endpoint) {
            (EndpointTarget::Url(url), _) => Some(url.clone()),
            (EndpointTarget::Name(_), Ok(Some(endpoint))) => value::text(endpoint, "/spec/url").map(str::to_owned),
            (EndpointTarget::Name(_), _) => None,
        }
    }

    /// The McpEndpoint, if it was found.
    pub(crate) fn found(&self) -> Option<&Value> {
        self.endpoint.as_ref().ok()?.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_named_with_its_namespace() {
        for (text, valid) in [
            ("default/agents", true),
            ("agents", false),
            ("/agents", false),
            ("default/", false),
            ("a/b/c", false),
            ("default/Agents", false),
            ("default/..?x", false),
        ] {
            assert_eq!(text.parse::<EndpointName>().is_ok(), valid, "{text}");
        }
        assert_eq!("default/agents".parse::<EndpointName>().unwrap().to_string(), "default/agents");
    }
}
