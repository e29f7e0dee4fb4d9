//! Processes that agents start end with `portcullis dev`.

use crate::{
    helpers::{call_by, ended, quickstart, stop},
    support::{Dev, SERVED, eventually},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use std::{fs, path::Path};

/// The processes `sleep NUMBER`, however they came to be.
fn sleeping(number: &str) -> Vec<u32> {
    let line = format!("sleep\0{number}\0").into_bytes();
    let processes =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    processes.filter(|id: &u32| fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|found| found == line)).collect()
}

/// Has an agent start processes in every way that outlives a command, each of which sleeps for `number` seconds.
fn start_sleepers(dev: &Dev, state: &Path, number: &str, more: &str, count: usize) {
    let run = |more: &Value| {
        let mut arguments = serde_json::json!({"workspace": "web"});
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        call_by(dev, state, "run_command", &arguments)
    };
    run(&serde_json::json!({"command": format!("sleep {number}"), "background": true}));
    let line = format!(
        "setsid sleep {number} </dev/null >/dev/null 2>&1 & (setsid nohup sleep {number} </dev/null >/dev/null 2>&1 &)\n\
         sleep {number} </dev/null >/dev/null 2>&1 &\n{more}"
    );
    run(&serde_json::json!({"command": line}));
    let all = eventually(|| Some(sleeping(number)).filter(|found| found.len() == count));
    all.unwrap_or_else(|| panic!("{:?} sleep", sleeping(number)));
}

#[test]
fn no_process_of_an_agent_is_left_behind() {
    let state = tempfile::tempdir().unwrap();
    let root = state.path().canonicalize().unwrap();
    // No other test's.
    let number = format!("3{:07}", std::process::id());
    let gone = || eventually(|| sleeping(&number).is_empty().then_some(()));

    let first = Dev::serve(&quickstart(), &root);
    call_by(&first, &root, "create_workspace", &serde_json::json!({"template": "blank", "name": "web"}));
    // One without the mark too: it is found as a descendant.
    let unmarked = format!("env -i setsid sleep {number} </dev/null >/dev/null 2>&1 &");
    start_sleepers(&first, &root, &number, &unmarked, 5);
    let mut first = first;
    kill(Pid::from_raw(first.child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    assert!(first.wait_for("ending processes of agents").contains("sleep"));
    assert!(ended(&mut first).success());
    assert_eq!(sleeping(&number), [0_u32; 0], "as soon as it has ended");

    let mut second = Dev::serve(&quickstart(), &root);
    start_sleepers(&second, &root, &number, "", 4);
    second.child.kill().unwrap();
    second.child.wait().unwrap();
    assert!(!sleeping(&number).is_empty(), "nobody could end them");
    let third = Dev::serve(&quickstart(), &root);
    assert!(third.wait_for(SERVED).contains("ended processes of an earlier run: "));
    gone().expect("the next start ends what was left");

    // Stopping a workspace is as thorough.
    start_sleepers(&third, &root, &number, "", 4);
    call_by(&third, &root, "stop_workspace", &serde_json::json!({"workspace": "web"}));
    assert_eq!(sleeping(&number), [0_u32; 0]);
    stop(third);
}
