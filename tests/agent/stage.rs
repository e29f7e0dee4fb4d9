//! An agent in a folder, and tunnels to it that can be cut.

use crate::agent_program::agent_program;
use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use portcullis_agent::{
    AnswerBody, Client, Lost, Repeat, Transport,
    http2::{Connection, handshake},
    protocol::{Command, CommandResult},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command as Program},
    sync::Mutex,
    time::{Instant, sleep},
};
use tokio_util::task::TaskTracker;

/// Longer than anything here takes on a busy machine.
pub const LONG: Duration = Duration::from_mins(1);

/// An agent that runs.
pub struct Stage {
    pub client: Client,
    pub tunnels: Arc<Tunnels>,
    pub init: Child,
    pub folder: TempDir,
    next: AtomicU32,
}

/// How to start an agent.
pub struct Setup<'a> {
    /// The binary.
    pub program: &'a Path,
    /// What starts the binary, such as `unshare` with its options.
    pub wrapper: &'a [&'a str],
    /// Where a kubelet would read why it ended.
    pub termination_log: &'a Path,
    /// What follows `agent run`.
    pub args: &'a [&'a str],
    /// What else is in its environment.
    pub env: &'a [(&'a str, &'a str)],
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Self { program: agent_program(), wrapper: &[], termination_log: Path::new("/nowhere"), args: &[], env: &[] }
    }
}

impl Stage {
    pub fn new() -> Self {
        Self::with(&Setup::default())
    }

    pub fn with(setup: &Setup<'_>) -> Self {
        Self::within(tempfile::tempdir().unwrap(), setup)
    }

    /// Another agent in the folder of this one, which has ended.
    pub fn again(self, setup: &Setup<'_>) -> Self {
        Self::within(self.folder, setup)
    }

    fn within(folder: TempDir, setup: &Setup<'_>) -> Self {
        // Other users work there too.
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let run = folder.path().join("run");
        fs::create_dir_all(&run).unwrap();
        fs::set_permissions(&run, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
        let socket = run.join("agent.sock");
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let init = Program::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .args(setup.wrapper)
            .arg(setup.program)
            .args(["agent", "run", "--home"])
            .arg(folder.path())
            .arg("--socket")
            .arg(&socket)
            .arg("--output")
            .arg(folder.path().join("output"))
            .arg("--termination-log")
            .arg(setup.termination_log)
            .args(setup.args)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .envs(setup.env.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let tunnels = Arc::new(Tunnels { socket, now: Mutex::default(), tasks: TaskTracker::new() });
        let client = Client::new(Arc::clone(&tunnels) as Arc<dyn Transport>);
        Self { client, tunnels, init, folder, next: AtomicU32::new(0) }
    }

    /// Runs a line with ten seconds of time.
    pub async fn run(&self, line: &str) -> CommandResult {
        self.client.run(&self.id(), &shell(line), None).await.unwrap()
    }

    /// An id that no other command has.
    pub fn id(&self) -> String {
        format!("c{}", self.next.fetch_add(1, Ordering::Relaxed))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    /// The first process, which is the only child of what wraps it.
    pub fn init_id(&self) -> u32 {
        self.init.id().unwrap()
    }

    /// The process of the service.
    pub fn service_id(&self) -> u32 {
        children_of(self.init_id()).into_iter().find(|id| cmdline(*id).contains("--service")).expect("it runs")
    }
}

/// A line with ten seconds of time.
pub fn shell(line: &str) -> Command {
    Command { command: line.to_owned(), timeout: Some(Duration::from_secs(10)), ..Command::default() }
}

/// A line for the background.
pub fn background(line: &str) -> Command {
    Command { command: line.to_owned(), background: true, ..Command::default() }
}

/// Waits until something is so.
pub async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !so() {
        assert!(started.elapsed() < LONG, "{what} never came");
        sleep(Duration::from_millis(20)).await;
    }
}

/// One `agent connect` at a time, made anew where the one before has ended.
pub struct Tunnels {
    socket: PathBuf,
    now: Mutex<Option<(Connection, Child)>>,
    tasks: TaskTracker,
}

impl Tunnels {
    /// Cuts the tunnel as a network would: without a word.
    pub async fn cut(&self) {
        if let Some((_, near_end)) = &mut *self.now.lock().await {
            near_end.kill().await.unwrap();
        }
    }

    async fn connection(&self) -> Result<Connection, Lost> {
        let mut now = self.now.lock().await;
        if let Some((connection, _)) = now.as_ref().filter(|(connection, _)| !connection.is_closed()) {
            return Ok(connection.clone());
        }
        let mut near_end = Program::new(agent_program())
            .args(["agent", "connect", "--socket"])
            .arg(&self.socket)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let io = tokio::io::join(near_end.stdout.take().unwrap(), near_end.stdin.take().unwrap());
        let (connection, drive) = handshake(io, self.tasks.clone()).await?;
        self.tasks.spawn(drive);
        *now = Some((connection.clone(), near_end));
        Ok(connection)
    }
}

#[async_trait]
impl Transport for Tunnels {
    async fn send(&self, request: Request<Full<Bytes>>, repeat: Repeat) -> Result<Response<AnswerBody>, Lost> {
        let started = Instant::now();
        loop {
            let sent = match self.connection().await {
                Ok(connection) => connection.send(request.clone()).await,
                Err(lost) => Err(lost),
            };
            match sent {
                Err(lost) if (repeat == Repeat::Safe || !lost.maybe_done) && started.elapsed() < LONG => {
                    sleep(Duration::from_millis(20)).await;
                }
                answer => return answer,
            }
        }
    }

    fn abandon(&self, command_id: &str) {
        drop(command_id.to_owned());
    }
}

/// The processes whose parent this is, zombies too.
pub fn children_of(parent: u32) -> Vec<u32> {
    let ids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter(|id| stat(*id).is_some_and(|stat| stat.1 == parent)).collect()
}

/// The state and the parent of a process.
fn stat(id: u32) -> Option<(String, u32)> {
    let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let mut words = text.rsplit_once(')')?.1.split_whitespace();
    Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
}

/// Whether a process is there and no zombie.
pub fn runs(id: u32) -> bool {
    stat(id).is_some_and(|(state, _)| state != "Z")
}

pub fn cmdline(id: u32) -> String {
    fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default().replace('\0', " ")
}

/// A line of a process's status, in KiB.
pub fn memory(id: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

/// Whether this user may do what the test needs.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The number in a file that a command wrote.
pub async fn number_in(path: &Path) -> u32 {
    let read = || fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok());
    until("a number", || read().is_some()).await;
    read().unwrap()
}
