//! Commands: environment, output, and what they leave running.

use crate::local_workspaces::fixture::{Fixture, LONG, command, eventually, owner, runs};
use portcullis_agent::protocol::Command;
use portcullis_workspaces::Workspaces as _;
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::timeout};

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_is_clean() {
    let fixture = Fixture::with_web().await;
    let request = Command {
        env: BTreeMap::from([("MINE".to_owned(), "1".to_owned()), ("PAGER".to_owned(), "more".to_owned())]),
        stdin: Some("from stdin".to_owned()),
        ..command("env; cat; test -d \"$TMPDIR\" && touch \"$TMPDIR/x\" && echo; echo ready")
    };
    let result = fixture.run(request).await;
    let home = fixture.home().await;
    let mut lines: Vec<&str> = result.stdout.lines().collect();
    let rest = lines.split_off(lines.iter().position(|line| *line == "from stdin").unwrap());
    assert_eq!(rest, ["from stdin", "ready"]);
    // What a shell sets by itself, and the marks by which the processes of the command and the workspace are known.
    let own = ["PWD=", "OLDPWD=", "SHLVL=", "_=", "PORTCULLIS_COMMAND=", "PORTCULLIS_WORKSPACE="];
    lines.retain(|line| !own.iter().any(|own| line.starts_with(own)));
    lines.sort_unstable();
    let (home_line, tmp_line) =
        (format!("HOME={}", home.display()), format!("TMPDIR={}", home.parent().unwrap().join("tmp").display()));
    assert_eq!(
        lines,
        [
            "GIT_PAGER=cat",
            "GIT_TERMINAL_PROMPT=0",
            &home_line,
            "LANG=C.UTF-8",
            "LOGNAME=somebody",
            "MINE=1",
            "NO_COLOR=1",
            "PAGER=more",
            "PATH=/usr/local/bin:/usr/bin:/bin",
            "SHELL=/bin/sh",
            "TERM=dumb",
            &tmp_line,
            "USER=somebody",
        ]
    );
    let request = Command { cwd: Some("sub".to_owned()), ..command("pwd") };
    std::fs::create_dir(home.join("sub")).unwrap();
    assert_eq!(fixture.run(request).await.stdout, format!("{}/sub\n", home.display()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_ends_the_whole_group_even_if_it_will_not() {
    let fixture = Fixture::with_web().await;
    // Both ignore SIGTERM, and the second one holds the output open.
    let line = "trap '' TERM; echo begun; sh -c 'sleep 300; sleep 300' & \
                echo $$ > pids; echo $! >> pids; echo done >> pids; while :; do sleep 1; done";
    let result = fixture.run(Command { timeout: Some(Duration::from_secs(1)), ..command(line) }).await;
    assert!(result.timed_out);
    assert_eq!((result.exit_code, result.stdout.as_str()), (Some(128 + 9), "begun\n"));
    assert!(result.note.unwrap().contains("larger timeout_seconds"));
    for pid in fixture.pids("pids").await {
        assert!(!runs(pid), "{pid} still runs");
    }

    // One that obeys gets the time to tidy up. It starts nothing: a child that is just made would tidy up too.
    let line = "trap 'echo tidy; exit 7' TERM; while :; do :; done";
    let result = fixture.run(Command { timeout: Some(Duration::from_secs(1)), ..command(line) }).await;
    assert!(result.timed_out);
    assert_eq!((result.exit_code, result.stdout.as_str()), (Some(7), "tidy\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_have_exit_codes_as_in_shells() {
    let fixture = Fixture::with_web().await;
    let result = fixture.run(command("kill -SEGV $$")).await;
    assert_eq!(result.exit_code, Some(128 + 11));
    assert_eq!(result.note.as_deref(), Some("signal 11 ended it"));
    assert!(!result.timed_out);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_leaves_running_does_not_hold_it_up() {
    let fixture = Fixture::with_web().await;
    let result = fixture.run(command("sleep 300 & echo $! > pids; echo done >> pids; echo hi")).await;
    assert_eq!((result.exit_code, result.stdout.as_str()), (Some(0), "hi\n"));
    assert!(Duration::from_millis(result.duration_ms) < Duration::from_secs(30));
    let pid = fixture.pids("pids").await[0];
    assert!(runs(pid), "a person who starts something with & means it");
    let group = result.process_id.unwrap();
    assert!(result.note.unwrap().contains("stop_process ends it"));
    let listed = fixture.agent().await.processes().await.unwrap().processes;
    assert_eq!((listed[0].process_id, listed[0].running), (group, true));

    fixture.backend.stop(&owner("ann"), "web").await.unwrap();
    assert!(!runs(pid), "stop ends it");
}

#[tokio::test(flavor = "multi_thread")]
async fn background_commands_write_files_and_end_with_the_workspace() {
    let fixture = Fixture::with_web().await;
    let line = "echo out; echo err >&2; echo $$ > pids; echo done >> pids; sleep 300";
    let result = fixture.run(Command { background: true, timeout: None, ..command(line) }).await;
    assert_eq!(result.exit_code, None);
    let (stdout, stderr) = (result.stdout_file.unwrap(), result.stderr_file.unwrap());
    assert!(Path::new(&stdout).exists() && Path::new(&stderr).exists());
    eventually(|| std::fs::read_to_string(&stdout).unwrap() == "out\n").await;
    eventually(|| std::fs::read_to_string(&stderr).unwrap() == "err\n").await;
    let pid = fixture.pids("pids").await[0];
    assert_eq!(result.process_id, Some(pid));
    assert!(runs(pid));

    let stopped = fixture.agent().await.stop_process(pid).await.unwrap();
    assert!(!stopped.running && !runs(pid), "{stopped:?}");

    std::fs::remove_file(fixture.home().await.join("pids")).unwrap();
    fixture.run(Command { background: true, timeout: None, ..command(line) }).await;
    let pid = fixture.pids("pids").await[0];
    fixture.backend.delete(&owner("ann"), "web").await.unwrap();
    assert!(!runs(pid));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_megabytes_are_shortened_and_kept_up_to_the_limit() {
    let fixture = Fixture::with_web().await;
    let result = fixture.run(command("echo first; head -c 100000000 /dev/zero | tr '\\0' x; echo; echo last")).await;
    assert_eq!(result.exit_code, Some(0));
    assert!(result.truncated);
    assert!(result.stdout.starts_with("first\nxxx") && result.stdout.ends_with("xxx\nlast\n"));
    assert!(result.stdout.len() < 40_000, "{}", result.stdout.len());
    let file = result.stdout_file.unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().len(), 64 * 1024 * 1024);
    assert!(result.note.unwrap().contains("first 64 MiB"));

    let result = fixture.run(command("seq 1 100000")).await;
    assert!(result.truncated && result.note.is_none());
    let file = std::fs::read_to_string(result.stdout_file.unwrap()).unwrap();
    assert_eq!(file.lines().count(), 100_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_a_call_ends_the_command() {
    let fixture = Arc::new(Fixture::with_web().await);
    let caller = tokio::spawn({
        let fixture = Arc::clone(&fixture);
        async move {
            let line = "sleep 300 & echo $$ > pids; echo $! >> pids; echo done >> pids; wait";
            fixture.run(command(line)).await
        }
    });
    let pids = fixture.pids("pids").await;
    assert!(pids.len() == 2 && pids.iter().all(|pid| runs(*pid)));
    caller.abort();
    eventually(|| !pids.iter().any(|pid| runs(*pid))).await;
    assert_eq!(fixture.run(command("echo next")).await.stdout, "next\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn live_output_comes_while_the_command_runs() {
    let fixture = Fixture::with_web().await;
    let (live, mut output) = mpsc::channel(16);
    let script = "echo one; while ! test -e go; do sleep 0.05; done; echo two";
    let run = fixture.try_run(command(script), Some(live));
    let watch = async {
        assert_eq!(output.recv().await.unwrap(), "one\n");
        std::fs::write(fixture.home().await.join("go"), "").unwrap();
        assert_eq!(output.recv().await.unwrap(), "two\n");
    };
    let (result, ()) = timeout(LONG, futures::future::join(run, watch)).await.unwrap();
    assert_eq!(result.unwrap().stdout, "one\ntwo\n");

    // Nobody reads: the command is not held up.
    let (live, _unread) = mpsc::channel(1);
    let result = fixture.try_run(command("seq 1 100000"), Some(live)).await.unwrap();
    assert_eq!(result.exit_code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_commands_at_once() {
    let fixture = Fixture::with_web().await;
    let commands = (0..50).map(|number| {
        let fixture = &fixture;
        async move {
            let result = fixture.run(command(&format!("sleep 0.2; echo {number}"))).await;
            assert_eq!((result.exit_code, result.stdout), (Some(0), format!("{number}\n")));
        }
    });
    futures::future::join_all(commands).await;
}
