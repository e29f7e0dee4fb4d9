//! Running commands.

use super::{Call, Effect, Patience, Progress, Tool, ToolError};
use crate::{
    agent::protocol::{Command, CommandResult},
    ambient,
    api::Scope,
    config,
    workspaces::{Error, Purpose, Workspaces},
};
use rand::Rng as _;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

/// How long a command may run if nothing is said.
const DEFAULT_TIMEOUT: u64 = 10;
/// How often live output is sent.
const REPORT_EVERY: Duration = Duration::from_millis(250);
/// How much live output one report has at most: the end of what came since the one before.
const REPORT_BYTES: usize = 8 * 1024;

/// `run_command`.
pub(super) struct RunCommand(pub Arc<dyn Workspaces>, pub Patience);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Arguments {
    /// The workspace's name or id.
    workspace: String,
    /// A command line for /bin/sh; several lines are fine.
    command: String,
    /// The folder to run it in; a relative path starts at the home folder. Default: the home folder.
    cwd: Option<String>,
    /// Environment variables to set, by name.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// What the command reads on its standard input. Default: nothing.
    stdin: Option<String>,
    /// When to end it, in seconds. Default: 10, and never for a background command.
    #[schemars(range(min = 1))]
    timeout_seconds: Option<u64>,
    /// True: return at once and let it run on, as for a server; process_output has its output.
    #[serde(default)]
    background: bool,
}

impl Tool for RunCommand {
    type Arguments = Arguments;
    type Output = CommandResult;
    const NAME: &'static str = "run_command";
    const TITLE: &'static str = "Run a command";
    const DESCRIPTION: &'static str = "Runs a shell command in a running workspace and returns its exit code, stdout and \
        stderr. A failing command is no error: look at exit_code. Nothing can be typed in while it runs, so use flags \
        such as --yes, or stdin. Long output is shortened in the middle; the result names the file that has all of it. \
        For servers and watchers use background: true, then process_output, send_input and stop_process with its \
        process_id.";
    const SCOPE: Option<Scope> = Some(Scope::WorkspacesExec);
    const EFFECT: Effect = Effect::Anything;

    fn refine_input_schema(&self, schema: &mut Map<String, Value>) {
        self.1.refine(schema, "timeout_seconds");
    }

    async fn call(&self, arguments: Arguments, call: Call) -> Result<CommandResult, ToolError> {
        let max = self.1.seconds();
        let timeout = match arguments.timeout_seconds {
            Some(seconds) if !(1..=max).contains(&seconds) => {
                let problem = format!("{seconds} is out of range; give 1 to {max}, or run it with background: true");
                return Err(Error::InvalidArgument { argument: "timeout_seconds", problem }.into());
            }
            Some(seconds) => Some(seconds),
            None if arguments.background => None,
            None => Some(DEFAULT_TIMEOUT.min(max)),
        };
        let workspace = arguments.workspace;
        let agent = call.agent(&self.0, &workspace, Purpose::Work).await?;
        let command = Command {
            command: arguments.command,
            cwd: arguments.cwd,
            env: arguments.env,
            stdin: arguments.stdin,
            timeout: timeout.map(Duration::from_secs),
            background: arguments.background,
            live: call.progress.is_some(),
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
                    // It ends when the command's output has ended, before the result is there.
                    () = report(progress, output) => run.await,
                }
            }
        };
        Ok(result.map_err(Error::agent(&workspace))?)
    }
}

/// Thirty-two hexadecimal digits, never used before.
fn new_id() -> String {
    let mut bytes = [0_u8; 16];
    ambient::rng().fill_bytes(&mut bytes);
    config::hex(&bytes)
}

/// Sends what comes as progress, several pieces at a time.
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
