//! A server under its default memory limit, and callers who take all they can get: it is never killed, and others are
//! served meanwhile.

use crate::{
    hoarding::{call_and_never_read, first_line, tool, withhold_the_last_byte},
    stage::{Person, Stage},
};
use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use serde_json::{Value, json};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

/// How many of everything.
const MANY: usize = 100;
/// The largest read.
const LARGEST: usize = 1 << 20;
/// `limits.requestTimeout`.
const DEADLINE: Duration = Duration::from_secs(20);
/// How much later than that something may end, on a busy machine.
const LATE: Duration = Duration::from_secs(15);
/// How many calls the other caller makes.
const SAMPLES: usize = 30;
const EVIL_AGENT: &str = include_str!("endless_agent.py");

/// The attacks, each by itself and then all together.
const ATTACKS: [&[Attack]; 5] = [
    &[Attack::LargestReads],
    &[Attack::BodiesWithoutTheirLastByte],
    &[Attack::ReadersThatDoNotRead],
    &[Attack::AnswersWithoutEnd],
    &[
        Attack::LargestReads,
        Attack::BodiesWithoutTheirLastByte,
        Attack::ReadersThatDoNotRead,
        Attack::AnswersWithoutEnd,
    ],
];

#[derive(Clone, Copy, Debug)]
enum Attack {
    LargestReads,
    BodiesWithoutTheirLastByte,
    ReadersThatDoNotRead,
    AnswersWithoutEnd,
}

/// Begins an attack. Its tasks end when all that it began has ended.
fn begin(attack: Attack, to: SocketAddr, ann: &Person, tasks: &mut JoinSet<()>) {
    let local = "127.0.0.1";
    for _ in 0..MANY {
        let (token, http, url) = (ann.token.clone(), ann.http.clone(), format!("http://{to}/mcp"));
        let read = tool("read_file", &json!({"workspace": "web", "path": "large", "max_bytes": LARGEST}));
        tasks.spawn(async move {
            let send = async |body: String| {
                let request = http.post(&url).bearer_auth(&token).header("content-type", "application/json");
                if let Ok(answer) = request.header("accept", "application/json").body(body).send().await {
                    let _ = answer.bytes().await;
                }
            };
            match attack {
                Attack::LargestReads => send(read).await,
                Attack::AnswersWithoutEnd => send(tool("list_files", &json!({"workspace": "evil"}))).await,
                Attack::BodiesWithoutTheirLastByte => {
                    first_line(withhold_the_last_byte(to, local, &token, 4 << 20).await).await;
                }
                Attack::ReadersThatDoNotRead => {
                    let _reader = call_and_never_read(to, local, &token, &read).await;
                    tokio::time::sleep(DEADLINE).await;
                }
            }
        });
    }
}

/// How long small calls take: the median and what all but a twentieth take at most. None may fail.
async fn latency(of: &Person) -> (Duration, Duration) {
    let mut times = Vec::new();
    for _ in 0..SAMPLES {
        let begun = Instant::now();
        let listed = timeout(Duration::from_secs(10), of.call("list_workspaces", &json!({}))).await;
        listed.expect("another caller is answered").expect("another caller is served");
        times.push(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    times.sort_unstable();
    (times[SAMPLES / 2], times[SAMPLES * 95 / 100])
}

/// The servers have run without an end.
async fn never_killed(stage: &Stage<'_>) {
    let servers = ListParams::default().labels("portcullis.dev/endpoint=agents");
    for pod in stage.api::<Pod>().list(&servers).await.unwrap() {
        for container in pod.status.and_then(|status| status.container_statuses).unwrap_or_default() {
            let ended = container.last_state.and_then(|state| state.terminated);
            assert_eq!((container.restart_count, ended), (0, None));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_outlives_callers_who_take_all_they_can_get() {
    // All else is as it is by default: a memory limit of 128Mi above all.
    let limits =
        json!({"requestsPerSecond": 10_000, "burst": 10_000, "requestTimeout": format!("{}s", DEADLINE.as_secs())});
    let Some(stage) = Stage::shared(&json!({"limits": limits})).await else { return };
    let (ann, bob) = (stage.sign_in("ann").await, stage.sign_in("bob").await);
    join_all([ann.make("web"), ann.make("evil"), bob.make("own")]).await;
    let line = format!("head -c {LARGEST} /dev/zero | tr '\\0' '\"' | fold -w 99 > large");
    let made = ann.call("run_command", &json!({"workspace": "web", "command": line})).await.unwrap();
    assert_eq!(made["exit_code"], 0, "{made}");
    let script = json!({"workspace": "evil", "path": "agent.py", "content": EVIL_AGENT});
    ann.call("write_file", &script).await.unwrap();
    let line =
        "socket=$(find /run /tmp /var -name agent.sock 2>/dev/null | head -n 1); exec python3 agent.py \"$socket\"";
    let begun =
        ann.call("run_command", &json!({"workspace": "evil", "command": line, "background": true})).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let cut = ann.call("list_files", &json!({"workspace": "evil"})).await.unwrap_err();
    assert!(cut.contains("sent more than the"), "{begun}: {cut}");

    let to: SocketAddr = stage.url.strip_prefix("http://").unwrap().strip_suffix("/mcp").unwrap().parse().unwrap();
    for attacks in ATTACKS {
        let (quiet, quiet_p95) = latency(&bob).await;
        let (mut tasks, begun) = (JoinSet::new(), Instant::now());
        for attack in attacks {
            begin(*attack, to, &ann, &mut tasks);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (loaded, loaded_p95) = latency(&bob).await;
        let mine = bob.call("run_command", &json!({"workspace": "own", "command": "echo mine"})).await;
        assert_eq!(mine.unwrap_or(Value::Null)["stdout"], "mine\n", "{attacks:?}");
        let all = async { while tasks.join_next().await.is_some() {} };
        timeout(DEADLINE + LATE, all).await.unwrap_or_else(|_| panic!("{attacks:?} does not end in its time"));
        eprintln!(
            "{attacks:?}: another caller's median {loaded:.1?}, p95 {loaded_p95:.1?}; quiet {quiet:.1?}, {quiet_p95:.1?}; \
             all ended after {:.1?}",
            begun.elapsed()
        );
        never_killed(&stage).await;
    }
    // What they held is free again.
    assert!(ann.call("read_file", &json!({"workspace": "web", "path": "large", "max_bytes": LARGEST})).await.is_ok());
}
