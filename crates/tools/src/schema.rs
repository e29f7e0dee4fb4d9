//! The JSON Schemas (2020-12) of tools: exact schemas for HTTP and for the validation of arguments, and the schemas
//! that `tools/list` publishes. Published schemas use the subset that clients' converters accept, and are as short as
//! possible, since every model reads them.
//!
//! Converters reject or misread `additionalProperties: false`, types with null, `oneOf` of `const`, and formats
//! (docs/clients.md). Unknown arguments are nevertheless rejected (`arguments`).

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

/// The schema of a type, without `$ref`, which some clients do not follow. Optional members are omitted, never null.
pub(super) fn of<T: JsonSchema>(settings: SchemaSettings) -> Map<String, Value> {
    let settings = settings.with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    simplify(&mut schema);
    let mut schema = match schema {
        Value::Object(schema) => schema,
        // The type accepts any value.
        _ => Map::new(),
    };
    // The name and the documentation of the Rust type are meaningless to agents.
    schema.remove("title");
    schema.remove("description");
    schema.insert("type".to_owned(), json!("object"));
    // Some clients require `properties`, even without any property.
    schema.entry("properties").or_insert_with(|| json!({}));
    schema
}

/// Removes null from a schema and its subschemas, converts choices of constants into an enum, and removes the formats
/// of OpenAPI, such as `uint32`.
fn simplify(schema: &mut Value) {
    let Value::Object(schema) = schema else { return };
    for keyword in ["anyOf", "oneOf"] {
        let Some(Value::Array(mut choices)) = schema.remove(keyword) else { continue };
        choices.retain(|choice| choice.get("type") != Some(&json!("null")));
        let constants: Option<Vec<Vec<Value>>> = choices.iter().map(constants).collect();
        match (constants, choices.as_mut_slice()) {
            (Some(constants), _) if keyword == "oneOf" => {
                schema.insert("type".to_owned(), json!("string"));
                schema.insert("enum".to_owned(), constants.concat().into());
            }
            (_, [only]) => {
                simplify(only);
                for (name, value) in object(std::mem::take(only)) {
                    schema.entry(name).or_insert(value);
                }
            }
            _ => drop(schema.insert(keyword.to_owned(), choices.into())),
        }
    }
    if let Some(kind) = schema.get_mut("type")
        && let Some(kinds) = kind.as_array_mut()
    {
        kinds.retain(|kind| kind != "null");
        if let [only] = kinds.as_mut_slice() {
            *kind = only.take();
        }
    }
    if let Some(Value::Array(choices)) = schema.get_mut("enum") {
        choices.retain(|choice| !choice.is_null());
    }
    if schema.get("default") == Some(&Value::Null) {
        schema.remove("default");
    }
    let format = schema.get("format").and_then(Value::as_str).unwrap_or_default();
    if format.trim_start_matches('u').starts_with("int") || ["float", "double"].contains(&format) {
        schema.remove("format");
    }
    in_each(schema, simplify);
}

/// The constants of a choice, if it has any.
fn constants(choice: &Value) -> Option<Vec<Value>> {
    let several = choice.get("enum").and_then(Value::as_array).cloned();
    several.or_else(|| Some(vec![choice.get("const")?.clone()]))
}

/// Applies a change to the direct subschemas of a schema.
fn in_each(schema: &mut Map<String, Value>, change: fn(&mut Value)) {
    for (name, value) in schema.iter_mut() {
        match (name.as_str(), value) {
            // Property names can be equal to keywords.
            ("properties", Value::Object(properties)) => properties.values_mut().for_each(change),
            (_, value) => each(value, change),
        }
    }
}

/// Applies a change to the schemas in the value of a keyword.
fn each(value: &mut Value, change: fn(&mut Value)) {
    match value {
        Value::Object(_) => change(value),
        Value::Array(values) => values.iter_mut().for_each(change),
        _ => {}
    }
}

