//! Things break: each ends in a clear answer within its time, and the next command works. Every row is one thing that
//! breaks on a real node, as an agent sees it that calls tools over MCP; the tests print what was answered.

mod between;
mod commands;
mod images;
mod scene;
mod servers;

use crate::{node::Node, stage::Stage};
use futures::{FutureExt as _, StreamExt as _, future::LocalBoxFuture, stream};
use scene::{Said, Scene, templates};
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

/// How many rows play at once: each has a pod of its own, and the machine is small.
const AT_ONCE: usize = 4;
/// How long the next command may take: what is not broken answers at once, on a busy machine too.
const NEXT_WITHIN: Duration = Duration::from_secs(15);

/// One thing that breaks.
struct Row {
    /// What happens, in few words.
    what: &'static str,
    /// The template of its workspace.
    template: &'static str,
    /// Makes it happen, and returns what was answered.
    play: for<'a> fn(&'a Scene<'a>) -> LocalBoxFuture<'a, Said>,
    /// What the answer says, all of it.
    says: &'static [&'static str],
    /// In how many seconds it has to be there.
    within: u64,
}

/// What breaks in one workspace; others do not notice.
const IN_A_WORKSPACE: &[Row] = &[
    Row {
        what: "the pod is deleted without a warning",
        template: "debian",
        play: |scene| between::pod_is_deleted(scene).boxed_local(),
        says: &["check what the command has done", "again"],
        within: 30,
    },
    Row {
        what: "the container is killed",
        template: "debian",
        play: |scene| between::container_is_killed(scene).boxed_local(),
        says: &["restarted while the command ran", "check what it has done before you run it again"],
        within: 20,
    },
    Row {
        what: "the agent is killed",
        template: "debian",
        play: |scene| between::agent_is_killed(scene).boxed_local(),
        says: &["restarted while the command ran", "check what it has done before you run it again"],
        within: 20,
    },
    Row {
        what: "the near end of the tunnel is killed",
        template: "debian",
        play: |scene| between::tunnel_is_killed(scene).boxed_local(),
        says: &["exit code 0", "it ran 1 times"],
        within: 20,
    },
    Row {
        what: "the disk is full",
        template: "small",
        play: |scene| commands::disk_is_full(scene).boxed_local(),
        says: &["No space left on device", "the disk", "the old file is whole", "nothing else is there"],
        within: 15,
    },
    Row {
        what: "output cannot be kept",
        template: "small",
        play: |scene| commands::output_cannot_be_kept(scene).boxed_local(),
        says: &["exit code 0", "truncated", "stdout could not be kept completely"],
        within: 15,
    },
    Row {
        what: "a command says 1 GB",
        template: "big",
        play: |scene| commands::says_a_gigabyte(scene).boxed_local(),
        says: &["exit code 0", "truncated", "bytes omitted", "first 64 MiB", "the memory stayed flat"],
        within: 110,
    },
    Row {
        what: "a fork bomb",
        template: "bomb",
        play: |scene| commands::fork_bomb(scene).boxed_local(),
        says: &["timed out", "it was ended because of the timeout"],
        within: 25,
    },
    Row {
        what: "a fork bomb that its command leaves behind",
        template: "bomb",
        play: |scene| commands::fork_bomb_that_is_left(scene).boxed_local(),
        says: &["a process that it started still runs", "cannot start another process", "stop_process"],
        within: 30,
    },
    Row {
        what: "a command ignores SIGTERM, and so does what left its group",
        template: "small",
        play: |scene| commands::ignores_sigterm(scene).boxed_local(),
        says: &["exit code 137", "timed out", "nothing is left of it"],
        within: 15,
    },
    Row {
        what: "the memory is used up",
        template: "small",
        play: |scene| commands::memory_is_used_up(scene).boxed_local(),
        says: &["the workspace ran out of memory", "workspace_usage"],
        within: 30,
    },
    Row {
        what: "an image without a shell and a C library",
        template: "static",
        play: |scene| images::without_a_shell(scene).boxed_local(),
        says: &[
            "hello from nowhere",
            "this image has no shell: the program was run directly",
            "there is no program ls in this image",
            "so '|' has no effect",
            "a file was written and read",
        ],
        within: 15,
    },
    Row {
        what: "a user without a name",
        template: "nobody",
        play: |scene| images::as_nobody(scene).boxed_local(),
        says: &["12345 12345 /home/dev", "cannot find name for user ID 12345", "a file was written and read"],
        within: 15,
    },
];

