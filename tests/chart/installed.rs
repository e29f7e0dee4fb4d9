//! The chart, installed on a node.

use crate::{
    node::Node,
    tools::{NAMESPACE, RELEASE, tool},
};
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::{Api, api::ListParams};
use std::{path::Path, process::Output};

/// The image that the node has, under the name of the servers' that are not to be rolled.
pub const PINNED: &str = "local/portcullis:test";

/// Runs helm as the administrator of the node's cluster.
pub fn helm(node: &Node, args: &[&str]) -> Output {
    let mut helm = tool("helm");
    helm.args(args).env("KUBECONFIG", node.admin_kubeconfig()).env("HOME", node.folder());
    helm.output().unwrap()
}

/// The same, which must go well.
pub fn helmed(node: &Node, args: &[&str]) -> String {
    let done = helm(node, args);
    if !done.status.success() {
        let shown = node.kubectl(&["-n", NAMESPACE, "get", "pods,events", "-o", "wide"]);
        let logs = node.kubectl(&["-n", NAMESPACE, "logs", "deployment/portcullis-operator", "--tail=20"]);
        panic!("{args:?}: {done:?}\n{shown:?}\n{logs:?}");
    }
    String::from_utf8(done.stdout).unwrap()
}

/// Installs or upgrades: `tag` is that of the operator's image.
pub fn install(node: &Node, chart: &Path, tag: &str, more: &[&str]) -> String {
    let tag = format!("image.tag={tag}");
    let chart = chart.to_str().unwrap();
    let args = ["upgrade", "--install", RELEASE, chart, "--namespace", NAMESPACE, "--create-namespace", "--wait"];
    let image = ["--timeout=3m", "--set=image.repository=local/portcullis,image.pullPolicy=Never", "--set", &tag];
    helmed(node, &[&args, image.as_slice(), more].concat())
}

/// The operators that run.
pub async fn operators(node: &Node) -> Vec<Pod> {
    let pods: Api<Pod> = Api::namespaced(node.client().await, NAMESPACE);
    let selected = ListParams::default().labels("app.kubernetes.io/component=operator");
    let pods = pods.list(&selected).await.unwrap().items.into_iter();
    pods.filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect()
}

/// How many of them say that they lead, and the name of the one that holds the Lease.
pub async fn leaders(node: &Node) -> (usize, Option<String>) {
    let mut leading = 0;
    for pod in operators(node).await {
        let Some(address) = pod.status.and_then(|status| status.pod_ip) else { continue };
        let Ok(answer) = reqwest::get(format!("http://{address}:8081/metrics")).await else { continue };
        leading += usize::from(answer.text().await.unwrap().lines().any(|line| line == "portcullis_operator_leader 1"));
    }
    let leases: Api<Lease> = Api::namespaced(node.client().await, NAMESPACE);
    let lease = leases.get("portcullis-operator").await.unwrap();
    (leading, lease.spec.and_then(|spec| spec.holder_identity))
}
