//! The official MCP clients as judges: the TypeScript ones, 1.x and 2.x, and the Python one, in both eras of the
//! protocol, each with its own way of obtaining a token by `client_credentials`; and the Inspector on schemas.

use crate::dev as support;

use k8s_openapi::{
    ByteString,
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, Secret},
    },
};
use kube::core::DynamicObject;
use portcullis_api::{McpEndpoint, OAuthClient, validation::admit};
use portcullis_core::{
    clock::{Clock as _, SystemClock},
    rng,
};
use portcullis_plan::{ClusterFacts, Inputs, Plan, plan};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::OnceLock,
};
use support::{Dev, eventually};
use tempfile::TempDir;

/// Script and revision of the protocol.
const CLIENTS: [(&str, &str); 5] = [
    ("typescript-v1.mjs", "2025-11-25"),
    ("typescript-v2.mjs", "2025-11-25"),
    ("typescript-v2.mjs", "2026-07-28"),
    ("python.py", "2025-11-25"),
    ("python.py", "2026-07-28"),
];

/// The path of the guide.
const ALIAS: &str = "/api/experimental/mcp/http";

/// An endpoint, and what a client was given for it.
struct Target {
    url: String,
    issuer: String,
    client_id: String,
    client_secret: String,
}

/// Has a client call `calls`, and gives what it saw.
fn run(script: &str, revision: &str, target: &Target, calls: &Value) -> Value {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let (node_modules, python) = installed();
    // Node looks for modules beside the script.
    let folder = tempfile::tempdir().unwrap();
    fs::copy(scripts.join(script), folder.path().join(script)).unwrap();
    symlink(node_modules, folder.path().join("node_modules")).unwrap();

    let program =
        if Path::new(script).extension().is_some_and(|end| end == "py") { python.as_path() } else { Path::new("node") };
    let output = Command::new(program)
        .arg(folder.path().join(script))
        .args([calls.to_string().as_str(), revision])
        .env("URL", &target.url)
        .env("ISSUER", &target.issuer)
        .env("CLIENT_ID", &target.client_id)
        .env("CLIENT_SECRET", &target.client_secret)
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{script} {revision}:\n{complaints}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// `node_modules` and the Python interpreter.
fn installed() -> &'static (PathBuf, PathBuf) {
    static INSTALLED: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let output =
            Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/install.sh")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let printed = String::from_utf8(output.stdout).unwrap();
        let [folder, _, python] = printed.lines().collect::<Vec<_>>().try_into().unwrap();
        (Path::new(folder).join("node_modules"), PathBuf::from(python))
    })
}

/// The quickstart's endpoint, planned as the operator would.
fn planned(url: &str) -> Plan {
    let text = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart.yaml")).unwrap();
    let mut manifests: Vec<Value> = serde_saphyr::from_slice_multiple(&text).unwrap();
    manifests[0]["spec"]["url"] = url.into();
    manifests[0]["spec"]["deployment"] = json!({"replicas": 1});
    manifests[0]["spec"]["pathAliases"] = json!([ALIAS]);
    let endpoint: McpEndpoint = admit(manifests[0].clone()).unwrap();
    let client: OAuthClient = admit(manifests[1].clone()).unwrap();
    let inputs = Inputs {
        endpoint: &endpoint,
        clients: &[&client],
        secrets: &BTreeMap::new(),
        cluster: &ClusterFacts::default(),
        taken: None,
        replicas: None,
        now: SystemClock.now(),
    };
    plan(&inputs, &mut rng::rng()).unwrap()
}

fn named<'a>(plan: &'a Plan, kind: &str, name: &str) -> &'a DynamicObject {
    &plan.objects.iter().find(|planned| (planned.kind(), planned.name()) == (kind, name)).unwrap().object
}

fn secret(plan: &Plan, name: &str) -> BTreeMap<String, ByteString> {
    named(plan, "Secret", name).clone().try_parse::<Secret>().unwrap().data.unwrap()
}

/// What a kubelet mounts into the planned pods.
fn mounted(plan: &Plan) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let deployment: Deployment = named(plan, "Deployment", "agents").clone().try_parse().unwrap();
    let volumes = deployment.spec.unwrap().template.spec.unwrap().volumes.unwrap();
    let sources = volumes.into_iter().find_map(|volume| volume.projected?.sources).unwrap();
    for source in sources {
        if let Some(projection) = source.config_map {
            let map: ConfigMap = named(plan, "ConfigMap", &projection.name).clone().try_parse().unwrap();
            for (key, text) in map.data.unwrap() {
                fs::write(folder.path().join(key), text).unwrap();
            }
        }
        if let Some(projection) = source.secret {
            for (key, bytes) in secret(plan, &projection.name) {
                fs::write(folder.path().join(key), bytes.0).unwrap();
            }
        }
    }
    folder
}

