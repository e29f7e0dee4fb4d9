//! The tool that runs commands.

use crate::{Call, Effect, Progress, Text, Tool, ToolError, WaitBudget, text};
use portcullis_agent::protocol::{Command, CommandResult, TerminalSize};
use portcullis_core::{Scope, rng, terminal::plain};
use portcullis_workspaces::{Error, Purpose, Workspaces};
use rand::Rng as _;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

/// The default wait for a command, in seconds: many clients time out after a minute.
const DEFAULT_WAIT: u64 = 45;
/// The default wait for a command in a terminal, in seconds: it waits for input sooner or later.
const DEFAULT_WAIT_IN_TERMINAL: u64 = 3;
/// The default size of a terminal.
const TERMINAL: TerminalSize = TerminalSize { rows: 24, columns: 80 };
/// How long a command may continue in the background after its wait.
const CONTINUE_FOR: Duration = Duration::from_hours(1);
/// How often live output is sent.
const REPORT_EVERY: Duration = Duration::from_millis(250);
/// The maximum live output in a report, in bytes: the end of the output since the previous report.
const REPORT_BYTES: usize = 8 * 1024;

/// `run_command`.
pub(super) struct RunCommand(pub Arc<dyn Workspaces>, pub WaitBudget);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    /// Name or id.
    workspace: String,
    /// The command for /bin/sh; several lines are allowed.
    command: String,
    /// The working directory. Default: the home folder.
    cwd: Option<String>,
    /// Environment variables by name.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// Standard input.
    stdin: Option<String>,
    /// The time until on_timeout applies. Default: 45 (3 with tty); then it continues in the background.
    #[schemars(range(min = 1))]
    timeout_seconds: Option<u64>,
    /// With timeout_seconds: end it (default), or continue in the background.
    on_timeout: Option<OnTimeout>,
    /// True: return at once; for servers and watchers.
    #[serde(default)]
    background: bool,
    /// True: run in a terminal, for interactive programs; send_input types to it.
    #[serde(default)]
    tty: bool,
    /// Lines of the terminal. Default: 24.
    #[schemars(range(min = 1, max = 1000))]
    rows: Option<u16>,
    /// Columns of the terminal. Default: 80.
    #[schemars(range(min = 1, max = 1000))]
    columns: Option<u16>,
    /// True: keep terminal control sequences in the output.
    #[serde(default)]
    raw: bool,
}

/// What happens to a command that exceeds its timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(super) enum OnTimeout {
    /// End it.
    End,
    /// Continue it in the background.
    Background,
}

impl Tool for RunCommand {
    type Arguments = Arguments;
    type Output = CommandResult;
    const NAME: &'static str = "run_command";
    const TITLE: &'static str = "Run a command";
    const DESCRIPTION: &'static str = "Runs a shell command in a running workspace and returns its exit code and output. A failing command is not an error. Without tty it cannot read input: use flags such as --yes. Long output is shortened in the \
        middle; the result names the file with all of it. What runs on in the background has a process_id for \
        process_output, send_input and stop_process: do not run it again.";
    const SCOPE: Option<Scope> = Some(Scope::WorkspacesExec);
    const EFFECT: Effect = Effect::Anything;

    fn text(output: &CommandResult) -> Text {
        text::command(output)
    }

    fn refine_input_schema(&self, schema: &mut Map<String, Value>) {
        self.1.refine(schema, "timeout_seconds");
    }

    async fn call(&self, arguments: Arguments, call: Call) -> Result<CommandResult, ToolError> {
        let max = self.1.seconds();
        // How long the command may continue after its timeout.
        let mut continue_for = None;
        let timeout = match arguments.timeout_seconds {
            Some(seconds) if !(1..=max).contains(&seconds) => {
                let problem = format!("{seconds} is out of range; give 1 to {max}, or run it with background: true");
                return Err(Error::InvalidArgument { argument: "timeout_seconds", problem }.into());
            }
            Some(seconds) => {
                continue_for = (arguments.on_timeout == Some(OnTimeout::Background)).then_some(CONTINUE_FOR);
                Some(seconds)
            }
            None if arguments.background => None,
            None if arguments.on_timeout == Some(OnTimeout::End) => Some(DEFAULT_WAIT.min(max)),
            None => {
                continue_for = Some(CONTINUE_FOR);
                Some(if arguments.tty { DEFAULT_WAIT_IN_TERMINAL } else { DEFAULT_WAIT }.min(max))
            }
        };
        let rows = arguments.rows.unwrap_or(TERMINAL.rows);
        let terminal = TerminalSize { rows, columns: arguments.columns.unwrap_or(TERMINAL.columns) };
        let workspace = arguments.workspace;
        let agent = call.agent(&self.0, &workspace, Purpose::Work).await?;
        let command = Command {
            command: arguments.command,
            cwd: arguments.cwd,
            env: arguments.env,
            stdin: arguments.stdin,
            timeout: timeout.map(Duration::from_secs),
            continue_for: continue_for.filter(|_| !arguments.background),
            background: arguments.background,
            live: call.progress.is_some(),
            terminal: arguments.tty.then_some(terminal),
        };
        let id = new_id();
        let result = match call.progress {
            None => agent.run(&id, &command, None).await,
            Some(progress) => {
                let (live, output) = mpsc::channel(64);
                let run = agent.run(&id, &command, Some(live));
                tokio::pin!(run);
                tokio::select! {
                    result = &mut run => result,
                    // `report` ends with the command's output, before the result is available.
                    () = report(progress, output) => run.await,
                }
            }
        };
        let mut result = result.map_err(Error::agent(&workspace))?;
        if !arguments.raw {
            plain(&mut result.stdout);
            plain(&mut result.stderr);
        }
        Ok(result)
    }
}

/// A unique id of thirty-two random hexadecimal digits.
fn new_id() -> String {
    let mut bytes = [0_u8; 16];
    rng::rng().fill_bytes(&mut bytes);
    portcullis_core::hex(&bytes)
}

/// Sends output as progress, several pieces at a time.
async fn report(mut progress: Progress, mut output: mpsc::Receiver<String>) {
    let mut ticks = interval(REPORT_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut unsent = String::new();
    loop {
        tokio::select! {
            piece = output.recv() => match piece {
                Some(piece) => {
                    unsent.push_str(&piece);
                    unsent.drain(..unsent.floor_char_boundary(unsent.len().saturating_sub(REPORT_BYTES)));
                }
                None => return,
            },
            _ = ticks.tick(), if !unsent.is_empty() => {
                progress.report(std::mem::take(&mut unsent)).await;
            }
        }
    }
}
