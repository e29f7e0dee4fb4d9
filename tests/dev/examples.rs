//! Every file of `examples/` is served, and what it says for a cluster is named and ignored.

use crate::{
    helpers::{list_tools, path, token},
    support::{Dev, SERVED, eventually},
};
use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Every file of the folder. The folder `gitops` is left out: its files are for Argo CD and Flux, and have no endpoint.
fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { folders.push(path.file_name().unwrap().to_owned()) } else { files.push(path) }
    }
    assert_eq!(folders, ["gitops"]);
    files.sort();
    files
}

/// What it prints for `manifests`.
fn served(manifests: &[&Path], state: &Path) -> (Dev, String) {
    let mut args: Vec<&str> = manifests.iter().map(|manifest| path(manifest)).collect();
    args.extend(["--listen", "127.0.0.1:0", "--state-dir", path(state)]);
    let dev = Dev::start(&args, "");
    let said = dev.wait_for(SERVED);
    (dev, said)
}

#[test]
fn every_example_is_served() {
    for example in examples() {
        let name = example.file_name().unwrap().to_str().unwrap().to_owned();
        let state = tempfile::tempdir().unwrap();
        let (dev, said) = served(&[&example], state.path());
        let challenged = list_tools(&dev.url(), "none");
        assert_eq!(challenged, "401", "{name}");
        // Every client may join, and is told how.
        assert!(said.contains("claude mcp add --transport http agents http://127.0.0.1:"), "{name}: {said}");
        let ignored = said.lines().find_map(|line| line.trim_start().strip_prefix("ignored "));
        let expected = match name.as_str() {
            "gateway.yaml" => Some("spec.exposure: only for a cluster"),
            "ingress-traefik.yaml" => Some("spec.exposure, spec.network: only for a cluster"),
            "tls.yaml" => Some("spec.tls: only for a cluster"),
            "try.yaml" => Some("spec.deployment: only for a cluster"),
            _ => None,
        };
        assert_eq!(ignored.map(str::trim), expected, "{name}: {said}");
        assert_eq!(said.contains("is a Service, which is skipped without a cluster"), name == "tls.yaml", "{said}");
        let needs_users = "problem     login \"local\": Secret \"users\" was not found";
        assert_eq!(said.contains(needs_users), ["people.yaml", "workspaces.yaml"].contains(&&*name), "{name}: {said}");
        if name == "quickstart.yaml" {
            assert_eq!(token(&state.path().join("secrets/ci-agent-oauth")).0, 200);
        }
    }
}

#[test]
fn the_users_of_the_examples_come_from_htpasswd() {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users.yaml");
    let mut htpasswd = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["htpasswd", "alice", "--secret", "users", "--endpoint", "agents", "--cost", "4"])
        .stdin(Stdio::piped())
        .stdout(fs::File::create(&users).unwrap())
        .spawn()
        .unwrap();
    htpasswd.stdin.take().unwrap().write_all(b"open sesame\n").unwrap();
    assert!(htpasswd.wait().unwrap().success());

    for example in
        examples().iter().filter(|example| example.ends_with("people.yaml") || example.ends_with("workspaces.yaml"))
    {
        let state = folder.path().join(example.file_stem().unwrap());
        let (_dev, said) = served(&[example, &users], &state);
        assert!(!said.contains("problem ") && said.contains("Users sign in by local."), "{said}");
        let login = fs::read_to_string(state.join("mounted/agents/login.json")).unwrap();
        assert!(login.contains("\"alice\""), "{login}");
    }
}

#[test]
fn a_login_without_its_secret_has_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/people.yaml");
    let (_dev, said) = served(&[&example], folder.path());
    let remedy = said.lines().find_map(|line| line.trim_start().strip_prefix("remedy ")).unwrap_or(&said).trim();
    assert_eq!(
        remedy,
        "portcullis htpasswd USER --secret users --endpoint agents > users.yaml, and pass users.yaml too"
    );
}

#[test]
fn a_manifest_with_spec_clients_decides_itself() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("endpoint.yaml");
    let metadata = |dev: &Dev| {
        let url = dev.url().replace("/mcp", "/.well-known/oauth-authorization-server");
        let output = Command::new("curl").args(["-sS", &url]).output().unwrap();
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    fs::write(&manifest, crate::helpers::ENDPOINT).unwrap();
    let (dev, _) = served(&[&manifest], &folder.path().join("state"));
    let open = metadata(&dev);
    assert!(open["registration_endpoint"].is_string(), "{open}");
    assert_eq!(open["client_id_metadata_document_supported"], true, "{open}");

    fs::write(&manifest, crate::helpers::ENDPOINT.replace("spec: {", "spec: {clients: {}, ")).unwrap();
    let closed = eventually(|| Some(metadata(&dev)).filter(|found| found["registration_endpoint"].is_null()));
    assert_ne!(closed.expect("registration is off")["client_id_metadata_document_supported"], true);
}