/// A running `portcullis serve`.
struct Serve(Child);

impl Serve {
    fn start(folder: &Path, port: u16) -> Self {
        let address = format!("127.0.0.1:{port}");
        let child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(["serve", "--listen", &address, "--private-listen", "127.0.0.1:0", "--config-dir"])
            .arg(folder)
            .spawn()
            .unwrap();
        let mut serve = Self(child);
        let answering = eventually(|| {
            assert_eq!(serve.0.try_wait().unwrap(), None, "it ended");
            TcpStream::connect(&address).ok()
        });
        assert!(answering.is_some());
        serve
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn serve_on_the_planned_files() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let plan = planned(&format!("http://127.0.0.1:{port}/mcp"));
    let folder = mounted(&plan);
    let _serve = Serve::start(folder.path(), port);
    let credentials = secret(&plan, "ci-agent-oauth");
    let text = |key: &str| String::from_utf8(credentials[key].0.clone()).unwrap();
    let issuer = format!("http://127.0.0.1:{port}");
    let at = |url: String| Target {
        url,
        issuer: issuer.clone(),
        client_id: text("client-id"),
        client_secret: text("client-secret"),
    };
    let (own, alias) = (at(text("url")), at(format!("{issuer}{ALIAS}")));

    for ((script, revision), target) in CLIENTS.into_iter().flat_map(|client| [(client, &own), (client, &alias)]) {
        let saw = run(script, revision, target, &json!([{"name": "whoami", "arguments": {}}]));
        assert_eq!((&saw["protocol"], &saw["tools"]), (&json!(revision), &json!(["whoami"])), "{script}");
        assert_eq!((&saw["prompts"], &saw["resources"]), (&json!([]), &json!([])), "{script}");
        let who = &saw["results"][0]["structuredContent"];
        assert_eq!((&who["client_id"], &who["endpoint"]), (&json!("ci-agent"), &json!(own.url)), "{script}");
    }
}

/// The quickstart's endpoint, as `dev` serves it with its state in `state`.
fn of_dev(dev: &Dev, state: &Path) -> Target {
    let text = |key: &str| fs::read_to_string(state.join("secrets/ci-agent-oauth").join(key)).unwrap();
    let (url, client_id, client_secret) = (dev.url(), text("client-id"), text("client-secret"));
    let issuer = url.strip_suffix("/mcp").unwrap().to_owned();
    Target { url, issuer, client_id, client_secret }
}

#[test]
fn dev_and_its_workspaces() {
    let state = tempfile::tempdir().unwrap();
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart.yaml");
    let dev = Dev::serve(&manifests, state.path());
    let target = of_dev(&dev, state.path());

    for (index, (script, revision)) in CLIENTS.into_iter().enumerate() {
        let name = format!("workspace-{index}");
        let calls = json!([
            {"name": "create_workspace", "arguments": {"template": "blank", "name": name}},
            {"name": "run_command", "arguments": {"workspace": name, "command": "echo $((6 * 7)) > answer; cat answer"}},
            {"name": "run_command", "arguments": {"workspace": "nowhere", "command": "true"}},
        ]);
        let saw = run(script, revision, &target, &calls);
        assert_eq!(saw["protocol"], revision, "{script}");
        let results = &saw["results"];
        assert_eq!(results[0]["structuredContent"]["name"], name, "{script}: {results}");
        assert_eq!(results[1]["structuredContent"]["stdout"], "42\n", "{script}: {results}");
        assert_eq!(results[2]["isError"], true, "{script}: {results}");
        let advice = results[2]["content"][0]["text"].as_str().unwrap();
        assert!(advice.contains(&name), "it should say which there are: {advice}");
        let prompts = ["start_project", "work_across_workspaces", "review_resource_use"];
        assert_eq!(saw["prompts"], json!(prompts), "{script}");
        let homes: Vec<String> = (0..=index).map(|index| format!("workspace-{index}")).collect();
        assert_eq!(saw["resources"], json!(homes), "{script}");
    }
}

/// What the Inspector finds are keywords that clients and models' providers refuse, or read each in a way of their own.
#[test]
fn the_inspector_finds_no_fault_with_schemas() {
    let state = tempfile::tempdir().unwrap();
    let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart.yaml");
    let dev = Dev::serve(&manifests, state.path());
    let target = of_dev(&dev, state.path());
    for revision in ["2025-11-25", "2026-07-28"] {
        let saw = run("inspector-strict.mjs", revision, &target, &json!([]));
        assert!(saw["tools"].as_array().unwrap().len() >= 20, "{revision}: {saw}");
        assert_eq!((&saw["code"], &saw["findings"]), (&json!(0), &json!([])), "{revision}: {}", saw["said"]);
    }
}
