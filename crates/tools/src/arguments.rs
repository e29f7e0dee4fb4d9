//! Validation of a call's arguments against the tool's schema, before they are deserialized. It defines for all tools
//! which arguments are accepted, and its messages do not come from a parser. A whole number is an integer in any
//! notation (JSON Schema 2020-12, Core §4.2.3). `null`, or an empty string for an optional argument, means absence.

use portcullis_core::nearest::suggestion;
use serde_json::{Map, Value};

/// Up to this bound, an `f64` represents every integer exactly.
const MOST_WHOLE: f64 = 9_007_199_254_740_992.0;

/// The arguments in the form that the tool deserializes, or all problems with them.
pub(super) fn fit(schema: &Map<String, Value>, given: Map<String, Value>) -> Result<Map<String, Value>, String> {
    let empty = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let required: Vec<&str> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let (mut fitted, mut problems) = (Map::new(), Vec::new());
    for (name, value) in given {
        let Some(property) = properties.get(&name) else {
            problems.push(unknown("argument", &name, properties.keys().map(String::as_str)));
            continue;
        };
        let absent = value.is_null() || value == "" && !required.contains(&name.as_str());
        if absent {
            continue;
        }
        match value_of(&name, property, value) {
            Ok(value) => drop(fitted.insert(name, value)),
            Err(problem) => problems.push(problem),
        }
    }
    for name in required {
        if !fitted.contains_key(name) && !problems.iter().any(|problem| problem.starts_with(&format!("{name} "))) {
            problems.push(format!("{name} is missing"));
        }
    }
    if problems.is_empty() { Ok(fitted) } else { Err(problems.join("; ")) }
}

/// The message for an unknown name, with a suggestion if a known name is similar.
pub(super) fn unknown<'a>(kind: &str, name: &str, known: impl Iterator<Item = &'a str>) -> String {
    format!("there is no {kind} {name:?}{}", suggestion(name, known))
}

fn value_of(name: &str, schema: &Value, value: Value) -> Result<Value, String> {
    let must_be = |what: &str, value: &Value| Err(format!("{name} must be {what}, not {}", shown(value)));
    match (schema.get("type").and_then(Value::as_str), value) {
        (Some("string"), Value::String(text)) => match schema.get("enum").and_then(Value::as_array) {
            Some(choices) if !choices.iter().any(|choice| *choice == text) => {
                let choices: Vec<&str> = choices.iter().filter_map(Value::as_str).collect();
                Err(format!("{name} must be one of {}, not {text:?}", choices.join(", ")))
            }
            _ => Ok(Value::String(text)),
        },
        (Some("string"), value) => must_be("text", &value),
        (Some("integer"), Value::Number(number)) => {
            let whole = integer(&number).ok_or_else(|| format!("{name} must be a whole number, not {number}"))?;
            in_range(name, schema, &whole)?;
            Ok(whole)
        }
        (Some("integer"), value) => must_be("a whole number", &value),
        (Some("boolean"), value) if !value.is_boolean() => must_be("true or false", &value),
        (Some("object"), Value::Object(members)) => {
            let Some(each) = schema.get("additionalProperties").filter(|each| each.is_object()) else {
                return Ok(Value::Object(members));
            };
            let members = members.into_iter().map(|(member, value)| {
                let value = value_of(&format!("{name}.{member}"), each, value)?;
                Ok::<_, String>((member, value))
            });
            Ok(Value::Object(members.collect::<Result<_, _>>()?))
        }
        (Some("object"), value) => must_be("an object of names and values", &value),
        (_, value) => Ok(value),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "it is whole and below the border")]
fn integer(number: &serde_json::Number) -> Option<Value> {
    if number.is_i64() || number.is_u64() {
        return Some(number.clone().into());
    }
    let float = number.as_f64()?;
    (float.fract() == 0.0 && float.abs() <= MOST_WHOLE).then(|| Value::from(float as i64))
}

/// Rejects only values that no tool could deserialize; the tools check the exact ranges.
fn in_range(name: &str, schema: &Value, whole: &Value) -> Result<(), String> {
    let border = |keyword: &str| schema.get(keyword).and_then(Value::as_i64);
    match (whole.as_i64(), border("minimum"), border("maximum")) {
        (Some(number), Some(least), _) if number < 0 => Err(format!("{name} must be at least {least}, not {number}")),
        (number, _, Some(most)) if number.is_none_or(|number| number > most.max(u32::MAX.into())) => {
            Err(format!("{name} must be at most {most}, not {whole}"))
        }
        _ => Ok(()),
    }
}

