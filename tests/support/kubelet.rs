//! Stands in for the kubelet, the one part of Kubernetes that these tests have to do without.
//!
//! It takes every pod of a namespace, lays out its volumes, runs its first container as a process of this machine with
//! an address of its own, probes it, tells the API server, and ends it when the pod is deleted. As a real one, it
//! refreshes volumes slowly, but at once when the pod's annotations change.

use super::{
    api_server::{ApiServer, Problem},
    process::Process,
    volume::Volume,
};
use futures::TryStreamExt as _;
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Container, Pod, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    runtime::watcher::{self, Event, watcher},
};
use portcullis_core::clock::{Clock as _, SystemClock};
use serde_json::json;
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::{IpAddr, Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior},
};

/// How often a container that is not ready is probed. A real kubelet waits a second.
const STEP: Duration = Duration::from_millis(100);
/// A kubelet's `syncFrequency`.
const VOLUME_REFRESH: Duration = Duration::from_mins(1);
/// How long a container that ended waits to be started again. A real kubelet waits ten seconds, then longer.
const RESTART_AFTER: Duration = Duration::from_secs(1);
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
const NODE: &str = "node";
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// A running stand-in. It and its containers end with this value.
pub struct Kubelet {
    _task: JoinSet<()>,
    folder: PathBuf,
}

/// What every pod's task is handed.
struct Node {
    client: Client,
    namespace: String,
    /// Stands in for every image.
    binary: PathBuf,
    folder: PathBuf,
    /// The API server, as containers find it.
    url: String,
    /// What containers have in their environment besides.
    env: Vec<(&'static str, String)>,
}

impl Kubelet {
    /// Takes the pods of `namespace`, whatever image they name, and runs `binary` for it.
    pub async fn start(plane: &ApiServer, namespace: &str, binary: &Path) -> Self {
        Self::start_with(plane, namespace, binary, plane.url(), Vec::new()).await
    }

    /// The same, with containers that find the API server at `url`, and have more in their environment.
    pub async fn start_with(
        plane: &ApiServer,
        namespace: &str,
        binary: &Path,
        url: &str,
        env: Vec<(&'static str, String)>,
    ) -> Self {
        let folder = plane.folder().join("pods").join(namespace);
        std::fs::create_dir_all(&folder).unwrap();
        let node = Arc::new(Node {
            client: plane.client().await,
            namespace: namespace.to_owned(),
            binary: binary.to_owned(),
            folder: folder.clone(),
            url: url.to_owned(),
            env,
        });
        let mut task = JoinSet::new();
        task.spawn(async move {
            if let Err(error) = take_pods(node).await {
                eprintln!("the stand-in for the kubelet gave up: {error}");
            }
        });
        Self { _task: task, folder }
    }

    /// Where it keeps what pods have mounted and what they printed.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What every container printed, those of deleted pods too.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        for path in std::fs::read_dir(&self.folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            if path.extension().is_some_and(|end| end == "log") {
                let log = std::fs::read_to_string(&path).unwrap_or_default();
                text.extend(["--- ", &path.display().to_string(), " ---\n", &log]);
            }
        }
        text
    }
}

async fn take_pods(node: Arc<Node>) -> Result<(), watcher::Error> {
    let mut pods: HashMap<String, watch::Sender<Pod>> = HashMap::new();
    let mut listed = HashSet::new();
    let mut tasks = JoinSet::new();
    let mut events = std::pin::pin!(watcher(node.pods(), watcher::Config::default()));
    while let Some(event) = events.try_next().await? {
        if let Event::InitApply(pod) = &event {
            listed.extend(pod.uid());
        }
        match event {
            Event::Apply(pod) | Event::InitApply(pod) => {
                let uid = pod.uid().unwrap_or_default();
                if let Some(known) = pods.get(&uid) {
                    known.send_replace(pod);
                    continue;
                }
                let (sender, receiver) = watch::channel(pod);
                pods.insert(uid, sender);
                let node = Arc::clone(&node);
                tasks.spawn(async move {
                    let name = receiver.borrow().name_any();
                    if let Err(problem) = tend(&node, receiver).await {
                        eprintln!("pod {name}: {problem}");
                    }
                });
            }
            // Its task ends with its sender.
            Event::Delete(pod) => drop(pods.remove(&pod.uid().unwrap_or_default())),
            Event::Init => listed.clear(),
            Event::InitDone => pods.retain(|uid, _| listed.contains(uid)),
        }
    }
    Ok(())
}

impl Node {
    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }
}

