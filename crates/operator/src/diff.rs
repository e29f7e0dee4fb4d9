//! Checks whether a live object already matches the desired one, so that no write is needed. Pure.
//!
//! A desired object has only the fields that the plan owns (server-side apply); the API server adds defaults, and other
//! managers add fields. So the check is whether the live object *covers* the desired one.

use kube::core::DynamicObject;
use portcullis_core::hex;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// On every applied object: the fingerprint of the applied object. If it matches the desired one, the live object has no
/// obsolete fields of the operator.
pub const APPLIED_ANNOTATION: &str = "portcullis.dev/applied";

/// A short hash of a desired object.
pub fn fingerprint(desired: &DynamicObject) -> Result<String, serde_json::Error> {
    Ok(hex(&Sha256::digest(serde_json::to_vec(desired)?)[..8]))
}

/// Whether `live` has everything in `desired`.
///
/// - An empty object or list and `null` count as absent: the API server drops them.
/// - Lists whose elements all have a `uid` or `name` are compared by it, others may have added elements; any other list
///   must have the same elements in the same order.
/// - Quantities are compared as they are written: the plan writes them as the API server does.
#[must_use]
pub fn covers(live: &Value, desired: &Value) -> bool {
    covers_at(Some(live), desired)
}

fn covers_at(live: Option<&Value>, desired: &Value) -> bool {
    match (live.unwrap_or(&Value::Null), desired) {
        (Value::Null, desired) => is_empty(desired),
        (Value::Object(live), Value::Object(desired)) => {
            desired.iter().all(|(key, value)| covers_at(live.get(key), value))
        }
        (Value::Array(live), Value::Array(desired)) => covers_list(live, desired),
        (live, desired) => live == desired,
    }
}

/// Only the lists of `desired` that `live` does not cover, at their paths; `None` if there are none.
///
/// Server-side apply merges keyed lists. Where somebody changed an element's key, such as a Service's port, it would add
/// the desired element beside the changed one, which the API server may refuse: then the list has to be replaced.
#[must_use]
pub fn uncovered_lists(live: &Value, desired: &Value) -> Option<Value> {
    match desired {
        Value::Array(_) => (!covers(live, desired)).then(|| desired.clone()),
        Value::Object(fields) => {
            let found: Map<String, Value> = fields
                .iter()
                .filter_map(|(key, value)| Some((key.clone(), uncovered_lists(&live[key.as_str()], value)?)))
                .collect();
            (!found.is_empty()).then_some(Value::Object(found))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Array(elements) => elements.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn covers_list(live: &[Value], desired: &[Value]) -> bool {
    match desired.iter().map(key_of).collect::<Option<Vec<_>>>() {
        Some(keys) if !keys.is_empty() => desired
            .iter()
            .zip(keys)
            // A key may occur twice, as for a route that names two listeners of one Gateway.
            .all(|(element, key)| {
                live.iter().any(|candidate| key_of(candidate) == Some(key) && covers_at(Some(candidate), element))
            }),
        _ => {
            live.len() == desired.len()
                && live.iter().zip(desired).all(|(live, desired)| covers_at(Some(live), desired))
        }
    }
}

fn key_of(element: &Value) -> Option<&str> {
    let fields: &Map<String, Value> = element.as_object()?;
    fields.get("uid").or_else(|| fields.get("name"))?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_live_object_covers_what_was_desired_and_defaulted() {
        let rows = [
            ("equal", json!({"a": 1}), json!({"a": 1}), true),
            ("defaulted fields", json!({"a": {"b": 1, "c": 2}, "d": 3}), json!({"a": {"b": 1}}), true),
            ("missing field", json!({"a": {}}), json!({"a": {"b": 1}}), false),
            ("changed field", json!({"a": 2}), json!({"a": 1}), false),
            ("changed type", json!({"a": "1"}), json!({"a": 1}), false),
            ("empty is absent", json!({}), json!({"a": {}, "b": [], "c": null, "d": {"e": []}}), true),
            ("false is not absent", json!({}), json!({"a": false}), false),
            ("the wish for nothing is met by anything", json!({"a": {"b": 1}}), json!({"a": {}}), true),
            ("lists by position", json!({"a": [1, 2]}), json!({"a": [1, 2]}), true),
            ("reordered list", json!({"a": [2, 1]}), json!({"a": [1, 2]}), false),
            ("longer list", json!({"a": [1, 2, 3]}), json!({"a": [1, 2]}), false),
            ("emptied list", json!({"a": [1]}), json!({"a": []}), false),
            (
                "elements by name",
                json!({"c": [{"name": "injected"}, {"name": "server", "image": "i", "d": 1}]}),
                json!({"c": [{"name": "server", "image": "i"}]}),
                true,
            ),
            ("named element gone", json!({"c": [{"name": "x"}]}), json!({"c": [{"name": "server"}]}), false),
            (
                "owners by uid",
                json!({"o": [{"uid": "1", "name": "a"}, {"uid": "2", "name": "a"}]}),
                json!({"o": [{"uid": "2", "name": "a"}]}),
                true,
            ),
        ];
        for (name, live, desired, expected) in rows {
            assert_eq!(covers(&live, &desired), expected, "{name}");
        }
    }

    #[test]
    fn only_lists_that_differ_are_replaced() {
        let desired = json!({"a": 1, "ports": [{"name": "http", "port": 80}], "deep": {"same": [1], "other": [2]}});
        let live = json!({"a": 2, "ports": [{"name": "http", "port": 81}], "deep": {"same": [1]}});
        let expected = json!({"ports": [{"name": "http", "port": 80}], "deep": {"other": [2]}});
        assert_eq!(uncovered_lists(&live, &desired), Some(expected));
        assert_eq!(uncovered_lists(&desired, &desired), None);
    }

    #[test]
    fn a_fingerprint_tells_of_any_change() {
        let object = |value: Value| serde_json::from_value::<DynamicObject>(value).unwrap();
        let base = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": {"k": "v"}});
        let mut less = base.clone();
        less["data"] = json!({});
        let same = fingerprint(&object(base.clone())).unwrap();
        assert_eq!(same, fingerprint(&object(base)).unwrap());
        assert_ne!(same, fingerprint(&object(less)).unwrap());
    }
}
