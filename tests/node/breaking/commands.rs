//! Commands that take too much: disk, memory, processes, time.

use super::scene::{Said, Scene};
use futures::future::join_all;
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Forks until it is killed, and pauses for so many microseconds where it cannot. In C, so that a thousand of them are
/// small.
const BOMB: &str = "#include <stdlib.h>\n#include <unistd.h>\n\
    int main(int count, char **words) { for (;;) if (fork() < 0) usleep(atoi(words[1])); }\n";
/// How much more memory a server or an agent may take for a gigabyte that passes through: the windows of HTTP/2 are 4
/// MiB, 8 and 16 KiB of each stream are shown, and the agent's file is written in small pieces. The rest is for what
/// else the server does meanwhile.
const FLAT_KIB: u64 = 24 * 1024;

pub async fn disk_is_full(scene: &Scene<'_>) -> Said {
    scene.call("write_file", json!({"path": "notes/a.txt", "content": "old"})).await.unwrap();
    let said = scene.command("cat /dev/zero > big", 15).await;
    let begun = Instant::now();
    let content = "new".repeat(100_000);
    let refused = scene.call("write_file", json!({"path": "notes/a.txt", "content": content})).await.unwrap_err();
    let took = said.took + begun.elapsed();
    let left = scene.printed("ls -A notes; cat notes/a.txt; rm big").await;
    let state = if left == "a.txt\nold" { "the old file is whole | nothing else is there" } else { &left };
    scene.call("write_file", json!({"path": "notes/a.txt", "content": content})).await.unwrap();
    Said { took, ..said.and(&refused).and(state) }
}

pub async fn output_cannot_be_kept(scene: &Scene<'_>) -> Said {
    scene.printed("mkdir -p /run/portcullis/output; chmod 0 /run/portcullis/output").await;
    let said = scene.command("head -c 100000 /dev/zero | tr '\\0' x", 10).await;
    scene.printed("chmod 700 /run/portcullis/output").await;
    said
}

pub async fn says_a_gigabyte(scene: &Scene<'_>) -> Said {
    let agent = async || {
        let peaks = "for p in /proc/[0-9]*; do grep -q portcullis $p/cmdline 2>/dev/null && grep VmHWM $p/status; done";
        sum(&scene.printed(peaks).await)
    };
    let before = (agent().await, server_peak(scene));
    let said = scene.command("head -c 1000000000 /dev/zero | tr '\\0' x; echo end", 100).await;
    let grown = (agent().await.saturating_sub(before.0), server_peak(scene).saturating_sub(before.1));
    let flat = grown.0 < FLAT_KIB && grown.1 < FLAT_KIB;
    said.and(&format!(
        "the memory {}: KiB more of agent and server: {grown:?}",
        if flat { "stayed flat" } else { "grew" }
    ))
}

/// The most memory that the endpoint's servers have had, in KiB.
fn server_peak(scene: &Scene<'_>) -> u64 {
    let pods = scene.stage.kubectl(&["get", "pods", "-l", "portcullis.dev/endpoint=agents", "-o", "name"]);
    let peak = |pod: &str| sum(&scene.to_processes(pod, "", "grep VmHWM $p/status"));
    let peaks: u64 = pods.lines().map(|pod| peak(pod.trim_start_matches("pod/"))).sum();
    assert!(peaks > 0, "no server in {pods}");
    peaks
}

fn sum(lines: &str) -> u64 {
    lines.lines().map(|line| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()).sum()
}

pub async fn two_hundred_at_once(scene: &Scene<'_>) -> Said {
    let begun = Instant::now();
    let one = async |number: u32| {
        let arguments = json!({"command": format!("sleep 2; echo {number}"), "timeout_seconds": 30});
        let answer = scene.call("run_command", arguments).await;
        answer.map(|result| assert_eq!(result["stdout"], format!("{number}\n"), "{result}"))
    };
    let answers = join_all((0..200).map(one)).await;
    let took = begun.elapsed();
    let mut refusals: Vec<String> = answers.iter().filter_map(|answer| answer.clone().err()).collect();
    let (done, refused) = (200 - refusals.len(), refusals.len());
    refusals.sort();
    refusals.dedup();
    let text = format!("all were answered: {done} done, {refused} told: {}", refusals.join(" | "));
    Said { text, took, next_within: Duration::ZERO, meanwhile: &[] }
}

pub async fn fork_bomb(scene: &Scene<'_>) -> Said {
    build_bomb(scene).await;
    scene.command("/tmp/bomb 20000", 3).await
}

pub async fn fork_bomb_that_is_left(scene: &Scene<'_>) -> Said {
    build_bomb(scene).await;
    let begun = Instant::now();
    let left =
        scene.call("run_command", json!({"command": "/tmp/bomb 1000000 &", "timeout_seconds": 10})).await.unwrap();
    let refused = loop {
        let next = scene.call("run_command", json!({"command": "true", "timeout_seconds": 10})).await;
        match next {
            Err(refused) => break refused,
            // It has not filled the workspace yet.
            Ok(_) => sleep(Duration::from_millis(100)).await,
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "it goes on");
    };
    scene.call("stop_process", json!({"process_id": left["process_id"]})).await.unwrap();
    let text = format!("{} | {refused}", left["note"]);
    Said { text, took: begun.elapsed(), next_within: Duration::ZERO, meanwhile: &[] }
}

async fn build_bomb(scene: &Scene<'_>) {
    scene.call("write_file", json!({"path": "/tmp/bomb.c", "content": BOMB})).await.unwrap();
    let built = scene.command("cc -o /tmp/bomb /tmp/bomb.c && echo built", 60).await;
    assert!(built.text.contains("built"), "{}", built.text);
}

pub async fn ignores_sigterm(scene: &Scene<'_>) -> Said {
    let stubborn = r"#!/bin/sh
trap '' TERM
echo $$ >> stubborn
while :; do sleep 1; done
";
    scene.call("write_file", json!({"path": "stubborn.sh", "content": stubborn, "mode": "755"})).await.unwrap();
    let said = scene
        .command("trap '' TERM; ./stubborn.sh & setsid ./stubborn.sh & setsid setsid ./stubborn.sh & ./stubborn.sh", 2)
        .await;
    let left =
        scene.printed("for p in $(cat stubborn); do kill -0 $p 2>/dev/null && echo $p; done; wc -l < stubborn").await;
    said.and(if left.trim() == "4" { "nothing is left of it" } else { &left })
}

pub async fn memory_is_used_up(scene: &Scene<'_>) -> Said {
    scene.command("head -c 1000000000 /dev/zero | tail -c 900000000 | wc -c", 30).await
}
