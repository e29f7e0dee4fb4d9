//! The names of tools in `spec.tools` of an `McpEndpoint`: patterns in which `*` stands for any run of characters.
//!
//! Admission refuses the name of a tool that there is not. An object from before a tool was removed keeps its names (the API
//! server ratchets validation); the operator reports those, and patterns that match nothing, in a condition.

use kube::{KubeSchema, core::Rule};
use portcullis_core::nearest::suggestion;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Every tool, in the order in which they are listed.
pub const TOOLS: [&str; 26] = [
    "whoami",
    "list_templates",
    "get_template",
    "list_workspaces",
    "get_workspace",
    "create_workspace",
    "start_workspace",
    "stop_workspace",
    "restart_workspace",
    "delete_workspace",
    "workspace_usage",
    "workspace_logs",
    "run_command",
    "list_processes",
    "process_output",
    "send_input",
    "stop_process",
    "list_files",
    "read_file",
    "search_files",
    "write_file",
    "edit_file",
    "move_path",
    "remove_path",
    "search",
    "fetch",
];

/// The beginning of the admission error for a list with an unknown tool.
pub const NOT_TOOLS: &str = "each must be the name of a tool";

/// Which tools are served: those that `allow` matches and `deny` does not.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolFilter {
    /// Names of tools to serve; `*` matches any characters.
    #[serde(default = "ToolFilter::default_allow")]
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Set, validation = Rule::new("self.all(t, t.matches('^[a-z0-9_*]+$'))")
        .message("tool names are made of a-z, 0-9, _ and the wildcard *"), validation = rule())]
    pub allow: Vec<String>,
    /// Names of tools not to serve; takes precedence over `allow`.
    #[serde(default)]
    #[schemars(length(max = 64), inner(length(min = 1, max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Set, validation = Rule::new("self.all(t, t.matches('^[a-z0-9_*]+$'))")
        .message("tool names are made of a-z, 0-9, _ and the wildcard *"), validation = rule())]
    pub deny: Vec<String>,
}

impl ToolFilter {
    fn default_allow() -> Vec<String> {
        vec!["*".to_owned()]
    }
}

impl Default for ToolFilter {
    fn default() -> Self {
        Self { allow: Self::default_allow(), deny: Vec::new() }
    }
}

/// A pattern that matches no tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownTool<'a> {
    /// `allow` or `deny`.
    pub list: &'static str,
    /// Its index in the list.
    pub index: usize,
    /// The pattern.
    pub pattern: &'a str,
}

impl UnknownTool<'_> {
    /// The path of the entry in the manifest.
    #[must_use]
    pub fn field(&self) -> String {
        format!("spec.tools.{}[{}]", self.list, self.index)
    }
}

impl fmt::Display for UnknownTool<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let near = suggestion(self.pattern, TOOLS);
        let near = if near.is_empty() { format!("; the tools are {}", TOOLS.join(", ")) } else { near };
        if self.pattern.contains('*') {
            write!(f, "no tool matches {:?}{near}", self.pattern)
        } else {
            write!(f, "there is no tool {:?}{near}", self.pattern)
        }
    }
}

/// Every pattern of the filter that matches no tool.
#[must_use]
pub fn unknown(filter: &ToolFilter) -> Vec<UnknownTool<'_>> {
    let lists = [("allow", &filter.allow), ("deny", &filter.deny)];
    let patterns = lists.into_iter().flat_map(|(list, patterns)| {
        patterns.iter().enumerate().map(move |(index, pattern)| UnknownTool { list, index, pattern })
    });
    patterns.filter(|entry| !TOOLS.iter().any(|tool| matches(entry.pattern, tool))).collect()
}

/// Whether a name matches a pattern.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((literal, rest)) => name
            .strip_prefix(literal)
            .is_some_and(|tail| (0..=tail.len()).any(|skip| tail.get(skip..).is_some_and(|tail| matches(rest, tail)))),
    }
}

/// The rule of admission for a list of patterns: each without `*` is a tool. Those with `*` are left to the condition, as
/// older API servers cannot estimate the cost of an expression made from the value. Patterns of other characters are
/// refused by a rule of their own.
pub(super) fn rule() -> Rule {
    let names = TOOLS.map(|tool| format!("'{tool}'")).join(", ");
    let message = format!("{NOT_TOOLS}, or have the wildcard *; the tools are {}", TOOLS.join(", "));
    Rule::new(format!("self.all(t, !t.matches('^[a-z0-9_]+$') || t in [{names}])")).message(message.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, fits) in [
            ("*", "whoami", true),
            ("whoami", "whoami", true),
            ("who", "whoami", false),
            ("list_*", "list_workspaces", true),
            ("list_*", "get_list_", false),
            ("*_workspace", "delete_workspace", true),
            ("*_workspace", "list_workspaces", false),
            ("*work*", "list_workspaces", true),
            ("l*t*s", "list_templates", true),
            ("**", "x", true),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn unknown_tools_are_named_with_the_one_that_was_meant() {
        let list = |patterns: &[&str]| patterns.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (allow, deny, expected) in [
            (list(&["*"]), list(&["run_command", "list_*", "*_workspace"]), vec![]),
            (
                list(&["*"]),
                list(&["fetch", "run_comand"]),
                vec!["spec.tools.deny[1]: there is no tool \"run_comand\"; did you mean run_command?".to_owned()],
            ),
            (
                list(&["raed_file", "delet_*"]),
                list(&[]),
                vec![
                    "spec.tools.allow[0]: there is no tool \"raed_file\"; did you mean read_file?".to_owned(),
                    "spec.tools.allow[1]: no tool matches \"delet_*\"; did you mean delete_workspace?".to_owned(),
                ],
            ),
            (
                list(&["*"]),
                list(&["zzz"]),
                vec![format!("spec.tools.deny[0]: there is no tool \"zzz\"; the tools are {}", TOOLS.join(", "))],
            ),
        ] {
            let filter = ToolFilter { allow, deny };
            let found: Vec<String> =
                unknown(&filter).iter().map(|unknown| format!("{}: {unknown}", unknown.field())).collect();
            assert_eq!(found, expected);
        }
    }
}
