//! `make try`: on the tests' node, the printed commands lead from a checkout to tool calls; and how it brings the image to
//! other clusters.

use crate::{
    node::Node,
    support::{
        operator::eventually,
        process::{Janitor, Process, run_at_end},
    },
    tools::tool,
};
use serde_json::Value;
use std::{
    env,
    ffi::OsStr,
    fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{self, Command, Output, Stdio},
    time::Duration,
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/release/try.sh");
const CLUSTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node/cluster.sh");
/// What it prints once everything runs.
const LAST: &str = "docs/install.md has the rest";

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_commands_lead_to_the_first_tool_call() {
    // Where this machine can have one node, it can have a second.
    if Node::shared_of_ours().await.is_none() {
        return;
    }
    // Before the script builds it.
    assert!(tool("helm").arg("version").output().unwrap().status.success());
    let cluster = tokio::task::block_in_place(Cluster::up);

    let (mut running, said) = cluster.run_try("first.log").await;
    let [token, create, run] = ["1. ", "2. ", "3. "].map(|number| step(&said, number));
    // `make cluster-up`, the `export` that it prints, `make try`, and what that prints.
    let commands = 3 + token.lines().count() + create.lines().count();
    assert!(commands <= 6, "{commands} commands:\n{token}\n{create}");
    let answers = in_another_terminal(&[token.as_str(), &create, &run].join("\n"));
    let [created, ran] = answers.try_into().unwrap();
    assert_eq!(created["result"]["structuredContent"]["status"], "running", "{created}");
    let stdout = &ran["result"]["structuredContent"]["stdout"];
    assert!(stdout.as_str().is_some_and(|text| text.contains("Debian")), "{ran}");
    cluster.stop(&mut running).await;

    // A second time, with everything there: the workspace stays, and the commands work again.
    let (mut running, said) = cluster.run_try("second.log").await;
    let answers = in_another_terminal(&[step(&said, "1. "), step(&said, "3. ")].join("\n"));
    let stdout = &answers[0]["result"]["structuredContent"]["stdout"];
    assert!(stdout.as_str().is_some_and(|text| text.contains("Debian")), "{answers:?}");
    cluster.stop(&mut running).await;
}

/// What `make cluster-up` starts, in a folder of its own. It ends with this value, and with the test process.
struct Cluster {
    folder: PathBuf,
    /// The command that it printed, by which a shell comes to it.
    export: String,
    port: u16,
    _janitor: Janitor,
}

impl Cluster {
    fn up() -> Self {
        let folder = env::temp_dir().join(format!("portcullis-node-try-{}", process::id()));
        let variable = format!("PORTCULLIS_CLUSTER={}", folder.display());
        let down = ["env", &variable, "bash", CLUSTER, "down"].map(OsStr::new);
        let janitor = run_at_end(&down).unwrap();
        let up = ["PORTCULLIS_CLUSTER", folder.to_str().unwrap()];
        let up =
            Command::new("bash").args([CLUSTER, "up"]).env(up[0], up[1]).stderr(Stdio::inherit()).output().unwrap();
        let said = String::from_utf8(up.stdout).unwrap();
        assert!(up.status.success(), "{said}");
        let mut commands = said.lines().filter_map(|line| line.strip_prefix("  "));
        let export = commands.find(|line| line.starts_with("export ")).unwrap().to_owned();
        assert_eq!(commands.next(), Some("make try"), "{said}");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { folder, export, port, _janitor: janitor }
    }

    /// Starts `make try`, and waits for the last line of what it prints.
    async fn run_try(&self, log: &str) -> (Process, String) {
        let command = format!("{}\nexec bash {SCRIPT}", self.export);
        let (home, port) = (self.folder.join("helm").display().to_string(), self.port.to_string());
        let environment =
            [("PORT", &port), ("HELM_CACHE_HOME", &home), ("HELM_CONFIG_HOME", &home), ("HELM_DATA_HOME", &home)]
                .map(|(name, value)| (name, value.as_str()));
        let arguments = ["-c".to_owned(), command];
        let mut running = Process::start(Path::new("bash"), &arguments, &environment, &self.folder.join(log)).unwrap();
        while !running.log().contains(LAST) {
            assert!(running.ended().is_none(), "{}", running.log());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let said = running.log();
        // The chart's notes, before it, have numbered steps too.
        let said = said.rsplit_once("Portcullis runs in the context").unwrap().1.to_owned();
        (running, said)
    }

    /// Ends it as a signal does; the port-forward must end with it.
    async fn stop(&self, running: &mut Process) {
        running.terminate();
        eventually("it ends", async || running.ended()).await;
        let is_free = || TcpStream::connect(("127.0.0.1", self.port)).is_err();
        eventually("the port is free", async || is_free().then_some(())).await;
    }
}

/// The commands below the line that begins with this number.
fn step(said: &str, number: &str) -> String {
    let mut paragraphs = said.split("\n\n").skip_while(|paragraph| !paragraph.starts_with(number)).skip(1);
    paragraphs.next().unwrap_or_else(|| panic!("there is no step {number:?} in:\n{said}")).to_owned()
}

/// Runs commands in a shell that knows nothing of the first one, and reads the lines of JSON that they print.
fn in_another_terminal(commands: &str) -> Vec<Value> {
    let shell =
        Command::new("bash").args(["-euo", "pipefail", "-c", commands]).env_remove("KUBECONFIG").output().unwrap();
    let text = String::from_utf8(shell.stdout).unwrap();
    assert!(shell.status.success(), "{commands}\n{text}{}", String::from_utf8_lossy(&shell.stderr));
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

/// A program that records how it was called, and answers as far as the script needs answers.
const STAND_IN: &str = r#"#!/usr/bin/env bash
echo "${0##*/} $*" >>"$CALLS"
case "${0##*/} $*" in
"kubectl config current-context") [ -n "$CONTEXT" ] && echo "$CONTEXT" ;;
"kubectl "*" port-forward "*) echo "Forwarding from 127.0.0.1:8080 -> 8080" ;;
"kubectl "*"--filename -") cat >/dev/null ;;
"helm status"*) false ;;
"docker info") [ "$ENGINE" = docker ] ;;
"podman info") [ "$ENGINE" = podman ] ;;
esac
"#;

