//! Escaped processes: processes that left the process group of their command, as `setsid`, `timeout` and daemons do.
//! They are found by a marker in the environment that children inherit (proc_pid_environ(5)). A process that removes
//! the marker is not found.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs, process,
    sync::atomic::{AtomicU64, Ordering},
};

/// The environment variable with the marker.
const MARK: &str = "PORTCULLIS_COMMAND";

/// The escaped processes of one command.
#[derive(Clone, Debug)]
pub(super) struct EscapedProcesses {
    mark: String,
}

impl EscapedProcesses {
    /// The escaped processes of the command with this id. The marker is unique even if another workspace agent on this
    /// machine has a command with the same id.
    pub(crate) fn of(id: &str) -> Self {
        static COMMANDS: AtomicU64 = AtomicU64::new(0);
        let (agent, command) = (process::id(), COMMANDS.fetch_add(1, Ordering::Relaxed));
        Self { mark: format!("{agent}-{command}-{id}") }
    }

    /// The variable, name and value, for the environment of the command.
    pub(crate) fn mark(&self) -> (&'static str, &str) {
        (MARK, &self.mark)
    }

    /// Whether any process has the marker.
    pub(crate) async fn is_any(&self) -> bool {
        !self.find().await.is_empty()
    }

    /// Sends SIGTERM to each process.
    pub(crate) async fn terminate(&self) {
        // A stopped process handles SIGTERM only after it continues.
        self.signal(&[Signal::SIGTERM, Signal::SIGCONT]).await;
    }

    /// Sends SIGKILL to each process. A process may fork during the scan, so callers must repeat the call.
    pub(crate) async fn kill(&self) {
        self.signal(&[Signal::SIGKILL]).await;
    }

    async fn signal(&self, signals: &[Signal]) {
        for process in self.find().await {
            for signal in signals {
                // The process may have ended in the meantime.
                let _ = kill(process, *signal);
            }
        }
    }

    async fn find(&self) -> Vec<Pid> {
        let mark = format!("{MARK}={}", self.mark).into_bytes();
        tokio::task::spawn_blocking(move || marked(&mark)).await.unwrap_or_default()
    }
}

/// The processes with this variable in their environment, except ended processes and those of other users.
fn marked(mark: &[u8]) -> Vec<Pid> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let ids = processes.filter_map(|process| process.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let has_mark = |id: &i32| {
        let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark)
    };
    ids.filter(has_mark).map(Pid::from_raw).collect()
}
