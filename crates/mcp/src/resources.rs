//! Resources: the files of workspaces, as `workspace://NAME/PATH` (MCP `resources/list`, `resources/read`).
//!
//! The tool `read_file` reads them, or `list_files` if the path ends with `/`, with the same scopes, lists of tools and
//! access rules. Paths are relative to the workspace's home folder; `workspace://NAME//etc/hosts` is an absolute one.

use crate::refused;
use percent_encoding::percent_decode_str;
use portcullis_agent::protocol::FailureKind;
use portcullis_budget::Account;
use portcullis_core::{Scope, report::chain};
use portcullis_oauth::Caller;
use portcullis_telemetry::audit::RequestContext;
use portcullis_tools::{Call, Registry, ToolAnswer, ToolError, ToolLookup};
use rmcp::{
    ErrorData,
    model::{ListResourcesResult, ReadResourceResult, Resource, ResourceContents, ResourceTemplate},
};
use serde_json::{Map, Value, json};
use std::sync::Arc;

const SCHEME: &str = "workspace://";
const LIST_WORKSPACES: &str = "list_workspaces";
const LIST_FILES: &str = "list_files";
const READ_FILE: &str = "read_file";
/// The maximum size of a resource, in bytes: larger than the default of `read_file`.
const LARGEST: u64 = 256 * 1024;

/// The parsed URI of a resource.
#[derive(Debug, PartialEq, Eq)]
struct ResourceUri {
    workspace: String,
    path: String,
}

impl ResourceUri {
    fn of(uri: &str) -> Option<Self> {
        let (workspace, path) = uri.strip_prefix(SCHEME)?.split_once('/')?;
        let decoded = |text| percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned);
        let (workspace, path) = (decoded(workspace)?, decoded(path)?);
        (!workspace.is_empty() && !path.contains('\0')).then_some(Self { workspace, path })
    }

    fn is_folder(&self) -> bool {
        self.path.is_empty() || self.path.ends_with('/')
    }

    fn tool(&self) -> &'static str {
        if self.is_folder() { LIST_FILES } else { READ_FILE }
    }

    fn arguments(&self) -> Map<String, Value> {
        let mut arguments = Map::new();
        if !self.path.is_empty() {
            arguments.insert("path".to_owned(), self.path.as_str().into());
        }
        arguments.insert("workspace".to_owned(), self.workspace.as_str().into());
        arguments
    }
}

/// Whether an endpoint with these tools serves resources.
pub(super) fn are_served(tools: &Registry) -> bool {
    [LIST_WORKSPACES, LIST_FILES, READ_FILE].iter().all(|name| tools.definitions().any(|tool| tool.name == *name))
}

/// The scope that this caller lacks for reading the resource.
pub(super) fn missing_scope(uri: &str, tools: &Registry, caller: &Caller) -> Option<Scope> {
    match tools.lookup(ResourceUri::of(uri)?.tool(), caller) {
        ToolLookup::NeedsScope(scope) => Some(scope),
        ToolLookup::Found(_) | ToolLookup::Unknown => None,
    }
}

/// The templates of the resources that this caller can read.
pub(super) fn templates(tools: &Registry, caller: &Caller) -> Vec<ResourceTemplate> {
    if !matches!(tools.lookup(READ_FILE, caller), ToolLookup::Found(_)) {
        return Vec::new();
    }
    let template = ResourceTemplate::new(format!("{SCHEME}{{workspace}}/{{+path}}"), "workspace-file")
        .with_title("A file in a workspace")
        .with_description(
            "A file, by its path from the workspace's home folder, or a folder, whose path ends with a slash. The \
            workspace must be running.",
        );
    vec![template]
}

