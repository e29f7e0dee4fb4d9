//! Decides which endpoint serves a host or a URL if several want it.
//!
//! Within a namespace, the oldest endpoint has the URL. Across namespaces, a host belongs to one namespace: the one with an
//! existing route for it, so that an older endpoint cannot take a host over by a change of its URL; without a route, the
//! one with the oldest endpoint.

use crate::stores::Stores;
use jiff::Timestamp;
use k8s_openapi::api::networking::v1::Ingress;
use kube::{Resource as _, ResourceExt as _, core::DynamicObject};
use portcullis_api::McpEndpoint;
use portcullis_core::PublicUrl;
use portcullis_plan::{OptionalKind, RouteProblem, shared_url};

/// The sort key of endpoints: those with a route first, then by age, then by name.
type Rank = (bool, Option<Timestamp>, String, String);

/// Why the endpoint may not have its route, if another endpoint has it.
pub(crate) fn taken(stores: &Stores, endpoint: &McpEndpoint) -> Option<RouteProblem> {
    if !is_exposed(endpoint) {
        return None;
    }
    let url: PublicUrl = endpoint.spec.url.parse().ok()?;
    url_taken(stores, endpoint).or_else(|| host_taken(stores, endpoint, &url))
}

fn is_exposed(endpoint: &McpEndpoint) -> bool {
    endpoint.spec.exposure.none.is_none() && endpoint.metadata.deletion_timestamp.is_none()
}

/// The older endpoint of the namespace that answers at one of this one's URLs, and that URL.
fn url_taken(stores: &Stores, endpoint: &McpEndpoint) -> Option<RouteProblem> {
    let age = |endpoint: &McpEndpoint| (endpoint.creation_timestamp(), endpoint.name_any());
    let others = stores.endpoints.select(|other| {
        other.meta().namespace == endpoint.metadata.namespace
            && other.0.as_ref().is_ok_and(|other| is_exposed(other) && age(other) < age(endpoint))
    });
    others.iter().find_map(|other| {
        let url = shared_url(endpoint, other.0.as_ref().ok()?).ok()??;
        Some(RouteProblem::UrlTaken { by: other.name_any(), url })
    })
}

fn host_taken(stores: &Stores, endpoint: &McpEndpoint, url: &PublicUrl) -> Option<RouteProblem> {
    let is_shared = stores.exposure.is_shared(url.host());
    let default_class = stores.default_ingress_class();
    let rivals = stores.endpoints.select(|other| {
        other.0.as_ref().is_ok_and(|other| {
            is_exposed(other)
                && host(other).is_some_and(|host| host == url.host())
                && is_permitted(stores, other, url, default_class.as_deref())
                && (!is_shared || matches!(shared_url(endpoint, other), Ok(Some(_))))
        })
    });
    let holder =
        rivals.iter().filter_map(|rival| rival.0.as_ref().ok()).min_by_key(|rival| rank(stores, rival, url))?;
    if holder.namespace() == endpoint.namespace() {
        return None;
    }
    Some(match shared_url(endpoint, holder) {
        Ok(Some(url)) if is_shared => RouteProblem::UrlTakenElsewhere { url },
        _ => RouteProblem::HostTaken { host: url.host().to_owned() },
    })
}

/// Whether the settings permit the endpoint a route for the host. Otherwise it does not hold the host.
fn is_permitted(stores: &Stores, endpoint: &McpEndpoint, url: &PublicUrl, default_class: Option<&str>) -> bool {
    let (rules, namespace) = (&stores.exposure, endpoint.namespace().unwrap_or_default());
    let exposure = &endpoint.spec.exposure;
    let class = exposure.ingress.as_ref().and_then(|ingress| ingress.class_name.as_deref()).or(default_class);
    rules.permits_host(&namespace, url.host()) && (exposure.gateway.is_some() || rules.permits_class(&namespace, class))
}

/// The host of an endpoint.
pub(crate) fn host(endpoint: &McpEndpoint) -> Option<String> {
    Some(endpoint.spec.url.parse::<PublicUrl>().ok()?.host().to_owned())
}

fn rank(stores: &Stores, endpoint: &McpEndpoint, url: &PublicUrl) -> Rank {
    let (namespace, name) = (endpoint.namespace().unwrap_or_default(), endpoint.name_any());
    let ingress = stores.objects.get::<Ingress>(&namespace, &name);
    let route = stores.objects.get_optional(OptionalKind::HttpRoute, &namespace, &name);
    let its = |object: &DynamicObject| {
        let owners = object.metadata.owner_references.iter().flatten();
        owners.into_iter().any(|owner| Some(&owner.uid) == endpoint.metadata.uid.as_ref())
    };
    let leads = |object: &DynamicObject| {
        let of_ingress = object.data.pointer("/spec/rules/0/host").and_then(serde_json::Value::as_str);
        let of_route = object.data.pointer("/spec/hostnames/0").and_then(serde_json::Value::as_str);
        its(object) && of_ingress.or(of_route) == url.domain()
    };
    let has_route = ingress.is_some_and(|live| leads(&live)) || route.is_some_and(|live| leads(&live));
    (!has_route, endpoint.creation_timestamp().map(|time| time.0), namespace, name)
}
