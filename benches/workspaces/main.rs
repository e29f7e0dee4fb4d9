//! `make bench`, second part: workspaces on a real node, through the endpoint, with the servers and the operator as
//! they are shipped, beside what one would do without Portcullis. All in one run, appended to docs/benchmarks.md.
#![expect(unreachable_pub, reason = "a benchmark is a crate of its own, of which nothing is reachable")]
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the tests' node and stage fail by panicking"
)]

#[path = "../../tests/support/node.rs"]
#[expect(dead_code, reason = "made for tests")]
mod node;
mod report;
mod sides;
#[path = "../../tests/node/stage.rs"]
#[expect(dead_code, reason = "made for tests")]
mod stage;
#[path = "../../tests/support/mod.rs"]
#[expect(dead_code, reason = "made for tests")]
mod support;

use futures::{StreamExt as _, future::join_all, stream};
use kube::api::PostParams;
use node::Node;
use portcullis_api::Workspace;
use report::{Row, Times};
use serde_json::json;
use sides::{Sides, WORKSPACE};
use stage::Stage;
use std::{env, error::Error, fs::OpenOptions, io::Write as _, path::PathBuf};
use tokio::time::Instant;

/// How often everything is measured; nobody always goes first.
const ROUNDS: usize = 5;
/// Commands of a round.
const WARM: usize = 200;
const FRESH: usize = 30;
const KUBECTL: usize = 10;
const AT_ONCE: usize = 64;
/// Workspaces that are listed.
const MANY: usize = 1000;
const LISTS: usize = 200;
/// The file that is written and read.
const FILE_MIB: usize = 16;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let output = arguments.iter().skip_while(|word| *word != "--append").nth(1).map(PathBuf::from);
    // A process has one; the client that makes the requests needs it.
    let _ = rustls::crypto::ring::default_provider().install_default();

    let node = Node::start().await.ok_or("this machine cannot have a node; see CONTRIBUTING.md")?;
    let limits = json!({
        "requestsPerSecond": 100_000, "burst": 100_000, "maxConcurrentRequests": 1000, "maxBodySize": "64Mi",
    });
    // Files of 16 MiB are several times in memory on their way; the default limit is made for small ones.
    let deployment = json!({"replicas": 1, "resources": {"limits": {"memory": "512Mi"}}});
    let more = json!({"limits": limits, "workspaces": {"maxPerUser": 2 * MANY}, "deployment": deployment});
    let stage = Stage::on(&node, &more).await;
    let mut ann = stage.sign_in("ann").await;
    // As a client does: one connection for all.
    ann.http = reqwest::Client::new();
    let mut created = Times::default();
    for index in 0..ROUNDS {
        let begin = Instant::now();
        ann.make(&if index == 0 { WORKSPACE.to_owned() } else { format!("other-{index}") }).await;
        created.add(begin);
    }
    let sides = Sides::new(&stage, &ann).await;
    let rows = [
        commands(&sides).await,
        at_once(&sides).await,
        files(&sides).await,
        lists(&stage, &sides).await?,
        vec![Row::alone("`create_workspace` until commands can run", created)],
    ];
    let report = report::to_markdown(&rows.concat(), &sides.memory().await);
    match output {
        Some(path) => OpenOptions::new().append(true).open(path)?.write_all(report.as_bytes())?,
        None => print!("{report}"),
    }
    Ok(())
}

/// One after another.
async fn commands(sides: &Sides<'_>) -> Vec<Row> {
    let (mut warm, mut fresh, mut kubectl) = (Times::default(), Times::default(), Times::default());
    // The first opens the connection.
    sides.command("true").await;
    for round in 0..ROUNDS {
        for side in 0..3 {
            match (side + round) % 3 {
                0 => warm.repeat(WARM, || sides.command("true")).await,
                1 => fresh.repeat(FRESH, || sides.exec(&["true"])).await,
                _ => kubectl.repeat(KUBECTL, || async { sides.kubectl_exec() }).await,
            }
        }
    }
    vec![
        Row::beside("`run_command true`, warm", "a fresh exec by the kube client, nodelay on", &warm, fresh)
            .with_goal(0.1),
        Row::beside("the same", "`kubectl exec`", &warm, kubectl),
    ]
}

/// Many at the same time: each one's own time.
async fn at_once(sides: &Sides<'_>) -> Vec<Row> {
    let (mut warm, mut fresh) = (Times::default(), Times::default());
    for _ in 0..ROUNDS {
        for (times, is_warm) in [(&mut warm, true), (&mut fresh, false)] {
            let each = (0..AT_ONCE).map(|_| async {
                let begin = Instant::now();
                if is_warm {
                    sides.command("true").await;
                } else {
                    sides.exec(&["true"]).await;
                }
                begin.elapsed()
            });
            times.extend(join_all(each).await);
        }
    }
    vec![Row::beside(&format!("`run_command true`, {AT_ONCE} at once"), "fresh execs, as many at once", &warm, fresh)]
}

/// A large file each way.
async fn files(sides: &Sides<'_>) -> Vec<Row> {
    let content = "0123456789abcde\n".repeat(FILE_MIB << 16);
    let (mut written, mut read, mut piped) = (Times::default(), Times::default(), Times::default());
    for _ in 0..ROUNDS {
        written.repeat(1, || sides.write("large.txt", &content)).await;
        read.repeat(1, || sides.read("large.txt", content.len())).await;
        piped.repeat(1, || sides.exec(&["cat", "/home/dev/large.txt"])).await;
    }
    vec![
        Row::alone(&format!("`write_file` of {FILE_MIB} MiB"), written),
        Row::beside(&format!("`read_file` of {FILE_MIB} MiB, 1 MiB at a time"), "a fresh exec of `cat`", &read, piped),
    ]
}

/// A page of many.
async fn lists(stage: &Stage<'_>, sides: &Sides<'_>) -> Result<Vec<Row>, Box<dyn Error>> {
    let api = stage.api::<Workspace>();
    let objects = (0..MANY).map(|index| {
        let name = format!("many-{index:04}");
        json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "Workspace", "metadata": {"name": name},
            "spec": {"endpointRef": {"name": "agents"}, "owner": {"id": "local:ann", "name": "ann"},
                "displayName": name, "templateRef": {"name": "debian"}, "running": false},
        })
    });
    let objects = objects.map(serde_json::from_value).collect::<Result<Vec<Workspace>, _>>()?;
    let params = PostParams::default();
    let made = stream::iter(&objects).map(|object| api.create(&params, object)).buffer_unordered(16);
    for made in made.collect::<Vec<_>>().await {
        made?;
    }
    sides.until_listed(&format!("many-{:04}", MANY - 1)).await;
    let (mut from_memory, mut from_api) = (Times::default(), Times::default());
    for _ in 0..ROUNDS {
        from_memory.repeat(LISTS / ROUNDS, || sides.list()).await;
        from_api.repeat(LISTS / ROUNDS, || sides.list_by_api()).await;
    }
    let what = format!("`list_workspaces`, a page of 50 of {}", MANY + ROUNDS);
    Ok(vec![Row::beside(&what, "the same page from the API server", &from_memory, from_api).within_ms(2.0)])
}
