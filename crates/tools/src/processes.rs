//! The tools that list background processes, read their output, send them input, and stop them.

use crate::{Call, Effect, Text, Tool, ToolError, WaitBudget, text, workspaces::WorkspaceArguments};
use portcullis_agent::protocol::{self, Input, Process, ProcessOutputRequest, Processes};
use portcullis_core::{Scope, terminal::plain};
use portcullis_workspaces::{Error, Purpose, Workspaces};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;

/// The default wait for matching output, in seconds.
const USUAL_WAIT: u64 = 30;

/// `list_processes`.
pub(super) struct ListProcesses(pub Arc<dyn Workspaces>);
/// `process_output`.
pub(super) struct ProcessOutput(pub Arc<dyn Workspaces>, pub WaitBudget);
/// `send_input`.
pub(super) struct SendInput(pub Arc<dyn Workspaces>, pub WaitBudget);
/// `stop_process`.
pub(super) struct StopProcess(pub Arc<dyn Workspaces>);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ProcessArguments {
    /// Name or id.
    workspace: String,
    /// The process id.
    #[schemars(range(max = u32::MAX))]
    process_id: u32,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OutputArguments {
    /// Name or id.
    workspace: String,
    /// The process id.
    #[schemars(range(max = u32::MAX))]
    process_id: u32,
    /// How long to wait for new output or the end. Default: 0; with wait_for 30.
    wait_seconds: Option<u64>,
    /// Wait for output that matches this regular expression.
    wait_for: Option<String>,
    /// next_offset of the previous part. Default: the last part.
    offset: Option<u64>,
    /// True: keep terminal control sequences.
    #[serde(default)]
    raw: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InputArguments {
    /// Name or id.
    workspace: String,
    /// The process id.
    #[schemars(range(max = u32::MAX))]
    process_id: u32,
    /// The text to type. End a line with a line feed.
    #[serde(default)]
    text: String,
    /// A key to press after the text, in a terminal.
    key: Option<Key>,
    /// True: close its standard input afterwards.
    #[serde(default)]
    close: bool,
    /// How long to wait for output. Default: 0.
    #[serde(default)]
    wait_seconds: u64,
    /// True: keep terminal control sequences in the output.
    #[serde(default)]
    raw: bool,
}

/// A special key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(super) enum Key {
    /// Ends a line.
    Enter,
    /// The tabulator.
    Tab,
    /// Escape.
    Escape,
    /// Deletes a character.
    Backspace,
    /// An arrow.
    Up,
    /// An arrow.
    Down,
    /// An arrow.
    Left,
    /// An arrow.
    Right,
    /// Interrupts a program.
    CtrlC,
    /// Ends the input.
    CtrlD,
    /// Stops a program.
    CtrlZ,
}

impl Key {
    /// The characters that a terminal sends for the key (ECMA-48, and xterm's control sequences).
    const fn code(self) -> &'static str {
        match self {
            Self::Enter => "\r",
            Self::Tab => "\t",
            Self::Escape => "\u{1b}",
            Self::Backspace => "\u{7f}",
            Self::Up => "\u{1b}[A",
            Self::Down => "\u{1b}[B",
            Self::Right => "\u{1b}[C",
            Self::Left => "\u{1b}[D",
            Self::CtrlC => "\u{3}",
            Self::CtrlD => "\u{4}",
            Self::CtrlZ => "\u{1a}",
        }
    }
}

/// A process after input, and its output since.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Sent {
    #[serde(flatten)]
    process: Process,
    /// The output since the input, with wait_seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    /// The `offset` of the next part.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_offset: Option<u64>,
}

impl Tool for ListProcesses {
    type Arguments = WorkspaceArguments;
    type Output = Processes;
    const NAME: &'static str = "list_processes";
    const TITLE: &'static str = "List processes";
    const DESCRIPTION: &'static str =
        "Lists the background processes of a workspace, also recently ended ones; newest first.";
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
        for output or the end, wait_for for output that matches; pass next_offset as offset to read on.";
    const SCOPE: Option<Scope> = Some(Scope::WorkspacesExec);
    const EFFECT: Effect = Effect::Reads;

