//! Holds a value against a structural schema (Kubernetes' subset of OpenAPI v3), as an API server does before it
//! evaluates the rules: types, limits and, as with kubectl's strict validation, no field that the schema has not.

use crate::violation::Violation;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use regex::Regex;
use serde_json::{Map, Value};
use std::collections::HashSet;

/// Removes null values: Kubernetes treats them as omitted if a field is not nullable, and no field here is nullable.
pub(super) fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| !field.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// The violations of the schema in `value`.
pub(super) fn violations(schema: &JSONSchemaProps, value: &Value) -> Vec<Violation> {
    let mut found = Vec::new();
    check(schema, value, "", &mut found);
    found
}

fn check(schema: &JSONSchemaProps, value: &Value, path: &str, found: &mut Vec<Violation>) {
    let mut report = |message: String| found.push(Violation { field: path.to_owned(), message });
    let wanted = schema.type_.as_deref().unwrap_or("integer or string");
    if !has_type(schema, value) {
        report(format!("must be of type {wanted}; it is {}", type_of(value)));
        return;
    }
    if let Some(options) = &schema.enum_
        && !options.iter().any(|option| option.0 == *value)
    {
        let options: Vec<String> = options.iter().map(|option| option.0.to_string()).collect();
        report(format!("must be one of {}; it is {value}", options.join(", ")));
    }
    match value {
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or(f64::NAN);
            if let Some(least) = schema.minimum.filter(|least| number < *least) {
                report(format!("must be at least {least}; it is {number}"));
            }
            if let Some(most) = schema.maximum.filter(|most| number > *most) {
                report(format!("must be at most {most}; it is {number}"));
            }
        }
        Value::String(text) => {
            size(text.chars().count(), schema.min_length, schema.max_length, "characters", &mut report);
            if let Some(pattern) = &schema.pattern
                && !Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
            {
                report(format!("must match {pattern}; it is {text:?}"));
            }
            if schema.format.as_deref() == Some("date-time") && text.parse::<jiff::Timestamp>().is_err() {
                report(format!("must be a date-time, such as 2026-11-29T06:00:00Z; it is {text:?}"));
            }
        }
        Value::Array(items) => {
            size(items.len(), schema.min_items, schema.max_items, "entries", &mut report);
            if let Some(twice) = repeated(schema, items) {
                report(twice);
            }
            if let Some(JSONSchemaPropsOrArray::Schema(schema)) = &schema.items {
                for (index, item) in items.iter().enumerate() {
                    check(schema, item, &format!("{path}[{index}]"), found);
                }
            }
        }
        Value::Object(fields) => {
            size(fields.len(), schema.min_properties, schema.max_properties, "entries", &mut report);
            check_fields(schema, fields, path, found);
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// The duplicates in a list of unique items (`x-kubernetes-list-type`).
fn repeated(schema: &JSONSchemaProps, items: &[Value]) -> Option<String> {
    let keys = schema.x_kubernetes_list_map_keys.as_deref().unwrap_or_default();
    let (what, identities): (String, Vec<String>) = match schema.x_kubernetes_list_type.as_deref()? {
        "set" => ("entry".to_owned(), items.iter().map(Value::to_string).collect()),
        "map" => {
            let identity =
                |item: &Value| keys.iter().map(|key| item[key].to_string()).collect::<Vec<_>>().join(" and ");
            (keys.join(" and "), items.iter().map(identity).collect())
        }
        _ => return None,
    };
    let mut seen = HashSet::new();
    let twice = identities.iter().find(|identity| !seen.insert(identity.as_str()))?;
    Some(format!("must have each {what} once; {twice} is repeated"))
}

fn check_fields(schema: &JSONSchemaProps, fields: &Map<String, Value>, path: &str, found: &mut Vec<Violation>) {
    for name in schema.required.iter().flatten().filter(|name| !fields.contains_key(*name)) {
        found.push(Violation { field: child(path, name), message: "is required; add it".to_owned() });
    }
    for (name, value) in fields {
        let field = child(path, name);
        if let Some(schema) = schema.properties.as_ref().and_then(|properties| properties.get(name)) {
            check(schema, value, &field, found);
        } else if let Some(JSONSchemaPropsOrBool::Schema(schema)) = &schema.additional_properties {
            check(schema, value, &field, found);
        } else if schema.x_kubernetes_preserve_unknown_fields != Some(true) {
            let known: Vec<&str> = schema.properties.iter().flatten().map(|(name, _)| name.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            found.push(Violation { field, message: format!("unknown field; the known fields are: {known}") });
        }
    }
}

fn size(actual: usize, least: Option<i64>, most: Option<i64>, what: &str, report: &mut impl FnMut(String)) {
    let actual = i64::try_from(actual).unwrap_or(i64::MAX);
    if let Some(least) = least.filter(|least| actual < *least) {
        report(format!("must have at least {least} {what}; it has {actual}"));
    }
    if let Some(most) = most.filter(|most| actual > *most) {
        report(format!("must have at most {most} {what}; it has {actual}"));
    }
}

fn child(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn has_type(schema: &JSONSchemaProps, value: &Value) -> bool {
    match (schema.type_.as_deref(), value) {
        (None, value) => schema.x_kubernetes_int_or_string == Some(true) && (value.is_i64() || value.is_string()),
        (Some("integer"), Value::Number(number)) => number.is_i64() || number.is_u64(),
        (Some(wanted), value) => wanted == type_of(value),
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
