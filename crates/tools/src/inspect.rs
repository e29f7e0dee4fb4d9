//! The tools that show the resource usage and the log of a workspace.

use crate::{Call, Effect, Text, Tool, ToolError, text, workspaces::WorkspaceArguments};
use portcullis_agent::protocol::Usage;
use portcullis_core::{Scope, terminal::plain};
use portcullis_workspaces as backend;
use portcullis_workspaces::{Error, Purpose, Workspaces};
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;

/// The default number of log lines.
const DEFAULT_LINES: u32 = 100;
/// The maximum number of log lines.
const MAX_LINES: u32 = 1000;

/// `workspace_usage`.
pub(super) struct WorkspaceUsage(pub Arc<dyn Workspaces>);
/// `workspace_logs`.
pub(super) struct WorkspaceLogs(pub Arc<dyn Workspaces>);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LogsArguments {
    /// Name or id.
    workspace: String,
    /// The number of lines. Default: 100.
    #[schemars(range(min = 1, max = MAX_LINES), extend("default" = DEFAULT_LINES))]
    lines: Option<u32>,
    /// True: keep terminal control sequences.
    #[serde(default)]
    raw: bool,
}

impl Tool for WorkspaceUsage {
    type Arguments = WorkspaceArguments;
    type Output = Usage;
    const NAME: &'static str = "workspace_usage";
    const TITLE: &'static str = "Show resource usage of a workspace";
    const DESCRIPTION: &'static str = "Shows the CPU, memory and disk usage of a running workspace, and the limits.";
    const SCOPE: Option<Scope> = Some(Scope::WorkspacesRead);
    const EFFECT: Effect = Effect::Reads;

    fn text(output: &Usage) -> Text {
        text::usage(output)
    }

    async fn call(&self, arguments: WorkspaceArguments, call: Call) -> Result<Usage, ToolError> {
        let workspace = arguments.workspace;
        let agent = call.agent(&self.0, &workspace, Purpose::Look).await?;
        Ok(agent.usage().await.map_err(Error::agent(&workspace))?)
    }
}

impl Tool for WorkspaceLogs {
    type Arguments = LogsArguments;
    type Output = backend::WorkspaceLogs;
    const NAME: &'static str = "workspace_logs";
    const TITLE: &'static str = "Show a workspace's log";
    const DESCRIPTION: &'static str = "Shows the last lines of a workspace's own log: output of its main process, starts and \
        stops, ended commands and their results. Use it if a workspace does not start or commands are interrupted.";
    const SCOPE: Option<Scope> = Some(Scope::WorkspacesRead);
    const EFFECT: Effect = Effect::Reads;

    fn text(output: &backend::WorkspaceLogs) -> Text {
        text::logs(output)
    }

    async fn call(&self, arguments: LogsArguments, call: Call) -> Result<backend::WorkspaceLogs, ToolError> {
        let lines = arguments.lines.unwrap_or(DEFAULT_LINES);
        if !(1..=MAX_LINES).contains(&lines) {
            let problem = format!("{lines} is out of range; give 1 to {MAX_LINES}");
            return Err(Error::InvalidArgument { argument: "lines", problem }.into());
        }
        let mut logs = self.0.logs(&call.owner(), &arguments.workspace, lines).await?;
        if !arguments.raw {
            logs.lines.iter_mut().for_each(plain);
        }
        Ok(logs)
    }
}
