//! Custom resource definitions that are missing, or older than the operator.

use super::stage::{Operator, api, condition, create, endpoint, eventually, operator, own_plane, planned};
use crate::support::controlplane::ControlPlane;
use k8s_openapi::{
    api::events::v1::Event, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use portcullis_api::{McpEndpoint, crds};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn definitions_that_are_missing_or_old_are_named_and_waited_for() {
    let plane = own_plane().await;
    let client = plane.client().await;
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let all: Vec<String> =
        definitions.list(&ListParams::default()).await.unwrap().iter().map(kube::ResourceExt::name_any).collect();
    for name in &all {
        definitions.delete(name, &DeleteParams::default()).await.unwrap();
    }
    eventually("they are gone", async || {
        definitions.list(&ListParams::default()).await.unwrap().items.is_empty().then_some(())
    })
    .await;

    let operator = operator(&plane, "one").await;
    let told = ready_when(&operator, 503, "install the custom resource definitions").await;
    assert!(all.iter().all(|name| told.contains(name.as_str())) && told.contains("kubectl apply"), "{told}");
    assert!(operator.log().contains("install the custom resource definitions"), "{}", operator.log());
    assert!(!operator.log().contains("watch failed"), "{}", operator.log());

    // All but one field, which is in a status that the operator writes.
    let mut old = crds::all();
    for definition in &mut old {
        let root = definition.spec.versions[0].schema.as_mut().unwrap().open_api_v3_schema.as_mut().unwrap();
        if definition.spec.names.kind == "McpEndpoint" {
            let status = root.properties.as_mut().unwrap().get_mut("status").unwrap();
            status.properties.as_mut().unwrap().remove("corsEnforcedBy").unwrap();
        }
    }
    apply(&plane, &old);
    let told = ready_when(&operator, 503, "upgrade the custom resource definitions").await;
    assert!(told.contains("they lack status.corsEnforcedBy of mcpendpoints.portcullis.dev"), "{told}");
    assert!(operator.log().contains("upgrade the custom resource definitions"), "{}", operator.log());
    // It does its work, and its status is as good as it can be.
    let namespace = plane.create_namespace("old").await;
    create(&client, &namespace, &endpoint("agents", &json!({"deployment": {"replicas": 0}}))).await;
    let status = planned(&client, &namespace, "agents").await.status.unwrap();
    let stalled = Some(("True".to_owned(), "DefinitionsOutdated".to_owned()));
    assert_eq!(condition(&status.conditions, "Stalled"), stalled);
    assert_eq!(status.url.as_deref(), Some("https://agents.example.com/mcp"));
    assert_eq!(condition(&status.conditions, "Available").unwrap().1, "ScaledToZero");
    let events: Api<Event> = api(&client, &namespace);
    eventually("an Event", async || {
        let all = events.list(&ListParams::default()).await.unwrap();
        let is_it = |event: &Event| event.reason.as_deref() == Some("DefinitionsOutdated");
        all.iter().any(|event| is_it(event) && event.type_.as_deref() == Some("Warning")).then_some(())
    })
    .await;
    assert!(!operator.log().contains("not declared in schema"), "{}", operator.log());

    apply(&plane, &crds::all());
    ready_when(&operator, 200, "ok").await;
    eventually("the status is whole", async || {
        let status = api::<McpEndpoint>(&client, &namespace).get("agents").await.unwrap().status?;
        let whole = status.cors_enforced_by.is_some() && condition(&status.conditions, "Stalled").is_none();
        whole.then_some(())
    })
    .await;

    // What a later version adds is no concern of this one.
    let more = json!([{
        "op": "add", "value": {"type": "string"},
        "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/fromTheFuture",
    }]);
    let patch = Patch::Json::<()>(serde_json::from_value(more).unwrap());
    definitions.patch("mcpendpoints.portcullis.dev", &PatchParams::default(), &patch).await.unwrap();
    let second = super::stage::operator(&plane, "two").await;
    ready_when(&second, 200, "ok").await;
}

fn apply(plane: &ControlPlane, definitions: &[CustomResourceDefinition]) {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": definitions});
    let args = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
    let done = plane.kubectl_with_input(&args, &list.to_string());
    assert!(done.status.success(), "{done:?}");
}

/// Waits until the readiness has this status and begins so.
async fn ready_when(operator: &Operator, status: u16, words: &str) -> String {
    eventually(words, async || {
        let (found, text) = operator.readiness().await?;
        (found == status && text.starts_with(words)).then_some(text)
    })
    .await
}
