//! What all workspaces need breaks: the server, its connections, the kubelet, the API server.

use super::scene::{Said, Scene};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use portcullis_config::PUBLIC_PORT;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Longer than an agent waits for a server to come back, with the time that a process may take to end.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(19);

/// A server that runs: its pod and its address.
async fn servers(scene: &Scene<'_>) -> Vec<(String, String)> {
    let of_endpoint = ListParams::default().labels("portcullis.dev/endpoint=agents");
    let pods = scene.stage.api::<Pod>().list(&of_endpoint).await.unwrap();
    let server = |pod: Pod| Some((pod.metadata.name?, pod.status?.pod_ip?));
    pods.items.into_iter().filter_map(server).collect()
}

/// Calls a tool at one server.
async fn ask(scene: &Scene<'_>, address: &str, tool: &str, mut arguments: Value) -> Result<Value, String> {
    arguments["workspace"] = json!(scene.workspace);
    let (_, rest) = scene.stage.url.split_once("://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let request = reqwest::Client::new().post(format!("http://{address}:{PUBLIC_PORT}/{path}"));
    let request = request.bearer_auth(&scene.person.token).header("Host", host).header("Accept", "application/json");
    let call = json!({"name": tool, "arguments": arguments});
    let request = request.json(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}));
    let answer = request.timeout(Duration::from_mins(1)).send().await.map_err(|error| format!("{error:?}"))?;
    let text = answer.text().await.map_err(|error| format!("{error:?}"))?;
    let mut answer: Value = serde_json::from_str(&text).map_err(|_| text)?;
    match &answer["result"]["isError"] {
        Value::Bool(true) => Err(answer["result"]["content"][0]["text"].to_string()),
        _ => Ok(answer["result"]["structuredContent"].take()),
    }
}

pub async fn connections_are_cut(scene: &Scene<'_>) -> Said {
    let addresses: Vec<String> = servers(scene).await.into_iter().map(|(_, address)| address).collect();
    let rules = format!(
        "table inet cut {{\n chain in {{\n type filter hook input priority -300\n
        ip saddr {{ {} }} tcp dport 6443 reject with tcp reset\n }}\n }}",
        addresses.join(", ")
    );
    let cut = async || {
        nft(scene, &rules);
        sleep(Duration::from_secs(2)).await;
        nft(scene, "delete table inet cut");
    };
    let said = scene.during(5, cut).await;
    said.and(&scene.runs().await)
}

fn nft(scene: &Scene<'_>, rules: &str) {
    let done = scene.stage.node.enter(&["nft", rules]).output().unwrap();
    assert!(done.status.success(), "{done:?}");
}

pub async fn server_is_killed(scene: &Scene<'_>) -> Said {
    let [(killed, at), (_, other)] = <[_; 2]>::try_from(servers(scene).await).unwrap();
    let background = json!({"command": "echo still there; sleep 1000", "background": true});
    let background = ask(scene, &at, "run_command", background).await.unwrap();
    let line = json!({"command": "echo $$ > foreground; sleep 1000", "timeout_seconds": 60});
    let (lost, died) = tokio::join!(ask(scene, &at, "run_command", line), async {
        scene.until("the command runs", async || !scene.in_pod("cat foreground").is_empty()).await;
        scene.stage.kubectl(&["delete", "pod", &killed, "--grace-period=0", "--force"]);
        scene.kill(&killed, "");
        Instant::now()
    });
    assert!(lost.is_err(), "{lost:?}");
    let gone = async || {
        let runs = json!({"command": "kill -0 $(cat foreground)", "timeout_seconds": 10});
        ask(scene, &other, "run_command", runs).await.is_ok_and(|result| result["exit_code"] == 1)
    };
    scene.until("the foreground command ends", gone).await;
    let took = died.elapsed();
    assert!(took < GIVEN_UP_AFTER + Duration::from_secs(5), "{took:?}");
    let output = json!({"process_id": background["process_id"]});
    let said = ask(scene, &other, "process_output", output).await.unwrap();
    ask(scene, &other, "stop_process", json!({"process_id": background["process_id"]})).await.unwrap();
    // Where connections lead from now on.
    scene.stage.ready().await;
    let text = format!(
        "ended when nobody took it up, {:.1} s after | the other server says: {}",
        took.as_secs_f64(),
        said["output"].as_str().unwrap().trim()
    );
    Said { text, took, next_within: Duration::ZERO, meanwhile: &[] }
}

pub async fn kubelet_is_restarted_between(scene: &Scene<'_>) -> Said {
    scene.printed("echo before").await;
    scene.stage.node.restart_kubelet().await;
    scene.command("echo after", 10).await
}

pub async fn kubelet_is_restarted(scene: &Scene<'_>) -> Said {
    let said = scene.during(5, async || scene.stage.node.restart_kubelet().await).await;
    said.and(&scene.runs().await)
}

pub async fn api_server_is_down(scene: &Scene<'_>) -> Said {
    let node = scene.stage.node;
    let (mut listed, mut later) = (None, None);
    let said = scene
        .during(50, async || {
            node.stop("kube-apiserver");
            let down = Instant::now();
            sleep(Duration::from_secs(2)).await;
            listed = Some(scene.person.call("list_workspaces", &json!({})).await.unwrap());
            // The one before has used up its patience by then.
            sleep(Duration::from_secs(13)).await;
            later = Some(scene.command("echo nothing", 10).await);
            sleep(Duration::from_secs(30).saturating_sub(down.elapsed())).await;
            node.start_again("kube-apiserver");
            scene
                .until("the API server is back", async || node.kubectl(&["get", "--raw", "/readyz"]).status.success())
                .await;
        })
        .await;
    let (listed, later) = (listed.unwrap(), later.unwrap());
    assert!(later.took < Duration::from_secs(13), "{:?}", later.took);
    let count =
        listed["workspaces"].as_array().unwrap().iter().filter(|one| one["name"] == json!(scene.workspace)).count();
    said.and(&later.text).and(&format!("meanwhile list_workspaces has {count} of it"))
}
