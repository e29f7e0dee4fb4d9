//! Prompts that a user can pick from a menu (MCP `prompts/list`, `prompts/get`). Each is a text that instructs an agent
//! how to use the tools. A prompt whose tools the endpoint does not serve is not listed.

use crate::refused;
use portcullis_core::Scope;
use portcullis_oauth::Caller;
use portcullis_tools::{Registry, ToolLookup};
use rmcp::{
    ErrorData,
    model::{GetPromptResult, JsonObject, Prompt, PromptArgument, PromptMessage, Role},
};
use std::fmt::Write as _;

/// One prompt.
struct PromptDef {
    name: &'static str,
    title: &'static str,
    description: &'static str,
    arguments: &'static [Argument],
    /// The tools that it mentions.
    tools: &'static [&'static str],
    /// The instructions. The user's arguments follow them.
    text: &'static str,
}

struct Argument {
    name: &'static str,
    description: &'static str,
    required: bool,
}

const fn needs(name: &'static str, description: &'static str) -> Argument {
    Argument { name, description, required: true }
}

const fn takes(name: &'static str, description: &'static str) -> Argument {
    Argument { name, description, required: false }
}

static PROMPTS: [PromptDef; 3] = [
    PromptDef {
        name: "start_project",
        title: "Start a project",
        description: "Creates a workspace and sets up a new project in it, until it builds and runs.",
        arguments: &[
            needs("project", "The project and its technologies: \"a React app with TypeScript and Tailwind CSS\"."),
            takes("template", "The template of the workspace. Default: the one that fits best."),
            takes("workspace", "The new workspace's name. Default: one that fits the project."),
        ],
        tools: &["list_templates", "create_workspace", "run_command"],
        text: "Start a new project in a workspace of its own.\n\
            1. Choose a template with list_templates, and create the workspace with create_workspace.\n\
            2. Set the project up with run_command: its tools, its structure, its dependencies. Commands cannot be \
            answered while they run, so pass flags such as --yes.\n\
            3. Build it and run its tests. Fix failures and run them again.\n\
            4. Report the structure, and how to build, test and start it.",
    },
    PromptDef {
        name: "work_across_workspaces",
        title: "Work across workspaces",
        description: "Does a task in several workspaces, such as a frontend and its backend, and checks that \
            they fit together.",
        arguments: &[
            needs("task", "The task: \"deploy the frontend, and document the API's new endpoints\"."),
            takes("workspaces", "The workspaces, separated by commas. Default: those that the task mentions."),
        ],
        tools: &["list_workspaces", "start_workspace", "run_command"],
        text: "Do a task in several workspaces.\n\
            1. Find them with list_workspaces, and start with start_workspace those that are stopped.\n\
            2. Examine each before you change anything: its content, how it is built, uncommitted changes.\n\
            3. Do the task in one workspace after the other, with run_command. Consider what one needs \
            of another.\n\
            4. Check each by itself, then that they work together.\n\
            5. Report what you did in each workspace, and what is left.",
    },
    PromptDef {
        name: "review_resource_use",
        title: "Review resource usage",
        description: "Reviews the resource usage of all workspaces, and suggests which to stop, delete or resize.",
        arguments: &[takes("workspaces", "The workspaces, separated by commas. Default: all.")],
        tools: &["list_workspaces", "workspace_usage"],
        text: "Review the resource usage of the workspaces.\n\
            1. List them with list_workspaces, with status and last activity.\n\
            2. Call workspace_usage for each running one: CPU, memory and disk, usage and limits.\n\
            3. Show a table: status, last activity, usage and limits.\n\
            4. Report which are idle, which use little of their limits, which are near a limit, and what you would stop, delete \
            or make larger. Change nothing without confirmation.",
    },
];

/// Whether the endpoint and the caller's scopes allow a prompt.
enum Access {
    Open,
    NeedsScope(Scope),
    NotServed,
}

