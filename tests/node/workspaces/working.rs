//! All is well: commands over one warm connection, files, logs, and what is noted of it.

use super::stage::{Stage, WORKSPACE, ann, pod};
use crate::{node::Node, support::operator::eventually};
use futures::future::join_all;
use portcullis_agent::protocol::{ReadFile, WriteFile};
use portcullis_api::Workspace as Object;
use portcullis_workspaces::{Purpose, Workspaces as _};
use serde_json::json;
use std::{fs, path::PathBuf, time::Duration};
use tokio::time::Instant;

#[tokio::test(flavor = "multi_thread")]
async fn all_commands_go_over_one_connection_that_stays_warm() {
    let Some(node) = Node::shared_without_operator().await else { return };
    let stage = Stage::start(node).await;
    let server = stage.server(Duration::from_mins(5)).await;
    let before = stage.api::<Object>().get(WORKSPACE).await.unwrap().status.unwrap().last_activity;
    assert_eq!((before, stage.connections()), (None, 0));

    let begun = Instant::now();
    let hello = server.agent().await.hello().await.unwrap();
    let opened = begun.elapsed();
    assert_eq!((hello.home.as_str(), hello.version.as_str()), ("/home/dev", env!("CARGO_PKG_VERSION")));
    let mut times = Vec::new();
    for _ in 0..100 {
        let begun = Instant::now();
        assert_eq!(server.run("true").await.unwrap().exit_code, Some(0));
        times.push(begun.elapsed());
    }
    times.sort();
    let begun = Instant::now();
    let lines: Vec<String> = (0..64).map(|number| format!("echo {number}")).collect();
    let all = join_all(lines.iter().map(|line| server.run(line))).await;
    let many = begun.elapsed();
    for (number, result) in all.into_iter().enumerate() {
        assert_eq!(result.unwrap().stdout, format!("{number}\n"));
    }
    eprintln!("opened in {opened:?}; true: {:?} p50, {:?} p99; 64 at once: {:?}", times[50], times[98], many);
    assert_eq!(stage.connections(), 1);

    // Both ways, beyond every buffer.
    let content = "x".repeat(8 << 20);
    let agent = server.agent().await;
    let write = WriteFile { path: "big".to_owned(), content: content.clone(), ..WriteFile::default() };
    let begun = Instant::now();
    let (written, many) = tokio::join!(agent.write_file(&write), join_all((0..8).map(|_| server.run("seq 20000"))));
    assert_eq!(written.unwrap().size, 8 << 20);
    assert!(many.into_iter().all(|result| result.unwrap().exit_code == Some(0)));
    let read = ReadFile { path: "big".to_owned(), max_bytes: Some(8 << 20), ..ReadFile::default() };
    let (read, other) = tokio::join!(agent.read_file(&read), server.run("echo meanwhile"));
    assert_eq!((read.unwrap().content.len(), other.unwrap().stdout.as_str()), (8 << 20, "meanwhile\n"));
    eprintln!("8 MiB written and read: {:?}", begun.elapsed());

    let usage = server.workspaces.agent(&ann(), WORKSPACE, Purpose::Look).await.unwrap().usage().await.unwrap();
    assert!(usage.memory.used.unwrap() > 0.0);
    // When it was worked in is told at once here, and a moment later everywhere.
    assert!(server.workspaces.get(&ann(), WORKSPACE).await.unwrap().last_activity.is_some());
    let mut noted = None;
    for _ in 0..100 {
        noted = stage.api::<Object>().get(WORKSPACE).await.unwrap().status.unwrap().last_activity;
        if noted.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(noted.is_some());
    server.end().await;
    assert_eq!(stage.connections(), 0, "a server that ends closes what it opened");
}

/// The arguments and the environments of the agents' processes on this machine.
fn agents_processes() -> Vec<(String, String)> {
    let read = |path: PathBuf| String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).replace('\0', " ");
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let processes = processes.map(|path| (read(path.join("cmdline")), read(path.join("environ"))));
    processes.filter(|(arguments, _)| arguments.starts_with("portcullis agent ")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_keeps_its_binary_and_its_environment_to_itself() {
    let Some(node) = Node::shared_without_operator().await else { return };
    let stage = Stage::start(node).await;
    let server = stage.server(Duration::from_mins(5)).await;
    let agent = server.agent().await;
    let secret = stage.secret();
    assert_eq!(server.run("echo $TEMPLATE_SECRET").await.unwrap().stdout, format!("{secret}\n"));
    for path in ["/proc/self/environ", "/proc/1/environ", "/run/portcullis/portcullis", "/run/portcullis/agent.sock"] {
        let read = agent.read_file(&ReadFile { path: path.to_owned(), ..ReadFile::default() }).await;
        assert!(read.unwrap_err().to_string().contains("the file tools cannot access it"), "{path}");
    }
    let processes = agents_processes();
    for kind in ["agent run --bare", "agent run --service", "agent connect"] {
        assert!(processes.iter().any(|(arguments, _)| arguments.contains(kind)), "{kind}: {processes:?}");
    }
    for (arguments, environment) in processes {
        assert!(!environment.contains(&secret) && !arguments.contains(&secret), "{arguments}");
    }
    assert!(server.run("cat /proc/1/environ").await.unwrap().stderr.contains("Permission denied"));

    let write = WriteFile { path: "/run/portcullis/portcullis".to_owned(), ..WriteFile::default() };
    assert!(agent.write_file(&write).await.unwrap_err().to_string().contains("the file tools cannot access it"));
    // Nor can a command: it is mounted read-only.
    let over = "cd /run/portcullis && cp /bin/true other; \
                for how in 'cp other portcullis' 'mv -f other portcullis' 'rm -f portcullis'; do $how || echo refused; done; \
                ./portcullis --version";
    let tried = server.run(over).await.unwrap();
    let version = format!("portcullis-agent {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(tried.stdout, format!("refused\nrefused\nrefused\n{version}"), "{tried:?}");
    let long = server.run("seq 20000").await.unwrap().stdout_file.unwrap();
    assert!(long.starts_with("/run/portcullis/output/"), "{long}");
    assert!(agent.read_file(&ReadFile { path: long, ..ReadFile::default() }).await.unwrap().size > 100_000);
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_nobody_uses_is_closed_and_made_anew() {
    let Some(node) = Node::shared_without_operator().await else { return };
    let stage = Stage::start(node).await;
    let server = stage.server(Duration::from_secs(6)).await;
    // Longer than a connection may be idle: one that works is not.
    assert_eq!(server.run("sleep 9; echo done").await.unwrap().stdout, "done\n");
    assert_eq!(stage.connections(), 1);
    let closed = async {
        while stage.connections() > 0 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), closed).await.expect("an idle connection is closed");
    assert_eq!(server.run("echo again").await.unwrap().stdout, "again\n");
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_pod_says_can_be_read_also_when_there_is_none() {
    let Some(node) = Node::shared_without_operator().await else { return };
    let stage = Stage::start(node).await;
    let server = stage.server(Duration::from_mins(5)).await;
    let logs = async |lines| server.workspaces.logs(&ann(), WORKSPACE, lines).await;
    let all = eventually("the template's program has printed all", async || {
        let all = logs(1000).await.unwrap();
        all.lines.iter().any(|line| line == "said 30").then_some(all)
    })
    .await;
    assert!(!all.truncated, "{all:?}");
    let said: Vec<&String> = all.lines.iter().filter(|line| line.starts_with("said ")).collect();
    assert_eq!(said, (1..=30).map(|number| format!("said {number}")).collect::<Vec<_>>().iter().collect::<Vec<_>>());
    let last = logs(10).await.unwrap();
    assert_eq!((last.lines.as_slice(), last.truncated), (&all.lines[all.lines.len() - 10..], true));
    stage.kubectl(&["delete", "statefulset", &format!("workspace-{WORKSPACE}")]);
    stage.kubectl(&["wait", "--for=delete", &format!("pod/{}", pod()), "--timeout=60s"]);
    let refused = logs(10).await.unwrap_err().to_string();
    assert!(refused.contains("there is no pod"), "{refused}");
    server.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_server_gets_into_another_pod() {
    let Some(node) = Node::shared_without_operator().await else { return };
    let stage = Stage::start(node).await;
    let server = stage.server(Duration::from_mins(5)).await;
    assert_eq!(server.run("echo open").await.unwrap().stdout, "open\n");
    assert_eq!(stage.connections(), 1);
    // Somebody who may write the status points it elsewhere.
    stage.found(json!({"phase": "Running", "podName": "database-0"})).await;
    // Until the server has heard of it, it still gets into the workspace. Then no open connection is used any more:
    // a connection leads to the pod that the status names.
    let refused = eventually("it is refused", async || {
        let agent = match server.workspaces.agent(&ann(), WORKSPACE, Purpose::Work).await {
            Ok(agent) => agent,
            Err(error) => panic!("{error:?}"),
        };
        agent.hello().await.err().map(|error| error.to_string())
    })
    .await;
    assert!(refused.contains("does not let this server") && refused.contains("platform's engineers"), "{refused}");
    server.end().await;
}
