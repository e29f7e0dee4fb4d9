//! Tools and a prompt that ask the client for something before they answer (SEP-2322).
//!
//! What they remember goes through the client as `requestState`, which may come back changed. The states are few, so
//! each is sealed by being one of those few.

use crate::conformance::fixture::{message, text};
use rmcp::{
    ErrorData,
    model::{
        CallToolRequestParams, CallToolResponse, ErrorCode, GetPromptRequestParams, GetPromptResponse, GetPromptResult,
        InputRequiredResult, InputResponses, RequestMetaObject,
    },
};
use serde_json::{Map, Value, json};

const PREFIX: &str = "test_input_required_result_";

fn form(question: &str, field: &str, kind: &str) -> Value {
    let schema = json!({"type": "object", "properties": {field: {"type": kind}}, "required": [field]});
    json!({"method": "elicitation/create", "params": {"mode": "form", "message": question, "requestedSchema": schema}})
}

fn sampling(question: &str) -> Value {
    let asked = json!([{"role": "user", "content": {"type": "text", "text": question}}]);
    json!({"method": "sampling/createMessage", "params": {"messages": asked, "maxTokens": 100}})
}

fn roots() -> Value {
    json!({"method": "roots/list"})
}

fn needs(requests: Value, state: Option<&str>) -> InputRequiredResult {
    let mut result = json!({"resultType": "input_required"});
    result["inputRequests"] = requests;
    if let Some(state) = state {
        result["requestState"] = json!(state);
    }
    message(result)
}

/// A response that is one: anything but an object is asked for again.
fn given<'a>(responses: Option<&'a InputResponses>, key: &str) -> Option<&'a Map<String, Value>> {
    responses?.get(key)?.as_object()
}

/// `None` where the tool is none of these.
pub fn tool(request: &CallToolRequestParams, meta: &RequestMetaObject) -> Option<Result<CallToolResponse, ErrorData>> {
    if request.name == "test_streaming_elicitation" {
        return Some(Ok(needs(json!({"value": form("Which?", "value", "string")}), None).into()));
    }
    let name = request.name.strip_prefix(PREFIX)?;
    let responses = request.input_responses.as_ref();
    let state = request.request_state.as_deref();
    let answered = |key: &str, ask: Value| match given(responses, key) {
        Some(answer) => text(Value::Object(answer.clone()).to_string()),
        None => needs(json!({key: ask}), None).into(),
    };
    Some(Ok(match (name, state) {
        ("elicitation", _) => answered("user_name", form("Who are you?", "name", "string")),
        ("sampling", _) => answered("capital_question", sampling("What is the capital of France?")),
        ("list_roots", _) => answered("client_roots", roots()),
        ("request_state" | "tampered_state", None) => {
            needs(json!({"confirm": form("Sure?", "ok", "boolean")}), Some("asked")).into()
        }
        ("request_state" | "tampered_state", Some("asked")) => text("state-ok"),
        ("multi_round", None) => needs(json!({"step1": form("Who?", "name", "string")}), Some("first")).into(),
        ("multi_round", Some("first")) => {
            needs(json!({"step2": form("Which colour?", "color", "string")}), Some("second")).into()
        }
        ("multi_round", Some("second")) => text("both are known"),
        ("multiple_inputs", None | Some("all")) => {
            let all = ["user_name", "greeting", "client_roots"].iter().all(|key| given(responses, key).is_some());
            if all && state.is_some() {
                text("all are here")
            } else {
                let requests = json!({
                    "user_name": form("Who?", "name", "string"),
                    "greeting": sampling("Greet somebody."),
                    "client_roots": roots(),
                });
                needs(requests, Some("all")).into()
            }
        }
        ("capabilities", _) if responses.is_some() => text("that was all"),
        ("capabilities", _) => within(meta),
        (_, Some(_)) => return Some(Err(ErrorData::new(ErrorCode::INVALID_PARAMS, "that is no state of mine", None))),
        _ => return None,
    }))
}

/// Asks only for what the client can give.
fn within(meta: &RequestMetaObject) -> CallToolResponse {
    let can = meta.client_capabilities().unwrap_or_default();
    let mut requests = Map::new();
    if can.elicitation.is_some() {
        requests.insert("user_name".to_owned(), form("Who?", "name", "string"));
    }
    if can.sampling.is_some() {
        requests.insert("greeting".to_owned(), sampling("Greet somebody."));
    }
    if can.roots.is_some() {
        requests.insert("client_roots".to_owned(), roots());
    }
    if requests.is_empty() { text("nothing can be asked") } else { needs(Value::Object(requests), None).into() }
}

/// `None` where the prompt is not this one.
pub fn prompt(request: &GetPromptRequestParams) -> Option<GetPromptResponse> {
    if request.name != "test_input_required_result_prompt" {
        return None;
    }
    Some(match given(request.input_responses.as_ref(), "user_context") {
        None => needs(json!({"user_context": form("In which context?", "context", "string")}), None).into(),
        Some(answer) => {
            let said = Value::Object(answer.clone()).to_string();
            let messages = json!([{"role": "user", "content": {"type": "text", "text": said}}]);
            message::<GetPromptResult>(json!({"resultType": "complete", "messages": messages})).into()
        }
    })
}
