//! JSON-RPC 2.0 messages as the relay needs them: their kind, and errors that the relay itself answers.

use serde::Deserialize;
use serde_json::{Value, json};

/// The method that cancels a request.
const CANCELLED: &str = "notifications/cancelled";
/// The member of `_meta` with the protocol revision of a request (MCP 2026-07-28).
const VERSION_META: &str = "io.modelcontextprotocol/protocolVersion";
/// The code of the relay's own errors, in the range that JSON-RPC leaves to implementations.
const RELAY_ERROR: i64 = -32000;

/// A message of the agent.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Message {
    /// A request, which gets a response.
    Request(Request),
    /// The cancellation of the request with this id.
    Cancel(Value),
    /// Another notification, or the response to a request of the server.
    Unanswered,
}

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Request {
    /// The id: a string or a number.
    pub id: Value,
    /// The method.
    pub method: String,
    /// The revision in `_meta`. Only revisions without `initialize` have it.
    pub version: Option<String>,
    /// The name or URI that the header `Mcp-Name` repeats.
    pub name: Option<String>,
}

/// Why a line is not a message. The text is the response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotAMessage(pub String);

#[derive(Deserialize)]
struct Envelope {
    #[serde(default, deserialize_with = "present")]
    id: Option<Value>,
    method: Option<String>,
    #[serde(default)]
    params: Value,
}

/// `Some(null)` for a member that is null; serde would make `None` of it.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Reads one message.
pub(super) fn read(line: &[u8]) -> Result<Message, NotAMessage> {
    let refuse = |code: i64, text: &str| NotAMessage(error_text(&Value::Null, code, text));
    if !line.starts_with(b"{") {
        return Err(match serde_json::from_slice::<Value>(line) {
            Ok(_) => refuse(-32600, "send one JSON-RPC object per line; batches are not supported"),
            Err(_) => refuse(-32700, "the line is not valid JSON; send one message per line"),
        });
    }
    let Envelope { id, method, params } = match serde_json::from_slice(line) {
        Ok(envelope) => envelope,
        Err(error) if error.is_data() => return Err(refuse(-32600, "the message is not a JSON-RPC 2.0 message")),
        Err(_) => return Err(refuse(-32700, "the line is not valid JSON; send one message per line")),
    };
    let Some(method) = method else { return Ok(Message::Unanswered) };
    match id {
        None if method == CANCELLED => {
            Ok(params.get("requestId").map_or(Message::Unanswered, |id| Message::Cancel(id.clone())))
        }
        None => Ok(Message::Unanswered),
        Some(id @ (Value::String(_) | Value::Number(_))) => {
            let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
            let name = text(name_member(&method).and_then(|member| params.get(member)));
            let version = text(params.get("_meta").and_then(|meta| meta.get(VERSION_META)));
            Ok(Message::Request(Request { id, method, version, name }))
        }
        Some(_) => Err(refuse(-32600, "the id of a request must be a string or a number")),
    }
}

/// The member of `params` that `Mcp-Name` repeats (MCP 2026-07-28, SEP-2243).
fn name_member(method: &str) -> Option<&'static str> {
    match method {
        "tools/call" | "prompts/get" => Some("name"),
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => Some("uri"),
        "tasks/get" | "tasks/update" | "tasks/cancel" => Some("taskId"),
        _ => None,
    }
}

/// The response with an error of the relay.
pub(super) fn error(id: &Value, text: &str) -> String {
    error_text(id, RELAY_ERROR, text)
}

fn error_text(id: &Value, code: i64, text: &str) -> String {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": text}}).to_string()
}

/// The response of the server to a request.
#[derive(Debug, PartialEq)]
pub(super) enum Received {
    /// The response, as one line.
    Response(String),
    /// Another message, as one line: a notification, or a request of the server.
    Other(String),
}

/// Reads a message of the server that came for the request `id`. `None`: it is not a JSON-RPC message.
///
/// A server that could not read the request answers with the id null. The agent gets its own id, or it would wait.
pub(super) fn received(data: &[u8], id: &Value) -> Option<Received> {
    let mut message: Value = serde_json::from_slice(data).ok()?;
    let object = message.as_object_mut()?;
    if object.contains_key("method") {
        return Some(Received::Other(message.to_string()));
    }
    if !object.contains_key("result") && !object.contains_key("error") {
        return None;
    }
    match object.get("id") {
        Some(found) if found == id => {}
        None | Some(Value::Null) => {
            object.insert("id".to_owned(), id.clone());
        }
        Some(_) => return Some(Received::Other(message.to_string())),
    }
    Some(Received::Response(message.to_string()))
}

