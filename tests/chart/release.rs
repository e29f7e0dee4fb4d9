//! The scripts of the release workflow: everything that they make, published to a registry of the test's own, and run on
//! the tests' node.

use crate::{
    node::Node,
    support::{operator::eventually, process::Process},
    tools::tool,
};
use portcullis_core::hex;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

const VERSION: &str = env!("CARGO_PKG_VERSION");
const IMAGES: [&str; 2] = ["portcullis", "portcullis-agent"];

/// A script of this checkout, to be run.
fn script(name: &str) -> Command {
    let mut bash = Command::new("bash");
    bash.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(name));
    bash
}

/// What a script prints.
fn run(name: &str, args: &[&str]) -> String {
    let output = script(name).args(args).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{name} {args:?} failed, see above");
    String::from_utf8(output.stdout).unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The target triple of this machine, as releases name it.
fn target() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

/// Everything that a release has for this machine's architecture, in `folder/dist`. The programs are those of the tests'
/// image, so that nothing is built for this test alone.
fn assembled(folder: &Path) -> PathBuf {
    let built = run("tests/node/static.sh", &[]);
    let [program, agent] = built.lines().collect::<Vec<_>>().try_into().unwrap();
    let (programs, dist) = (folder.join("programs"), folder.join("dist"));
    run("release/collect.sh", &[&target(), text(&programs), program, program, agent]);
    run("release/assemble.sh", &[text(&programs), text(&dist), &target()]);
    dist
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_is_made_published_and_runs() {
    let folder = tempfile::tempdir().unwrap();
    let dist = tokio::task::block_in_place(|| assembled(folder.path()));
    the_files_are_complete(&dist);
    the_archive_has_a_program_that_runs(&dist, folder.path());
    every_sbom_is_valid(&dist, &folder.path().join("programs").join(target()).join("portcullis"));
    published(&dist, folder.path()).await;
    let Some(node) = Node::shared_of_ours().await else { return };
    the_layouts_run(node, &dist, folder.path()).await;
}

fn the_files_are_complete(dist: &Path) {
    let checked =
        Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(dist).output().unwrap();
    assert!(checked.status.success(), "{}", said(&checked));
    let sums = fs::read_to_string(dist.join("SHA256SUMS")).unwrap();
    let mut names: Vec<&str> = sums.lines().map(|line| line.split("  ").nth(1).unwrap()).collect();
    names.sort_unstable();
    let archive = format!("portcullis-{VERSION}-{}", target());
    let mut expected =
        [format!("{archive}.tar.gz"), format!("{archive}.spdx.json"), format!("portcullis-{VERSION}.tgz")];
    expected.sort();
    assert_eq!(names, expected);
}

fn the_archive_has_a_program_that_runs(dist: &Path, folder: &Path) {
    let name = format!("portcullis-{VERSION}-{}", target());
    let archive = dist.join(format!("{name}.tar.gz"));
    let unpacked = Command::new("tar").args(["-xzf", text(&archive), "-C", text(folder)]).output().unwrap();
    assert!(unpacked.status.success(), "{unpacked:?}");
    let printed = Command::new(folder.join(&name).join("portcullis")).arg("--version").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&printed.stdout), format!("portcullis {VERSION}\n"));
    for file in ["LICENSE", "README.md", "CHANGELOG.md"] {
        assert!(folder.join(&name).join(file).is_file(), "{file}");
    }
}

/// By the official library of SPDX; it holds licence expressions, identifiers and relationships against the
/// specification too.
fn every_sbom_is_valid(dist: &Path, program: &Path) {
    let installed = run("tests/clients/install.sh", &[]);
    let python = installed.lines().nth(2).unwrap();
    let check = |path: &Path| {
        let module = ["-m", "spdx_tools.spdx.clitools.pyspdxtools", "--infile", text(path)];
        Command::new(python).args(module).output().unwrap()
    };
    let architecture = architecture();
    let archive = dist.join(format!("portcullis-{VERSION}-{}.spdx.json", target()));
    let of_images = IMAGES.map(|image| dist.join(format!("images/{image}-{architecture}.spdx.json")));
    for path in [&archive, &of_images[0], &of_images[1]] {
        let checked = check(path);
        assert!(checked.status.success(), "{}: {}", path.display(), said(&checked));
    }
    // It is not that everything passes.
    let sbom = fs::read_to_string(&archive).unwrap();
    let wrong = dist.join("wrong.spdx.json");
    fs::write(&wrong, sbom.replace("MIT OR Apache-2.0", "MIT OR Nothing-9.9")).unwrap();
    assert!(!check(&wrong).status.success());
    fs::remove_file(wrong).unwrap();

    let documents = [&archive, &of_images[0], &of_images[1]]
        .map(|path| serde_json::from_str::<Value>(&fs::read_to_string(path).unwrap()).unwrap());
    let [_, of_image, of_agent] = documents.each_ref().map(|sbom| {
        let packages = sbom["packages"].as_array().unwrap().iter();
        packages.map(|package| package["name"].as_str().unwrap()).collect::<Vec<_>>()
    });
    assert!(of_image.contains(&"kube") && of_image.contains(&"rmcp") && of_image.contains(&"portcullis-agent"));
    // What tests, other systems and procedural macros need is not in the program.
    for absent in ["insta", "proptest", "windows-sys", "serde_derive", "syn"] {
        assert!(!of_image.contains(&absent), "{absent}");
    }
    assert!(of_agent.contains(&"lexopt") && !of_agent.contains(&"kube"), "{of_agent:?}");
    let digest = hex(&Sha256::digest(fs::read(program).unwrap()));
    assert_eq!(documents[0]["packages"][0]["checksums"][0]["checksumValue"], digest);
}

