//! The OpenAPI 3.1 document: the served routes, with the tools' own schemas. OpenAPI 3.1 uses the same JSON Schema
//! 2020-12. The document does not name workspaces, templates or users, so it is as public as the metadata.

use crate::{ServedRoute, served};
use http::StatusCode;
use portcullis_config::ServerConfig;
use portcullis_core::Scope;
use portcullis_oauth::metadata::{AUTHORIZE_PATH, TOKEN_PATH};
use portcullis_tools::{Definition, Registry};
use serde_json::{Map, Value, json};

/// The name of the only security scheme.
const SECURITY: &str = "oauth";

/// The OpenAPI document.
#[must_use]
pub fn document(config: &ServerConfig, tools: &Registry) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for served in served(tools) {
        let item = paths.entry(served.route.path).or_insert_with(|| json!({}));
        item[served.route.method.names()[0].to_ascii_lowercase()] = operation(&served);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Portcullis workspaces",
            "version": "1",
            "summary": "Workspaces, commands and files over plain HTTP.",
            "description": "The same operations as the MCP tools of this endpoint. Workspaces are named by name or id.",
        },
        "servers": [{"url": config.url.resource()}],
        "security": [{SECURITY: []}],
        "paths": paths,
        "components": {
            "securitySchemes": {SECURITY: security_scheme(config)},
            "responses": {"Problem": {
                "description": "The problem and its remedy (RFC 9457).",
                "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
            }},
            "schemas": {"Problem": problem()},
        },
    })
}

fn problem() -> Value {
    json!({
        "type": "object",
        "required": ["type", "title", "status", "detail", "reason"],
        "properties": {
            "type": {"const": "about:blank"},
            "title": {"type": "string", "description": "The text of the status."},
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "The problem and its remedy."},
            "reason": {"type": "string", "description": "The reason in one word, for programs."},
            "request_id": {"type": "string", "description": "The id of the request, as in X-Request-Id."},
        },
    })
}

/// The OAuth flows of this endpoint's authorization server, or bearer tokens of an external one.
fn security_scheme(config: &ServerConfig) -> Value {
    if let Some(external) = &config.external_issuer {
        let text = format!("An access token of {} for {}.", external.issuer_url, config.url.resource());
        return json!({"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": text});
    }
    let scopes: Map<String, Value> =
        Scope::ALL.into_iter().map(|scope| (scope.to_string(), Value::from(meaning(scope)))).collect();
    let token = config.url.issuer_url(TOKEN_PATH);
    let mut flows = json!({"clientCredentials": {"tokenUrl": token, "scopes": scopes}});
    // Without a login, the authorization code grant is not available.
    if !config.login.is_empty() {
        let authorize = config.url.issuer_url(AUTHORIZE_PATH);
        flows["authorizationCode"] =
            json!({"authorizationUrl": authorize, "tokenUrl": token, "refreshUrl": token, "scopes": scopes});
    }
    json!({"type": "oauth2", "flows": flows})
}

const fn meaning(scope: Scope) -> &'static str {
    match scope {
        Scope::WorkspacesRead => "See workspaces and their state.",
        Scope::WorkspacesWrite => "Create, start, stop and delete workspaces.",
        Scope::WorkspacesExec => "Run commands in workspaces.",
        Scope::FilesRead => "Read files in workspaces.",
        Scope::FilesWrite => "Write, move and delete files in workspaces.",
        Scope::TemplatesRead => "See workspace templates.",
    }
}

fn operation(ServedRoute { route, tool }: &ServedRoute<'_>) -> Value {
    let in_path: Vec<&str> = route.in_path().collect();
    let mut success = json!({
        "description": "Success.",
        "content": {"application/json": {"schema": *tool.output_schema}},
    });
    if route.success == StatusCode::CREATED {
        let location = json!({"description": "Its URL.", "schema": {"type": "string", "format": "uri"}});
        success["headers"] = json!({"Location": location});
    }
    let mut operation = json!({
        "operationId": tool.name,
        "summary": tool.title,
        "description": tool.description,
        "tags": [route.path.split('/').nth(1).unwrap_or_default()],
        "security": [{SECURITY: tool.scope.iter().collect::<Vec<_>>()}],
        "parameters": parameters(tool, &in_path, route.takes_body()),
        "responses": {route.success.as_str(): success, "default": {"$ref": "#/components/responses/Problem"}},
    });
    if route.takes_body() {
        operation["requestBody"] = body(tool, &in_path);
    }
    operation
}

fn properties(schema: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    schema.get("properties").and_then(Value::as_object).into_iter().flatten()
}

pub(super) fn required(schema: &Map<String, Value>) -> impl Iterator<Item = &str> + Clone {
    schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn parameters(tool: &Definition, in_path: &[&str], has_body: bool) -> Vec<Value> {
    let schema = &*tool.input_schema;
    let parameter = |(name, property): (&String, &Value)| {
        let in_path = in_path.contains(&name.as_str());
        if has_body && !in_path {
            return None;
        }
        let mut property = property.clone();
        let description = property.as_object_mut().and_then(|property| property.remove("description"));
        if in_path && property["type"] == "string" {
            property["minLength"] = json!(1);
        }
        let mut parameter = json!({
            "name": name,
            "in": if in_path { "path" } else { "query" },
            "required": in_path || required(schema).any(|required| required == name),
            "schema": property,
        });
        if let Some(description) = description {
            parameter["description"] = description;
        }
        Some(parameter)
    };
    let mut parameters: Vec<Value> = properties(schema).filter_map(parameter).collect();
    // Path parameters come first, in the order of the path.
    parameters
        .sort_by_key(|parameter| in_path.iter().position(|name| parameter["name"] == *name).unwrap_or(in_path.len()));
    parameters
}

fn body(tool: &Definition, in_path: &[&str]) -> Value {
    let mut schema = Value::Object(Map::clone(&tool.input_schema));
    let needed: Vec<&str> = required(&tool.input_schema).filter(|name| !in_path.contains(name)).collect();
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.retain(|name, _| !in_path.contains(&name.as_str()));
    }
    let required = !needed.is_empty();
    if required {
        schema["required"] = json!(needed);
    } else if let Some(schema) = schema.as_object_mut() {
        schema.remove("required");
    }
    json!({"required": required, "content": {"application/json": {"schema": schema}}})
}
