//! The operator keeps nothing of what does not concern it: its memory does not grow with the cluster.

use super::stage::{api, create, endpoint, eventually, operator, own_plane};
use futures::{StreamExt as _, stream};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, api::PostParams, core::ObjectMeta};
use portcullis_api::McpEndpoint;
use serde_json::json;

const SECRETS: usize = 200;
const SECRET_BYTES: usize = 200 * 1024;
/// Far below what the Secrets would take, far above what an operator at rest takes and gives back.
const MOST_GROWTH_KIB: u64 = 12 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_others_take_no_memory() {
    let plane = own_plane().await;
    let client = plane.client().await;
    let namespace = plane.create_namespace("memory").await;
    let operator = operator(&plane, "one").await;
    let endpoints: Api<McpEndpoint> = api(&client, &namespace);
    let settle = async |name: &str| {
        create(&client, &namespace, &endpoint(name, &json!({"deployment": {"replicas": 0}}))).await;
        eventually("the operator has seen the endpoint", async || {
            endpoints.get(name).await.unwrap().status.filter(|status| status.observed_generation > Some(0))
        })
        .await;
    };
    settle("before").await;
    let before = operator.process.own_kib();

    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    stream::iter(0..SECRETS)
        .for_each_concurrent(8, async |number| {
            let secret = Secret {
                metadata: ObjectMeta { name: Some(format!("other-{number}")), ..ObjectMeta::default() },
                data: Some([("content".to_owned(), ByteString(vec![b'x'; SECRET_BYTES]))].into()),
                ..Secret::default()
            };
            secrets.create(&PostParams::default(), &secret).await.unwrap();
        })
        .await;

    // The watches are alive: what does concern the operator still reaches it.
    settle("after").await;
    let growth = operator.process.own_kib().saturating_sub(before);
    assert!(growth < MOST_GROWTH_KIB, "it grew by {growth} KiB");
}