/// One page of the home folders of the running workspaces.
pub(super) async fn list(
    cursor: Option<String>,
    tools: &Registry,
    caller: &Arc<Caller>,
    from: RequestContext,
) -> Result<ListResourcesResult, ErrorData> {
    let (ToolLookup::Found(list), ToolLookup::Found(_)) =
        (tools.lookup(LIST_WORKSPACES, caller), tools.lookup(LIST_FILES, caller))
    else {
        return Ok(ListResourcesResult::default());
    };
    let mut arguments = json!({"status": "running", "limit": 100});
    if let Some(cursor) = cursor {
        arguments["cursor"] = cursor.into();
    }
    let arguments = arguments.as_object().cloned().unwrap_or_default();
    let call = Call::of(Arc::clone(caller), from);
    let page = list.call(arguments, call).await.map_err(|error| failure(&error, ""))?.into_json();
    let home = |workspace: &Value| {
        let text = |member: &str| workspace.get(member).and_then(Value::as_str);
        // The URI has the id, since another workspace may have the same name.
        let (name, id) = (text("name")?, text("id")?);
        let description = format!("The home folder of the workspace {name}, made from {}.", text("template")?);
        Some(
            Resource::new(format!("{SCHEME}{id}/"), name)
                .with_description(description)
                .with_mime_type("inode/directory"),
        )
    };
    let homes = page.get("workspaces").and_then(Value::as_array).into_iter().flatten().filter_map(home).collect();
    let mut result = ListResourcesResult::with_all_items(homes);
    result.next_cursor = page.get("next_cursor").and_then(Value::as_str).map(ToOwned::to_owned);
    Ok(result)
}

/// Reads a resource.
pub(super) async fn read(
    uri: &str,
    tools: &Registry,
    caller: &Arc<Caller>,
    (from, account): (RequestContext, Account),
) -> Result<ReadResourceResult, ErrorData> {
    let unknown = || {
        let text = format!("there is no resource {uri:?}; they are {SCHEME}NAME/PATH");
        ErrorData::resource_not_found(text, Some(json!({"uri": uri})))
    };
    let resource = ResourceUri::of(uri).ok_or_else(unknown)?;
    let ToolLookup::Found(tool) = tools.lookup(resource.tool(), caller) else { return Err(unknown()) };
    let is_folder = resource.is_folder();
    let call = || Call { account: account.clone(), ..Call::of(Arc::clone(caller), from) };
    let read =
        |answer: Result<ToolAnswer, ToolError>| answer.map(ToolAnswer::into_json).map_err(|error| failure(&error, uri));
    let mut found = read(tool.call(resource.arguments(), call()).await)?;
    if !is_folder && found.get("truncated") == Some(&Value::Bool(true)) {
        let mut arguments = resource.arguments();
        arguments.insert("max_bytes".to_owned(), LARGEST.into());
        found = read(tool.call(arguments, call()).await)?;
    }
    let text = |member: &str| found.get(member).and_then(Value::as_str).unwrap_or_default().to_owned();
    let content = if is_folder {
        ResourceContents::text(found.to_string(), uri).with_mime_type("application/json")
    } else if found.get("truncated") == Some(&Value::Bool(true)) {
        return Err(refused(format!("{uri} is too large for a resource; read it part by part with {READ_FILE}")));
    } else if found.get("encoding").and_then(Value::as_str) == Some("base64") {
        ResourceContents::blob(text("content"), uri).with_mime_type(text("mime_type"))
    } else {
        ResourceContents::text(text("content"), uri).with_mime_type(text("mime_type"))
    };
    Ok(ReadResourceResult::new(vec![content]))
}

fn failure(error: &ToolError, uri: &str) -> ErrorData {
    use portcullis_workspaces::Error;
    let missing = match error {
        ToolError::Workspaces(Error::UnknownWorkspace { .. }) => true,
        ToolError::Workspaces(Error::Agent(failure)) => failure.kind == FailureKind::NotFound,
        _ => false,
    };
    if missing {
        ErrorData::resource_not_found(chain(error), Some(json!({"uri": uri})))
    } else {
        ErrorData::internal_error(chain(error), None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_taken_apart() {
        for (uri, expected) in [
            ("workspace://web/", Some(("web", "", "list_files"))),
            ("workspace://web/src/", Some(("web", "src/", "list_files"))),
            ("workspace://web/src/main.rs", Some(("web", "src/main.rs", "read_file"))),
            ("workspace://web//etc/hosts", Some(("web", "/etc/hosts", "read_file"))),
            ("workspace://web/a%20b%25%3F", Some(("web", "a b%?", "read_file"))),
            ("workspace://web", None),
            ("workspace:///x", None),
            ("workspace://web/%00", None),
            ("workspace://web/%ff", None),
            ("file:///etc/hosts", None),
            ("", None),
        ] {
            let resource = ResourceUri::of(uri);
            let found = resource.as_ref().map(|resource| (&*resource.workspace, &*resource.path, resource.tool()));
            assert_eq!(found, expected, "{uri}");
        }
    }
}
