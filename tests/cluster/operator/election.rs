//! Of two operators one leads; the other takes over when it is killed, and at once when it is told to stop.

use super::stage::{create, endpoint, eventually, names, operator, own_plane};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn one_leads_and_the_other_takes_over() {
    let plane = own_plane().await;
    let client = plane.client().await;
    let mut first = operator(&plane, "first").await;
    eventually("the first leads", async || first.leads().await.then_some(())).await;
    let second = operator(&plane, "second").await;
    eventually("the second is up", async || second.metric("portcullis_operator_leader").await).await;
    assert!(!second.leads().await, "one leads");
    works(&plane, &client, "by-first").await;
    assert_eq!((first.reconciles().await > 0.0, second.reconciles().await), (true, 0.0));

    first.process.kill();
    eventually("the second leads", async || second.leads().await.then_some(())).await;
    works(&plane, &client, "by-second").await;

    let third = operator(&plane, "third").await;
    eventually("the third is up", async || third.metric("portcullis_operator_leader").await).await;
    let mut second = second;
    second.process.terminate();
    eventually("the second ends", async || second.process.ended()).await;
    let lease = plane.kubectl(&[
        "-n",
        "portcullis-system",
        "get",
        "lease",
        "portcullis-operator",
        "-o",
        "jsonpath={.spec.holderIdentity}",
    ]);
    let holder = String::from_utf8_lossy(&lease.stdout).into_owned();
    assert!(holder.is_empty() || holder == "third", "the Lease was given back: {holder:?}");
    eventually("the third leads", async || third.leads().await.then_some(())).await;
    works(&plane, &client, "by-third").await;
}

async fn works(plane: &crate::support::controlplane::ControlPlane, client: &kube::Client, prefix: &str) {
    let namespace = plane.create_namespace(prefix).await;
    create(client, &namespace, &endpoint("agents", &json!({"url": format!("https://{prefix}.example.com/mcp")}))).await;
    eventually("the endpoint has its objects", async || {
        names(client, &namespace).await.contains(&"Ingress/agents".to_owned()).then_some(())
    })
    .await;
}
