//! The names that the suite expects, and what is behind those of them that always answer the same.

use crate::conformance::fixture::message;
use rmcp::model::{Prompt, Tool};
use serde_json::{Value, json};

/// A PNG of one pixel.
pub const IMAGE: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8/5+hHgAHggJ/PchI7wAAAABJRU5ErkJggg==";
/// A WAV of nothing.
const SOUND: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA=";

/// Tools without arguments.
const PLAIN: [&str; 21] = [
    "test_simple_text",
    "test_image_content",
    "test_audio_content",
    "test_embedded_resource",
    "test_multiple_content_types",
    "test_error_handling",
    "test_tool_with_logging",
    "test_logging_tool",
    "test_tool_with_progress",
    "test_trigger_tool_change",
    "test_trigger_prompt_change",
    "test_missing_capability",
    "test_streaming_elicitation",
    "test_input_required_result_elicitation",
    "test_input_required_result_sampling",
    "test_input_required_result_list_roots",
    "test_input_required_result_request_state",
    "test_input_required_result_tampered_state",
    "test_input_required_result_multiple_inputs",
    "test_input_required_result_multi_round",
    "test_input_required_result_capabilities",
];

/// All tools.
pub fn tools() -> Vec<Tool> {
    let plain = PLAIN.iter().map(|name| {
        json!({"name": name, "description": "For the suite.", "inputSchema": {"type": "object", "properties": {}}})
    });
    let others = [
        json!({
            "name": "test_custom_header", "description": "An argument that is mirrored in a header.",
            "inputSchema": {
                "type": "object", "required": ["value"],
                "properties": {"value": {"type": "string", "x-mcp-header": "Value"}},
            },
        }),
        json!({
            "name": "json_schema_2020_12_tool", "description": "A schema with all that JSON Schema has.",
            "inputSchema": {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "type": "object",
                "$defs": {"address": {
                    "$anchor": "address", "type": "object",
                    "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
                }},
                "properties": {"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"}},
                "allOf": [{"anyOf": [{"required": ["name"]}, {"required": ["address"]}]}],
                "if": {"required": ["address"]},
                "then": {"properties": {"address": {"required": ["street"]}}},
                "else": {"required": ["name"]},
                "additionalProperties": false,
            },
        }),
    ];
    plain.chain(others).map(message).collect()
}

fn embedded(uri: &str, mime_type: &str, text: &str) -> Value {
    json!({"type": "resource", "resource": {"uri": uri, "mimeType": mime_type, "text": text}})
}

fn image() -> Value {
    json!({"type": "image", "data": IMAGE, "mimeType": "image/png"})
}

fn words(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

/// The result of a tool that always has the same.
pub fn content_of(tool: &str) -> Option<Value> {
    let content = match tool {
        "test_simple_text" => json!([words("Simple text.")]),
        "test_image_content" => json!([image()]),
        "test_audio_content" => json!([{"type": "audio", "data": SOUND, "mimeType": "audio/wav"}]),
        "test_embedded_resource" => json!([embedded("test://embedded-resource", "text/plain", "Embedded text.")]),
        "test_multiple_content_types" => {
            let resource = embedded("test://mixed-content-resource", "application/json", "{}");
            json!([words("Several kinds."), image(), resource])
        }
        "test_error_handling" => json!([words("This tool intentionally returns an error for testing")]),
        _ => return None,
    };
    Some(json!({"resultType": "complete", "content": content, "isError": tool == "test_error_handling"}))
}

/// All prompts.
pub fn prompts() -> Vec<Prompt> {
    let plain = [
        "test_simple_prompt",
        "test_prompt_with_embedded_resource",
        "test_prompt_with_image",
        "test_input_required_result_prompt",
    ];
    let arguments = json!([
        {"name": "arg1", "description": "The first", "required": true},
        {"name": "arg2", "description": "The second", "required": true},
    ]);
    let others =
        [json!({"name": "test_prompt_with_arguments", "description": "With arguments.", "arguments": arguments})];
    plain.iter().map(|name| json!({"name": name, "description": "For the suite."})).chain(others).map(message).collect()
}

/// The messages of a prompt.
pub fn prompt_of(name: &str, arguments: &Value) -> Option<Value> {
    let contents = match name {
        "test_simple_prompt" => vec![words("A simple prompt.")],
        "test_prompt_with_arguments" => {
            let said = |name: &str| arguments[name].as_str().unwrap_or_default().to_owned();
            vec![words(&format!("arg1='{}', arg2='{}'", said("arg1"), said("arg2")))]
        }
        "test_prompt_with_embedded_resource" => {
            let uri = arguments["resourceUri"].as_str().unwrap_or("test://static-text");
            vec![embedded(uri, "text/plain", "Embedded text."), words("Look at this.")]
        }
        "test_prompt_with_image" => vec![image(), words("Look at this.")],
        _ => return None,
    };
    Some(contents.into_iter().map(|content| json!({"role": "user", "content": content})).collect())
}
