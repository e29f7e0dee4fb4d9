//! That the node of the tests is a real one: what the other tests build upon.

use crate::node::Node;
use serde_json::{Value, json};
use std::{
    process::{Command, Output},
    time::Duration,
};
use tokio::{
    net::TcpListener,
    time::{Instant, timeout},
};

const SOON: Duration = Duration::from_mins(1);

/// A pod that a restricted namespace admits. Its only container is called `it`.
fn restricted_pod(name: &str, image: &str, command: &[&str]) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {"runAsNonRoot": true, "fsGroup": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "it", "image": image, "imagePullPolicy": "Never", "command": command,
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
        },
    })
}

/// Creates an object in a namespace.
fn create(node: &Node, namespace: &str, object: &Value) {
    let made = node.kubectl_with_input(&["--namespace", namespace, "create", "-f", "-"], &object.to_string());
    assert!(made.status.success(), "{made:?}");
}

async fn restricted_namespace(node: &Node) -> String {
    let namespace = node.create_namespace("node").await;
    let label = "pod-security.kubernetes.io/enforce=restricted";
    let labelled = node.kubectl(&["label", "namespace", &namespace, label]);
    assert!(labelled.status.success(), "{labelled:?}");
    namespace
}

fn wait_for(node: &Node, namespace: &str, condition: &str, object: &str) {
    let done = node.kubectl(&["-n", namespace, "wait", "--for", condition, object, "--timeout", "60s"]);
    if !done.status.success() {
        let told = node.kubectl(&["-n", namespace, "describe", object]);
        panic!("{object} has no {condition}: {done:?}\n{}", text(&told));
    }
}

fn exec(node: &Node, namespace: &str, pod: &str, script: &str) -> String {
    text(&node.kubectl(&["-n", namespace, "exec", pod, "--", "sh", "-c", script]))
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Asks again until the answer will do.
fn until(what: &str, mut question: impl FnMut() -> Result<(), String>) {
    let deadline = Instant::now() + SOON;
    while let Err(answer) = question() {
        assert!(Instant::now() < deadline, "never {what}: {answer}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[tokio::test]
async fn a_restricted_pod_has_a_disk_a_name_service_and_its_usage_measured() {
    let Some(node) = Node::shared().await else { return };
    let namespace = restricted_namespace(node).await;
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "home"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "32Mi"}}},
    });
    create(node, &namespace, &claim);
    let mut pod = restricted_pod("workspace", "local/workspace:1", &["sleep", "infinity"]);
    pod["spec"]["volumes"] = json!([{"name": "home", "persistentVolumeClaim": {"claimName": "home"}}]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "home", "mountPath": "/home/dev"}]);
    create(node, &namespace, &pod);
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "workspace"}, "ports": [{"port": 80}]},
    });
    create(node, &namespace, &service);
    wait_for(node, &namespace, "condition=Ready", "pod/workspace");

    assert_eq!(exec(node, &namespace, "workspace", "id -u; grep Seccomp: /proc/self/status"), "1000\nSeccomp:\t2\n");
    let tools =
        exec(node, &namespace, "workspace", "git --version && gcc --version && make -v && curl -V && python3 -V && ps");
    assert!(tools.contains("git version") && !tools.contains("not found"), "{tools}");
    let filled = exec(node, &namespace, "workspace", "echo kept > kept; head -c 64M /dev/zero > big; rm big; cat kept");
    assert!(filled.contains("No space left on device") && filled.contains("kept"), "{filled}");
    node.wait_for("coredns");
    let found = exec(node, &namespace, "workspace", &format!("getent hosts web.{namespace}.svc"));
    assert!(found.contains(&format!("web.{namespace}.svc.cluster.local")), "{found}");
    node.wait_for("metrics-server");
    until("measured", || {
        let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods/workspace");
        let answer = text(&node.kubectl(&["get", "--raw", &path]));
        if answer.contains("\"memory\"") { Ok(()) } else { Err(answer) }
    });

    for gone in ["pod/workspace", "pvc/home"] {
        let deleted = node.kubectl(&["-n", &namespace, "delete", gone]);
        assert!(deleted.status.success(), "{deleted:?}");
    }
    until("without its disk", || {
        let volumes = text(&node.kubectl(&["get", "persistentvolumes", "-o", "jsonpath={..claimRef.namespace}"]));
        if volumes.contains(&namespace) { Err(volumes) } else { Ok(()) }
    });
}

