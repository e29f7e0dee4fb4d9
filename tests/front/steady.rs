//! What is done to servers while they are used, and what nobody may notice of it.

use crate::{endpoint::Endpoint, front::Front, load::Load, support::operator::eventually};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use rustls::pki_types::CertificateDer;
use serde_json::json;
use std::{net::SocketAddr, time::Duration};
use tokio::time::{interval, timeout};

/// Requests during each of the events.
const AT_LEAST: u64 = 5_000;

#[tokio::test(flavor = "multi_thread")]
async fn nobody_notices_a_rollout_a_scaling_a_drain_and_a_renewal() {
    let Some(front) = Front::shared().await else { return };
    let _turn = front.turn().await;
    let endpoint = Endpoint::set(front, "steady", &json!({})).await;
    endpoint.reachable().await;
    let load = Load::start(&endpoint, || front.http()).await;
    load.during("a rolling update", AT_LEAST, roll(&endpoint)).await;
    load.during("from 1 server to 4 and back", AT_LEAST, scale(&endpoint)).await;
    load.during("a drain of a node", AT_LEAST, drain(&endpoint)).await;
    load.during("renewals of the ingress's certificate", AT_LEAST, renew(&endpoint, "certificate")).await;
    load.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_notices_that_the_servers_own_certificate_is_renewed() {
    let Some(front) = Front::shared().await else { return };
    let _turn = front.turn().await;
    let spec = json!({"tls": {"secretName": "certificate"}, "exposure": {"none": {}}});
    let mut endpoint = Endpoint::set(front, "renewed", &spec).await;
    // The service, as a load balancer that passes everything on would reach it.
    let service =
        endpoint.kubectl(&["get", "service", "agents", "-o", "jsonpath={.spec.clusterIP}:{.spec.ports[0].port}"]);
    let address = service.parse().unwrap();
    endpoint.http = front.http_at(address).build().unwrap();
    endpoint.reachable().await;
    let load = Load::start(&endpoint, || front.http_at(address)).await;
    let servers = endpoint.servers().await;
    let renewed = async {
        for turn in 0..3 {
            let pair = front.authority.certify(&[&endpoint.host]);
            endpoint.apply(&[pair.secret("certificate")]);
            // A kubelet looks at what it has mounted every minute or so, and at once when its pod changes.
            let now = format!("tests.portcullis.dev/renewed={turn}");
            endpoint.kubectl(&["annotate", "pods", "--overwrite", "-l", "portcullis.dev/endpoint=agents", &now]);
            for server in &servers {
                served(&endpoint, server.address, &pair.certificate).await;
            }
        }
    };
    load.during("renewals of the servers' own certificate", AT_LEAST, renewed).await;
    load.end().await;
    assert_eq!(endpoint.servers().await, servers, "none was started anew");
}

async fn roll(endpoint: &Endpoint) {
    endpoint.kubectl(&["rollout", "restart", "deployment/agents"]);
    endpoint.kubectl(&["rollout", "status", "deployment/agents", "--timeout=120s"]);
    settle(endpoint, 2).await;
}

async fn scale(endpoint: &Endpoint) {
    for replicas in [1, 4, 1, 2] {
        endpoint.patch(&json!({"deployment": {"replicas": replicas}}));
        settle(endpoint, replicas).await;
    }
}

async fn drain(endpoint: &Endpoint) {
    let moved = pods(endpoint).await.into_iter().filter(|pod| node(pod) == "node2").count();
    assert!(moved > 0, "the servers are spread over the nodes");
    endpoint.kubectl(&["drain", "node2", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=120s"]);
    settle(endpoint, 2).await;
    assert!(pods(endpoint).await.iter().all(|pod| node(pod) == "node"));
    endpoint.kubectl(&["uncordon", "node2"]);
}

/// Ten new certificates, half a second apart; the last is served in the end.
async fn renew(endpoint: &Endpoint, secret: &str) {
    let mut ticks = interval(Duration::from_millis(500));
    let mut last = None;
    for _ in 0..10 {
        ticks.tick().await;
        let pair = endpoint.front.authority.certify(&[&endpoint.host]);
        endpoint.apply(&[pair.secret(secret)]);
        last = Some(pair.certificate);
    }
    served(endpoint, endpoint.front.traefik.address, &last.unwrap()).await;
}

async fn served(endpoint: &Endpoint, address: SocketAddr, certificate: &CertificateDer<'_>) {
    eventually("the newest certificate is served", async || {
        endpoint.front.certificate_at(address, &endpoint.host).await.filter(|served| served == certificate)
    })
    .await;
}

/// Waits until there are so many servers, all ready, and none that is about to end.
async fn settle(endpoint: &Endpoint, replicas: usize) {
    let settled = async || {
        let pods = pods(endpoint).await;
        let ready = |pod: &Pod| {
            let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
            pod.metadata.deletion_timestamp.is_none()
                && conditions.into_iter().any(|one| one.type_ == "Ready" && one.status == "True")
        };
        pods.len() == replicas && pods.iter().all(ready)
    };
    let waited = timeout(Duration::from_mins(3), async {
        while !settled().await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("never {replicas} servers"));
}

async fn pods(endpoint: &Endpoint) -> Vec<Pod> {
    let servers = ListParams::default().labels("portcullis.dev/endpoint=agents");
    endpoint.api::<Pod>().list(&servers).await.unwrap().items
}

fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}
