//! What commands left running in the background: seeing it, reading it, typing to it, ending it.

use super::{Call, Effect, Patience, Text, Tool, ToolError, plain::plain, text, workspaces::WorkspaceArguments};
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
    /// Its name or id.
    workspace: String,
    /// The process.
    #[schemars(range(max = u32::MAX))]
    process_id: u32,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OutputArguments {
    /// Its name or id.
    workspace: String,
    /// The process.
    #[schemars(range(max = u32::MAX))]
    process_id: u32,
    /// How long to wait for new output or the end. Default: 0.
    #[serde(default)]
    wait_seconds: u64,
    /// next_offset of the part before. Default: the last part.
    offset: Option<u64>,
    /// True: with the control sequences of terminals.
    #[serde(default)]
    raw: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InputArguments {
    /// Its name or id.
    workspace: String,
    /// The process.
    #[schemars(range(max = u32::MAX))]
    process_id: u32,
    /// What to type. End a line with a line feed.
    text: String,
    /// True: its standard input ends after that.
    #[serde(default)]
    close: bool,
}

impl Tool for ListProcesses {
    type Arguments = WorkspaceArguments;
    type Output = Processes;
    const NAME: &'static str = "list_processes";
    const TITLE: &'static str = "List processes";
    const DESCRIPTION: &'static str = "Lists the background processes of a workspace, also those that ended lately; the newest first.";
    const SCOPE: Option<Scope> = Some(Scope::WorkspacesExec);
    const EFFECT: Effect = Effect::Reads;

    fn text(output: &Processes) -> Text {
        let lines: Vec<String> = output.processes.iter().map(text::process).collect();
        if lines.is_empty() { "no background processes".to_owned().into() } else { lines.join("\n").into() }
    }

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
    const DESCRIPTION: &'static str = "Shows the output of a background process, and whether it still runs. wait_seconds waits \
        for output or the end; pass next_offset as offset to read on.";
    const SCOPE: Option<Scope> = Some(Scope::WorkspacesExec);
    const EFFECT: Effect = Effect::Reads;

    fn text(output: &protocol::ProcessOutput) -> Text {
        text::output(output)
    }

    fn refine_input_schema(&self, schema: &mut Map<String, Value>) {
        self.1.refine(schema, "wait_seconds");
    }

    async fn call(&self, arguments: OutputArguments, call: Call) -> Result<protocol::ProcessOutput, ToolError> {
        let OutputArguments { workspace, process_id, wait_seconds, offset, raw } = arguments;
        let max = self.1.seconds();
        if wait_seconds > max {
            let problem = format!("{wait_seconds} is out of range; give 0 to {max}, and call again to wait on");
            return Err(Error::InvalidArgument { argument: "wait_seconds", problem }.into());
        }
        let agent = call.agent(&self.0, &workspace, Purpose::Work).await?;
        let request = ProcessOutputRequest { wait: Duration::from_secs(wait_seconds), offset };
        let mut said = agent.process_output(process_id, request).await.map_err(Error::agent(&workspace))?;
        if !raw {
            plain(&mut said.output);
        }
        Ok(said)
    }
}

impl Tool for SendInput {
    type Arguments = InputArguments;
    type Output = Process;
    const NAME: &'static str = "send_input";
    const TITLE: &'static str = "Type to a process";
    const DESCRIPTION: &'static str = "Writes to the standard input of a background process. process_output shows the answer.";
    const SCOPE: Option<Scope> = Some(Scope::WorkspacesExec);
    const EFFECT: Effect = Effect::Anything;

    fn text(output: &Process) -> Text {
        text::process(output).into()
    }

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
    const DESCRIPTION: &'static str = "Ends a background process and all that it started: SIGTERM, then SIGKILL.";
    const SCOPE: Option<Scope> = Some(Scope::WorkspacesExec);
    const EFFECT: Effect = Effect::Removes;

    fn text(output: &Process) -> Text {
        text::process(output).into()
    }

    async fn call(&self, arguments: ProcessArguments, call: Call) -> Result<Process, ToolError> {
        let ProcessArguments { workspace, process_id } = arguments;
        let agent = call.agent(&self.0, &workspace, Purpose::Work).await?;
        Ok(agent.stop_process(process_id).await.map_err(Error::agent(&workspace))?)
    }
}
