//! Finds references in manifests to missing endpoints, tools and parameters. In a cluster the operator reports these in
//! conditions.

use super::manifests::Key;
use kube::{Resource, ResourceExt as _};
use portcullis_api::{
    McpEndpoint, OAuthClient, OAuthUser, WorkspaceTemplate, WorkspaceTemplateSpec,
    endpoint::ToolFilter,
    faults::{Fault, faults},
    tools,
    validation::Violation,
};
use portcullis_core::nearest::suggestion;
use serde_json::Value;
use std::collections::BTreeSet;

fn key<K: Resource<DynamicType = ()>>(object: &K) -> Key {
    (K::kind(&()).into_owned(), object.namespace().unwrap_or_default(), object.name_any())
}

/// The faults of all templates.
pub(super) fn of_templates(templates: &[WorkspaceTemplate]) -> Vec<(Key, Violation)> {
    let of_one = |template: &WorkspaceTemplate| {
        let key = key(template);
        let violation = |Fault { field, message }| (key.clone(), Violation { field, message });
        faults(&template.spec).into_iter().map(violation).collect::<Vec<_>>()
    };
    templates.iter().flat_map(of_one).collect()
}

/// The violations of a template that admission refused. Faults replace the violations of the same fields, since their
/// messages have more details.
pub(super) fn with_faults(violations: Vec<Violation>, spec: Value) -> Vec<Violation> {
    let Ok(spec) = serde_json::from_value::<WorkspaceTemplateSpec>(spec) else { return violations };
    let faults: Vec<Violation> =
        faults(&spec).into_iter().map(|Fault { field, message }| Violation { field, message }).collect();
    let others = violations.into_iter().filter(|violation| faults.iter().all(|fault| fault.field != violation.field));
    others.chain(faults.clone()).collect()
}

/// Every `endpointRef` to a missing endpoint. `endpoints` are namespaces and names.
pub(super) fn to_endpoints(
    clients: &[OAuthClient],
    users: &[OAuthUser],
    endpoints: &BTreeSet<(String, String)>,
) -> Vec<(Key, Violation)> {
    let clients = clients.iter().map(|client| (key(client), &client.spec.endpoint_ref));
    let users = users.iter().map(|user| (key(user), &user.spec.endpoint_ref));
    let dangling = clients.chain(users).filter_map(|(key, endpoint)| {
        let message = missing_endpoint(&key.1, &endpoint.name, endpoints)?;
        Some((key, Violation { field: "spec.endpointRef.name".to_owned(), message }))
    });
    dangling.collect()
}

fn missing_endpoint(namespace: &str, name: &str, endpoints: &BTreeSet<(String, String)>) -> Option<String> {
    if endpoints.contains(&(namespace.to_owned(), name.to_owned())) {
        return None;
    }
    let here: Vec<&str> = endpoints.iter().filter(|(of, _)| of == namespace).map(|(_, name)| name.as_str()).collect();
    let elsewhere = endpoints.iter().find(|(_, other)| other == name);
    let near = suggestion(name, here.iter().copied());
    let remedy = match (near.is_empty(), elsewhere, here.as_slice()) {
        (false, ..) => near,
        (true, Some((of, _)), _) => format!("; the one of namespace {of:?} needs metadata.namespace: {of} here"),
        (true, None, []) => "; add it, or correct metadata.namespace".to_owned(),
        (true, None, here) => format!("; add it, or use one of {}", here.join(", ")),
    };
    Some(format!("there is no McpEndpoint {name:?} in namespace {namespace:?}{remedy}"))
}

/// The violations of an endpoint that admission refused. Those of `spec.tools` are replaced by one for each entry that
/// matches no tool, with a suggestion.
pub(super) fn with_tools_named(violations: Vec<Violation>, tools: Value) -> Vec<Violation> {
    let Ok(filter) = serde_json::from_value::<ToolFilter>(tools) else { return violations };
    let (lists, others): (Vec<_>, Vec<_>) =
        violations.into_iter().partition(|violation| violation.message.starts_with(tools::NOT_TOOLS));
    let is_refused = |violation: &Violation| {
        lists.iter().any(|list| violation.field.strip_prefix(&list.field).is_some_and(|rest| rest.starts_with('[')))
    };
    others.into_iter().chain(unknown_tools(&filter).into_iter().filter(is_refused)).collect()
}

/// The unknown tools of admitted endpoints.
pub(super) fn to_tools(endpoints: &[McpEndpoint]) -> Vec<(Key, Violation)> {
    let of_one = |endpoint: &McpEndpoint| {
        let key = key(endpoint);
        unknown_tools(&endpoint.spec.tools).into_iter().map(|violation| (key.clone(), violation)).collect::<Vec<_>>()
    };
    endpoints.iter().flat_map(of_one).collect()
}

fn unknown_tools(filter: &ToolFilter) -> Vec<Violation> {
    let violation = |entry: &tools::UnknownTool<'_>| Violation { field: entry.field(), message: entry.to_string() };
    tools::unknown(filter).iter().map(violation).collect()
}