/// The protocol revision in the response to `initialize`.
pub(super) fn negotiated_version(response: &str) -> Option<String> {
    let response: Value = serde_json::from_str(response).ok()?;
    response.get("result")?.get("protocolVersion")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(id: Value, method: &str, version: Option<&str>, name: Option<&str>) -> Message {
        let (version, name) = (version.map(str::to_owned), name.map(str::to_owned));
        Message::Request(Request { id, method: method.to_owned(), version, name })
    }

    #[test]
    fn messages_are_classified() {
        let version = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;
        for (line, expected) in [
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#.to_owned(),
                request(json!(1), "tools/list", None, None),
            ),
            (
                format!(r#"{{"id":"a","method":"tools/call","params":{{"name":"run_command",{version}}}}}"#),
                request(json!("a"), "tools/call", Some("2026-07-28"), Some("run_command")),
            ),
            (
                r#"{"id":2,"method":"resources/read","params":{"uri":"file:///x","name":"y"}}"#.to_owned(),
                request(json!(2), "resources/read", None, Some("file:///x")),
            ),
            (r#"{"method":"notifications/initialized"}"#.to_owned(), Message::Unanswered),
            (r#"{"method":"notifications/cancelled","params":{"requestId":7}}"#.to_owned(), Message::Cancel(json!(7))),
            (r#"{"method":"notifications/cancelled"}"#.to_owned(), Message::Unanswered),
            (r#"{"id":7,"result":{}}"#.to_owned(), Message::Unanswered),
            (r#"{"id":7,"error":{"code":1,"message":"x"}}"#.to_owned(), Message::Unanswered),
        ] {
            assert_eq!(read(line.as_bytes()), Ok(expected), "{line}");
        }
    }

    #[test]
    fn what_is_not_a_message_is_answered() {
        for (line, code) in [
            ("hello", -32700),
            (r#"{"id":1,"method":"ping""#, -32700),
            ("[]", -32600),
            ("7", -32600),
            (r#"{"id":1,"method":7}"#, -32600),
            (r#"{"id":null,"method":"ping"}"#, -32600),
            (r#"{"id":{},"method":"ping"}"#, -32600),
        ] {
            let NotAMessage(response) = read(line.as_bytes()).unwrap_err();
            let response: Value = serde_json::from_str(&response).unwrap();
            assert_eq!((&response["error"]["code"], &response["id"]), (&json!(code), &Value::Null), "{line}");
        }
    }

    #[test]
    fn answers_of_the_server_become_one_line() {
        let line = |data: &str| received(data.as_bytes(), &json!(7));
        assert_eq!(
            line("  {\"id\":7,\n\"result\":{}}\n"),
            Some(Received::Response(r#"{"id":7,"result":{}}"#.to_owned()))
        );
        assert_eq!(
            line(r#"{"id":null,"error":{"code":-32700}}"#),
            Some(Received::Response(r#"{"error":{"code":-32700},"id":7}"#.to_owned()))
        );
        assert_eq!(line(r#"{"id":"7","result":{}}"#), Some(Received::Other(r#"{"id":"7","result":{}}"#.to_owned())));
        let progress = r#"{"method":"notifications/progress","params":{"progressToken":1}}"#;
        assert_eq!(line(progress), Some(Received::Other(progress.to_owned())));
        for other in ["", "<html>", "[]", r#"{"status":500,"detail":"x"}"#, "null"] {
            assert_eq!(line(other), None, "{other}");
        }
    }

    #[test]
    fn an_error_keeps_the_id() {
        let response: Value = serde_json::from_str(&error(&json!("a"), "no \"access\"")).unwrap();
        assert_eq!((&response["id"], &response["error"]["message"]), (&json!("a"), &json!("no \"access\"")));
        let initialized = r#"{"id":0,"result":{"protocolVersion":"2025-11-25"}}"#;
        assert_eq!(negotiated_version(initialized).as_deref(), Some("2025-11-25"));
        assert_eq!(negotiated_version(&error(&json!(0), "x")), None);
    }

    proptest! {
        #[test]
        fn no_line_panics(line in "\\PC{0,60}|(\\{|\\}|\"id\"|\"method\"|:|,|1|null|\"x\"){0,14}") {
            if let Err(NotAMessage(response)) = read(line.as_bytes()) {
                prop_assert!(!response.contains('\n') && serde_json::from_str::<Value>(&response).is_ok());
            }
            let _ = received(line.as_bytes(), &json!(1));
        }
    }
}