impl PromptDef {
    fn access(&self, tools: &Registry, caller: &Caller) -> Access {
        let mut access = Access::Open;
        for tool in self.tools {
            match tools.lookup(tool, caller) {
                ToolLookup::Found(_) => {}
                ToolLookup::NeedsScope(scope) => access = Access::NeedsScope(scope),
                ToolLookup::Unknown => return Access::NotServed,
            }
        }
        access
    }

    fn listed(&self) -> Prompt {
        let argument = |argument: &Argument| {
            PromptArgument::new(argument.name).with_description(argument.description).with_required(argument.required)
        };
        Prompt::new(self.name, Some(self.description), Some(self.arguments.iter().map(argument).collect()))
            .with_title(self.title)
    }

    fn render(&self, arguments: &JsonObject) -> Result<String, ErrorData> {
        let expected: Vec<&str> = self.arguments.iter().map(|argument| argument.name).collect();
        if let Some(unknown) = arguments.keys().find(|name| !expected.contains(&name.as_str())) {
            return Err(refused(format!(
                "the prompt {} has no argument {unknown:?}, but {}",
                self.name,
                expected.join(", ")
            )));
        }
        let mut text = self.text.to_owned();
        for argument in self.arguments {
            let given = match arguments.get(argument.name) {
                None => "",
                Some(value) => value.as_str().ok_or_else(|| refused(format!("{} must be a string", argument.name)))?,
            };
            if !given.trim().is_empty() {
                // Writing to a String cannot fail.
                let _ = write!(text, "\n\n{}: {}", argument.name, given.trim());
            } else if argument.required {
                return Err(refused(format!("the prompt {} needs the argument {}", self.name, argument.name)));
            }
        }
        Ok(text)
    }
}

fn find(name: &str) -> Option<&'static PromptDef> {
    PROMPTS.iter().find(|prompt| prompt.name == name)
}

/// The prompts that this caller can use.
pub(super) fn visible_to(tools: &Registry, caller: &Caller) -> Vec<Prompt> {
    let usable = |prompt: &&PromptDef| matches!(prompt.access(tools, caller), Access::Open);
    PROMPTS.iter().filter(usable).map(PromptDef::listed).collect()
}

/// The scope that this caller lacks for a prompt.
pub(super) fn missing_scope(name: &str, tools: &Registry, caller: &Caller) -> Option<Scope> {
    match find(name)?.access(tools, caller) {
        Access::NeedsScope(scope) => Some(scope),
        Access::Open | Access::NotServed => None,
    }
}

/// The text of a prompt.
pub(super) fn get(
    name: &str,
    arguments: &JsonObject,
    tools: &Registry,
    caller: &Caller,
) -> Result<GetPromptResult, ErrorData> {
    let prompt = find(name).filter(|prompt| matches!(prompt.access(tools, caller), Access::Open));
    let prompt = prompt.ok_or_else(|| refused(format!("there is no prompt {name:?}; prompts/list has them")))?;
    let message = PromptMessage::new_text(Role::User, prompt.render(arguments)?);
    Ok(GetPromptResult::new(vec![message]).with_description(prompt.description))
}

/// Whether a prompt has an argument of this name.
pub(super) fn takes_argument(name: &str, argument: &str) -> bool {
    find(name).is_some_and(|prompt| prompt.arguments.iter().any(|known| known.name == argument))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn arguments_are_rendered_and_wrong_ones_are_refused() {
        let rendered = |arguments: serde_json::Value| {
            let prompt = find("start_project").unwrap();
            prompt.render(arguments.as_object().unwrap()).map_err(|error| error.message.into_owned())
        };
        let text = rendered(json!({"project": " a shop ", "workspace": "shop", "template": ""})).unwrap();
        assert!(text.ends_with("and start it.\n\nproject: a shop\n\nworkspace: shop"), "{text}");
        for (arguments, said) in [
            (json!({}), "the prompt start_project needs the argument project"),
            (json!({"project": " "}), "the prompt start_project needs the argument project"),
            (json!({"project": 7}), "project must be a string"),
            (
                json!({"projects": "x"}),
                "the prompt start_project has no argument \"projects\", but project, template, workspace",
            ),
        ] {
            assert_eq!(rendered(arguments), Err(said.to_owned()));
        }
    }
}
