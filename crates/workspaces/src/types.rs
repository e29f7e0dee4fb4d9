//! The inputs and outputs of [`Workspaces`](super::Workspaces). The descriptions of fields become part of the tools'
//! schemas, so they address AI agents.

use crate::Error;
use jiff::Timestamp;
pub use portcullis_api::template::ParameterType;
use portcullis_api::template::{Parameter, WorkspaceTemplateSpec};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// The user or client on whose behalf an operation runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// The `sub` claim of the access token.
    pub id: String,
    /// The display name.
    #[serde(default)]
    pub name: String,
}

/// The purpose of a connection to a workspace agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To read the resource usage.
    Look,
    /// To run commands, and to read and write files.
    Work,
    /// To read the journal, which has command lines. Only for the owner.
    Journal,
}

/// A template for workspaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Template {
    /// The name, for `create_workspace`.
    pub name: String,
    /// The display name.
    pub display_name: String,
    /// The purpose.
    pub description: String,
    /// The parameters of create_workspace.
    pub parameters: Vec<TemplateParameter>,
}

/// A parameter of a template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TemplateParameter {
    /// The parameter's name.
    pub name: String,
    /// The effect of the parameter.
    pub description: String,
    /// The type of the values, which are passed as strings.
    #[serde(rename = "type")]
    pub kind: ParameterType,
    /// The allowed values of an enum.
    pub options: Vec<String>,
    /// The regular expression that must match a whole string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// The minimum of an integer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<i64>,
    /// The maximum of an integer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<i64>,
    /// The default value. Without one, the parameter is required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
}

impl Template {
    /// The view of a template for agents.
    #[must_use]
    pub fn of(name: &str, spec: &WorkspaceTemplateSpec) -> Self {
        let parameter = |parameter: Parameter| TemplateParameter {
            name: parameter.name,
            description: parameter.description,
            kind: parameter.kind,
            options: parameter.options,
            pattern: parameter.pattern,
            minimum: parameter.minimum,
            maximum: parameter.maximum,
            default: parameter.default,
        };
        Self {
            name: name.to_owned(),
            display_name: spec.display_name.clone().unwrap_or_else(|| name.to_owned()),
            description: spec.description.clone(),
            parameters: spec.parameters.iter().cloned().map(parameter).collect(),
        }
    }
}

/// The status of a workspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Status {
    /// The workspace is starting.
    Starting,
    /// Commands can run.
    Running,
    /// The workspace is stopping.
    Stopping,
    /// The workspace is stopped; its files are kept.
    Stopped,
    /// The workspace cannot start or keeps crashing; `problem` has the reason.
    Failed,
}

/// One workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Workspace {
    /// The stable id. A later workspace of the same owner and name may have the same id.
    pub id: String,
    /// The name, unique among the owner's workspaces.
    pub name: String,
    /// The name of the template.
    pub template: String,
    /// The status of a workspace.
    pub status: Status,
    /// Why commands cannot run, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The name of the owner: a user, or a client without a user.
    pub owner: String,
    /// The id of the owner, which is unique and not part of results of tools.
    #[serde(skip)]
    pub owner_id: String,
    /// Whether the template has changed; the next start applies the change.
    pub outdated: bool,
    /// The values of the template's parameters.
    pub parameters: BTreeMap<String, String>,
    /// The home folder, the default working directory of commands.
    pub home: String,
    /// The time of creation.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub created_at: Timestamp,
    /// The last activity, accurate to the minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub last_activity: Option<Timestamp>,
    /// When the workspace will be deleted because of its age.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub expires_at: Option<Timestamp>,
}

/// The end of the log of a workspace's main process and its agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkspaceLogs {
    /// The lines, oldest first.
    pub lines: Vec<String>,
    /// Whether there are earlier lines.
    pub truncated: bool,
}

/// The filter of a list of workspaces, and the page to return.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkspaceFilter {
    /// Only workspaces whose name contains this text.
    pub query: Option<String>,
    /// Only workspaces with this status.
    pub status: Option<Status>,
    /// Only workspaces from this template.
    pub template: Option<String>,
    /// The maximum size of the page; `None`: [`WorkspaceFilter::DEFAULT_LIMIT`].
    pub limit: Option<u32>,
    /// The `next_cursor` of the previous page.
    pub cursor: Option<String>,
}

impl WorkspaceFilter {
    /// The default size of a page.
    pub const DEFAULT_LIMIT: u32 = 50;
    /// The maximum size of a page.
    pub const MAX_LIMIT: u32 = 200;
}

/// Some of the owner's workspaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkspacePage {
    /// Sorted by name.
    pub workspaces: Vec<Workspace>,
    /// The `cursor` of the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A request to create a workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateWorkspace {
    /// The template's name.
    pub template: String,
    /// The workspace's name: see [`check_name`].
    pub name: String,
    /// Values for the template's parameters, by name.
    pub parameters: BTreeMap<String, String>,
    /// The maximum time to wait until the workspace runs or cannot start; `None`: does not wait.
    pub wait: Option<Duration>,
}

/// Checks the name of a new workspace: 1 to 40 of `a`-`z`, `0`-`9` and `-`, beginning with a letter and not ending with
/// `-`. The error suggests a valid name if possible.
pub fn check_name(name: &str) -> Result<(), Error> {
    if is_valid_name(name) {
        return Ok(());
    }
    Err(Error::InvalidName { name: name.to_owned(), suggestion: suggest(name) })
}

const MAX_NAME: usize = 40;

fn is_valid_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

fn suggest(name: &str) -> Option<String> {
    let mut slug = String::new();
    for part in name.to_ascii_lowercase().split(|other: char| !other.is_ascii_alphanumeric()) {
        if !part.is_empty() {
            if !slug.is_empty() {
                slug.push('-');
            }
            slug.push_str(part);
        }
    }
    slug.truncate(MAX_NAME);
    let slug = slug.trim_start_matches(|first: char| !first.is_ascii_lowercase()).trim_end_matches('-');
    is_valid_name(slug).then(|| slug.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_and_better_ones_suggested() {
        for good in ["a", "web", "my-app-2", &"a".repeat(40)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for (bad, better) in [
            ("My App", Some("my-app")),
            ("web_", Some("web")),
            ("-x", Some("x")),
            ("2nd", Some("nd")),
            ("../../etc", Some("etc")),
            ("", None),
            ("9", None),
            ("日本", None),
            (&"a".repeat(41), Some(&*"a".repeat(40))),
        ] {
            let Err(Error::InvalidName { suggestion, .. }) = check_name(bad) else { panic!("{bad} passed") };
            assert_eq!(suggestion.as_deref(), better, "{bad}");
        }
    }
}
