//! Reads an endpoint and its surroundings from the Kubernetes API. It only reads. Of a Secret, only the names of the keys and
//! the certificate are kept.

use super::{
    ClusterObservations, EndpointTarget, Permission, ReadFailure, Reading, SecretSummary,
    references::{ReferenceKind, certificates, references},
    value::{list, name, namespace as namespace_of, text},
};
use crate::observation::clipped;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use portcullis_core::{PublicUrl, clock::Clock, report::chain};
use serde_json::Value;
use std::{path::PathBuf, time::Duration};
use tokio::time::timeout;
use url::form_urlencoded;

/// The timeout of a request.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The most objects of one list.
const MAX_OBJECTS: u32 = 500;
/// The most other endpoints that are named.
const MAX_OTHERS: usize = 5;
/// The largest `tls.crt`, in bytes.
const MAX_CERTIFICATE: usize = 256 << 10;
/// The label with the name of the endpoint to which an object belongs.
const ENDPOINT_LABEL: &str = "portcullis.dev/endpoint";
/// The API group of Portcullis.
const GROUP: &str = "portcullis.dev/v1alpha1";
/// The labels of the operator's Deployment, as the chart sets them.
const OPERATOR_LABELS: &str = "app.kubernetes.io/name=portcullis,app.kubernetes.io/component=operator";
/// The namespace of the operator in the documentation.
const OPERATOR_NAMESPACE: &str = "portcullis-system";

/// The cluster and the endpoint to examine.
#[derive(Clone, Debug)]
pub struct ClusterTarget {
    /// The kubeconfig; `None`: that of `KUBECONFIG`, or `~/.kube/config`.
    pub kubeconfig: Option<PathBuf>,
    /// The context; `None`: the current one.
    pub context: Option<String>,
    /// The namespace in which the endpoint is searched; `None`: all of them.
    pub namespace: Option<String>,
    /// The endpoint.
    pub endpoint: EndpointTarget,
}