#[tokio::test]
async fn a_pod_outlives_a_restart_of_its_kubelet() {
    let Some(node) = Node::shared_of_ours().await else { return };
    let namespace = restricted_namespace(node).await;
    create(node, &namespace, &restricted_pod("still", "local/workspace:1", &["sleep", "infinity"]));
    wait_for(node, &namespace, "condition=Ready", "pod/still");
    node.restart_kubelet().await;
    assert_eq!(exec(node, &namespace, "still", "cat /proc/1/comm"), "sleep\n");
    let restarts = ["-n", &namespace, "get", "pod", "still", "-o", "jsonpath={..restartCount}"];
    assert_eq!(text(&node.kubectl(&restarts)), "0");
}

#[tokio::test]
async fn pods_and_this_process_reach_each_other() {
    let Some(node) = Node::shared_of_ours().await else { return };
    let namespace = restricted_namespace(node).await;
    let server = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let url = format!("http://{}:{}/", node.host_address(), server.local_addr().unwrap().port());
    let mut pod = restricted_pod("web", "local/workspace:1", &["curl", "--retry", "30", "--retry-all-errors", &url]);
    let script = "mkdir /tmp/www; echo hello > /tmp/www/index.html; exec httpd -f -p 8080 -h /tmp/www";
    let mut web = pod["spec"]["containers"][0].clone();
    web["name"] = json!("web");
    web["image"] = json!("local/busybox:1");
    web["command"] = json!(["sh", "-c", script]);
    web["securityContext"]["runAsUser"] = json!(1000);
    pod["spec"]["containers"].as_array_mut().unwrap().push(web);
    create(node, &namespace, &pod);

    let (_, caller) = timeout(SOON, server.accept()).await.expect("the pod calls").unwrap();
    let ask = async || reqwest::get(format!("http://{}:8080/", caller.ip())).await?.text().await;
    let answer = timeout(SOON, async {
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    });
    assert_eq!(answer.await.expect("the pod answers"), "hello\n");
}

#[tokio::test]
async fn the_static_binary_runs_where_there_is_no_shell_and_no_c_library() {
    let Some(node) = Node::shared().await else { return };
    let namespace = restricted_namespace(node).await;
    let image = node.portcullis_image().await;
    let copied = json!({"name": "copied", "mountPath": "/agent"});
    let mut pod = restricted_pod("static", "local/static:1", &["/agent/portcullis", "--version"]);
    pod["spec"]["restartPolicy"] = json!("Never");
    pod["spec"]["volumes"] = json!([{"name": "copied", "image": {"reference": image, "pullPolicy": "Never"}}]);
    pod["spec"]["containers"][0]["volumeMounts"] = json!([copied]);
    create(node, &namespace, &pod);
    wait_for(node, &namespace, "jsonpath={.status.phase}=Succeeded", "pod/static");
    let printed = text(&node.kubectl(&["-n", &namespace, "logs", "static"]));
    assert_eq!(printed, format!("portcullis {}\n", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn a_node_whose_api_server_was_away_goes_on_and_leaves_nothing_behind() {
    let Some(node) = Node::start().await else { return };
    node.stop("kube-apiserver");
    assert!(!node.kubectl(&["get", "nodes", "--request-timeout", "1s"]).status.success());
    node.start_again("kube-apiserver");
    until("back", || {
        let answer = node.kubectl(&["wait", "--for", "condition=Ready", "node/node"]);
        if answer.status.success() { Ok(()) } else { Err(text(&answer)) }
    });

    let folder = node.folder().to_owned();
    let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
    let cable = format!("{}/", node.host_address());
    let traces = || {
        let found = |program: &str, args: &[&str], trace: &str| {
            let printed = text(&Command::new(program).args(args).output().unwrap());
            printed.lines().filter(|line| line.contains(trace)).map(str::to_owned).collect::<Vec<_>>()
        };
        [
            found("ps", &["-eo", "args"], &name),
            found("ip", &["address"], &cable),
            found("losetup", &["--all"], &name),
            found("find", &["/sys/fs/cgroup", "-maxdepth", "2"], &name),
            found("cat", &["/proc/self/mounts"], &name),
        ]
    };
    let [processes, cables, _, cgroups, mounts] = traces();
    assert!(!processes.is_empty() && !cables.is_empty() && !cgroups.is_empty());
    assert_eq!(mounts, Vec::<String>::new(), "it mounts nothing outside");
    drop(node);
    until("clean", || {
        let left = traces();
        if left.iter().all(Vec::is_empty) && !folder.exists() { Ok(()) } else { Err(format!("{left:?}")) }
    });
}
