//! Admission without an API server, for `portcullis dev`: the same schema, defaults and CEL rules.
//!
//! What is refused here is refused by a cluster, and the other way round: the tests put every manifest to both.

pub use crate::violation::Violation;

use crate::{GROUP, VERSION, crds, structural};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    CustomResourceExt,
    core::{
        Resource,
        cel::{ErrorKind, Validator, apply_defaults},
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::collections::HashSet;

/// The object that an API server would store for a new manifest, or all reasons to reject it.
pub fn admit<K>(manifest: Value) -> Result<K, Vec<Violation>>
where
    K: CustomResourceExt + Resource<DynamicType = ()> + Serialize + DeserializeOwned,
{
    admit_any(manifest, None::<&K>)
}

/// The same for a manifest that changes `old`.
pub fn admit_update<K>(manifest: Value, old: &K) -> Result<K, Vec<Violation>>
where
    K: CustomResourceExt + Resource<DynamicType = ()> + Serialize + DeserializeOwned,
{
    admit_any(manifest, Some(old))
}

fn admit_any<K>(mut manifest: Value, old: Option<&K>) -> Result<K, Vec<Violation>>
where
    K: CustomResourceExt + Resource<DynamicType = ()> + Serialize + DeserializeOwned,
{
    let whole = |error: serde_json::Error| vec![Violation::new("", error.to_string())];
    let crd = crds::of::<K>();
    let schema = crd.spec.versions.into_iter().find_map(|version| version.schema?.open_api_v3_schema);
    let schema = schema.ok_or_else(|| vec![Violation::new("kind", "has no schema")])?;
    let schema_json = serde_json::to_value(&schema).map_err(whole)?;
    let old = old.map(serde_json::to_value).transpose().map_err(whole)?;

    structural::drop_nulls(&mut manifest);
    crds::whole_numbers(&mut manifest);
    let manifest = apply_defaults(&schema_json, &manifest);
    let mut found = head::<K>(&manifest);
    found.extend(structural::violations(&schema, &headless(&manifest)));
    // Like an API server: rules are written for values of the right shape.
    if !found.is_empty() {
        return Err(found);
    }
    Validator::new().validate(&schema_json, &manifest, old.as_ref()).map_err(|broken| {
        // One mistake often breaks several rules of a field: the first one, which is the most basic, names it.
        let mut fields = HashSet::new();
        let found = broken.into_iter().map(|broken| {
            let failed = broken.kind == ErrorKind::EvaluationError;
            // An API server refuses the manifest with the rule's own message, too.
            let own = if failed { message_of(&schema_json, &broken.rule) } else { None };
            Violation::of_rule(&broken.field_path, own.unwrap_or(&broken.message))
        });
        found.filter(|violation| fields.insert(violation.field.clone())).collect::<Vec<_>>()
    })?;
    serde_json::from_value(manifest).map_err(whole)
}

/// The message of a rule anywhere in the schema.
fn message_of<'a>(schema: &'a Value, rule: &str) -> Option<&'a str> {
    match schema {
        Value::Object(fields) if fields.get("rule").and_then(Value::as_str) == Some(rule) => {
            fields.get("message").and_then(Value::as_str)
        }
        Value::Object(fields) => fields.values().find_map(|field| message_of(field, rule)),
        Value::Array(items) => items.iter().find_map(|item| message_of(item, rule)),
        _ => None,
    }
}

/// The violations in the fields that every Kubernetes object has.
fn head<K: Resource<DynamicType = ()>>(manifest: &Value) -> Vec<Violation> {
    let mut found = Vec::new();
    let text = |pointer: &str| manifest.pointer(pointer).and_then(Value::as_str);
    let (version, kind) = (format!("{GROUP}/{VERSION}"), K::kind(&()));
    if text("/apiVersion") != Some(&version) {
        found.push(Violation::new("apiVersion", format!("must be {version}")));
    }
    if text("/kind") != Some(&kind) {
        found.push(Violation::new("kind", format!("must be {kind}")));
    }
    if !text("/metadata/name").is_some_and(is_subdomain) {
        found.push(Violation::new(
            "metadata.name",
            "is required and must be made of a-z, 0-9, - and ., beginning and ending with a letter or digit",
        ));
    }
    let mut unknown = Vec::new();
    if let Some(metadata) = manifest.get("metadata") {
        let metadata: Result<ObjectMeta, _> =
            serde_ignored::deserialize(metadata, |path| unknown.push(path.to_string()));
        if let Err(error) = metadata {
            found.push(Violation::new("metadata", error.to_string()));
        }
    }
    let unknown = unknown.iter().map(|field| Violation::new(&format!("metadata.{field}"), "unknown field; remove it"));
    found.extend(unknown);
    found
}

/// The fields that the schema describes.
fn headless(manifest: &Value) -> Value {
    let mut rest = manifest.clone();
    if let Value::Object(fields) = &mut rest {
        fields.retain(|name, _| !matches!(name.as_str(), "apiVersion" | "kind" | "metadata"));
    }
    rest
}

/// RFC 1123, as Kubernetes has it for names of objects.
fn is_subdomain(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    };
    name.len() <= 253 && name.split('.').all(label)
}
