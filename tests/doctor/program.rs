//! The program itself, on a running `portcullis dev`: options, output and exit codes.

use crate::dev::Dev;
use serde_json::Value;
use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

fn doctor(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portcullis")).arg("doctor").args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn the_quickstart_has_no_problem() {
    let state = tempfile::tempdir().unwrap();
    let dev = Dev::serve(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart.yaml"), state.path());
    let (url, credentials) = (dev.url(), state.path().join("secrets/ci-agent-oauth"));
    let file = credentials.join("client-secret");
    let id = fs::read_to_string(credentials.join("client-id")).unwrap();
    let options = ["--client-id", id.trim(), "--client-secret-file", file.to_str().unwrap()];

    let shown = doctor(&[&[url.as_str()], &options[..]].concat());
    let lines = text(&shown.stdout);
    assert_eq!(shown.status.code(), Some(0), "{lines}{}", text(&shown.stderr));
    assert!(lines.contains("ok      call") && lines.ends_with(" 0 warnings, 0 failures, 0 skipped\n"), "{lines}");

    let json = doctor(&[&[url.as_str(), "--json"], &options[..]].concat());
    let document: Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((&document["version"], &document["result"]), (&1.into(), &"ok".into()), "{document}");

    let refused = doctor(&[&url, "--json", "--origin", "https://app.example.com"]);
    let document: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!((refused.status.code(), &document["cause"]), (Some(1), &"origin-not-allowed".into()), "{document}");

    let missing = doctor(&[&format!("{url}x")]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stdout).contains("The cause: path-unknown\n"), "{}", text(&missing.stdout));
}

#[test]
fn wrong_arguments_have_their_own_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    fs::write(&empty, "\n").unwrap();
    let (empty, url) = (empty.to_str().unwrap(), "https://mcp.example.com/mcp");
    for (args, message) in [
        (&[][..], "<URL>"),
        (&["--endpoint", "agents"], "default/agents"),
        (&[url, "--endpoint", "default/agents"], "cannot be used with"),
        (&[url, "--kubeconfig", "/no/such/file"], "the kubeconfig cannot be used"),
        (&[url, "--browser", "--client-id", "ci", "--client-secret-file", empty], "cannot be used with"),
        (&[url, "--client-id", "ci"], "--client-secret-file"),
        (&[url, "--origin", "claude.ai"], "for example https://claude.ai"),
        (&[url, "--ca", "/no/such/file"], "/no/such/file cannot be read"),
        (&[url, "--ca", empty], "CA bundle"),
        (&[url, "--client-id", "ci", "--client-secret-file", empty], "is empty"),
    ] {
        let output = doctor(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(text(&output.stderr).contains(message), "{args:?}: {}", text(&output.stderr));
    }
}