/// Runs the script with stand-ins: what it printed, and the calls.
fn with_stand_ins(context: &str, engine: &str, registry: Option<&str>) -> (Output, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("stand-in");
    fs::write(&program, STAND_IN).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["kubectl", "helm", "docker", "podman", "kind", "k3d", "minikube"] {
        symlink(&program, folder.path().join(name)).unwrap();
    }
    let own = [folder.path().to_owned()].into_iter();
    let path = env::join_paths(own.chain(env::split_paths(&env::var_os("PATH").unwrap()))).unwrap();
    let calls = folder.path().join("calls");
    let mut script = Command::new("bash");
    script.arg(SCRIPT).env("PATH", path).env("CALLS", &calls).env("CONTEXT", context).env("ENGINE", engine);
    script.env_remove("KUBECONFIG").env_remove("PORT").env_remove("REGISTRY");
    script.envs(registry.map(|registry| ("REGISTRY", registry)));
    let output = script.output().unwrap();
    (output, fs::read_to_string(calls).unwrap_or_default().lines().map(str::to_owned).collect())
}

#[test]
fn each_kind_of_cluster_gets_the_image_by_its_own_tool() {
    for (context, engine, registry, loaded, repository) in [
        ("kind-dev", "docker", None, "kind load image-archive ", "local/portcullis"),
        ("k3d-dev", "podman", None, "k3d image import ", "local/portcullis"),
        ("minikube", "docker", None, "minikube image load ", "local/portcullis"),
        ("prod", "podman", Some("registry.example.com/team"), "podman push ", "registry.example.com/team/portcullis"),
    ] {
        let (output, calls) = with_stand_ins(context, engine, registry);
        assert!(output.status.success(), "{context}: {output:?}\n{calls:?}");
        let position = |begin: &str| {
            let found = calls.iter().position(|call| call.starts_with(begin));
            found.unwrap_or_else(|| panic!("{context}: no {begin:?} in {calls:?}"))
        };
        let build = position(&format!("{engine} build "));
        let load = position(loaded);
        let install = position("helm upgrade --install ");
        assert!(build < load && load < install, "{context}: {calls:?}");
        assert!(calls[install].contains(&format!("image.repository={repository},")), "{}", calls[install]);
        if let Some(cluster) = context.strip_prefix("kind-").or(context.strip_prefix("k3d-")) {
            assert!(calls[load].ends_with(&format!(" {cluster}")), "{}", calls[load]);
        }
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains(&format!("kubectl --context {context} ")) && said.contains(LAST), "{said}");
    }
}

#[test]
fn what_is_missing_is_named_with_the_remedy() {
    for (context, engine, remedy) in
        [("", "docker", "kind create cluster"), ("prod", "docker", "REGISTRY=registry.example.com/team make try")]
    {
        let (output, calls) = with_stand_ins(context, engine, None);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains(remedy), "{context}: {said}");
        assert!(!calls.iter().any(|call| call.starts_with("helm upgrade")), "{calls:?}");
    }
}
