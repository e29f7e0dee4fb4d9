//! A tool's arguments, from the path, query and body of a request.

use crate::{
    problem::ProblemDetails,
    routes::{RestRoute, Source},
};
use http::StatusCode;
use portcullis_core::json::lone_surrogate;
use serde_json::{Map, Value};

/// Collects the arguments. Values in the path and the query are text, and are converted to the types of `schema`, the
/// schema of the arguments.
pub(super) fn collect(
    route: &RestRoute,
    captured: &[(&'static str, String)],
    query: Option<&str>,
    body: &[u8],
    schema: &Map<String, Value>,
) -> Result<Map<String, Value>, ProblemDetails> {
    let query: Vec<_> = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).collect();
    let mut arguments = match route.rest {
        Source::Body if !query.is_empty() => {
            return Err(wrong("this path takes its arguments in a JSON object in the body, not in the query"));
        }
        Source::Body => object(body)?,
        Source::Query => Map::new(),
    };
    for (name, text) in &query {
        if arguments.insert(name.clone().into_owned(), typed(schema, name, text)?).is_some() {
            return Err(wrong(format!("{name}: it is repeated in the query")));
        }
    }
    for (name, text) in captured {
        if arguments.insert((*name).to_owned(), typed(schema, name, text)?).is_some() {
            return Err(wrong(format!("{name}: it is in the path already; omit it elsewhere")));
        }
    }
    Ok(arguments)
}

fn wrong(detail: impl Into<String>) -> ProblemDetails {
    ProblemDetails::new(StatusCode::BAD_REQUEST, "invalid_arguments", detail)
}

fn object(body: &[u8]) -> Result<Map<String, Value>, ProblemDetails> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(wrong("the body must be a JSON object with the arguments by their names")),
        Err(error) => {
            let why = lone_surrogate(body).unwrap_or_else(|| error.to_string());
            Err(wrong(format!("the body is not valid JSON: {why}")))
        }
    }
}

fn typed(schema: &Map<String, Value>, name: &str, text: &str) -> Result<Value, ProblemDetails> {
    let property = schema.get("properties").and_then(|properties| properties.get(name));
    let is = |kind: &str| property.is_some_and(|property| may_be(property, kind));
    let expected = |what: &str| wrong(format!("{name}: {text:?} is {what}"));
    // If an argument can be text, its value is text, even if it looks like a number such as `12`.
    if property.is_none() || is("string") {
        Ok(Value::String(text.to_owned()))
    } else if text.is_empty() {
        // An empty value means absence, as in all interfaces.
        Ok(Value::Null)
    } else if is("integer") {
        let number = serde_json::from_str::<serde_json::Number>(text);
        number.map(Value::Number).map_err(|_| expected("not a whole number"))
    } else if is("boolean") {
        text.parse::<bool>().map(Value::from).map_err(|_| expected("neither true nor false"))
    } else {
        serde_json::from_str(text).map_err(|_| expected("not valid JSON"))
    }
}

/// Whether a schema allows values of this type, as far as the schema defines it.
fn may_be(schema: &Value, kind: &str) -> bool {
    let named = match schema.get("type") {
        Some(Value::String(one)) => one == kind,
        Some(Value::Array(several)) => several.iter().any(|one| one == kind),
        _ => false,
    };
    let within = |keyword: &str| schema.get(keyword).and_then(Value::as_array).into_iter().flatten();
    named || ["anyOf", "oneOf"].into_iter().flat_map(within).any(|schema| may_be(schema, kind))
}

#[cfg(test)]
mod tests {
    use super::{super::routes::ROUTES, *};
    use serde_json::json;

    fn from(tool: &str, captured: &[(&'static str, &str)], query: &str, body: &str) -> Result<Value, String> {
        let route = ROUTES.iter().find(|route| route.tool == tool).unwrap();
        let captured: Vec<_> = captured.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
        let schema = json!({"properties": {
            "workspace": {"type": "string"}, "query": {"type": ["string", "null"]}, "limit": {"type": ["integer", "null"]},
            "status": {"anyOf": [{"type": "string", "enum": ["running"]}, {"type": "null"}]},
            "wait": {"type": "boolean"}, "process_id": {"type": "integer"}, "list": {"type": "array"},
        }});
        collect(route, &captured, Some(query), body.as_bytes(), schema.as_object().unwrap())
            .map(Value::Object)
            .map_err(|problem| problem.detail().to_owned())
    }

    #[test]
    fn arguments_come_from_where_the_row_says() {
        let list = |query| from("list_workspaces", &[], query, "ignored");
        assert_eq!(list("limit=7&query=7&status=running"), Ok(json!({"limit": 7, "query": "7", "status": "running"})));
        assert_eq!(list("query=a+b%26c&wait=true"), Ok(json!({"query": "a b&c", "wait": true})));
        assert_eq!(list("limit=7.0"), Ok(json!({"limit": 7.0})), "the tool says whether it is whole");
        assert_eq!(list("limit="), Ok(json!({"limit": null})));
        assert_eq!(list("unknown=1"), Ok(json!({"unknown": "1"})), "the tool says what there is");
        assert_eq!(list("list=[1]"), Ok(json!({"list": [1]})));
        let execute = |query, body| from("run_command", &[("workspace", "web")], query, body);
        assert_eq!(execute("", r#"{"command": "ls"}"#), Ok(json!({"workspace": "web", "command": "ls"})));
        assert_eq!(execute("", ""), Ok(json!({"workspace": "web"})));
        for (outcome, said) in [
            (list("limit=many"), "limit: \"many\" is not a whole number"),
            (list("wait=yes"), "wait: \"yes\" is neither true nor false"),
            (list("list=["), "list: \"[\" is not valid JSON"),
            (list("query=a&query=b"), "query: it is repeated in the query"),
            (execute("", r#"{"workspace": "api"}"#), "workspace: it is in the path already; omit it elsewhere"),
            (execute("", "[]"), "the body must be a JSON object with the arguments by their names"),
            (execute("", "{"), "the body is not valid JSON: EOF while parsing an object at line 1 column 1"),
            (
                execute("", r#"{"command": "\ud800"}"#),
                "the body is not valid JSON: it holds a lone surrogate, \\ud800 at byte 13, which is not a character; \
                 send both halves of the pair, or leave it out",
            ),
            (execute("command=ls", ""), "this path takes its arguments in a JSON object in the body, not in the query"),
            (
                from("stop_process", &[("workspace", "web"), ("process_id", "x")], "", ""),
                "process_id: \"x\" is not a whole number",
            ),
        ] {
            assert_eq!(outcome, Err(said.to_owned()));
        }
    }
}