/// A value in a message. A value that is long or may be secret is described by its kind.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(_) => "text".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fitted(given: Value) -> Result<Value, String> {
        let schema = json!({
            "required": ["workspace"],
            "properties": {
                "workspace": {"type": "string"}, "command": {"type": "string"}, "wait": {"type": "boolean"},
                "timeout_seconds": {"type": "integer", "minimum": 1, "maximum": 55}, "offset": {"type": "integer", "minimum": 0},
                "status": {"type": "string", "enum": ["running", "stopped"]},
                "env": {"type": "object", "additionalProperties": {"type": "string"}},
            },
        });
        let (Value::Object(schema), Value::Object(given)) = (schema, given) else { panic!("they are objects") };
        fit(&schema, given).map(Value::Object)
    }

    #[test]
    fn whole_numbers_are_integers_and_absence_is_absence() {
        for (given, expected) in [
            (json!({"timeout_seconds": 5.0}), json!({"timeout_seconds": 5})),
            (json!({"timeout_seconds": 1e1}), json!({"timeout_seconds": 10})),
            (json!({"offset": 0}), json!({"offset": 0})),
            (json!({"offset": -0.0}), json!({"offset": 0})),
            (json!({"timeout_seconds": 3600}), json!({"timeout_seconds": 3600})),
            (json!({"timeout_seconds": null, "status": null, "env": null, "wait": null, "command": null}), json!({})),
            (json!({"timeout_seconds": "", "status": "", "env": "", "wait": "", "command": ""}), json!({})),
            (json!({"env": {"A": ""}, "wait": false}), json!({"env": {"A": ""}, "wait": false})),
        ] {
            let with_workspace = |mut value: Value| {
                value["workspace"] = json!("web");
                value
            };
            assert_eq!(fitted(with_workspace(given.clone())), Ok(with_workspace(expected)), "{given}");
        }
        assert_eq!(fitted(json!({"workspace": ""})), Ok(json!({"workspace": ""})), "the tool says what is wrong");
    }

    #[test]
    fn problems_are_named_in_plain_words() {
        for (given, said) in [
            (json!({}), "workspace is missing"),
            (json!({"workspace": null}), "workspace is missing"),
            (json!({"workspace": 7}), "workspace must be text, not the number 7"),
            (json!({"workspace": ["a"]}), "workspace must be text, not a list"),
            (json!({"workspace": "a", "timeout_seconds": 5.5}), "timeout_seconds must be a whole number, not 5.5"),
            (json!({"workspace": "a", "timeout_seconds": "5"}), "timeout_seconds must be a whole number, not text"),
            (json!({"workspace": "a", "timeout_seconds": -1}), "timeout_seconds must be at least 1, not -1"),
            (json!({"workspace": "a", "offset": -1.0}), "offset must be at least 0, not -1"),
            (json!({"workspace": "a", "timeout_seconds": 5e9}), "timeout_seconds must be at most 55, not 5000000000"),
            (json!({"workspace": "a", "timeout_seconds": 1e300}), "timeout_seconds must be a whole number, not 1e+300"),
            (json!({"workspace": "a", "timeout_seconds": u64::MAX}), "must be at most 55, not 18446744073709551615"),
            (json!({"workspace": "a", "wait": "yes"}), "wait must be true or false, not text"),
            (json!({"workspace": "a", "status": "asleep"}), "status must be one of running, stopped, not \"asleep\""),
            (json!({"workspace": "a", "env": [1]}), "env must be an object of names and values, not a list"),
            (json!({"workspace": "a", "env": {"A": 1}}), "env.A must be text, not the number 1"),
            (json!({"cmd": "ls", "wait": 1}), "there is no argument \"cmd\"; did you mean command?; wait must be"),
            (
                json!({"workspace": "a", "timeout": 1}),
                "there is no argument \"timeout\"; did you mean timeout_seconds?",
            ),
            (json!({"workspace": "a", "Workspace": 1}), "there is no argument \"Workspace\"; did you mean workspace?"),
            (json!({"workspace": "a", "xyz": 1}), "there is no argument \"xyz\""),
        ] {
            let problem = fitted(given.clone()).unwrap_err();
            assert!(problem.contains(said), "{given}: {problem}");
        }
    }
}
