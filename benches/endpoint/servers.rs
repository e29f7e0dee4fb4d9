//! The servers, as processes of their own.

use portcullis_api::{McpEndpoint, OAuthClient, validation::admit};
use portcullis_config::{CLIENTS_FILE, CONFIG_FILE, KEYS_FILE, LOGIN_FILE};
use portcullis_core::{
    clock::{Clock as _, SystemClock},
    rng,
};
use portcullis_plan::{ClusterFacts, Inputs, plan};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    env,
    error::Error,
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// The program, as it would be shipped.
pub const PORTCULLIS: &str = env!("CARGO_BIN_EXE_portcullis");

/// A child that ends with its handle.
pub struct Process(Child);

impl Process {
    fn start(command: &mut Command) -> Result<Self, Box<dyn Error>> {
        Ok(Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?))
    }

    /// Memory in use, as the kernel counts it: `VmRSS`.
    pub fn resident_kib(&self) -> Result<u64, Box<dyn Error>> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// User and system time so far, in seconds: fields 14 and 15 of `/proc/PID/stat`, in ticks of 10 ms (`USER_HZ`).
    pub fn cpu_seconds(&self) -> Result<f64, Box<dyn Error>> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        let (_, fields) = stat.rsplit_once(')').ok_or("no command name")?;
        let ticks: Vec<f64> = fields.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
        Ok(ticks.iter().sum::<f64>() / 100.0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running server under load.
pub struct Server {
    pub process: Process,
    pub url: String,
    /// The `Authorization` header that it asks for.
    pub authorization: Option<String>,
    /// The mounted files.
    _folder: Option<TempDir>,
}

/// Starts a build of Portcullis on files that the real plan made, with high rate limits.
pub async fn start(program: &Path) -> Result<Server, Box<dyn Error>> {
    let (public, private) = (free_address()?, free_address()?);
    let url = format!("http://{public}/mcp");
    let (folder, secret) = files(&url)?;
    let process = spawn(program, folder.path(), &public, &private)?;
    wait_for(&format!("http://{private}/readyz")).await?;
    let authorization = token(&url, &secret).await?;
    // The memory that the start took is given back by then.
    sleep(Duration::from_secs(2)).await;
    Ok(Server { process, url, authorization: Some(authorization), _folder: Some(folder) })
}

/// An `Authorization` header.
async fn token(url: &str, secret: &str) -> Result<String, Box<dyn Error>> {
    let url = url.replace("/mcp", "/token");
    let form = [("grant_type", "client_credentials")];
    let request = reqwest::Client::new().post(url).basic_auth("ci-agent", Some(secret)).form(&form);
    let answer: Value = request.send().await?.error_for_status()?.json().await?;
    Ok(format!("Bearer {}", answer["access_token"].as_str().ok_or("no token")?))
}

/// Starts this program as the bare server.
pub async fn start_bare() -> Result<Server, Box<dyn Error>> {
    let address = free_address()?;
    let process = Process::start(Command::new(env::current_exe()?).args(["--bare", &address]))?;
    let url = format!("http://{address}/mcp");
    while tokio::net::TcpStream::connect(&address).await.is_err() {
        sleep(Duration::from_millis(1)).await;
    }
    sleep(Duration::from_secs(2)).await;
    Ok(Server { process, url, authorization: None, _folder: None })
}

/// The times from starting `portcullis serve` until `/readyz` says so, in milliseconds.
pub async fn starts(count: usize) -> Result<Vec<f64>, Box<dyn Error>> {
    let mut times = Vec::new();
    for _ in 0..count {
        let (public, private) = (free_address()?, free_address()?);
        let (folder, _) = files(&format!("http://{public}/mcp"))?;
        let begin = Instant::now();
        let _process = spawn(Path::new(PORTCULLIS), folder.path(), &public, &private)?;
        wait_for(&format!("http://{private}/readyz")).await?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}

/// Makes sure that both do the same work.
pub async fn check_answer(url: &str, authorization: Option<&str>) -> Result<(), Box<dyn Error>> {
    let call =
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "whoami", "arguments": {}}});
    let mut request = reqwest::Client::new()
        .post(url)
        .header("Accept", "application/json, text/event-stream")
        .header("MCP-Protocol-Version", "2025-11-25")
        .json(&call);
    if let Some(authorization) = authorization {
        request = request.header("Authorization", authorization);
    }
    let answer: Value = request.send().await?.error_for_status()?.json().await?;
    match answer["result"]["structuredContent"]["client_id"].as_str() {
        Some("ci-agent") => Ok(()),
        _ => Err(format!("{url} answered {answer}").into()),
    }
}

fn spawn(program: &Path, folder: &Path, public: &str, private: &str) -> Result<Process, Box<dyn Error>> {
    Process::start(
        Command::new(program)
            .args(["serve", "--listen", public, "--private-listen", private, "--config-dir"])
            .arg(folder),
    )
}

async fn wait_for(url: &str) -> Result<(), Box<dyn Error>> {
    let client = reqwest::Client::new();
    let begin = Instant::now();
    while !client.get(url).send().await.is_ok_and(|answer| answer.status().is_success()) {
        if begin.elapsed() > Duration::from_secs(30) {
            return Err(format!("{url} never answered").into());
        }
        sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

fn free_address() -> Result<String, Box<dyn Error>> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

/// The mounted files of the quickstart's endpoint at `url`, and the client's secret.
fn files(url: &str) -> Result<(TempDir, String), Box<dyn Error>> {
    let text = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart.yaml"))?;
    let mut manifests: Vec<Value> = serde_saphyr::from_slice_multiple(&text)?;
    manifests[0]["spec"] = json!({
        "url": url,
        "tokens": {"accessLifetime": "1h"},
        "limits": {"requestsPerSecond": 100_000, "burst": 100_000, "maxConcurrentRequests": 100_000},
    });
    let wrong = |violations: Vec<_>| format!("{violations:?}");
    let endpoint: McpEndpoint = admit(manifests[0].take()).map_err(wrong)?;
    let client: OAuthClient = admit(manifests[1].take()).map_err(wrong)?;
    let inputs = Inputs {
        endpoint: &endpoint,
        clients: &[&client],
        secrets: &BTreeMap::new(),
        cluster: &ClusterFacts::default(),
        replicas: None,
        taken: None,
        now: SystemClock.now(),
    };
    let plan = plan(&inputs, &mut rng::rng())?;
    let folder = tempfile::tempdir()?;
    let mut client_secret = String::new();
    for object in plan.objects.into_iter().map(|planned| planned.object) {
        if let Some(text) = object.data["data"][CONFIG_FILE].as_str() {
            fs::write(folder.path().join(CONFIG_FILE), text)?;
        }
        let Ok(secret) = object.try_parse::<k8s_openapi::api::core::v1::Secret>() else { continue };
        for (key, bytes) in secret.data.unwrap_or_default() {
            if [CLIENTS_FILE, KEYS_FILE, LOGIN_FILE].contains(&key.as_str()) {
                fs::write(folder.path().join(key), bytes.0)?;
            } else if key == "client-secret" {
                client_secret = String::from_utf8(bytes.0)?;
            }
        }
    }
    Ok((folder, client_secret))
}
