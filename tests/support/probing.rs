//! How somebody who looks for a workspace that is not theirs would call each tool. A new tool, or a new argument that
//! must be given, has to be said here.

use serde_json::{Map, Value, json};

/// What is nobody's.
pub const NOTHING: &str = "nothing-here";

/// Where somebody looks.
pub struct Target<'a> {
    /// Its name, its id, or [`NOTHING`].
    pub workspace: &'a str,
    /// A process in it.
    pub process_id: &'a Value,
    /// A template that there is.
    pub template: &'a str,
}

/// Whether a call of the tool names one workspace, so that it must be told that there is none.
pub fn names_a_workspace(tool: &str, schema: &Value) -> bool {
    tool == "fetch" || schema["properties"].get("workspace").is_some()
}

/// The arguments to try, of a tool whose arguments have this schema.
pub fn probes(tool: &str, schema: &Value, target: &Target<'_>) -> Vec<Value> {
    let workspace = target.workspace;
    match tool {
        "whoami" | "list_templates" => vec![json!({})],
        "get_template" => vec![json!({"template": target.template}), json!({"template": workspace})],
        "list_workspaces" => vec![json!({}), json!({"query": workspace}), json!({"status": "running"})],
        "create_workspace" => vec![json!({"template": target.template, "name": workspace})],
        "search" => vec![json!({"query": workspace}), json!({"query": "xyzzy notes.txt ann workspace"})],
        "fetch" => vec![
            json!({"id": format!("workspace:{workspace}")}),
            json!({"id": format!("file:{workspace}/notes.txt")}),
            json!({"id": format!("file:{workspace}//etc/passwd")}),
        ],
        _ if names_a_workspace(tool, schema) => vec![required(tool, schema, target)],
        _ => panic!("{tool}: say here how it could reach a workspace"),
    }
}

/// Those arguments that a tool must have which works in a workspace.
fn required(tool: &str, schema: &Value, target: &Target<'_>) -> Value {
    let names = schema["required"].as_array().cloned().unwrap_or_default();
    let value = |name: &str| match name {
        "workspace" => json!(target.workspace),
        "process_id" => target.process_id.clone(),
        "path" | "from" => json!("notes.txt"),
        "to" => json!("moved.txt"),
        "command" => json!("cat notes.txt; rm -rf ."),
        "pattern" | "old_text" => json!("xyzzy"),
        "content" | "text" | "new_text" => json!("gone"),
        _ => panic!("{tool}: say here what to give for {name}"),
    };
    let names = names.iter().filter_map(Value::as_str);
    // What is typed may also be a key.
    let names = names.chain((tool == "send_input").then_some("text"));
    Value::Object(names.map(|name| (name.to_owned(), value(name))).collect::<Map<_, _>>())
}
