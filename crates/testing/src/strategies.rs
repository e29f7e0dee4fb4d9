//! Strategies for property tests of parsers: arbitrary JSON, and objects that are valid except for some members.

use proptest::prelude::*;
use serde_json::Value;

/// Texts with a meaning for some parser.
const KNOWN: [&str; 10] =
    ["https://h.example.com/x", "javascript:x", "none", "code", "EC", "P-256", "RSA", "AQAB", "2.0", ""];

/// Arbitrary JSON of limited depth.
pub fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        prop::sample::select(&KNOWN[..]).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let members = prop::collection::vec(("[a-z_]{1,8}", inner.clone()), 0..4);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            members.prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// `base` with arbitrary values for some of these members, or without them.
pub fn changed(base: Value, names: &'static [&'static str]) -> impl Strategy<Value = Value> {
    prop::collection::vec((prop::sample::select(names), prop::option::of(json())), 0..4).prop_map(move |changes| {
        let mut members = base.as_object().cloned().unwrap_or_default();
        for (name, value) in changes {
            match value {
                Some(value) => members.insert(name.to_owned(), value),
                None => members.remove(name),
            };
        }
        Value::Object(members)
    })
}