/// A pod's life.
async fn tend(node: &Node, mut pod: watch::Receiver<Pod>) -> Result<(), Problem> {
    let first = pod.borrow().clone();
    bind(node, &first).await?;
    let mut volumes = Volume::of_pod(&first, &node.folder.join(first.name_any()));
    let mut steps = tokio::time::interval(STEP);
    steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while let Err(problem) = refresh(node, &mut volumes).await {
        eprintln!("pod {}: waiting for its volumes: {problem}", first.name_any());
        steps.tick().await;
        if pod.has_changed().is_err() || pod.borrow().metadata.deletion_timestamp.is_some() {
            return remove(node, &first).await;
        }
    }
    let mut container = Running::start(node, &first, &volumes)?;
    let mut annotations = first.annotations().clone();
    let mut next_refresh = Instant::now() + VOLUME_REFRESH;
    loop {
        tokio::select! {
            changed = pod.changed() => {
                let latest = pod.borrow_and_update().clone();
                if changed.is_err() {
                    return Ok(());
                }
                if latest.metadata.deletion_timestamp.is_some() {
                    container.stop(&latest).await;
                    return remove(node, &latest).await;
                }
                if *latest.annotations() != annotations {
                    annotations = latest.annotations().clone();
                    next_refresh = Instant::now();
                }
            }
            _ = steps.tick() => {}
        }
        if Instant::now() >= next_refresh {
            // What is gone stays mounted, and is looked for again.
            if let Err(problem) = refresh(node, &mut volumes).await {
                eprintln!("pod {}: its volumes stay as they are: {problem}", first.name_any());
            }
            next_refresh = Instant::now() + VOLUME_REFRESH;
        }
        container.look_after(node, &first, &volumes).await?;
    }
}

/// What the scheduler does.
async fn bind(node: &Node, pod: &Pod) -> Result<(), Problem> {
    if pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some()) {
        return Ok(());
    }
    let binding = json!({
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod.name_any()},
        "target": {"apiVersion": "v1", "kind": "Node", "name": NODE},
    });
    let _: serde_json::Value =
        node.pods().create_subresource("binding", &pod.name_any(), &PostParams::default(), &binding).await?;
    Ok(())
}

async fn refresh(node: &Node, volumes: &mut BTreeMap<String, Volume>) -> Result<(), Problem> {
    for volume in volumes.values_mut() {
        volume.refresh(&node.client, &node.namespace, SystemClock.now()).await?;
    }
    Ok(())
}

/// The last word on a pod whose container has ended.
async fn remove(node: &Node, pod: &Pod) -> Result<(), Problem> {
    let preconditions = Some(Preconditions { uid: pod.uid(), resource_version: None });
    let params = DeleteParams { grace_period_seconds: Some(0), preconditions, ..DeleteParams::default() };
    match node.pods().delete(&pod.name_any(), &params).await {
        Err(kube::Error::Api(status)) if status.code != 404 && status.code != 409 => Err(status.message.into()),
        _ => Ok(()),
    }
}

/// The container of a pod.
struct Running {
    container: Container,
    process: Process,
    address: Ipv4Addr,
    restarts: u32,
    started_at: Timestamp,
    ready: bool,
    failures: i32,
    next_probe: Instant,
    restart_at: Option<Instant>,
    told: Option<(bool, u32)>,
}

impl Running {
    fn start(node: &Node, pod: &Pod, volumes: &BTreeMap<String, Volume>) -> Result<Self, Problem> {
        let container = pod.spec.as_ref().and_then(|spec| spec.containers.first()).ok_or("a pod has a container")?;
        let address = free_address(container);
        Ok(Self {
            process: run(node, pod, container, volumes, address, 0)?,
            container: container.clone(),
            address,
            restarts: 0,
            started_at: SystemClock.now(),
            ready: false,
            failures: 0,
            next_probe: Instant::now(),
            restart_at: None,
            told: None,
        })
    }

    async fn look_after(&mut self, node: &Node, pod: &Pod, volumes: &BTreeMap<String, Volume>) -> Result<(), Problem> {
        if let Some(at) = self.restart_at {
            if Instant::now() < at {
                return Ok(());
            }
            self.restarts += 1;
            self.process = run(node, pod, &self.container, volumes, self.address, self.restarts)?;
            self.started_at = SystemClock.now();
            self.restart_at = None;
        } else if self.process.ended().is_some() {
            eprintln!("pod {}: its container ended\n{}", pod.name_any(), self.process.log_tail());
            self.restart_at = Some(Instant::now() + RESTART_AFTER);
            self.ready = false;
            return self.tell(node, pod).await;
        }
        if let Some(probe) = &self.container.readiness_probe
            && Instant::now() >= self.next_probe
        {
            let answered = ask(probe, &self.container, self.address).await;
            self.failures = if answered { 0 } else { self.failures + 1 };
            self.ready = answered || (self.ready && self.failures < probe.failure_threshold.unwrap_or(3));
            let period = u64::try_from(probe.period_seconds.unwrap_or(10)).unwrap_or(10);
            self.next_probe = Instant::now() + if answered { Duration::from_secs(period) } else { STEP };
        }
        self.tell(node, pod).await
    }