/// Pushes everything to a registry on this machine, twice.
async fn published(dist: &Path, folder: &Path) {
    let crane = run("release/tools/build.sh", &[]);
    let crane = Path::new(crane.trim());
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let blobs = folder.join("registry");
    fs::create_dir(&blobs).unwrap();
    let arguments = ["registry", "serve", "--address", &address.to_string(), "--disk", text(&blobs)].map(str::to_owned);
    let _registry = Process::start(crane, &arguments, &[], &folder.join("registry.log")).unwrap();
    eventually("the registry listens", async || TcpStream::connect(address).ok()).await;

    let registry = format!("{address}/portcullis-dev");
    let home = folder.join("helm");
    let publish = |dist: &Path| {
        let mut publish = script("release/publish.sh");
        publish.args([text(dist), &registry]);
        for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME", "DOCKER_CONFIG"] {
            publish.env(variable, &home);
        }
        publish.output().unwrap()
    };
    let first = publish(dist);
    assert!(first.status.success(), "{}", said(&first));
    let lines = String::from_utf8(first.stdout).unwrap();
    let references: Vec<(&str, &str)> = lines.lines().map(|line| line.split_once('=').unwrap()).collect();
    assert_eq!(
        references.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        ["portcullis", "portcullis-agent", "chart"]
    );
    for (name, reference) in &references {
        assert!(reference.starts_with(&registry) && reference.contains("@sha256:"), "{name}: {reference}");
        let valid = Command::new(crane).args(["manifest", *reference]).output().unwrap();
        assert!(valid.status.success(), "{}", said(&valid));
    }
    let platform = format!("--platform=linux/{}", architecture());
    for image in IMAGES {
        let remote = format!("{registry}/{image}:{VERSION}");
        let valid = Command::new(crane).args(["validate", &platform, "--remote", &remote]).output().unwrap();
        assert!(valid.status.success(), "{}", said(&valid));
    }
    // The chart that is published is this one, and renders.
    let chart = format!("oci://{registry}/charts/portcullis");
    let mut helm = tool("helm");
    helm.args([
        "template",
        "portcullis",
        &chart,
        "--version",
        VERSION,
        "--plain-http",
        "--namespace",
        "portcullis-system",
    ]);
    let rendered = helm.env("HELM_CACHE_HOME", &home).env("HELM_CONFIG_HOME", &home).output().unwrap();
    assert!(rendered.status.success(), "{}", said(&rendered));
    assert!(said(&rendered).contains(&format!("image: ghcr.io/portcullis-dev/portcullis:{VERSION}")));

    let again = publish(dist);
    assert!(again.status.success(), "{}", said(&again));
    assert_eq!(String::from_utf8_lossy(&again.stdout), lines);
    // A published version is not replaced.
    let other = folder.join("other");
    fs::create_dir_all(other.join("images")).unwrap();
    for image in IMAGES {
        let programs = format!("{}={}", architecture(), fake_programs(folder, "changed").display());
        let layout = other.join("images").join(image);
        run("release/image.sh", &[image, text(&layout), VERSION, "revision", &programs]);
    }
    let refused = publish(&other);
    assert!(!refused.status.success() && said(&refused).contains("is published already"), "{}", said(&refused));
}

/// A folder with two files in place of the programs.
fn fake_programs(folder: &Path, content: &str) -> PathBuf {
    let programs = folder.join(content);
    fs::create_dir_all(&programs).unwrap();
    for program in IMAGES {
        fs::write(programs.join(program), content).unwrap();
    }
    programs
}