/// What breaks for all workspaces of an endpoint.
const FOR_A_SERVER: &[Row] = &[
    Row {
        what: "200 commands at once",
        template: "big",
        play: |scene| commands::two_hundred_at_once(scene).boxed_local(),
        says: &["all were answered", "this client has reached its share of the concurrent requests for this user"],
        within: 60,
    },
    Row {
        what: "the server's connections to the API server are cut",
        template: "debian",
        play: |scene| servers::connections_are_cut(scene).boxed_local(),
        says: &["exit code 0", "it ran 1 times"],
        within: 30,
    },
    Row {
        what: "the server is killed",
        template: "debian",
        play: |scene| servers::server_is_killed(scene).boxed_local(),
        says: &["ended when nobody took it up", "the other server says: still there"],
        within: 60,
    },
];

/// What breaks for all of a node.
const FOR_A_NODE: &[Row] = &[
    Row {
        what: "the kubelet is restarted between two commands",
        template: "debian",
        play: |scene| servers::kubelet_is_restarted_between(scene).boxed_local(),
        says: &["exit code 0"],
        within: 15,
    },
    Row {
        what: "the kubelet is restarted while a command runs",
        template: "debian",
        play: |scene| servers::kubelet_is_restarted(scene).boxed_local(),
        says: &["exit code 0", "it ran 1 times"],
        within: 30,
    },
    Row {
        what: "the API server is down for 30 seconds",
        template: "debian",
        play: |scene| servers::api_server_is_down(scene).boxed_local(),
        says: &[
            "could not be reached",
            "check before you repeat it",
            "nothing was done: try again",
            "meanwhile list_workspaces has 1",
        ],
        within: 70,
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_in_a_workspace() {
    let Some(stage) = Stage::shared(&json!({})).await else { return };
    play(&stage, IN_A_WORKSPACE, AT_ONCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_for_a_server() {
    let limits = json!({"maxConcurrentRequests": 60, "requestsPerSecond": 10_000, "burst": 10_000});
    let more = json!({"deployment": {"replicas": 2}, "limits": limits});
    let Some(stage) = Stage::shared(&more).await else { return };
    play(&stage, FOR_A_SERVER, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_for_a_node() {
    let Some(node) = Node::start().await else { return };
    let stage = Stage::on(&node, &json!({})).await;
    play(&stage, FOR_A_NODE, 1).await;
}

/// Plays rows, each in a workspace of its own.
async fn play(stage: &Stage<'_>, rows: &'static [Row], at_once: usize) {
    stage.apply(&templates());
    let ann = stage.sign_in("ann").await;
    let played = stream::iter(rows.iter().enumerate()).map(|(number, row)| {
        let scene = Scene { stage, person: &ann, workspace: format!("row-{number}"), template: row.template };
        async move {
            scene.make().await;
            let said = (row.play)(&scene).await;
            let begun = Instant::now();
            let next = scene.next(said.meanwhile).await;
            judge(row, &said, &next, begun.elapsed())
        }
    });
    let played: Vec<String> = played.buffered(at_once).collect().await;
    let wrong = played.concat();
    assert!(wrong.is_empty(), "{wrong}");
}

/// Says what was answered, and returns what is wrong with it.
fn judge(row: &Row, said: &Said, next: &Result<(), String>, next_took: Duration) -> String {
    let what = row.what;
    eprintln!("{what}\n  after {:.1?}: {}\n  the next command, after {next_took:.1?}: {next:?}", said.took, said.text);
    let silent = row.says.iter().filter(|words| !said.text.contains(**words));
    let mut wrong: Vec<String> = silent.map(|words| format!("{what}: it does not say {words:?}\n")).collect();
    if said.took > Duration::from_secs(row.within) {
        wrong.push(format!("{what}: it took {:?} and not {} s\n", said.took, row.within));
    }
    if next.is_err() || next_took > NEXT_WITHIN.max(said.next_within) {
        wrong.push(format!("{what}: the next command took {next_took:?}: {next:?}\n"));
    }
    wrong.concat()
}
