//! JSON schemas for kubeconform, from what the API server says of its own kinds: no network, and the custom resources too.

use crate::support::controlplane::ControlPlane;
use serde_json::{Map, Value, json};
use std::{fs, path::Path};

/// Where kubeconform looks for the schema of a kind in a folder.
pub const LOCATION: &str = "{{ .ResourceKind }}{{ .KindSuffix }}.json";

/// Writes a schema per kind into a folder. Fields that a kind does not have are wrong.
pub async fn write(plane: &ControlPlane, folder: &Path) {
    let request = http::Request::get("/openapi/v2").header("Accept", "application/json").body(Vec::new()).unwrap();
    let document: Value = plane.client().await.request(request).await.unwrap();
    let mut definitions = document["definitions"].as_object().unwrap().clone();
    definitions.values_mut().for_each(strict);
    definitions["io.k8s.apimachinery.pkg.api.resource.Quantity"] = json!({"type": ["string", "number"]});
    let definitions = Value::Object(definitions);
    for (name, definition) in definitions.as_object().unwrap() {
        for kind in definition["x-kubernetes-group-version-kind"].as_array().into_iter().flatten() {
            let part = |field: &str| kind[field].as_str().unwrap().to_lowercase();
            // As kubeconform has it: of the group, the first word.
            let group = part("group").split('.').next().unwrap().to_owned();
            let parts = [part("kind"), group, part("version")];
            let file = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
            // Everything that takes a DeleteOptions is one.
            if !file.starts_with("deleteoptions") && !file.starts_with("watchevent") {
                let schema =
                    json!({"$ref": format!("#/definitions/{name}"), "definitions": needed(&definitions, name)});
                fs::write(folder.join(format!("{file}.json")), schema.to_string()).unwrap();
            }
        }
    }
}

/// A definition and all that it refers to.
fn needed(definitions: &Value, name: &str) -> Map<String, Value> {
    let mut found = Map::new();
    let mut open = vec![name.to_owned()];
    while let Some(name) = open.pop() {
        if !found.contains_key(&name) {
            references(&definitions[&name], &mut open);
            found.insert(name.clone(), definitions[&name].clone());
        }
    }
    found
}

fn references(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str().and_then(|text| text.strip_prefix("#/definitions/")) {
                    Some(target) if name == "$ref" => found.push(target.to_owned()),
                    _ => references(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

/// OpenAPI v2 says `string` of what may be a number too, and nothing of fields that do not exist.
fn strict(schema: &mut Value) {
    if schema["format"] == "int-or-string" {
        *schema = json!({"type": ["string", "integer"]});
    }
    let Some(fields) = schema.as_object_mut() else { return };
    let open = fields.get("x-kubernetes-preserve-unknown-fields").is_some();
    if fields.get("properties").is_some_and(Value::is_object) && !open {
        fields.entry("additionalProperties").or_insert(json!(false));
    }
    for (name, value) in fields {
        match value {
            Value::Object(named) if name == "properties" => named.values_mut().for_each(strict),
            Value::Object(_) if name == "items" || name == "additionalProperties" => strict(value),
            _ => {}
        }
    }
}