/// The published schema of the arguments.
pub(super) fn published_input(schema: &Map<String, Value>) -> Map<String, Value> {
    let mut schema = Value::Object(schema.clone());
    publish(&mut schema);
    object(schema)
}

/// The published schema of the result: its structure, since the names of the members are self-explanatory. The exact
/// schema is in the OpenAPI document.
pub(super) fn published_output(schema: &Map<String, Value>) -> Map<String, Value> {
    let mut schema = Value::Object(schema.clone());
    publish(&mut schema);
    without_descriptions(&mut schema);
    object(schema)
}

fn object(schema: Value) -> Map<String, Value> {
    match schema {
        Value::Object(schema) => schema,
        _ => Map::new(),
    }
}

fn publish(schema: &mut Value) {
    let Value::Object(schema) = schema else { return };
    if schema.get("additionalProperties") == Some(&Value::Bool(false)) {
        schema.remove("additionalProperties");
    }
    schema.remove("format");
    if schema.get("minimum").and_then(Value::as_i64) == Some(0) {
        schema.remove("minimum");
    }
    in_each(schema, publish);
}

fn without_descriptions(schema: &mut Value) {
    let Value::Object(schema) = schema else { return };
    schema.remove("description");
    schema.remove("default");
    in_each(schema, without_descriptions);
}

/// The expected arguments, for errors: `workspace (string, required), cwd (string)`.
pub(super) fn expected(schema: &Map<String, Value>) -> String {
    let required: Vec<&str> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    let expected: Vec<String> = properties
        .map(|(name, property)| {
            let kind = property.get("type").and_then(Value::as_str).unwrap_or("any");
            let needed = if required.contains(&name.as_str()) { ", required" } else { "" };
            format!("{name} ({kind}{needed})")
        })
        .collect();
    if expected.is_empty() { "none".to_owned() } else { expected.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    #[schemars(inline)]
    enum Choice {
        /// The first one.
        One,
        /// The second one.
        Two,
    }

    #[derive(Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its schema counts")]
    struct Arguments {
        /// A number.
        number: u32,
        /// One of two.
        choice: Option<Choice>,
        /// A text with an unlucky name.
        format: Option<String>,
        #[serde(default)]
        map: std::collections::BTreeMap<String, String>,
        /// A date.
        #[schemars(with = "Option<String>", extend("format" = "date-time"))]
        date: Option<String>,
    }

    #[test]
    fn what_is_published_is_what_converters_accept() {
        let schema = of::<Arguments>(SchemaSettings::draft2020_12());
        assert_eq!(
            Value::Object(schema.clone()),
            json!({
                "type": "object",
                "additionalProperties": false,
                "required": ["number"],
                "properties": {
                    "number": {"type": "integer", "minimum": 0, "description": "A number."},
                    "choice": {"type": "string", "enum": ["one", "two"], "description": "One of two."},
                    "format": {"type": "string", "description": "A text with an unlucky name."},
                    "map": {"type": "object", "additionalProperties": {"type": "string"}, "default": {}},
                    "date": {"type": "string", "format": "date-time", "description": "A date."},
                },
            })
        );
        assert_eq!(
            Value::Object(published_input(&schema)),
            json!({
                "type": "object",
                "required": ["number"],
                "properties": {
                    "number": {"type": "integer", "description": "A number."},
                    "choice": {"type": "string", "enum": ["one", "two"], "description": "One of two."},
                    "format": {"type": "string", "description": "A text with an unlucky name."},
                    "map": {"type": "object", "additionalProperties": {"type": "string"}, "default": {}},
                    "date": {"type": "string", "description": "A date."},
                },
            })
        );
        let output = published_output(&schema);
        assert_eq!(output["properties"]["choice"], json!({"type": "string", "enum": ["one", "two"]}));
        assert_eq!(output["properties"]["map"], json!({"type": "object", "additionalProperties": {"type": "string"}}));
        assert_eq!(
            expected(&schema),
            "choice (string), date (string), format (string), map (object), number (integer, required)"
        );
    }
}
