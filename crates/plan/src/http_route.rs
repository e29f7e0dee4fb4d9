//! The HTTPRoute of the Gateway API (`gateway.networking.k8s.io/v1`), with the same paths as an Ingress. Its timeout is
//! slightly longer than that of the servers, which end every response: the default of some implementations is shorter.

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

/// The maximum number of matches of a rule: 64 since version 1.2 of the API, 8 before. The maximum of 16 rules suffices
/// for all paths of an endpoint with all its aliases.
const MATCHES_PER_RULE: usize = 8;

/// The HTTPRoute; `None` without `spec.exposure.gateway`, if the cluster does not serve the kind, or if the route has a
/// problem.
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
    // IP addresses are not hostnames. A route without hostnames uses those of its listener.
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
