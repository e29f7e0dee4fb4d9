//! The JSON Schemas (2020-12) of tools: exact ones, for HTTP and for reading arguments; and what `tools/list` publishes,
//! in the subset that clients' converters accept, and as short as can be, since every model reads it.
//!
//! What converters refuse or misread: `additionalProperties: false`, types with null, `oneOf` of `const`, formats
//! (docs/clients.md). Unknown arguments are refused all the same (`arguments`).

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

/// A type's schema, in one piece: some clients do not follow `$ref`. What is optional is left out, and never null.
pub(super) fn of<T: JsonSchema>(settings: SchemaSettings) -> Map<String, Value> {
    let settings = settings.with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    simplify(&mut schema);
    let mut schema = match schema {
        Value::Object(schema) => schema,
        // A type that accepts anything.
        _ => Map::new(),
    };
    // The Rust type's name and documentation say nothing to an agent.
    schema.remove("title");
    schema.remove("description");
    schema.insert("type".to_owned(), json!("object"));
    // Some clients insist on it, even where there are none.
    schema.entry("properties").or_insert_with(|| json!({}));
    schema
}

/// Takes null out of a schema and of all in it, makes an enum of several constants, and leaves out the formats that are
/// OpenAPI's, such as `uint32`.
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

/// The texts that a choice stands for, if it is of constants.
fn constants(choice: &Value) -> Option<Vec<Value>> {
    let several = choice.get("enum").and_then(Value::as_array).cloned();
    several.or_else(|| Some(vec![choice.get("const")?.clone()]))
}

/// Applies a change to the schemas in a schema.
fn in_each(schema: &mut Map<String, Value>, change: fn(&mut Value)) {
    for (name, value) in schema.iter_mut() {
        match (name.as_str(), value) {
            // Names of properties may be those of keywords.
            ("properties", Value::Object(properties)) => properties.values_mut().for_each(change),
            (_, value) => each(value, change),
        }
    }
}

/// Applies a change to the schemas that a keyword's value holds.
fn each(value: &mut Value, change: fn(&mut Value)) {
    match value {
        Value::Object(_) => change(value),
        Value::Array(values) => values.iter_mut().for_each(change),
        _ => {}
    }
}

/// What is published of the arguments' schema.
pub(super) fn published_input(schema: &Map<String, Value>) -> Map<String, Value> {
    let mut schema = Value::Object(schema.clone());
    publish(&mut schema);
    object(schema)
}

/// What is published of the result's schema: its shape. What the members mean is in their names; the exact schema is in
/// the OpenAPI document.
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

/// `workspace (string, required), cwd (string)`: what to write instead of wrong arguments.
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
