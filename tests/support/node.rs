//! A whole Kubernetes of one node, with real pods: what `tests/node/up.sh` runs, or the cluster of
//! `PORTCULLIS_TEST_KUBECONFIG`.

use crate::support::{
    api_server::{ApiServer, Problem},
    audit,
    process::{Janitor, Process, run_at_end},
};
use k8s_openapi::{List, api::core::v1::Pod};
use portcullis_api::crds;
use std::{
    env, fs,
    io::Write as _,
    net::IpAddr,
    ops::Deref,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};
use tokio::{sync::OnceCell, time::Instant};

const READY_WITHIN: Duration = Duration::from_mins(2);
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node");

/// A running node. It ends with this value, and with the test process, and leaves nothing behind.
pub struct Node {
    ours: Option<Ours>,
    api_server: ApiServer,
    image: OnceCell<()>,
    agent_image: OnceCell<()>,
}

/// What there is besides an API server when the node is the tests' own.
struct Ours {
    // Dropped in this order: first the node ends, then what it leaves behind is removed.
    _process: Process,
    _janitor: Janitor,
    built: PathBuf,
}

impl Deref for Node {
    type Target = ApiServer;

    fn deref(&self) -> &ApiServer {
        &self.api_server
    }
}

impl Node {
    /// The one that the tests of this binary share. Each test makes its own namespace in it. None, said on standard
    /// error, where this machine cannot have one: then the test is over. In CI, that fails it instead.
    pub async fn shared() -> Option<&'static Self> {
        static SHARED: OnceCell<Node> = OnceCell::const_new();
        if let Some(kubeconfig) = env::var_os("PORTCULLIS_TEST_KUBECONFIG") {
            return Some(SHARED.get_or_init(async || Self::foreign(kubeconfig.into())).await);
        }
        if let Some(reason) = impossible() {
            return skip(&reason);
        }
        Some(SHARED.get_or_init(|| Self::start_here(&[])).await)
    }

    /// The same, for tests that do to a node what cannot be done to a cluster of somebody else.
    pub async fn shared_of_ours() -> Option<&'static Self> {
        match Self::shared().await {
            Some(node) if node.ours.is_none() => skip("it needs a node of the tests' own"),
            node => node,
        }
    }

    /// A second one that tests share, where no operator runs: for tests that write the status of objects themselves,
    /// which an operator would put right.
    pub async fn shared_without_operator() -> Option<&'static Self> {
        static SHARED: OnceCell<Node> = OnceCell::const_new();
        if let Some(reason) = impossible() {
            return skip(&reason);
        }
        Some(SHARED.get_or_init(|| Self::start_here(&[])).await)
    }

    /// Starts one with the custom resources installed, for a test that would disturb others. Takes five seconds, and
    /// a quarter of an hour where the programs are still to be built. None as above; panics where it does not start.
    pub async fn start() -> Option<Self> {
        Self::start_with(&[]).await
    }

    /// The same with files that `up.sh` looks for, such as `two-nodes`, or instead of those that are there always.
    pub async fn start_with(files: &[(&str, &str)]) -> Option<Self> {
        if let Some(reason) = impossible() {
            return skip(&reason);
        }
        Some(Self::start_here(files).await)
    }

    async fn start_here(files: &[(&str, &str)]) -> Self {
        Self::try_start(files).await.unwrap_or_else(|problem| panic!("the tests' node did not start: {problem}"))
    }

    async fn try_start(files: &[(&str, &str)]) -> Result<Self, Problem> {
        let built = tokio::task::spawn_blocking(|| run_script("build.sh", &[])).await??;
        let built = PathBuf::from(built.trim());
        let folder = tempfile::Builder::new().prefix("portcullis-node-").tempdir()?.keep();
        let clean = Path::new(SCRIPTS).join("clean.sh");
        let janitor = run_at_end(&["bash".as_ref(), clean.as_os_str(), folder.as_os_str()])?;
        fs::create_dir(folder.join("manifests"))?;
        for crd in crds::all() {
            let name = crd.metadata.name.clone().unwrap_or_default();
            fs::write(folder.join("manifests").join(format!("{name}.json")), serde_json::to_vec(&crd)?)?;
        }
        fs::write(folder.join("audit-policy.yaml"), audit::POLICY)?;
        for (name, content) in files {
            fs::write(folder.join(name), content)?;
        }
        let args = [format!("{SCRIPTS}/up.sh"), folder.display().to_string()];
        let mut process = Process::start(Path::new("bash"), &args, &[], &folder.join("up.log"))?;
        let deadline = Instant::now() + READY_WITHIN;
        while !folder.join("ready").exists() {
            if process.ended().is_some() || Instant::now() > deadline {
                return Err(format!("{}\n{}", process.log_tail(), logs(&folder)).into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let kubeconfig = folder.join("admin.kubeconfig");
        let api_server = ApiServer::new(built.join("bin/kubectl"), folder, kubeconfig)?;
        let ours = Ours { _process: process, _janitor: janitor, built };
        Ok(Self { ours: Some(ours), api_server, image: OnceCell::new(), agent_image: OnceCell::new() })
    }

    /// The cluster of somebody else, which has the images and the custom resources.
    fn foreign(kubeconfig: PathBuf) -> Self {
        let folder = tempfile::Builder::new().prefix("portcullis-cluster-").tempdir().unwrap().keep();
        let api_server = ApiServer::new(PathBuf::from("kubectl"), folder, kubeconfig).unwrap();
        Self { ours: None, api_server, image: OnceCell::new(), agent_image: OnceCell::new() }
    }

    /// Makes the image `local/portcullis:test`, which has nothing but the static programs of this checkout, and loads
    /// it. The first call of a test process takes a second, and minutes where the programs are still to be built.
    pub async fn portcullis_image(&self) -> &'static str {
        self.image.get_or_init(async || self.make_image("portcullis.tar", None).await).await;
        "local/portcullis:test"
    }

    /// The same with `local/portcullis-agent:test`, which has the agent's program alone.
    pub async fn agent_image(&self) -> &'static str {
        self.agent_image.get_or_init(async || self.make_image("portcullis-agent.tar", Some("agent")).await).await;
        "local/portcullis-agent:test"
    }

    /// Makes the image of a stage of the Dockerfile, and loads it. A foreign cluster has both images.
    async fn make_image(&self, archive: &str, stage: Option<&str>) {
        if self.ours.is_none() {
            return;
        }
        let archive = self.folder().join(archive);
        let args: Vec<String> =
            [archive.display().to_string()].into_iter().chain(stage.map(ToOwned::to_owned)).collect();
        let made = tokio::task::spawn_blocking(move || run_script("portcullis-image.sh", &args)).await.unwrap();
        made.unwrap();
        self.load_image(&archive);
    }

    /// Loads the images of an archive, at every node that there is.
    pub fn load_image(&self, archive: &Path) {
        let sockets = ["containerd.sock", "node2/containerd.sock"].map(|socket| self.folder().join(socket));
        for socket in sockets.iter().filter(|socket| socket.exists()) {
            let mut ctr = self.enter(&["ctr", "--namespace", "k8s.io", "--address"]);
            let done = ctr.arg(socket).args(["images", "import", "--local"]).arg(archive).output().unwrap();
            assert!(done.status.success(), "{done:?}");
        }
    }

    /// The address by which pods reach a server of this process, if it listens on every address.
    pub fn host_address(&self) -> IpAddr {
        let address = match self.ours {
            Some(_) => fs::read_to_string(self.folder().join("machine-address")).unwrap(),
            None => env::var("PORTCULLIS_TEST_HOST_ADDRESS")
                .expect("set PORTCULLIS_TEST_HOST_ADDRESS to an address of this machine that the cluster's pods reach"),
        };
        address.trim().parse().expect("it is an IP address")
    }

    /// A command inside the node: its network, its mounts, its processes, its programs.
    pub fn enter(&self, args: &[&str]) -> Command {
        let bin = self.ours().built.join("bin");
        let pid = fs::read_to_string(self.folder().join("pid/init")).unwrap();
        let mut command = Command::new("nsenter");
        command.args(["--net", "--mount", "--pid", "--target", pid.trim()]).args(args);
        command.env("PATH", format!("{}:{}", bin.display(), env::var("PATH").unwrap_or_default()));
        command
    }

    /// Kills a component, such as `kube-apiserver`, `kubelet` or `containerd`; it stays down.
    pub fn stop(&self, component: &str) {
        fs::write(self.folder().join("stopped").join(component), "").unwrap();
        let pid = fs::read_to_string(self.folder().join("pid").join(component)).unwrap();
        let killed = self.enter(&["kill", "-KILL", pid.trim()]).status().unwrap();
        assert!(killed.success(), "{component} did not run");
    }

    /// Starts a component that was stopped.
    pub fn start_again(&self, component: &str) {
        fs::remove_file(self.folder().join("stopped").join(component)).unwrap();
    }

    /// Kills the kubelet, starts it again, and waits until it knows its pods.
    pub async fn restart_kubelet(&self) {
        self.stop("kubelet");
        self.start_again("kubelet");
        let client = self.client().await;
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let request = http::Request::get("/api/v1/nodes/node/proxy/pods").body(Vec::new()).unwrap();
            match client.request::<List<Pod>>(request).await {
                Ok(pods) if !pods.items.is_empty() => return,
                answer => assert!(Instant::now() < deadline, "the kubelet does not know its pods: {answer:?}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until a Deployment that is there from the start works: `coredns` or `metrics-server`.
    pub fn wait_for(&self, addon: &str) {
        let deployment = format!("deployment/{addon}");
        let done = self.kubectl(&["--namespace", "kube-system", "rollout", "status", &deployment, "--timeout", "2m"]);
        assert!(done.status.success(), "{done:?}");
    }

    fn ours(&self) -> &Ours {
        self.ours.as_ref().expect("the node is the tests' own: see shared_of_ours")
    }
}

/// Why this machine cannot have a node.
fn impossible() -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("a whole node needs root (or name a cluster in PORTCULLIS_TEST_KUBECONFIG)".to_owned());
    }
    let tried = Command::new("unshare").args(["--net", "--mount", "--pid", "--fork", "true"]).output();
    match tried {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!("no namespaces can be made: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(problem) => Some(format!("a whole node needs unshare: {problem}")),
    }
}

/// Past what a test's output is caught by, since nobody reads that of a test that passes.
fn skip<T>(reason: &str) -> Option<T> {
    assert!(!env::var("CI").is_ok_and(|value| value == "true"), "a test was skipped: {reason}");
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {reason}");
    None
}

fn run_script(name: &str, args: &[String]) -> Result<String, Problem> {
    let output = Command::new("bash").arg(format!("{SCRIPTS}/{name}")).args(args).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{name} failed, see above").into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The end of every component's log.
fn logs(folder: &Path) -> String {
    let mut text = String::new();
    for path in fs::read_dir(folder.join("log")).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let log = fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(5)..].join("\n");
        text.extend(["--- ", &path.display().to_string(), " ---\n", &tail, "\n"]);
    }
    text
}
