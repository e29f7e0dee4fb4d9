//! The first process: what it reaps, restarts and ends.

use crate::stage::{LONG, Setup, Stage, background, children_of, is_root, number_in, runs, shell, until};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use portcullis_agent::{
    AgentError,
    protocol::{Failure, FailureKind, JournalRequest},
};
use std::{
    fs,
    os::unix::{fs::MetadataExt as _, process::ExitStatusExt as _},
    time::Duration,
};
use tokio::time::{Instant, timeout};

fn signal(id: u32, signal: Signal) {
    kill(Pid::from_raw(id.cast_signed()), signal).unwrap();
}

/// A line that starts a process which is nobody's child: it leaves its group, and its parents end at once. Its number
/// is in the file of this name.
fn orphan(file: &str, line: &str) -> String {
    format!("setsid sh -c 'sh -c \"echo \\$\\$ > {file}; {line}\" &' ; while ! test -s {file}; do sleep 0.01; done")
}

#[tokio::test]
async fn a_killed_service_costs_only_what_ran_in_it() {
    let stage = Stage::new();
    stage.run(&orphan("orphan", "exec sleep 1000")).await;
    let orphan = number_in(&stage.path("orphan")).await;
    let left = stage.client.run("b", &background("sleep 1000"), None).await.unwrap().process_id.unwrap();
    let killed = async {
        until("the command", || stage.path("ran").exists()).await;
        signal(stage.service_id(), Signal::SIGKILL);
    };
    let command = shell("echo x >> ran; sleep 1000");
    let (result, ()) = tokio::join!(timeout(LONG, stage.client.run("a", &command, None)), killed);
    let Ok(Err(AgentError::Failed(Failure { kind: FailureKind::Interrupted, message }))) = result else {
        panic!("{result:?}")
    };
    assert!(message.contains("restarted"), "{message}");
    let next = stage.run("cat ran").await;
    assert_eq!(next.stdout, "x\n", "it ran once");
    assert!(!runs(left) && !runs(orphan));
    assert_eq!(stage.client.processes().await.unwrap().processes, []);
    assert!(stage.log().contains("SIGKILL"), "{}", stage.log());
}

#[tokio::test]
async fn the_environment_is_handed_to_each_service_and_is_in_none_of_them() {
    let env = [("TEMPLATE_SECRET", "what-the-template-has"), ("MANY_LINES", "a=b\nc")];
    let stage = Stage::with(&Setup { env: &env, ..Setup::default() });
    for _ in 0..2 {
        let said = stage.run("echo \"$TEMPLATE_SECRET $MANY_LINES\"; env | grep -c PORTCULLIS_HOME").await.stdout;
        assert_eq!(said, "what-the-template-has a=b\nc\n0\n");
        let service = stage.service_id();
        for id in [stage.init_id(), service] {
            // Another user than root may not look at all.
            let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
            assert!(!String::from_utf8_lossy(&environment).contains("TEMPLATE_SECRET"), "{id}");
            assert_eq!(fs::metadata(format!("/proc/{id}/environ")).unwrap().uid(), 0, "{id} is hidden from its user");
        }
        signal(service, Signal::SIGKILL);
        until("another service", || children_of(stage.init_id()).into_iter().any(|id| id != service && runs(id))).await;
    }
}

#[tokio::test]
async fn the_journal_survives_the_service_and_the_container() {
    let mut stage = Stage::new();
    let commands = async |stage: &Stage| -> Vec<String> {
        let page = stage.client.journal(&JournalRequest::default()).await.unwrap();
        page.entries.into_iter().filter_map(|entry| entry.operation.command).collect()
    };
    stage.run("echo first").await;
    until("the file", || fs::metadata(stage.path("run/journal.jsonl")).is_ok_and(|file| file.len() > 0)).await;
    let service = stage.service_id();
    signal(service, Signal::SIGKILL);
    until("another service", || children_of(stage.init_id()).into_iter().any(|id| id != service && runs(id))).await;
    stage.run("echo second").await;
    assert_eq!(commands(&stage).await, ["echo second", "echo first"]);
    // What ends with the service is saved too.
    stage.client.run("b", &background("sleep 1000"), None).await.unwrap();
    signal(stage.init_id(), Signal::SIGTERM);
    timeout(LONG, stage.init.wait()).await.unwrap().unwrap();
    let again = stage.again(&Setup::default());
    assert_eq!(commands(&again).await, ["sleep 1000", "sleep 1000", "echo second", "echo first"]);
}

#[tokio::test]
async fn orphans_are_reaped() {
    let stage = Stage::new();
    stage.run(&orphan("orphan", "exec sleep 1000")).await;
    let orphan = number_in(&stage.path("orphan")).await;
    assert!(children_of(stage.init_id()).contains(&orphan), "it came to the first process");
    signal(orphan, Signal::SIGKILL);
    until("its end", || !children_of(stage.init_id()).contains(&orphan)).await;
    assert_eq!(children_of(stage.init_id()), [stage.service_id()]);
}

