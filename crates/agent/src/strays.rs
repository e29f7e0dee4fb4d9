//! What a command has started that left its process group, as `setsid`, `timeout` and daemons do: known by a mark in the
//! environment that children inherit (proc_pid_environ(5)). Who takes the mark off is not found.

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs, process,
    sync::atomic::{AtomicU64, Ordering},
};

/// The variable that marks what belongs to a command.
const MARK: &str = "PORTCULLIS_COMMAND";

/// The processes with the mark of one command.
#[derive(Clone, Debug)]
pub(super) struct Strays {
    mark: String,
}

impl Strays {
    /// Those of the command with this id. The mark is its own even where another agent of this machine has a command
    /// with the same id.
    pub(crate) fn of(id: &str) -> Self {
        static COMMANDS: AtomicU64 = AtomicU64::new(0);
        let (agent, command) = (process::id(), COMMANDS.fetch_add(1, Ordering::Relaxed));
        Self { mark: format!("{agent}-{command}-{id}") }
    }

    /// What to give to the command itself.
    pub(crate) fn mark(&self) -> (&'static str, &str) {
        (MARK, &self.mark)
    }

    /// Whether there is any.
    pub(crate) async fn is_any(&self) -> bool {
        !self.find().await.is_empty()
    }

    /// Asks each to end.
    pub(crate) async fn terminate(&self) {
        // A stopped process sees SIGTERM only once it goes on.
        self.signal(&[Signal::SIGTERM, Signal::SIGCONT]).await;
    }

    /// Ends each. While it looks they may make new ones: ask again.
    pub(crate) async fn kill(&self) {
        self.signal(&[Signal::SIGKILL]).await;
    }

    async fn signal(&self, signals: &[Signal]) {
        for process in self.find().await {
            for signal in signals {
                // It may have ended meanwhile.
                let _ = kill(process, *signal);
            }
        }
    }

    async fn find(&self) -> Vec<Pid> {
        let mark = format!("{MARK}={}", self.mark).into_bytes();
        tokio::task::spawn_blocking(move || marked(&mark)).await.unwrap_or_default()
    }
}

/// The processes that have this in their environment, but for those that have ended and those of other users.
fn marked(mark: &[u8]) -> Vec<Pid> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let ids = processes.filter_map(|process| process.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let has_mark = |id: &i32| {
        let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark)
    };
    ids.filter(has_mark).map(Pid::from_raw).collect()
}
