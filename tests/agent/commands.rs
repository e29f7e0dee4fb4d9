//! Commands and processes through a tunnel.

use crate::stage::{LONG, Setup, Stage, Tunnels, background, children_of, memory, number_in, runs, shell, until};
use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use portcullis_agent::{
    AgentError, AnswerBody, Client, Lost, Repeat, Transport,
    protocol::{Command, Failure, FailureKind, Input, ProcessOutputRequest},
};
use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};

#[tokio::test]
async fn a_command_says_all_about_itself() {
    let stage = Stage::new();
    fs::create_dir(stage.path("sub")).unwrap();
    let command = Command {
        cwd: Some("sub".to_owned()),
        env: [("OWN".to_owned(), "brought".to_owned())].into(),
        stdin: Some("typed\n".to_owned()),
        ..shell("cat; pwd; echo $HOME $OWN $GIT_TERMINAL_PROMPT; echo bad >&2; exit 3")
    };
    let result = stage.client.run("a", &command, None).await.unwrap();
    let home = stage.folder.path().display();
    assert_eq!(result.stdout, format!("typed\n{home}/sub\n{home} brought 0\n"));
    assert_eq!((result.stderr.as_str(), result.exit_code, result.process_id), ("bad\n", Some(3), None));
    assert_eq!(stage.client.hello().await.unwrap().version, env!("CARGO_PKG_VERSION"));
    // Nobody else may speak to it.
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(stage.path("run/agent.sock")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_command_that_ignores_sigterm_ends_all_the_same() {
    let stage = Stage::new();
    // What has left the group is found too, also where it is nobody's child any more.
    let command = Command {
        timeout: Some(Duration::from_secs(1)),
        ..shell(
            "trap '' TERM; (trap '' TERM; sleep 1000) & setsid sh -c 'echo $$ > away; sleep 1000' & \
             setsid sh -c 'setsid sh -c \"trap \\\"\\\" TERM; echo \\$\\$ > nobodys; sleep 1000; sleep 1000\" &' & sleep 1000",
        )
    };
    let started = Instant::now();
    let result = stage.client.run("a", &command, None).await.unwrap();
    assert!(result.timed_out && result.exit_code == Some(137), "{result:?}");
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    assert_eq!(children_of(stage.service_id()), [0; 0], "something was left");
    for left_the_group in ["away", "nobodys"] {
        assert!(!runs(number_in(&stage.path(left_the_group)).await), "{left_the_group}");
    }
    assert_eq!(stage.run("echo next").await.stdout, "next\n");
}

#[tokio::test]
async fn a_gigabyte_of_output_costs_no_memory() {
    let stage = Stage::new();
    stage.run("head -c 100000 /dev/zero").await;
    let before = memory(stage.service_id(), "VmRSS");
    let command =
        Command { timeout: Some(LONG), live: true, ..shell("head -c 1000000000 /dev/zero | tr '\\0' x; echo end") };
    let (live, mut said) = tokio::sync::mpsc::channel::<String>(4);
    let reader = tokio::spawn(async move {
        let mut bytes = 0;
        while let Some(text) = said.recv().await {
            bytes += text.len();
        }
        bytes
    });
    let result = stage.client.run("a", &command, Some(live)).await.unwrap();
    let grown = memory(stage.service_id(), "VmHWM").saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB more than {before} KiB");
    assert!(result.truncated && result.stdout.ends_with("xend\n") && result.stdout.len() < 40_000);
    assert!(result.note.unwrap().contains("64 MiB"));
    assert_eq!(fs::metadata(result.stdout_file.unwrap()).unwrap().len(), 64 * 1024 * 1024);
    assert!(reader.await.unwrap() > 0);
}

#[tokio::test]
async fn two_hundred_at_once_all_end_well() {
    let stage = Stage::new();
    let many = (0..200).map(|number| {
        let (client, command) = (&stage.client, shell(&format!("sleep 0.2; echo {number}")));
        async move { client.run(&format!("m{number}"), &command, None).await.unwrap().stdout }
    });
    let said = futures::future::join_all(many).await;
    assert_eq!(said, (0..200).map(|number| format!("{number}\n")).collect::<Vec<_>>());
    assert_eq!(stage.run("echo next").await.stdout, "next\n");
}

#[tokio::test]
async fn a_background_process_outlives_the_tunnel() {
    let stage = Stage::new();
    let line = background("while read line; do echo got $line; done; echo end; sleep 1000");
    let id = stage.client.run("a", &line, None).await.unwrap().process_id.unwrap();
    stage.tunnels.cut().await;
    stage.client.send_input(id, &Input { text: "it\n".to_owned(), close: true, key: false }).await.unwrap();
    let mut said = String::new();
    let mut ask = ProcessOutputRequest { wait: LONG, offset: Some(0), wait_for: None };
    while !said.ends_with("end\n") {
        let part = stage.client.process_output(id, ask.clone()).await.unwrap();
        said += &part.output;
        ask.offset = Some(part.next_offset);
    }
    assert_eq!(said, "got it\nend\n");
    let listed = stage.client.processes().await.unwrap().processes;
    assert!(listed[0].process_id == id && listed[0].running && listed[0].command == line.command);
    let stopped = stage.client.stop_process(id).await.unwrap();
    assert!(!stopped.running && !runs(id));
}

#[tokio::test]
async fn a_command_is_taken_up_again_where_the_tunnel_was_cut() {
    let stage = Stage::new();
    let command = shell("echo x >> ran; sleep 1; wc -l < ran");
    let cut = async {
        until("the command", || stage.path("ran").exists()).await;
        stage.tunnels.cut().await;
    };
    let (result, ()) = tokio::join!(stage.client.run("a", &command, None), cut);
    assert_eq!(result.unwrap().stdout.trim(), "1");
}

/// Leads to an agent until it is asked a second time.
struct Once(Arc<Tunnels>, AtomicBool);

#[async_trait]
impl Transport for Once {
    async fn send(&self, request: Request<Full<Bytes>>, repeat: Repeat) -> Result<Response<AnswerBody>, Lost> {
        if self.1.swap(true, Ordering::Relaxed) {
            return Err(Lost { why: "there is no way".to_owned(), maybe_done: false });
        }
        self.0.send(request, repeat).await
    }

    fn abandon(&self, command_id: &str) {
        self.0.abandon(command_id);
    }
}

#[tokio::test]
async fn a_command_that_has_begun_is_never_said_not_to_have() {
    let stage = Stage::new();
    let client = Client::new(Arc::new(Once(Arc::clone(&stage.tunnels), AtomicBool::new(false))));
    let command = shell("touch ran; sleep 1000");
    let cut = async {
        until("the command", || stage.path("ran").exists()).await;
        stage.tunnels.cut().await;
    };
    let (result, ()) = tokio::join!(client.run("a", &command, None), cut);
    assert!(matches!(result, Err(AgentError::Lost(Lost { maybe_done: true, .. }))), "{result:?}");
}

#[tokio::test]
async fn a_command_that_nobody_takes_up_is_ended() {
    let stage = Stage::with(&Setup { args: &["--patience", "1"], ..Setup::default() });
    let command = Command { timeout: None, ..shell("touch ran; sleep 3; touch late; sleep 1000") };
    let given_up = async {
        until("the command", || stage.path("ran").exists()).await;
        stage.tunnels.cut().await;
    };
    tokio::select! {
        result = stage.client.run("a", &command, None) => panic!("{result:?}"),
        () = given_up => {}
    }
    until("the end", || children_of(stage.service_id()).is_empty()).await;
    sleep(Duration::from_secs(3)).await;
    assert!(!stage.path("late").exists());
}

#[tokio::test]
async fn without_a_shell_programs_run_directly() {
    let stage = Stage::with(&Setup { args: &["--shell", "/nowhere/sh"], ..Setup::default() });
    let result = stage.run("echo 'a  b' c").await;
    assert!(result.stdout == "a  b c\n" && result.note.unwrap().contains("no shell"));
    let refused = stage.client.run("b", &shell("echo a && echo b"), None).await;
    assert!(
        matches!(&refused, Err(AgentError::Failed(Failure { kind: FailureKind::Invalid, message })) if message.contains("no shell")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn no_room_for_another_process_is_said() {
    // The limit counts all of a user's processes: one that nobody else has.
    if !crate::stage::is_root() {
        eprintln!("skipped: only root can become another user");
        return;
    }
    let limits = ["prlimit", "--nproc=40:40", "setpriv", "--reuid", "54321", "--regid", "54321", "--clear-groups"];
    let stage = Stage::with(&Setup { wrapper: &limits, ..Setup::default() });
    let bomb = stage.run("i=0; while [ $i -lt 60 ]; do i=$((i + 1)); sleep 1000 & done").await;
    assert_ne!(bomb.exit_code, Some(0), "{bomb:?}");
    // The shell itself has left room.
    let refused = loop {
        match stage.client.run(&stage.id(), &background("exec sleep 1000"), None).await {
            Ok(_) => {}
            Err(AgentError::Failed(failure)) => break failure,
            Err(error) => panic!("{error}"),
        }
    };
    assert!(refused.kind == FailureKind::Exhausted && refused.message.contains("stop_process"), "{refused}");
    // What may wait still has its thread.
    stage.client.usage().await.unwrap();
    stage.client.stop_process(bomb.process_id.unwrap()).await.unwrap();
    assert_eq!(stage.run("echo next").await.stdout, "next\n");
}
