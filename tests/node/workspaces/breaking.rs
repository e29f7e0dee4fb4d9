//! Things break: each ends in a clear answer, or in none of it being noticed, and the next command works.

use super::stage::{Server, Stage, WORKSPACE, pod};
use crate::node::Node;
use portcullis_agent::{
    AgentError, Lost,
    protocol::{CommandResult, EditFile, WriteFile},
};
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

const A_WHILE: Duration = Duration::from_secs(1);

/// Breaks something while a command runs that takes some seconds.
async fn during_a_command(
    server: &Server,
    seconds: u32,
    breaking: impl AsyncFnOnce(),
) -> (Result<CommandResult, AgentError>, Duration) {
    let command = format!("echo $$ >> ran; sleep {seconds}; echo done");
    let begun = Instant::now();
    let (result, ()) = tokio::join!(server.run(&command), async {
        tokio::time::sleep(A_WHILE).await;
        breaking().await;
    });
    (result, begun.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_outlives_whatever_is_between() {
    let Some(node) = Node::shared_without_operator().await else { return };
    let stage = Stage::start(node).await;
    let server = stage.server_on_the_wire().await;
    let kill = async || drop(stage.in_pod("pkill -KILL -f '[p]ortcullis agent connect'"));
    let (result, _) = during_a_command(&server, 2, kill).await;
    assert_eq!(result.unwrap().stdout, "done\n", "the near end of the tunnel was killed");

    let cut = async || {
        stage.wire.cut();
        tokio::time::sleep(A_WHILE).await;
        stage.wire.mend();
    };
    let (result, _) = during_a_command(&server, 2, cut).await;
    assert_eq!(result.unwrap().stdout, "done\n", "the API server was away");

    let forget = async || stage.wire.forget();
    let (result, took) = during_a_command(&server, 2, forget).await;
    assert_eq!(result.unwrap().stdout, "done\n", "the connection went dead without a word");
    eprintln!("a connection that is dead without a word costs {took:?}");

    let (result, _) = during_a_command(&server, 2, async || node.restart_kubelet().await).await;
    assert_eq!(result.unwrap().stdout, "done\n", "the kubelet was restarted");

    // Each ran once.
    assert_eq!(stage.in_pod("sort ran | uniq | wc -l; wc -l < ran"), "4\n4\n");
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_twice_is_not() {
    let Some(node) = Node::shared_without_operator().await else { return };
    let stage = Stage::start(node).await;
    let server = stage.server_on_the_wire().await;
    let agent = server.agent().await;
    let write = WriteFile { path: "a.txt".to_owned(), content: "one".to_owned(), ..WriteFile::default() };
    agent.write_file(&write).await.unwrap();
    let edit = EditFile {
        path: "a.txt".to_owned(),
        old_text: "one".to_owned(),
        new_text: "one one".to_owned(),
        replace_all: true,
    };
    // The agent stands still, so what is sent is under way when the connection breaks.
    let stopped = stage.in_pod("pkill -STOP -f '[p]ortcullis agent run'; echo stopped");
    assert!(stopped.contains("stopped"));
    let (edited, ()) = tokio::join!(agent.edit_file(&edit), async {
        tokio::time::sleep(A_WHILE).await;
        stage.in_pod("pkill -KILL -f '[p]ortcullis agent connect'; pkill -CONT -f '[p]ortcullis agent run'");
    });
    let Err(AgentError::Lost(Lost { maybe_done: true, .. })) = edited else { panic!("{edited:?}") };
    let read = server.run("cat a.txt").await.unwrap().stdout;
    assert!(["one", "one one"].contains(&read.as_str()), "{read}");
    // Not sent, it is sent again.
    stage.wire.cut();
    tokio::time::sleep(A_WHILE).await;
    stage.wire.mend();
    agent.edit_file(&edit).await.unwrap();
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_dies_ends_its_commands_and_the_next_one_works() {
    let Some(node) = Node::shared_without_operator().await else { return };
    let stage = Stage::start(node).await;
    let server = stage.server_on_the_wire().await;
    let kill = async || {
        // Not before it has begun, or there is nothing to find afterwards.
        while !stage.in_pod("cat ran").ends_with('\n') || stage.in_pod("cat ran").contains("No such") {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        stage.kubectl(&["delete", "pod", &pod(), "--grace-period=0", "--force"]);
        stage.found(json!({"phase": "Starting"})).await;
    };
    let (result, took) = during_a_command(&server, 25, kill).await;
    let refused = result.unwrap_err().to_string();
    eprintln!("a pod that was killed: {refused:?} after {took:?}");
    assert!(took < Duration::from_secs(25), "{took:?}");
    stage.wait_until_ready().await;
    stage.found(json!({"phase": "Running", "podName": pod()})).await;
    let begun = Instant::now();
    let mut again = Err(String::new());
    while begun.elapsed() < Duration::from_secs(20) && again.is_err() {
        again = match server.workspaces_agent().await {
            Ok(()) => server.run("cat ran").await.map_err(|error| error.to_string()),
            Err(error) => Err(error),
        };
    }
    assert_eq!(again.unwrap().stdout.lines().count(), 1, "its files are there");

    // The agent alone is killed, and the kubelet starts it again.
    let (result, took) = during_a_command(&server, 2, async || drop(stage.in_pod("kill -KILL 1; kill -TERM 1"))).await;
    eprintln!("an agent that was ended: {result:?} after {took:?}");
    assert!(took < Duration::from_secs(30));
    assert!(stage.kubectl(&["get", "pod", &pod()]).contains(WORKSPACE));
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_api_server_is_away_nobody_waits_for_ever() {
    let Some(node) = Node::shared_without_operator().await else { return };
    let stage = Stage::start(node).await;
    let server = stage.server_on_the_wire().await;
    assert_eq!(server.run("echo before").await.unwrap().stdout, "before\n");
    stage.wire.cut();
    // What is sent at the very moment may have arrived.
    tokio::time::sleep(A_WHILE).await;
    let begun = Instant::now();
    let many = futures::future::join_all((0..20).map(|_| server.run("echo lost >> lost"))).await;
    for lost in many {
        let Err(AgentError::Lost(lost)) = lost else { panic!("{lost:?}") };
        assert!(!lost.maybe_done && lost.why.contains("no connection within 10 s"), "{lost:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    stage.wire.mend();
    assert_eq!(server.run("ls lost 2>/dev/null; echo after").await.unwrap().stdout, "after\n");
    server.end().await;
}