    fn text(output: &protocol::ProcessOutput) -> Text {
        text::output(output)
    }

    fn refine_input_schema(&self, schema: &mut Map<String, Value>) {
        self.1.refine(schema, "wait_seconds");
    }

    async fn call(&self, arguments: OutputArguments, call: Call) -> Result<protocol::ProcessOutput, ToolError> {
        let OutputArguments { workspace, process_id, wait_seconds, wait_for, offset, raw } = arguments;
        let usual = if wait_for.is_some() { USUAL_WAIT.min(self.1.seconds()) } else { 0 };
        let wait = self.1.wait(wait_seconds.unwrap_or(usual))?;
        let agent = call.agent(&self.0, &workspace, Purpose::Work).await?;
        let request = ProcessOutputRequest { wait, offset, wait_for };
        let mut said = agent.process_output(process_id, request).await.map_err(Error::agent(&workspace))?;
        if !raw {
            plain(&mut said.output);
        }
        Ok(said)
    }
}

impl Tool for SendInput {
    type Arguments = InputArguments;
    type Output = Sent;
    const NAME: &'static str = "send_input";
    const TITLE: &'static str = "Send input to a process";
    const DESCRIPTION: &'static str = "Sends input to a background process: text, or a key if it was started with tty: true. \
        wait_seconds waits for output.";
    const SCOPE: Option<Scope> = Some(Scope::WorkspacesExec);
    const EFFECT: Effect = Effect::Anything;

    fn refine_input_schema(&self, schema: &mut Map<String, Value>) {
        self.1.refine(schema, "wait_seconds");
    }

    fn text(output: &Sent) -> Text {
        match (&output.output, output.next_offset) {
            (Some(said), Some(next)) => text::answered(&output.process, said, next),
            _ => text::process(&output.process).into(),
        }
    }

    async fn call(&self, arguments: InputArguments, call: Call) -> Result<Sent, ToolError> {
        let InputArguments { workspace, process_id, mut text, key, close, wait_seconds, raw } = arguments;
        let wait = self.1.wait(wait_seconds)?;
        text.push_str(key.map_or("", Key::code));
        let agent = call.agent(&self.0, &workspace, Purpose::Work).await?;
        if text.is_empty() && !close {
            let problem = "there is no input to send; give text, key or close".to_owned();
            return Err(Error::InvalidArgument { argument: "text", problem }.into());
        }
        let failed = || Error::agent(&workspace);
        let input = Input { text, close, key: key.is_some() };
        if wait.is_zero() {
            let process = agent.send_input(process_id, &input).await.map_err(failed())?;
            return Ok(Sent { process, output: None, next_offset: None });
        }
        // Earlier output is not part of the answer.
        let end = ProcessOutputRequest { offset: Some(u64::MAX), ..ProcessOutputRequest::default() };
        let offset = Some(agent.process_output(process_id, end).await.map_err(failed())?.next_offset);
        let mut process = agent.send_input(process_id, &input).await.map_err(failed())?;
        let answer = ProcessOutputRequest { wait, offset, wait_for: None };
        let mut said = agent.process_output(process_id, answer).await.map_err(failed())?;
        if !raw {
            plain(&mut said.output);
        }
        (process.running, process.exit_code) = (said.running, said.exit_code);
        Ok(Sent { process, output: Some(said.output), next_offset: Some(said.next_offset) })
    }
}

impl Tool for StopProcess {
    type Arguments = ProcessArguments;
    type Output = Process;
    const NAME: &'static str = "stop_process";
    const TITLE: &'static str = "Stop a process";
    const DESCRIPTION: &'static str = "Ends a background process and its child processes: SIGTERM, then SIGKILL.";
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
