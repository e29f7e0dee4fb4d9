//! All that there is to read afterwards: objects of every kind, logs, metrics.

use crate::{operator::stage::Operator, state::stage::Stage, support::controlplane::ControlPlane};
use kube::{
    Api, Client, Discovery,
    api::ListParams,
    core::DynamicObject,
    discovery::{ApiGroup, Scope, verbs},
};
use serde::Deserialize as _;
use serde_json::Value;
use std::fs;

/// A place, and what is written there.
pub type Entry = (String, Vec<u8>);

/// Everything.
pub async fn everything(stage: &Stage<'_>) -> Vec<Entry> {
    let mut all = objects(&stage.client).await;
    all.extend(printed(stage.plane, &stage.operator));
    all.push(("the servers' logs".to_owned(), stage.kubelet.logs().into_bytes()));
    all.push(("the operator's metrics".to_owned(), stage.operator.metrics().await.into_bytes()));
    for server in stage.servers().await {
        for path in ["/metrics", "/revision", "/readyz"] {
            all.push((format!("{path} of a server"), server.private(path).await.1.into_bytes()));
        }
    }
    all
}

fn printed(plane: &ControlPlane, operator: &Operator) -> [Entry; 2] {
    // It has no bodies, but URLs, names and annotations of what was asked of the API server.
    let audit = fs::read(plane.folder().join("audit.log")).unwrap();
    [("the operator's log".to_owned(), operator.log().into_bytes()), ("the API server's log".to_owned(), audit)]
}

/// Every object of every kind that can be listed, each key of a Secret by itself.
async fn objects(client: &Client) -> Vec<Entry> {
    let mut all = Vec::new();
    let discovery = Discovery::new(client.clone()).run().await.unwrap();
    for (kind, capabilities) in discovery.groups().flat_map(ApiGroup::recommended_resources) {
        if !capabilities.supports_operation(verbs::LIST) {
            continue;
        }
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &kind);
        for object in api.list(&ListParams::default()).await.unwrap() {
            let name = object.metadata.name.clone().unwrap_or_default();
            let name = match capabilities.scope {
                Scope::Cluster => format!("{} {name}", kind.kind),
                Scope::Namespaced => {
                    format!("{} {}/{name}", kind.kind, object.metadata.namespace.as_deref().unwrap_or_default())
                }
            };
            let mut object = serde_json::to_value(object).unwrap();
            if kind.kind == "Secret"
                && let Some(Value::Object(data)) = object.as_object_mut().and_then(|object| object.remove("data"))
            {
                for (key, value) in data {
                    let value = k8s_openapi::ByteString::deserialize(value).unwrap().0;
                    all.push((format!("{name} {key}"), value));
                }
            }
            all.push((name, object.to_string().into_bytes()));
        }
    }
    all
}
