//! What an API server would check before it took a manifest: names, fields, types and the rules beside them.

use crate::api::{McpEndpoint, OAuthClient};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::core::{Resource, cel::ValidationErrors};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Everything that is wrong with one object, a sentence each.
pub type Problems = Vec<String>;

/// An endpoint that passes every rule.
pub fn endpoint(value: &Value) -> Result<McpEndpoint, Problems> {
    custom_resource(value, McpEndpoint::validate_cel)
}

/// A client that passes every rule.
pub fn client(value: &Value) -> Result<OAuthClient, Problems> {
    custom_resource(value, OAuthClient::validate_cel)
}

/// A Secret, its `stringData` moved into `data`.
pub fn secret(value: &Value) -> Result<Secret, Problems> {
    let mut secret: Secret = typed(value)?;
    for (key, text) in secret.string_data.take().unwrap_or_default() {
        secret.data.get_or_insert_default().insert(key, ByteString(text.into_bytes()));
    }
    Ok(secret)
}

fn custom_resource<T: DeserializeOwned + Resource<DynamicType = ()>>(
    value: &Value,
    rules: impl FnOnce(&T) -> Result<(), ValidationErrors>,
) -> Result<T, Problems> {
    let object = typed(value)?;
    rules(&object).map_err(|broken| broken.into_vec().into_iter().map(|rule| rule.message).collect::<Problems>())?;
    Ok(object)
}

fn typed<T: DeserializeOwned + Resource<DynamicType = ()>>(value: &Value) -> Result<T, Problems> {
    let mut unknown = Problems::new();
    let mut track = serde_path_to_error::Track::new();
    let object: Result<T, _> =
        serde_ignored::deserialize(serde_path_to_error::Deserializer::new(value, &mut track), |path| {
            unknown.push(path.to_string())
        });
    let object = object.map_err(|error| vec![format!("{}: {error}", track.path())])?;
    unknown.retain(|path| path != "apiVersion" && path != "kind");
    let mut problems: Problems = unknown
        .into_iter()
        .map(|path| format!("{path}: there is no such field; correct its name or remove it"))
        .collect();
    if !object.meta().name.as_deref().is_some_and(is_object_name) {
        problems.push(
            "metadata.name: every object needs one of a-z, 0-9, - and ., which begins and ends with a letter or digit"
                .to_owned(),
        );
    }
    if problems.is_empty() { Ok(object) } else { Err(problems) }
}

/// A DNS-1123 subdomain: what Kubernetes allows as the name of nearly every kind.
fn is_object_name(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    };
    name.len() <= 253 && name.split('.').all(label)
}
