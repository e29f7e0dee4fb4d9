//! The members of a JSON-RPC message that the edge needs before rmcp reads the message, and the errors that the edge
//! itself returns (JSON-RPC 2.0 §4, §5.1).

use crate::scope_gate::Target;
use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use http::StatusCode;
use portcullis_core::json::{ByName, lone_surrogate};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use std::borrow::Cow;

/// The method that begins a conversation in revisions before 2026-07-28.
const INITIALIZE: &str = "initialize";
/// The notification that cancels a request.
const CANCELLED: &str = "notifications/cancelled";
/// The method of a tool call.
const TOOLS_CALL: &str = "tools/call";

/// A request, notification or response, with the members that the edge reads.
#[derive(Debug, Deserialize)]
pub(super) struct Message<'a> {
    #[serde(borrow)]
    jsonrpc: Cow<'a, str>,
    #[serde(default, borrow, deserialize_with = "text")]
    method: Option<Cow<'a, str>>,
    /// The request's id.
    #[serde(default)]
    pub id: Option<Value>,
    /// Only by name (MCP): two parsers may interpret members by position differently.
    #[serde(default, borrow)]
    params: Option<ByName<Params<'a>>>,
}

#[derive(Debug, Deserialize)]
struct Params<'a> {
    #[serde(default, borrow, deserialize_with = "text")]
    name: Option<Cow<'a, str>>,
    #[serde(default, borrow, deserialize_with = "text")]
    uri: Option<Cow<'a, str>>,
    #[serde(default, rename = "requestId")]
    request_id: Option<Value>,
    #[serde(default, borrow, rename = "protocolVersion", deserialize_with = "text")]
    protocol_version: Option<Cow<'a, str>>,
}

/// Borrows the text if possible. By default, serde would copy a text in an `Option`.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    Ok(Option::<Text<'de>>::deserialize(deserializer)?.map(|text| text.0))
}

impl<'a> Message<'a> {
    /// Reads one message. The error is the response.
    pub(crate) fn read(body: &'a [u8]) -> Result<Self, RpcError> {
        // By default, serde accepts an array as a message with members by position.
        let object = body.trim_ascii_start().starts_with(b"{");
        match serde_json::from_slice::<Self>(body) {
            Ok(_) if !object => Err(batch()),
            Ok(message) if message.jsonrpc == "2.0" => match lone_surrogate(body) {
                Some(why) => Err(RpcError::invalid_request(message.id, format!("the body is not text: {why}"))),
                None => Ok(message),
            },
            Ok(message) => Err(RpcError::invalid_request(message.id, "jsonrpc must be \"2.0\"")),
            Err(error) => Err(refuse(body, &error)),
        }
    }

    fn params(&self) -> Option<&Params<'a>> {
        self.params.as_ref().map(|ByName(params)| params)
    }

    /// Whether its method is `initialize`.
    pub(crate) fn initializes(&self) -> bool {
        self.method.as_deref() == Some(INITIALIZE)
    }

    /// Whether its params request a revision of MCP that is older than `revision`.
    pub(crate) fn asks_for_revision_before(&self, revision: &str) -> bool {
        self.params().and_then(|params| params.protocol_version.as_deref()).is_some_and(|asked| asked < revision)
    }

    /// The id of the request that the message cancels.
    pub(crate) fn cancels(&self) -> Option<&Value> {
        let params = self.params().filter(|_| self.method.as_deref() == Some(CANCELLED));
        params?.request_id.as_ref()
    }

    /// Whether it is a tool call.
    pub(crate) fn calls_tool(&self) -> bool {
        self.method.as_deref() == Some(TOOLS_CALL)
    }

    /// The target of the request, if the required scopes can depend on it and the params name it.
    pub(crate) fn target(&self) -> Option<Target<'_>> {
        let params = self.params()?;
        match self.method.as_deref()? {
            TOOLS_CALL => params.name.as_deref().map(Target::Tool),
            "prompts/get" => params.name.as_deref().map(Target::Prompt),
            "resources/read" => params.uri.as_deref().map(Target::Resource),
            _ => None,
        }
    }
}

/// The error for a `body` that is not a message. Slow, but only used for errors.
fn refuse(body: &[u8], why: &serde_json::Error) -> RpcError {
    match serde_json::from_slice::<Value>(body) {
        Err(error) => {
            let why = lone_surrogate(body).unwrap_or_else(|| error.to_string());
            RpcError::new(StatusCode::BAD_REQUEST, None, -32700, format!("the body is not valid JSON: {why}"))
        }
        Ok(Value::Array(_)) => batch(),
        Ok(value) if !value.is_object() => {
            RpcError::invalid_request(None, "the body is not a JSON-RPC 2.0 message, which is an object")
        }
        Ok(value) if counts_by_position(&value) => RpcError::new(
            StatusCode::BAD_REQUEST,
            value.get("id").cloned(),
            -32602,
            "params must be an object: MCP has only named parameters",
        ),
        Ok(value) => RpcError::invalid_request(
            value.get("id").cloned(),
            format!("the body is not a JSON-RPC 2.0 message: {why}"),
        ),
    }
}

/// Whether the only error is params without names, which JSON-RPC 2.0 §4.2 allows and MCP does not.
fn counts_by_position(value: &Value) -> bool {
    let params = value.get("params").is_some_and(|params| !params.is_object() && !params.is_null());
    params && value["jsonrpc"] == "2.0" && value["method"].is_string()
}

