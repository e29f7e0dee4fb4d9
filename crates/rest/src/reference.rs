//! The documentation page of the HTTP interface: the content of the OpenAPI document, for browsers. It is a single file
//! without scripts; its Content Security Policy allows only the embedded style.

use crate::{OPENAPI_PATH, ServedRoute, openapi::required, served};
use askama::Template;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use portcullis_config::ServerConfig;
use portcullis_tools::Registry;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

#[derive(Template)]
#[template(path = "reference.html")]
struct Reference<'a> {
    endpoint: &'a str,
    url: String,
    openapi: String,
    style: &'a str,
    operations: Vec<Operation>,
}

struct Operation {
    method: &'static str,
    path: &'static str,
    title: &'static str,
    description: &'static str,
    scope: Option<&'static str>,
    arguments: Vec<Argument>,
}

struct Argument {
    name: String,
    location: &'static str,
    required: bool,
    description: String,
}

fn operation(ServedRoute { route, tool }: ServedRoute<'_>) -> Operation {
    let in_path: Vec<&str> = route.in_path().collect();
    let properties = tool.input_schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    let mut arguments: Vec<Argument> = properties
        .map(|(name, property)| Argument {
            name: name.clone(),
            location: match () {
                () if in_path.contains(&name.as_str()) => "path",
                () if route.takes_body() => "body",
                () => "query",
            },
            required: required(&tool.input_schema).any(|required| required == name),
            description: property.get("description").and_then(Value::as_str).unwrap_or_default().to_owned(),
        })
        .collect();
    arguments.sort_by_key(|argument| (!argument.required, argument.location != "path"));
    Operation {
        method: route.method.names()[0],
        path: route.path,
        title: tool.title,
        description: tool.description,
        scope: tool.scope.map(portcullis_core::Scope::as_str),
        arguments,
    }
}

/// The page with this style, and its Content Security Policy. Fails if the template cannot be rendered.
pub fn page(config: &ServerConfig, tools: &Registry, style: &str) -> Result<(String, String), askama::Error> {
    let url = config.url.resource();
    let reference = Reference {
        endpoint: &config.endpoint,
        openapi: format!("{url}{OPENAPI_PATH}"),
        url,
        style,
        operations: served(tools).into_iter().map(operation).collect(),
    };
    let hash = STANDARD.encode(Sha256::digest(style));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    );
    Ok((reference.render()?, policy))
}
