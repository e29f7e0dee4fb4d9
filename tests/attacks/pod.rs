//! The agent as it is in a workspace's pod: the real binary, in a folder of its own beside the home folder, with a
//! template's Secret in the environment that it is started with.

use crate::agent_program::agent_program;
use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use portcullis_agent::{
    AgentError, AnswerBody, Client, Lost, Repeat, Transport,
    http2::{Connection, handshake},
    protocol::{Command, CommandResult, Failure},
};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    net::UnixStream,
    process::{Child, Command as Program},
    time::sleep,
};
use tokio_util::task::TaskTracker;

/// Somebody who is not root: root may do everything.
const USER: &str = "54322";

pub struct Pod {
    pub client: Client,
    folder: TempDir,
    init: Child,
    next: AtomicU32,
}

impl Pod {
    pub const SECRET: &'static str = "what-the-template-has-from-a-secret";

    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for path in ["", "home", "run"] {
            fs::create_dir_all(folder.path().join(path)).unwrap();
            fs::set_permissions(folder.path().join(path), fs::Permissions::from_mode(0o777)).unwrap();
        }
        let (run, home) = (folder.path().join("run"), folder.path().join("home"));
        let binary = run.join("portcullis");
        // Where other users can run it.
        if fs::hard_link(agent_program(), &binary).is_err() {
            fs::copy(agent_program(), &binary).unwrap();
        }
        let mut program = Program::new("setpriv");
        program.args(["--pdeathsig", "KILL"]);
        if is_root() {
            program.args(["--reuid", USER, "--regid", USER, "--clear-groups"]);
        }
        let init = program
            .arg(&binary)
            .args(["agent", "run", "--home"])
            .arg(&home)
            .arg("--socket")
            .arg(run.join("agent.sock"))
            .arg("--output")
            .arg(run.join("output"))
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("TEMPLATE_SECRET", Self::SECRET)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let tunnel = Tunnel { connection: connect(run.join("agent.sock")).await };
        Self { client: Client::new(Arc::new(tunnel)), folder, init, next: AtomicU32::new(0) }
    }

    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    pub fn run(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    pub fn path(&self, path: &str) -> String {
        self.folder.path().join(path).to_str().unwrap().to_owned()
    }

    pub async fn run_line(&self, line: &str) -> CommandResult {
        let command =
            Command { command: line.to_owned(), timeout: Some(Duration::from_secs(30)), ..Command::default() };
        let id = format!("c{}", self.next.fetch_add(1, Ordering::Relaxed));
        self.client.run(&id, &command, None).await.unwrap()
    }

    /// The agent's processes: the first one and the service.
    pub fn processes(&self) -> Vec<u32> {
        let first = self.init.id().unwrap();
        let ids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let is_service = |id: &u32| {
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
            let arguments = fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default();
            parent == Some(first) && arguments.contains("--service")
        };
        [first].into_iter().chain(ids.filter(is_service)).collect()
    }

    pub async fn stop(mut self) {
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(self.init.id().unwrap().cast_signed()),
            nix::sys::signal::Signal::SIGTERM,
        )
        .unwrap();
        let ended = tokio::time::timeout(Duration::from_mins(1), self.init.wait()).await;
        assert!(ended.unwrap().unwrap().success());
    }
}

/// What the agent said when it refused something.
#[track_caller]
pub fn failure<A: std::fmt::Debug>(result: Result<A, AgentError>) -> Failure {
    match result {
        Err(AgentError::Failed(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

/// The refusal names the reason, and what to use instead.
#[track_caller]
pub fn refused<A: std::fmt::Debug>(result: Result<A, AgentError>, why: &str) {
    let failure = failure(result);
    assert!(failure.message.contains(why) && failure.message.contains("run_command"), "{failure}");
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

async fn connect(socket: PathBuf) -> Connection {
    for _ in 0..600 {
        if let Ok(stream) = UnixStream::connect(&socket).await {
            let tasks = TaskTracker::new();
            let (connection, drive) = handshake(stream, tasks.clone()).await.unwrap();
            tasks.spawn(drive);
            return connection;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("the agent does not listen");
}

struct Tunnel {
    connection: Connection,
}

#[async_trait]
impl Transport for Tunnel {
    async fn send(&self, request: Request<Full<Bytes>>, _repeat: Repeat) -> Result<Response<AnswerBody>, Lost> {
        self.connection.send(request).await
    }

    fn abandon(&self, command_id: &str) {
        drop(command_id.to_owned());
    }
}