    /// Reports the pod's status, if it is not known yet.
    async fn tell(&mut self, node: &Node, pod: &Pod) -> Result<(), Problem> {
        if self.told.replace((self.ready, self.restarts)) == Some((self.ready, self.restarts)) {
            return Ok(());
        }
        let now = SystemClock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let since = self.started_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let condition = |kind: &str, holds: bool| {
            let status = if holds { "True" } else { "False" };
            json!({"type": kind, "status": status, "lastTransitionTime": now})
        };
        let status = json!({"status": {
            "phase": "Running",
            "hostIP": "127.0.0.1",
            "podIP": self.address.to_string(),
            "podIPs": [{"ip": self.address.to_string()}],
            "startTime": since,
            "conditions": [
                condition("Initialized", true),
                condition("ContainersReady", self.ready),
                condition("Ready", self.ready),
            ],
            "containerStatuses": [{
                "name": self.container.name,
                "image": self.container.image,
                "imageID": "",
                "ready": self.ready,
                "started": true,
                "restartCount": self.restarts,
                "state": {"running": {"startedAt": since}},
            }],
        }});
        match node.pods().patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(status)).await {
            Err(kube::Error::Api(status)) if status.code != 404 => Err(status.message.into()),
            Err(error) if !matches!(error, kube::Error::Api(_)) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Asks it to end, and ends it when its grace is over.
    async fn stop(&mut self, pod: &Pod) {
        self.process.terminate();
        let grace = u64::try_from(pod.metadata.deletion_grace_period_seconds.unwrap_or(30)).unwrap_or(0);
        let deadline = Instant::now() + Duration::from_secs(grace);
        while self.process.ended().is_none() && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.process.kill();
    }
}

/// Starts a container. A container runtime gives it mounts and a network of its own; here its arguments are rewritten
/// to say the same: mounted folders where they are, and the pod's address in place of every address.
fn run(
    node: &Node,
    pod: &Pod,
    container: &Container,
    volumes: &BTreeMap<String, Volume>,
    address: Ipv4Addr,
    restarts: u32,
) -> Result<Process, Problem> {
    let mut args = container.args.clone().unwrap_or_default();
    for mount in container.volume_mounts.iter().flatten() {
        let Some(volume) = volumes.get(&mount.name) else { continue };
        let folder = volume.folder().display().to_string();
        args = args.into_iter().map(|arg| arg.replace(&mount.mount_path, &folder)).collect();
    }
    args = args.into_iter().map(|arg| arg.replace("0.0.0.0:", &format!("{address}:"))).collect();
    // In place of the service account's folder and the API server's address, which every pod has: a file that says both.
    let account = container.volume_mounts.iter().flatten().find(|mount| mount.mount_path == SERVICE_ACCOUNT);
    let kubeconfig = match account.and_then(|mount| volumes.get(&mount.name)) {
        Some(volume) => volume.kubeconfig(&node.url, &node.namespace)?,
        None => "/dev/null".to_owned(),
    };
    let mut env: Vec<(&str, &str)> = container
        .env
        .iter()
        .flatten()
        .filter_map(|variable| Some((variable.name.as_str(), variable.value.as_deref()?)))
        .collect();
    env.push(("KUBECONFIG", &kubeconfig));
    env.extend(node.env.iter().map(|(name, value)| (*name, value.as_str())));
    let log = node.folder.join(format!("{}-{restarts}.log", pod.name_any()));
    Ok(Process::start(&node.binary, &args, &env, &log)?)
}

async fn ask(probe: &Probe, container: &Container, address: Ipv4Addr) -> bool {
    let Some(get) = &probe.http_get else { return false };
    let port = match &get.port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let ports = container.ports.iter().flatten();
            ports.filter(|port| port.name.as_ref() == Some(name)).map(|port| port.container_port).next()
        }
    };
    let url = format!("http://{address}:{}{}", port.unwrap_or_default(), get.path.as_deref().unwrap_or("/"));
    let asked = tokio::time::timeout(PROBE_TIMEOUT, reqwest::get(url)).await;
    matches!(asked, Ok(Ok(answer)) if answer.status().is_success() || answer.status().is_redirection())
}

/// A loopback address at which every port of the container is free. The first numbers come from the process's id, so
/// that test processes beside each other rarely meet.
fn free_address(container: &Container) -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let process = std::process::id();
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed) + 1;
        let [.., third, fourth] = (number * 2).to_be_bytes();
        let second = u8::try_from(process % 254 + 1).expect("it is at most 254");
        let address =
            Ipv4Addr::new(127, second, third ^ u8::try_from(process / 254 % 256).expect("a byte"), fourth | 1);
        let ports = container.ports.iter().flatten().filter_map(|port| u16::try_from(port.container_port).ok());
        if ports.into_iter().all(|port| TcpListener::bind((IpAddr::V4(address), port)).is_ok()) {
            return address;
        }
    }
}
