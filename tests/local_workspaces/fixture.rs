//! A backend in a folder of its own, with a clock that stands still.

use futures::future::BoxFuture;
use jiff::Timestamp;
use portcullis_agent::{
    AgentError, Client, LiveOutput,
    protocol::{Command, CommandResult},
};
use portcullis_core::{clock::Clock, rng::rng};
use portcullis_workspaces::{
    CreateWorkspace, Owner, Purpose, Workspaces as _,
    local::{LocalOptions, LocalWorkspaces},
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::time::timeout;

/// Longer than anything here takes on a busy machine.
pub(crate) const LONG: Duration = Duration::from_mins(1);

pub(crate) struct Fixture {
    pub(crate) backend: LocalWorkspaces,
    pub(crate) state: TempDir,
}

pub(crate) const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

pub(crate) struct Frozen;

impl Clock for Frozen {
    fn now(&self) -> Timestamp {
        NOW
    }

    fn sleep_until(&self, _deadline: Timestamp) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }
}

pub(crate) async fn open(state: &Path) -> LocalWorkspaces {
    let options = LocalOptions {
        state_dir: state.to_owned(),
        path: "/usr/local/bin:/usr/bin:/bin".into(),
        user: "somebody".into(),
    };
    LocalWorkspaces::open(options, Arc::new(Frozen), rng()).await.unwrap()
}

pub(crate) async fn fixture() -> Fixture {
    let state = tempfile::tempdir().unwrap();
    Fixture { backend: open(state.path()).await, state }
}

pub(crate) fn owner(id: &str) -> Owner {
    Owner { id: id.to_owned(), name: id.to_owned() }
}

pub(crate) fn blank(name: &str) -> CreateWorkspace {
    CreateWorkspace { template: "blank".to_owned(), name: name.to_owned(), parameters: BTreeMap::new(), wait: None }
}

pub(crate) fn command(line: &str) -> Command {
    Command { command: line.to_owned(), timeout: Some(LONG), ..Command::default() }
}

/// An id that is new.
pub(crate) fn id() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed).to_string()
}

impl Fixture {
    pub(crate) async fn with_web() -> Self {
        let fixture = fixture().await;
        fixture.backend.create(&owner("ann"), blank("web")).await.unwrap();
        fixture
    }

    pub(crate) async fn run(&self, request: Command) -> CommandResult {
        timeout(LONG, self.try_run(request, None)).await.expect("it hangs").unwrap()
    }

    pub(crate) async fn try_run(
        &self,
        request: Command,
        live: Option<LiveOutput>,
    ) -> Result<CommandResult, AgentError> {
        self.agent().await.run(&id(), &Command { live: live.is_some(), ..request }, live).await
    }

    pub(crate) async fn agent(&self) -> Client {
        self.backend.agent(&owner("ann"), "web", Purpose::Work).await.unwrap()
    }

    pub(crate) async fn home(&self) -> PathBuf {
        self.backend.get(&owner("ann"), "web").await.unwrap().home.into()
    }

    /// Waits for a file that a command writes, and reads the process ids in it.
    pub(crate) async fn pids(&self, file: &str) -> Vec<u32> {
        let path = self.home().await.join(file);
        eventually(|| std::fs::read_to_string(&path).is_ok_and(|text| text.ends_with("done\n"))).await;
        let text = std::fs::read_to_string(&path).unwrap();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }
}

pub(crate) async fn eventually(mut holds: impl FnMut() -> bool) {
    let poll = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, poll).await.expect("it never came to be");
}

/// Whether a process is there and no zombie.
pub(crate) fn runs(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with('Z'))
}

pub(crate) async fn eventually_async(mut holds: impl AsyncFnMut() -> bool) {
    let poll = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, poll).await.expect("it never came to be");
}