#[tokio::test]
async fn sigterm_ends_everything_in_order() {
    for stubborn in [false, true] {
        let mut stage = Stage::new();
        let trap = if stubborn { "trap : TERM;" } else { "" };
        stage.run(&orphan("orphan", &format!("{trap} while :; do sleep 0.1; done"))).await;
        let orphan = number_in(&stage.path("orphan")).await;
        let left = stage.client.run("b", &background("sleep 1000"), None).await.unwrap().process_id.unwrap();
        let (command, init) = (shell("touch ran; sleep 1000"), stage.init_id());
        let ended = async {
            until("the command", || stage.path("ran").exists()).await;
            signal(init, Signal::SIGTERM);
        };
        let started = Instant::now();
        let (result, ()) = tokio::join!(stage.client.run("a", &command, None), ended);
        let Err(AgentError::Failed(Failure { kind: FailureKind::Interrupted, message })) = result else {
            panic!("{result:?}")
        };
        assert!(message.contains("the workspace is stopping"), "{message}");
        let status = timeout(LONG, stage.init.wait()).await.unwrap().unwrap();
        assert_eq!(status.code(), Some(0), "{}", stage.log());
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
        assert!(!runs(left) && !runs(orphan));
    }
}

#[tokio::test]
async fn the_workspaces_own_program_runs_beside() {
    let stage =
        Stage::with(&Setup { args: &["--", "sh", "-c", "echo from $0; exit 4", "it self"], ..Setup::default() });
    until("its end", || stage.log().contains("has ended")).await;
    assert!(stage.log().contains("from it self\n") && stage.log().contains("exit_code=4"), "{}", stage.log());
    let listed = stage.client.processes().await.unwrap().processes;
    assert_eq!((listed[0].exit_code, listed[0].running), (Some(4), false));
    assert_eq!(listed[0].command, "sh -c 'echo from $0; exit 4' 'it self'");
}

/// As a kubelet does: the container is started again, and its folder is the pod's.
#[tokio::test]
async fn a_program_that_fails_at_once_ends_the_first_container_and_says_why() {
    let logs = tempfile::tempdir().unwrap();
    let log = logs.path().join("termination-log");
    std::fs::write(&log, "").unwrap();
    for (program, why) in [
        (&["sh", "-c", "echo trouble >&2; exit 4"][..], "pod.command ended at once (exit code 4)"),
        (&["no-such-program"], "pod.command did not start: "),
    ] {
        let args = [&["--"], program].concat();
        let setup = Setup { args: &args, termination_log: &log, ..Setup::default() };
        let mut stage = Stage::with(&setup);
        let status = timeout(LONG, stage.init.wait()).await.unwrap().unwrap();
        assert_eq!(status.code(), Some(1), "{}", stage.log());
        let said = std::fs::read_to_string(&log).unwrap();
        assert!(said.starts_with(why), "{said}");

        std::fs::write(&log, "").unwrap();
        let again = stage.again(&setup);
        assert_eq!(again.run("echo usable").await.stdout, "usable\n");
        let tried = if program[0] == "sh" { "has ended" } else { "did not start" };
        until("its second failure", || again.log().contains(tried)).await;
        assert_eq!(again.run("echo usable").await.stdout, "usable\n");
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "");
    }
    // One that has done its work is no failure.
    let stage = Stage::with(&Setup { args: &["--", "true"], termination_log: &log, ..Setup::default() });
    until("its end", || stage.log().contains("has ended")).await;
    assert_eq!(stage.run("echo usable").await.stdout, "usable\n");
}

#[tokio::test]
async fn its_log_says_when_it_began_and_when_commands_ended() {
    let stage = Stage::new();
    stage.run(": password; exit 7").await;
    until("the end's line", || stage.log().contains("ended with exit code 7")).await;
    assert!(stage.log().contains("the workspace runs") && !stage.log().contains("password"), "{}", stage.log());
}

#[tokio::test]
async fn it_is_the_first_process_of_its_own_world() {
    if !is_root() {
        eprintln!("skipped: only root can make a namespace of processes");
        return;
    }
    let wrapper = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
    let mut stage = Stage::with(&Setup { wrapper: &wrapper, ..Setup::default() });
    assert!(stage.run("tr '\\0' ' ' < /proc/1/cmdline").await.stdout.contains("agent run"));
    stage.run(&orphan("orphan", "exec sleep 0.3")).await;
    let zombies = "sleep 1; grep -l '^State:.Z' /proc/[0-9]*/status; true";
    assert_eq!(stage.run(zombies).await.stdout, "");
    stage.run(&orphan("stubborn", "trap : TERM; while :; do sleep 0.1; done")).await;
    let first = children_of(stage.init_id())[0];
    signal(first, Signal::SIGTERM);
    let status = timeout(LONG, stage.init.wait()).await.unwrap().unwrap();
    assert_eq!((status.code(), status.signal()), (Some(0), None), "{}", stage.log());
}
