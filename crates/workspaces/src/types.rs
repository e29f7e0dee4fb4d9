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

/// What a workspace can be made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Template {
    /// The name, for `create_workspace`.
    pub name: String,
    /// What people call it.
    pub display_name: String,
    /// What it is good for.
    pub description: String,
    /// What can be chosen when creating a workspace from it.
    pub parameters: Vec<TemplateParameter>,
}

/// One choice that a template offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TemplateParameter {
    /// The parameter's name.
    pub name: String,
    /// What it changes.
    pub description: String,
    /// What its values are; all are written as text.
    #[serde(rename = "type")]
    pub kind: ParameterType,
    /// The values that it can have, where it is an enum.
    pub options: Vec<String>,
    /// The regular expression that a string must match as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// The least value of an integer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<i64>,
    /// The greatest value of an integer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<i64>,
    /// The value if none is given; a parameter without a default must be given.
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

/// Whether commands can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Status {
    /// It is being started.
    Starting,
    /// Commands can run.
    Running,
    /// It is being stopped.
    Stopping,
    /// Nothing runs; the files are kept.
    Stopped,
    /// It cannot start, or goes down again and again; `problem` says why.
    Failed,
}

/// One workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Workspace {
    /// Never changes. A workspace that is made later by the same owner under the same name may have it again.
    pub id: String,
    /// Unique among its owner's workspaces.
    pub name: String,
    /// The template that it was made from.
    pub template: String,
    /// Whether commands can run.
    pub status: Status,
    /// Why commands cannot run, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Whose it is: the name of a person, or of an agent that acts for itself.
    pub owner: String,
    /// Whether its template has changed since; the next start brings it up to date.
    pub outdated: bool,
    /// What was chosen of the template's parameters.
    pub parameters: BTreeMap<String, String>,
    /// The home folder: where commands run unless told otherwise.
    pub home: String,
    /// When it was made.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub created_at: Timestamp,
    /// When it was last worked in, to the minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub last_activity: Option<Timestamp>,
    /// When it will be deleted for its age.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub expires_at: Option<Timestamp>,
}

/// The end of what a workspace's main process and its agent have said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkspaceLogs {
    /// The lines, oldest first.
    pub lines: Vec<String>,
    /// Whether there were more before.
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
    /// Pass it as `cursor` for the next page.
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
