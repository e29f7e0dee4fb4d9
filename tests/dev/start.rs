//! Start, restart and end, with the state directory and the addresses.

use crate::{
    helpers::{answers, ended, list_tools, path, printed, quickstart, shell, stop, token},
    support::{Dev, SERVED, eventually},
};
use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt as _, process::Command};

#[test]
fn the_printed_command_lines_do_what_they_say() {
    let state = tempfile::tempdir().unwrap();
    let dev = Dev::serve(&quickstart(), state.path());

    let listed = answers(&printed(&dev, "List the tools"));
    let tools: Vec<&str> =
        listed[0]["result"]["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert!(tools.contains(&"whoami") && tools.contains(&"run_command"), "{tools:?}");

    let ran = answers(&printed(&dev, "Create a workspace, and run a command in it"));
    assert_eq!(ran[0]["result"]["structuredContent"]["name"], "hello", "{ran:?}");
    let stdout = ran[1]["result"]["structuredContent"]["stdout"].as_str().unwrap();
    assert!(stdout.starts_with("git version "), "{ran:?}");
}

#[test]
fn keys_and_clients_survive_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let credentials = state.path().join("secrets/ci-agent-oauth");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let start = || {
        let listen = format!("localhost:{port}");
        let dev = Dev::start(&[path(&quickstart()), "--listen", &listen, "--state-dir", path(state.path())], "");
        dev.wait_for(SERVED);
        dev
    };
    let first = start();
    let (_, old_token) = token(&credentials);
    assert_eq!(list_tools(&first.url(), &old_token), "200");
    let secret = fs::read(credentials.join("client-secret")).unwrap();
    stop(first);

    let second = start();
    assert_eq!(fs::read(credentials.join("client-secret")).unwrap(), secret);
    assert_eq!(list_tools(&second.url(), &old_token), "200");
    for (file, mode) in [("", 0o700), ("client-secret", 0o600), ("../agents-signing-keys/signing-keys.json", 0o600)] {
        assert_eq!(fs::metadata(credentials.join(file)).unwrap().permissions().mode() & 0o777, mode, "{file}");
    }
}

#[test]
fn deleting_a_secret_revokes_it() {
    let state = tempfile::tempdir().unwrap();
    let dev = Dev::serve(&quickstart(), state.path());
    let (credentials, leaked) = (state.path().join("secrets/ci-agent-oauth"), state.path().join("leaked"));
    fs::create_dir(&leaked).unwrap();
    for file in ["client-id", "client-secret", "token-url"] {
        fs::copy(credentials.join(file), leaked.join(file)).unwrap();
    }
    assert_eq!(token(&leaked).0, 200);
    fs::remove_file(credentials.join("client-secret")).unwrap();
    dev.wait_for("it has a new secret; the old one is no longer valid");
    assert!(eventually(|| (token(&leaked).0 == 401).then_some(())).is_some());
    assert_eq!(token(&credentials).0, 200);
}

#[test]
fn it_listens_beyond_loopback_only_when_told_twice() {
    let state = tempfile::tempdir().unwrap();
    let (manifests, state) = (quickstart(), state.path());
    let args = [path(&manifests), "--state-dir", path(state), "--listen", "0.0.0.0:0"];
    let mut refused = Dev::start(&args, "");
    assert_eq!(ended(&mut refused).code(), Some(1));
    refused.wait_for("add --insecure-listen-beyond-loopback");

    let insisting = Dev::start(&[&args[..], &["--insecure-listen-beyond-loopback"]].concat(), "");
    insisting.wait_for(SERVED);
    assert!(insisting.url().starts_with("http://127.0.0.1:"), "{}", insisting.url());
    assert_eq!(token(&state.join("secrets/ci-agent-oauth")).0, 200);
}

#[test]
fn a_state_directory_is_used_by_one_at_a_time() {
    let state = tempfile::tempdir().unwrap();
    let _first = Dev::serve(&quickstart(), state.path());
    let mut second =
        Dev::start(&[path(&quickstart()), "--listen", "127.0.0.1:0", "--state-dir", path(state.path())], "");
    assert_eq!(ended(&mut second).code(), Some(1));
    second.wait_for("is in use by another portcullis dev");
}

#[test]
fn what_cannot_be_read_or_listened_at_is_named() {
    let state = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let manifests = quickstart();
    for (arguments, said) in [
        (["nowhere.yaml", "--listen", "127.0.0.1:0"], "error: nowhere.yaml: No such file or directory".to_owned()),
        (
            [path(&manifests), "--listen", &address],
            format!("error: cannot listen on {address}; choose another with --listen"),
        ),
    ] {
        let mut dev = Dev::start(&[&arguments[..], &["--state-dir", path(state.path())]].concat(), "");
        assert_eq!(ended(&mut dev).code(), Some(1));
        dev.wait_for(&said);
    }
}

#[test]
fn it_ends_when_nobody_reads_what_it_says() {
    let state = tempfile::tempdir().unwrap();
    let said = shell(&format!(
        "{} dev {} --listen 127.0.0.1:0 --state-dir {} 2>{}/errors | head -n 2; cat {}/errors",
        env!("CARGO_BIN_EXE_portcullis"),
        path(&quickstart()),
        path(state.path()),
        path(state.path()),
        path(state.path())
    ));
    let said = String::from_utf8(said.stdout).unwrap();
    let (first, errors) = said.split_once("on this machine.\n").unwrap();
    assert_eq!(first, "\nThe endpoint \"agents\" is served ");
    assert!(errors.lines().all(|line| line.contains(" INFO ")), "quietly: {errors}");
}

#[test]
fn a_state_directory_that_is_moved_ends_it_with_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let mut dev = Dev::serve(&quickstart(), &state);
    fs::rename(&state, folder.path().join("elsewhere")).unwrap();
    assert!(!ended(&mut dev).success());
    dev.wait_for("was moved or deleted, so nothing can be saved; move it back, or start again");
}

#[test]
fn it_shows_its_pages_in_a_browser() {
    let folder = tempfile::tempdir().unwrap();
    let (script, shown) = (folder.path().join("xdg-open"), folder.path().join("opened"));
    fs::write(&script, format!("#!/bin/sh\necho \"$1\" > {0}.new && mv {0}.new {0}\n", path(&shown))).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["dev", path(&quickstart()), "--listen", "127.0.0.1:0", "--open", "--state-dir"])
        .arg(folder.path().join("state"))
        .env("PATH", format!("{}:{}", path(folder.path()), std::env::var("PATH").unwrap()))
        .spawn()
        .unwrap();
    let url = eventually(|| fs::read_to_string(&shown).ok()).expect("a page is opened");
    assert!(url.starts_with("http://127.0.0.1:") && url.ends_with("/console/\n"), "{url}");
    child.kill().unwrap();
    child.wait().unwrap();
}
