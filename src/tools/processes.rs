//! What commands left running in the background: seeing it, reading it, typing to it, ending it.

use super::{Call, Effect, Patience, Tool, ToolError, workspaces::WorkspaceArguments};
use crate::{
    agent::protocol::{self, Input, Process, ProcessOutputRequest, Processes},
    api::Scope,
    workspaces::{Error, Purpose, Workspaces},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::{sync::Arc, time::Duration};

/// `list_processes`.
pub(super) struct ListProcesses(pub Arc<dyn Workspaces>);
/// `process_output`.
pub(super) struct ProcessOutput(pub Arc<dyn Workspaces>, pub Patience);
/// `send_input`.
pub(super) struct SendInput(pub Arc<dyn Workspaces>);
/// `stop_process`.
pub(super) struct StopProcess(pub Arc<dyn Workspaces>);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ProcessArguments {
    /// The workspace's name or id.
    workspace: String,
    /// The process, from run_command or list_processes.
    process_id: u32,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OutputArguments {
    /// The workspace's name or id.
    workspace: String,
    /// The process, from run_command or list_processes.
    process_id: u32,
    /// How long to wait for new output or the end, in seconds; it returns as soon as there is any. Default: 0.
    #[serde(default)]
    wait_seconds: u64,
    /// Where the part before ended: its `next_offset`. Default: the last part of the output.
    offset: Option<u64>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InputArguments {
    /// The workspace's name or id.
    workspace: String,
    /// The process, from run_command or list_processes.
    process_id: u32,
    /// What to type. End a line with a line feed.
    text: String,
    /// True: that was all, its standard input ends.
    #[serde(default)]
    close: bool,
}

impl Tool for ListProcesses {
    type Arguments = WorkspaceArguments;
    type Output = Processes;
    const NAME: &'static str = "list_processes";
    const TITLE: &'static str = "List processes";
    const DESCRIPTION: &'static str = "Lists what commands left running in a workspace, and what of it has ended lately, \
        the newest first.";
    const SCOPE: Option<Scope> = Some(Scope::WorkspacesExec);
    const EFFECT: Effect = Effect::Reads;

    async fn call(&self, arguments: WorkspaceArguments, call: Call) -> Result<Processes, ToolError> {
        let workspace = arguments.workspace;
        let agent = call.agent(&self.0, &workspace, Purpose::Work).await?;
        Ok(agent.processes().await.map_err(Error::agent(&workspace))?)
    }
}

impl Tool for ProcessOutput {
    type Arguments = OutputArguments;
    type Output = protocol::ProcessOutput;
    const NAME: &'static str = "process_output";
    const TITLE: &'static str = "Read a process's output";
    const DESCRIPTION: &'static str = "Shows what a background process has said lately, and whether it still runs. To wait \
        for a server to be ready or a job to end, give wait_seconds; to read on, pass next_offset as offset.";
    const SCOPE: Option<Scope> = Some(Scope::WorkspacesExec);
    const EFFECT: Effect = Effect::Reads;

    fn refine_input_schema(&self, schema: &mut Map<String, Value>) {
        self.1.refine(schema, "wait_seconds");
    }

    async fn call(&self, arguments: OutputArguments, call: Call) -> Result<protocol::ProcessOutput, ToolError> {
        let OutputArguments { workspace, process_id, wait_seconds, offset } = arguments;
        let max = self.1.seconds();
        if wait_seconds > max {
            let problem = format!("{wait_seconds} is out of range; give 0 to {max}, and call again to wait on");
            return Err(Error::InvalidArgument { argument: "wait_seconds", problem }.into());
        }
        let agent = call.agent(&self.0, &workspace, Purpose::Work).await?;
        let request = ProcessOutputRequest { wait: Duration::from_secs(wait_seconds), offset };
        Ok(agent.process_output(process_id, request).await.map_err(Error::agent(&workspace))?)
    }
}

impl Tool for SendInput {
    type Arguments = InputArguments;
    type Output = Process;
    const NAME: &'static str = "send_input";
    const TITLE: &'static str = "Type to a process";
    const DESCRIPTION: &'static str = "Writes to the standard input of a background process, such as an interpreter or a \
        program that asks. process_output shows what it says to that.";
    const SCOPE: Option<Scope> = Some(Scope::WorkspacesExec);
    const EFFECT: Effect = Effect::Anything;

    async fn call(&self, arguments: InputArguments, call: Call) -> Result<Process, ToolError> {
        let InputArguments { workspace, process_id, text, close } = arguments;
        let agent = call.agent(&self.0, &workspace, Purpose::Work).await?;
        Ok(agent.send_input(process_id, &Input { text, close }).await.map_err(Error::agent(&workspace))?)
    }
}

impl Tool for StopProcess {
    type Arguments = ProcessArguments;
    type Output = Process;
    const NAME: &'static str = "stop_process";
    const TITLE: &'static str = "Stop a process";
    const DESCRIPTION: &'static str = "Ends a background process and all that it started: politely at first, for good after \
        two seconds.";
    const SCOPE: Option<Scope> = Some(Scope::WorkspacesExec);
    const EFFECT: Effect = Effect::Removes;

    async fn call(&self, arguments: ProcessArguments, call: Call) -> Result<Process, ToolError> {
        let ProcessArguments { workspace, process_id } = arguments;
        let agent = call.agent(&self.0, &workspace, Purpose::Work).await?;
        Ok(agent.stop_process(process_id).await.map_err(Error::agent(&workspace))?)
    }
}