/// Why there is no access to the cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The kubeconfig cannot be used.
    #[error("the kubeconfig cannot be used; name another with --kubeconfig, or another context with --context")]
    Kubeconfig(#[from] KubeconfigError),
    /// The client cannot be set up.
    #[error("the client for the Kubernetes API could not be set up")]
    Client(#[from] Box<kube::Error>),
}

/// A list or an object in the API.
#[derive(Clone, Copy)]
struct Kind {
    /// Such as `apps/v1`; `v1` for the core group.
    version: &'static str,
    /// The plural name.
    plural: &'static str,
}

const fn kind(version: &'static str, plural: &'static str) -> Kind {
    Kind { version, plural }
}

const ENDPOINTS: Kind = kind(GROUP, "mcpendpoints");
const CLIENTS: Kind = kind(GROUP, "oauthclients");
const GRANTS: Kind = kind(GROUP, "oauthgrants");
const DEPLOYMENTS: Kind = kind("apps/v1", "deployments");
const PODS: Kind = kind("v1", "pods");
const SERVICES: Kind = kind("v1", "services");
const SECRETS: Kind = kind("v1", "secrets");
const CONFIG_MAPS: Kind = kind("v1", "configmaps");
const EVENTS: Kind = kind("v1", "events");
const QUOTAS: Kind = kind("v1", "resourcequotas");
const SLICES: Kind = kind("discovery.k8s.io/v1", "endpointslices");
const INGRESSES: Kind = kind("networking.k8s.io/v1", "ingresses");
const INGRESS_CLASSES: Kind = kind("networking.k8s.io/v1", "ingressclasses");
const POLICIES: Kind = kind("networking.k8s.io/v1", "networkpolicies");
const HTTP_ROUTES: Kind = kind("gateway.networking.k8s.io/v1", "httproutes");

impl Kind {
    fn base(self) -> String {
        let prefix = if self.version.contains('/') { "/apis" } else { "/api" };
        format!("{prefix}/{}", self.version)
    }

    fn path(self, namespace: Option<&str>) -> String {
        let below = namespace.map(|namespace| format!("/namespaces/{namespace}")).unwrap_or_default();
        format!("{}{below}/{}", self.base(), self.plural)
    }

    /// As `kubectl auth can-i` names it.
    fn resource(self) -> String {
        match self.version.split_once('/') {
            Some((group, _)) => format!("{}.{group}", self.plural),
            None => self.plural.to_owned(),
        }
    }
}

/// Reads the endpoint and its surroundings. Fails only if there is no usable kubeconfig.
pub async fn read(target: &ClusterTarget, clock: &dyn Clock) -> Result<ClusterObservations, ClusterError> {
    let kubeconfig = match &target.kubeconfig {
        Some(path) => Kubeconfig::read_from(path)?,
        None => Kubeconfig::read()?,
    };
    let options = KubeConfigOptions { context: target.context.clone(), ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    let default_namespace = config.default_namespace.clone();
    let reader = Reader { client: Client::try_from(config).map_err(Box::new)? };
    let mut observed = ClusterObservations::new(target.endpoint.clone(), clock.now());
    observed.kinds = reader.kinds().await;
    if !observed.kinds.as_ref().is_ok_and(|kinds| !kinds.is_empty()) {
        return Ok(observed);
    }
    reader.find(&mut observed, target.namespace.as_deref(), &default_namespace).await;
    if let Some(endpoint) = observed.found().cloned() {
        reader.surroundings(&mut observed, &endpoint).await;
    }
    Ok(observed)
}

struct Reader {
    client: Client,
}

impl Reader {
    /// The response to a GET request; `None`: 404.
    async fn request(&self, path: &str, permission: Permission) -> Reading<Option<Value>> {
        let unavailable = |why: String| ReadFailure::Unavailable(clipped(&why));
        let request = http::Request::get(path).body(Vec::new()).map_err(|error| unavailable(error.to_string()))?;
        match timeout(TIMEOUT, self.client.request::<Value>(request)).await {
            Err(_) => Err(unavailable("no response in time".to_owned())),
            Ok(Ok(value)) => Ok(Some(value)),
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => Ok(None),
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => Err(ReadFailure::Forbidden(permission)),
            Ok(Err(kube::Error::Api(status))) => Err(unavailable(format!("{}: {}", status.code, status.message))),
            Ok(Err(error)) => Err(unavailable(chain(&error))),
        }
    }

    /// The kinds of Portcullis that the cluster serves.
    async fn kinds(&self) -> Reading<Vec<String>> {
        let permission = Permission { verb: "get", resource: format!("/apis/{GROUP}"), namespace: None };
        let document = self.request(&format!("/apis/{GROUP}"), permission).await?.unwrap_or_default();
        let names = list(&document, "/resources").iter().filter_map(|resource| text(resource, "/name"));
        Ok(names.filter(|name| !name.contains('/')).map(str::to_owned).collect())
    }

    async fn get(&self, kind: Kind, namespace: &str, name: &str) -> Reading<Option<Value>> {
        let permission = Permission { verb: "get", resource: kind.resource(), namespace: Some(namespace.to_owned()) };
        self.request(&format!("{}/{name}", kind.path(Some(namespace))), permission).await
    }

    /// The objects of a kind. A kind that the cluster does not have has none.
    async fn list(&self, kind: Kind, namespace: Option<&str>, selector: &[(&str, &str)]) -> Reading<Vec<Value>> {
        let permission =
            Permission { verb: "list", resource: kind.resource(), namespace: namespace.map(str::to_owned) };
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("limit", &MAX_OBJECTS.to_string())
            .extend_pairs(selector)
            .finish();
        let mut found =
            self.request(&format!("{}?{query}", kind.path(namespace)), permission).await?.unwrap_or_default();
        match found.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => Ok(items),
            _ => Ok(Vec::new()),
        }
    }

    /// Searches the endpoint. Without permission for all namespaces, only in that of the context.
    async fn find(&self, observed: &mut ClusterObservations, namespace: Option<&str>, default_namespace: &str) {
        let url = match &observed.target {
            EndpointTarget::Name(endpoint) => {
                observed.endpoint = self.get(ENDPOINTS, &endpoint.namespace, &endpoint.name).await;
                return;
            }
            EndpointTarget::Url(url) => url.clone(),
        };
        let mut endpoints = self.list(ENDPOINTS, namespace, &[]).await;
        if namespace.is_none()
            && matches!(endpoints, Err(ReadFailure::Forbidden(_)))
            && let Ok(own) = self.list(ENDPOINTS, Some(default_namespace), &[]).await
        {
            endpoints = Ok(own);
        }
        observed.endpoint = endpoints.map(|endpoints| {
            let found = endpoints.iter().find(|endpoint| answers_at(endpoint, &url)).cloned();
            if found.is_none() {
                let shown = |one: &Value| {
                    format!("{}/{} has {}", namespace_of(one), name(one), text(one, "/spec/url").unwrap_or("no URL"))
                };
                observed.others = endpoints.iter().take(MAX_OTHERS).map(shown).collect();
            }
            found
        });
    }

    async fn surroundings(&self, observed: &mut ClusterObservations, endpoint: &Value) {
        let (within, own) = (namespace_of(endpoint), name(endpoint));
        let labelled = format!("{ENDPOINT_LABEL}={own}");
        let servers = format!("{labelled},app.kubernetes.io/component=server");
        let slices = format!("kubernetes.io/service-name={own}");
        let [labelled, servers, slices] =
            [&labelled, &servers, &slices].map(|labels| [("labelSelector", labels.as_str())]);
        (observed.deployment, observed.pods, observed.service, observed.slices) = tokio::join!(
            self.get(DEPLOYMENTS, within, own),
            self.list(PODS, Some(within), &servers),
            self.get(SERVICES, within, own),
            self.list(SLICES, Some(within), &slices),
        );
        (observed.policies, observed.quotas, observed.events, observed.clients, observed.grants) = tokio::join!(
            self.list(POLICIES, Some(within), &[]),
            self.list(QUOTAS, Some(within), &[]),
            self.list(EVENTS, Some(within), &[("fieldSelector", "type=Warning")]),
            self.list(CLIENTS, Some(within), &[]),
            self.list(GRANTS, Some(within), &labelled),
        );
        let exposure = &endpoint["spec"]["exposure"];
        if !exposure["gateway"].is_null() {
            observed.http_route = self.get(HTTP_ROUTES, within, own).await;
        } else if exposure["none"].is_null() {
            (observed.ingress, observed.ingresses, observed.ingress_classes) = tokio::join!(
                self.get(INGRESSES, within, own),
                self.everywhere(INGRESSES, within),
                self.list(INGRESS_CLASSES, None, &[]),
            );
        }
        self.operator(observed).await;
        self.referenced(observed, endpoint).await;
    }

    /// The objects of all namespaces; without permission, those of one.
    async fn everywhere(&self, kind: Kind, namespace: &str) -> Reading<Vec<Value>> {
        match self.list(kind, None, &[]).await {
            Err(ReadFailure::Forbidden(_)) => self.list(kind, Some(namespace), &[]).await,
            read => read,
        }
    }

    async fn operator(&self, observed: &mut ClusterObservations) {
        let selector = [("labelSelector", OPERATOR_LABELS)];
        let mut found = self.list(DEPLOYMENTS, None, &selector).await;
        if matches!(found, Err(ReadFailure::Forbidden(_))) {
            found = self.list(DEPLOYMENTS, Some(OPERATOR_NAMESPACE), &selector).await;
        }
        if let Ok([first, ..]) = found.as_deref() {
            observed.operator_pods = self.list(PODS, Some(namespace_of(first)), &selector).await;
        }
        observed.operators = found;
    }

    async fn referenced(&self, observed: &mut ClusterObservations, endpoint: &Value) {
        let within = namespace_of(endpoint);
        let deployment = observed.deployment.as_ref().ok().and_then(Option::as_ref);
        let wanted = references(endpoint, deployment).into_iter().chain(certificates(endpoint));
        for reference in wanted.collect::<Vec<_>>() {
            match reference.kind {
                ReferenceKind::Secret if !observed.secrets.contains_key(&reference.name) => {
                    let read = self.get(SECRETS, within, &reference.name).await;
                    let summary = read.map(|secret| secret.as_ref().map(summary));
                    observed.secrets.insert(reference.name, summary);
                }
                ReferenceKind::ConfigMap if !observed.config_maps.contains_key(&reference.name) => {
                    let read = self.get(CONFIG_MAPS, within, &reference.name).await;
                    let keys =
                        read.map(|config_map| config_map.as_ref().map(|object| keys(object, &["data", "binaryData"])));
                    observed.config_maps.insert(reference.name, keys);
                }
                ReferenceKind::Secret | ReferenceKind::ConfigMap => {}
            }
        }
    }
}

/// Whether the McpEndpoint answers at the URL: its `spec.url`, or one of the aliases.
fn answers_at(endpoint: &Value, url: &str) -> bool {
    let Some(own) = text(endpoint, "/spec/url") else { return false };
    let aliases = list(endpoint, "/spec/pathAliases").iter().filter_map(Value::as_str);
    own == url
        || own
            .parse::<PublicUrl>()
            .is_ok_and(|own| aliases.into_iter().any(|alias| own.at_path(alias).resource() == url))
}

fn keys(object: &Value, fields: &[&str]) -> Vec<String> {
    fields.iter().filter_map(|field| object[*field].as_object()).flat_map(|data| data.keys().cloned()).collect()
}

/// A Secret without its values.
fn summary(secret: &Value) -> SecretSummary {
    let certificate = secret["data"]["tls.crt"].as_str().filter(|text| text.len() <= MAX_CERTIFICATE);
    let certificate = certificate.and_then(|text| STANDARD.decode(text).ok());
    SecretSummary {
        keys: keys(secret, &["data"]),
        endpoint: secret["metadata"]["labels"][ENDPOINT_LABEL].as_str().map(str::to_owned),
        certificate: certificate.and_then(|bytes| String::from_utf8(bytes).ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn no_value_of_a_secret_is_kept() {
        let secret = json!({
            "metadata": {"name": "cert", "labels": {"portcullis.dev/endpoint": "agents"}},
            "data": {"tls.crt": STANDARD.encode("-----BEGIN CERTIFICATE-----"), "tls.key": STANDARD.encode("hush")},
        });
        let summary = summary(&secret);
        assert_eq!((summary.keys.len(), summary.endpoint.as_deref()), (2, Some("agents")));
        assert_eq!(summary.certificate.as_deref(), Some("-----BEGIN CERTIFICATE-----"));
        let shown = format!("{summary:?}");
        assert!(!shown.contains("hush") && !shown.contains(&STANDARD.encode("hush")), "{shown}");
    }

    #[test]
    fn paths_and_resources_are_those_of_the_api() {
        for (kind, namespace, path, resource) in [
            (PODS, Some("dev"), "/api/v1/namespaces/dev/pods", "pods"),
            (INGRESSES, None, "/apis/networking.k8s.io/v1/ingresses", "ingresses.networking.k8s.io"),
            (
                ENDPOINTS,
                Some("dev"),
                "/apis/portcullis.dev/v1alpha1/namespaces/dev/mcpendpoints",
                "mcpendpoints.portcullis.dev",
            ),
        ] {
            assert_eq!((kind.path(namespace), kind.resource()), (path.to_owned(), resource.to_owned()));
        }
    }

    #[test]
    fn an_endpoint_answers_at_its_url_and_at_aliases() {
        let endpoint = json!({"spec": {"url": "https://h.example.com/mcp", "pathAliases": ["/api/mcp/http"]}});
        for (url, expected) in [
            ("https://h.example.com/mcp", true),
            ("https://h.example.com/api/mcp/http", true),
            ("https://h.example.com/mcp/", false),
            ("https://other.example.com/mcp", false),
        ] {
            assert_eq!(answers_at(&endpoint, url), expected, "{url}");
        }
    }
}