/// containerd imports both layouts, and their programs run in pods.
async fn the_layouts_run(node: &Node, dist: &Path, folder: &Path) {
    let namespace = node.create_namespace("release").await;
    for image in IMAGES {
        let archive = folder.join(format!("{image}.tar"));
        let layout = dist.join("images").join(image);
        let packed = Command::new("tar").args(["-cf", text(&archive), "-C", text(&layout), "."]).output().unwrap();
        assert!(packed.status.success(), "{packed:?}");
        node.load_image(&archive);
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": image, "namespace": namespace},
            "spec": {
                "automountServiceAccountToken": false, "restartPolicy": "Never",
                "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [{
                    "name": "it", "image": format!("ghcr.io/portcullis-dev/{image}:{VERSION}"), "imagePullPolicy": "Never",
                    "args": ["--version"],
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
                        "readOnlyRootFilesystem": true},
                }],
            },
        });
        node.apply(&pod.to_string());
        let pod = format!("pod/{image}");
        let ended = node.kubectl(&[
            "-n",
            &namespace,
            "wait",
            "--for=jsonpath={.status.phase}=Succeeded",
            &pod,
            "--timeout=60s",
        ]);
        assert!(ended.status.success(), "{ended:?}\n{}", said(&node.kubectl(&["-n", &namespace, "describe", &pod])));
        let printed = said(&node.kubectl(&["-n", &namespace, "logs", image]));
        assert_eq!(printed, format!("{image} {VERSION}\n"));
    }
}

#[test]
fn the_same_programs_make_the_same_image_for_every_architecture() {
    let folder = tempfile::tempdir().unwrap();
    let made = |name: &str, content: &str| {
        let programs = fake_programs(folder.path(), content);
        let layout = folder.path().join(name);
        let of = ["amd64", "arm64"].map(|architecture| format!("{architecture}={}", programs.display()));
        run("release/image.sh", &["portcullis", text(&layout), "1.2.3", "abc", &of[0], &of[1]]);
        layout
    };
    let layout = made("one", "a");
    let index = |layout: &Path| fs::read_to_string(layout.join("index.json")).unwrap();
    assert_eq!(index(&layout), index(&made("two", "a")));
    assert_ne!(index(&layout), index(&made("three", "b")));

    let blob = |descriptor: &Value| -> Value {
        let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        serde_json::from_slice(&fs::read(layout.join("blobs/sha256").join(digest)).unwrap()).unwrap()
    };
    let top: Value = serde_json::from_str(&index(&layout)).unwrap();
    let images = blob(&top["manifests"][0]);
    let platforms: Vec<&Value> = images["manifests"].as_array().unwrap().iter().map(|one| &one["platform"]).collect();
    let linux = |architecture: &str| json!({"architecture": architecture, "os": "linux"});
    assert_eq!(platforms, [&linux("amd64"), &linux("arm64")]);
    for (image, architecture) in images["manifests"].as_array().unwrap().iter().zip(["amd64", "arm64"]) {
        let manifest = blob(image);
        // The agent's layer is the first, and so shared with the image of the agent alone.
        assert_eq!(manifest["layers"].as_array().unwrap().len(), 2);
        let config = blob(&manifest["config"]);
        assert_eq!(
            (&config["architecture"], &config["config"]["Entrypoint"]),
            (&json!(architecture), &json!(["/portcullis"]))
        );
        let labels = &config["config"]["Labels"];
        let label = |name: &str| labels[format!("org.opencontainers.image.{name}")].as_str();
        assert_eq!([label("version"), label("revision")], [Some("1.2.3"), Some("abc")]);
    }
}

#[test]
fn a_tag_names_the_version_and_the_changelog_has_it() {
    assert_eq!(run("release/version.sh", &[]).trim(), VERSION);
    let refused = script("release/version.sh").arg("v999.0.0").output().unwrap();
    let error = said(&refused);
    assert!(!refused.status.success() && error.contains(&format!("is not v{VERSION}")), "{error}");
    let changelog = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("CHANGELOG.md")).unwrap();
    let newest = changelog.lines().find_map(|line| line.strip_prefix("## ")).unwrap();
    let notes = run("release/notes.sh", &[newest.split(' ').next().unwrap()]);
    assert!(notes.starts_with("###") || notes.starts_with(char::is_alphabetic), "{notes}");
    assert!(!notes.contains("\n## ") && notes.contains("cosign verify"), "{notes}");
}

#[test]
fn a_release_needs_the_advisories() {
    let folder = tempfile::tempdir().unwrap();
    let deny = folder.path().join("deny");
    // What cargo-deny does where the network is closed.
    fs::write(&deny, "#!/bin/sh\ncase \"$*\" in *fetch*) exit 1 ;; esac\n").unwrap();
    fs::set_permissions(&deny, fs::Permissions::from_mode(0o755)).unwrap();
    let checked = |options: &[&str]| {
        let mut make = Command::new("make");
        make.arg("-C").arg(env!("CARGO_MANIFEST_DIR")).args(["deny", &format!("DENY={}", deny.display())]);
        make.args(options).env_remove("MAKEFLAGS").env_remove("MAKELEVEL").output().unwrap()
    };
    let daily = checked(&[]);
    assert!(daily.status.success() && said(&daily).contains("NOT CHECKED"), "{}", said(&daily));
    let release = checked(&["ADVISORIES=required"]);
    assert!(!release.status.success() && said(&release).contains("could not be fetched"), "{}", said(&release));
}