fn batch() -> RpcError {
    RpcError::invalid_request(None, "this revision of MCP has no batches; send each message in a request of its own")
}

/// The response to a cancelled call.
pub(super) fn cancelled(id: Option<Value>) -> Response {
    RpcError::new(StatusCode::OK, id, -32603, "the call was cancelled").into_response()
}

/// A JSON-RPC error and its HTTP status.
#[derive(Debug)]
pub(super) struct RpcError {
    status: StatusCode,
    id: Option<Value>,
    code: i32,
    message: Cow<'static, str>,
}

impl RpcError {
    pub(crate) fn new(status: StatusCode, id: Option<Value>, code: i32, message: impl Into<Cow<'static, str>>) -> Self {
        // Only strings and numbers are valid ids, in requests and in responses.
        let id = id.filter(|id| id.is_string() || id.is_number());
        Self { status, id, code, message: message.into() }
    }

    /// HTTP 400 with `Invalid Request`.
    pub(crate) fn invalid_request(id: Option<Value>, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, id, -32600, message)
    }

    pub(crate) fn into_response(self) -> Response {
        let body = json!({"jsonrpc": "2.0", "id": self.id, "error": {"code": self.code, "message": self.message}});
        (self.status, Json(body)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn calls_are_recognized() {
        for (body, called) in [
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami","arguments":{}}}"#,
                (true, Some(Target::Tool("whoami"))),
            ),
            (
                r#"{"params":{"arguments":{"name":"x"},"name":"run\u005fcommand"},"method":"tools\/call","jsonrpc":"2.0","id":"a"}"#,
                (true, Some(Target::Tool("run_command"))),
            ),
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}"#, (true, None)),
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#, (true, None)),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"p"}}"#,
                (false, Some(Target::Prompt("p"))),
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"a:b","name":"p"}}"#,
                (false, Some(Target::Resource("a:b"))),
            ),
            (r#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"name":"p"}}"#, (false, None)),
            (r#"{"jsonrpc":"2.0","id":1,"method":"resources/list","params":{"name":"p"}}"#, (false, None)),
            (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, (false, None)),
        ] {
            let message = Message::read(body.as_bytes()).unwrap();
            assert_eq!((message.calls_tool(), message.target()), called, "{body}");
        }
    }

    #[test]
    fn an_error_explains_an_invalid_message() {
        let call = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"whoami"}"#;
        for (body, code, id) in [
            ("", -32700, None),
            ("{", -32700, None),
            ("{\"jsonrpc\":\"2.0\",}", -32700, None),
            ("[", -32700, None),
            ("\u{feff}{}", -32700, None),
            ("[]", -32600, None),
            ("[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}]", -32600, None),
            ("null", -32600, None),
            ("{}", -32600, None),
            ("{\"id\":{}}", -32600, None),
            ("{\"jsonrpc\":\"1.0\",\"id\":7,\"method\":\"ping\"}", -32600, Some(json!(7))),
            ("{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"method\":7}", -32600, Some(json!("x"))),
            ("{\"jsonrpc\":\"1.0\",\"id\":7,\"method\":\"ping\",\"params\":[1]}", -32600, Some(json!(7))),
            ("{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{},\"params\":[1]}", -32600, Some(json!(7))),
            ("{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"ping\",\"params\":[1]}", -32602, Some(json!(7))),
            ("{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"ping\",\"params\":[]}", -32602, Some(json!(7))),
            ("{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"ping\",\"params\":\"x\"}", -32602, Some(json!(7))),
            ("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":[7]}", -32602, None),
            // A second member of the same name, which another parser might use instead of the first one.
            (&format!("{call},\"params\":{{\"name\":\"run_command\"}}}}"), -32600, Some(json!(7))),
            (&format!("{call},\"method\":\"ping\"}}"), -32600, Some(json!(7))),
        ] {
            let error = Message::read(body.as_bytes()).unwrap_err();
            assert_eq!((error.code, &error.id, error.status), (code, &id, StatusCode::BAD_REQUEST), "{body}");
        }
        let error = Message::read(b"\xff{}").unwrap_err();
        assert_eq!(error.code, -32700);
    }

    fn any_message() -> impl Strategy<Value = Value> {
        let base = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "whoami"}});
        portcullis_testing::strategies::changed(base, &["jsonrpc", "id", "method", "params", "result", "error"])
    }

    #[test]
    fn members_come_by_name() {
        for body in [
            r#"["2.0","tools/call",1,{"name":"whoami"}]"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["whoami"]}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":"whoami"}"#,
        ] {
            assert!(Message::read(body.as_bytes()).is_err(), "{body}");
        }
        let none = br#" {"jsonrpc":"2.0","id":1,"method":"tools/call","params":null}"#;
        assert_eq!(Message::read(none).unwrap().target(), None);
    }

    proptest! {
        /// The target that the edge sees is the tool that is called.
        #[test]
        fn whatever_the_message_is_a_call_is_seen_as_one(value in any_message()) {
            if let Ok(message) = Message::read(value.to_string().as_bytes()) {
                prop_assert_eq!(message.calls_tool(), value["method"] == "tools/call");
                let name = value["params"]["name"].as_str().filter(|_| message.calls_tool());
                prop_assert_eq!(message.target(), name.map(Target::Tool));
            }
        }

        #[test]
        fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..200), text in "[\\[\\]{}\":,a-z0-9\\\\]{0,80}") {
            prop_assert!(Message::read(&body).is_err());
            prop_assert!(Message::read(text.as_bytes()).is_err());
        }
    }
}
