//! The HTTPRoute of the Gateway API (`gateway.networking.k8s.io/v1`): the endpoint's paths, as its Ingress would have
//! them. Its timeout is a little more than the servers' own, which ends every response: some implementations have a
//! shorter one otherwise.

use crate::{
    ClusterFacts, OptionalKind,
    backend::proxy_timeout,
    cors::Cors,
    metadata::{Component, Owner},
    paths::{Path, paths},
    route::Route,
    service,
};
use kube::core::DynamicObject;
use portcullis_api::exposure::ParentRef;
use portcullis_core::PublicUrl;
use serde_json::{Value, json};

/// A rule takes 64 matches since version 1.2 of the API, and 8 before. There are at most 16 rules, which is more than
/// the paths of an endpoint with all its aliases need.
const MATCHES_PER_RULE: usize = 8;

/// `None` without `spec.exposure.gateway`, where the cluster does not serve the kind, and where there may be none.
pub(super) fn http_route(
    owner: &Owner<'_>,
    url: &PublicUrl,
    cluster: &ClusterFacts,
    cors: &Cors,
    route: &Route,
) -> Option<DynamicObject> {
    let given = owner.endpoint().spec.exposure.gateway.as_ref()?;
    if !cluster.optional.contains(&OptionalKind::HttpRoute) || route.problem.is_some() {
        return None;
    }
    let backends = json!([{"name": owner.name(), "port": service::port(owner)}]);
    let filters = cors.filter(owner).map(|filter| json!([{"type": "CORS", "cors": filter}]));
    let timeout = format!("{}s", proxy_timeout(owner));
    let rule = |paths: &[Path]| {
        let matches: Vec<Value> = paths.iter().map(path_match).collect();
        let mut rule = json!({"matches": matches, "backendRefs": backends, "timeouts": {"request": timeout}});
        if let Some(filters) = &filters {
            rule["filters"] = filters.clone();
        }
        rule
    };
    let rules: Vec<Value> = paths(owner.endpoint(), url).chunks(MATCHES_PER_RULE).map(rule).collect();
    let parents: Vec<Value> = given.parent_refs.iter().map(parent).collect();
    let mut spec = json!({"parentRefs": parents, "rules": rules});
    // Addresses are no hostnames; a route without any takes those of its listener.
    if let Some(host) = url.domain() {
        spec["hostnames"] = json!([host]);
    }
    let mut metadata = owner.metadata(owner.name(), Component::Server);
    metadata.annotations = (!route.annotations.is_empty()).then(|| route.annotations.clone());
    Some(DynamicObject { types: Some(OptionalKind::HttpRoute.types()), metadata, data: json!({"spec": spec}) })
}

fn path_match(path: &Path) -> Value {
    match path {
        Path::Exact(path) => json!({"path": {"type": "Exact", "value": path}}),
        Path::Prefix(path) => json!({"path": {"type": "PathPrefix", "value": path}}),
    }
}

fn parent(given: &ParentRef) -> Value {
    let mut parent = json!({"name": given.name});
    for (field, value) in [("namespace", &given.namespace), ("sectionName", &given.section_name)] {
        if let Some(value) = value {
            parent[field] = json!(value);
        }
    }
    parent
}
