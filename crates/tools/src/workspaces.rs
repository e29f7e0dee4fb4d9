//! The tools that list, create, start, stop and delete workspaces.

use crate::{Call, Effect, Text, Tool, ToolError, WaitBudget, text};
use portcullis_core::Scope;
use portcullis_workspaces as backend;
use portcullis_workspaces::{Status, Workspace, WorkspaceFilter, WorkspacePage, Workspaces};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// `list_workspaces`.
pub(super) struct ListWorkspaces(pub Arc<dyn Workspaces>);
/// `get_workspace`.
pub(super) struct GetWorkspace(pub Arc<dyn Workspaces>);
/// `create_workspace`.
pub(super) struct CreateWorkspace(pub Arc<dyn Workspaces>, pub WaitBudget);
/// `start_workspace`.
pub(super) struct StartWorkspace(pub Arc<dyn Workspaces>, pub WaitBudget);
/// `stop_workspace`.
pub(super) struct StopWorkspace(pub Arc<dyn Workspaces>);
/// `restart_workspace`.
pub(super) struct RestartWorkspace(pub Arc<dyn Workspaces>, pub WaitBudget);
/// `delete_workspace`.
pub(super) struct DeleteWorkspace(pub Arc<dyn Workspaces>);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListArguments {
    /// Part of the name.
    query: Option<String>,
    /// The status.
    status: Option<Status>,
    /// The template's name.
    template: Option<String>,
    /// Maximum number of workspaces. Default: 50.
    #[schemars(range(min = 1, max = WorkspaceFilter::MAX_LIMIT), extend("default" = WorkspaceFilter::DEFAULT_LIMIT))]
    limit: Option<u32>,
    /// next_cursor of the previous page.
    cursor: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WorkspaceArguments {
    /// Name or id.
    pub workspace: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateArguments {
    /// The template's name, from list_templates.
    template: String,
    /// The new name: a-z, 0-9 and -, beginning with a letter.
    #[schemars(length(min = 1, max = 40))]
    name: String,
    /// Values for the template's parameters by name, as strings.
    #[serde(default)]
    parameters: BTreeMap<String, String>,
    /// Whether to wait until commands can run. Default: true.
    #[serde(default = "CreateArguments::wait_by_default")]
    wait: bool,
}

impl CreateArguments {
    fn wait_by_default() -> bool {
        true
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Deleted {
    /// The last state of the workspace.
    deleted: Workspace,
}

impl Tool for ListWorkspaces {
    type Arguments = ListArguments;
    type Output = WorkspacePage;
    const NAME: &'static str = "list_workspaces";
    const TITLE: &'static str = "List workspaces";
    const DESCRIPTION: &'static str = "Lists your workspaces by name, with their status.";
    const SCOPE: Option<Scope> = Some(Scope::WorkspacesRead);
    const EFFECT: Effect = Effect::Reads;

    fn text(output: &WorkspacePage) -> Text {
        let mut lines: Vec<String> = output.workspaces.iter().map(text::workspace).collect();
        if lines.is_empty() {
            lines.push("no workspaces".to_owned());
        }
        if let Some(cursor) = &output.next_cursor {
            lines.push(format!("[there are more: cursor {cursor}]"));
        }
        lines.join("\n").into()
    }

    async fn call(&self, arguments: ListArguments, call: Call) -> Result<WorkspacePage, ToolError> {
        let ListArguments { query, status, template, limit, cursor } = arguments;
        Ok(self.0.list(&call.owner(), WorkspaceFilter { query, status, template, limit, cursor }).await?)
    }
}

impl Tool for GetWorkspace {
    type Arguments = WorkspaceArguments;
    type Output = Workspace;
    const NAME: &'static str = "get_workspace";
    const TITLE: &'static str = "Get a workspace";
    const DESCRIPTION: &'static str =
        "Shows a workspace: status and, if commands cannot run, the reason; template, parameters, home folder.";
    const SCOPE: Option<Scope> = Some(Scope::WorkspacesRead);
    const EFFECT: Effect = Effect::Reads;

    fn text(output: &Workspace) -> Text {
        text::workspace(output).into()
    }

    async fn call(&self, arguments: WorkspaceArguments, call: Call) -> Result<Workspace, ToolError> {
        Ok(self.0.get(&call.owner(), &arguments.workspace).await?)
    }
}

impl Tool for CreateWorkspace {
    type Arguments = CreateArguments;
    type Output = Workspace;
    const NAME: &'static str = "create_workspace";
    const TITLE: &'static str = "Create a workspace";
    const DESCRIPTION: &'static str = "Creates a workspace from a template and starts it. If its status is still starting, \
        call get_workspace; `problem` has the reason and remedy if it cannot start.";
    const SCOPE: Option<Scope> = Some(Scope::WorkspacesWrite);
    const EFFECT: Effect = Effect::Adds;

    fn text(output: &Workspace) -> Text {
        text::workspace(output).into()
    }

    async fn call(&self, arguments: CreateArguments, call: Call) -> Result<Workspace, ToolError> {
        let CreateArguments { template, name, parameters, wait } = arguments;
        let wait = wait.then_some(self.1.0);
        let request = backend::CreateWorkspace { template, name, parameters, wait };
        Ok(self.0.create(&call.owner(), request).await?)
    }
}

impl Tool for StartWorkspace {
    type Arguments = WorkspaceArguments;
    type Output = Workspace;
    const NAME: &'static str = "start_workspace";
    const TITLE: &'static str = "Start a workspace";
    const DESCRIPTION: &'static str = "Starts a stopped workspace with its files, and waits until commands can run.";
    const SCOPE: Option<Scope> = Some(Scope::WorkspacesWrite);
    const EFFECT: Effect = Effect::Ensures;

    fn text(output: &Workspace) -> Text {
        text::workspace(output).into()
    }

    async fn call(&self, arguments: WorkspaceArguments, call: Call) -> Result<Workspace, ToolError> {
        Ok(self.0.start(&call.owner(), &arguments.workspace, Some(self.1.0)).await?)
    }
}

impl Tool for StopWorkspace {
    type Arguments = WorkspaceArguments;
    type Output = Workspace;
    const NAME: &'static str = "stop_workspace";
    const TITLE: &'static str = "Stop a workspace";
    const DESCRIPTION: &'static str =
        "Ends all processes of a workspace. Its files are kept; start_workspace starts it again.";
    const SCOPE: Option<Scope> = Some(Scope::WorkspacesWrite);
    const EFFECT: Effect = Effect::Removes;

    fn text(output: &Workspace) -> Text {
        text::workspace(output).into()
    }

    async fn call(&self, arguments: WorkspaceArguments, call: Call) -> Result<Workspace, ToolError> {
        Ok(self.0.stop(&call.owner(), &arguments.workspace).await?)
    }
}

impl Tool for RestartWorkspace {
    type Arguments = WorkspaceArguments;
    type Output = Workspace;
    const NAME: &'static str = "restart_workspace";
    const TITLE: &'static str = "Restart a workspace";
    const DESCRIPTION: &'static str = "Ends all processes of a workspace and starts it again from its current template. Its files are kept. For a workspace \
        that is outdated or stuck.";
    const SCOPE: Option<Scope> = Some(Scope::WorkspacesWrite);
    const EFFECT: Effect = Effect::Removes;

    fn text(output: &Workspace) -> Text {
        text::workspace(output).into()
    }

    async fn call(&self, arguments: WorkspaceArguments, call: Call) -> Result<Workspace, ToolError> {
        Ok(self.0.restart(&call.owner(), &arguments.workspace, Some(self.1.0)).await?)
    }
}

impl Tool for DeleteWorkspace {
    type Arguments = WorkspaceArguments;
    type Output = Deleted;
    const NAME: &'static str = "delete_workspace";
    const TITLE: &'static str = "Delete a workspace";
    const DESCRIPTION: &'static str = "Permanently deletes a workspace with all its files.";
    const SCOPE: Option<Scope> = Some(Scope::WorkspacesWrite);
    const EFFECT: Effect = Effect::Removes;

    fn text(output: &Deleted) -> Text {
        format!("deleted {}", text::workspace(&output.deleted)).into()
    }

    async fn call(&self, arguments: WorkspaceArguments, call: Call) -> Result<Deleted, ToolError> {
        Ok(Deleted { deleted: self.0.delete(&call.owner(), &arguments.workspace).await? })
    }
}
