//! Completion of arguments of prompts and resources (MCP `completion/complete`): names of workspaces and templates.
//! They come from the tools that list them, so the caller gets only names that it can see.

use crate::prompts;
use portcullis_oauth::Caller;
use portcullis_telemetry::audit::RequestContext;
use portcullis_tools::{Call, Registry, ToolLookup};
use rmcp::model::{CompleteRequestParams, CompletionInfo, Reference};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// The completions of the typed text.
pub(super) async fn complete(
    request: &CompleteRequestParams,
    tools: &Registry,
    caller: &Arc<Caller>,
    from: RequestContext,
) -> CompletionInfo {
    let (name, typed) = (request.argument.name.as_str(), request.argument.value.as_str());
    let known = match &request.r#ref {
        Reference::Prompt(prompt) => prompts::takes_argument(&prompt.name, name),
        Reference::Resource(template) => template.uri.contains(&format!("{{{name}}}")),
        _ => false,
    };
    let mut values = match name {
        "workspace" if known => workspaces(typed, tools, caller, from).await,
        "workspaces" if known => {
            // Several names, separated by commas: the last one is completed.
            let (before, last) = typed.rsplit_once(',').map_or(("", typed), |(before, last)| (before, last));
            let names = workspaces(last.trim_start(), tools, caller, from).await;
            let separator = if before.is_empty() { "" } else { ", " };
            names.into_iter().map(|name| format!("{before}{separator}{name}")).collect()
        }
        "template" if known => names("list_templates", json!({}), "templates", typed, tools, caller, from).await,
        _ => Vec::new(),
    };
    let more = values.len() > CompletionInfo::MAX_VALUES;
    values.truncate(CompletionInfo::MAX_VALUES);
    let mut info = CompletionInfo::new(values).unwrap_or_default();
    info.has_more = Some(more);
    info
}

async fn workspaces(typed: &str, tools: &Registry, caller: &Arc<Caller>, from: RequestContext) -> Vec<String> {
    let mut arguments = json!({"limit": CompletionInfo::MAX_VALUES});
    if !typed.is_empty() {
        arguments["query"] = typed.into();
    }
    names("list_workspaces", arguments, "workspaces", typed, tools, caller, from).await
}

/// The names in the member `list` of a tool's answer; empty if the caller is not permitted to call the tool, or if the
/// call fails.
async fn names(
    tool: &str,
    arguments: Value,
    list: &str,
    typed: &str,
    tools: &Registry,
    caller: &Arc<Caller>,
    from: RequestContext,
) -> Vec<String> {
    let ToolLookup::Found(tool) = tools.lookup(tool, caller) else { return Vec::new() };
    let arguments = match arguments {
        Value::Object(arguments) => arguments,
        _ => Map::new(),
    };
    let call = Call::of(Arc::clone(caller), from);
    let Ok(answer) = tool.call(arguments, call).await else { return Vec::new() };
    let answer = answer.into_json();
    let items = answer.get(list).and_then(Value::as_array).into_iter().flatten();
    let names = items.filter_map(|item| item.get("name")?.as_str());
    names.filter(|name| name.starts_with(typed)).map(ToOwned::to_owned).collect()
}
