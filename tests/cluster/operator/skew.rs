//! An operator older than the custom resource definitions: a chart upgrades the definitions first, and resources may
//! already use a new field.

use super::stage::{api, condition, endpoint, eventually, operator, own_plane, planned};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
};
use portcullis_api::{McpEndpoint, crds};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_newer_definitions_are_left_alone() {
    let plane = own_plane().await;
    let client = plane.client().await;
    let mut newer = json!(crds::of::<McpEndpoint>());
    let schema = &mut newer["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    for part in ["spec", "status"] {
        schema[part]["properties"]["fromTheFuture"] = json!({"type": "string"});
    }
    schema["spec"]["properties"]["limits"]["properties"]["fromTheFuture"] = json!({"type": "integer"});
    let done =
        plane.kubectl_with_input(&["apply", "--server-side", "--force-conflicts", "-f", "-"], &newer.to_string());
    assert!(done.status.success(), "{done:?}");

    let namespace = plane.create_namespace("skew").await;
    let kind = ApiResource::erase::<McpEndpoint>(&());
    let endpoints: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, &kind);
    let mut made = json!(endpoint("agents", &json!({"deployment": {"replicas": 0}, "limits": {"burst": 7}})));
    made["spec"]["fromTheFuture"] = json!("kept");
    made["spec"]["limits"]["fromTheFuture"] = json!(1);
    let made: DynamicObject = serde_json::from_value(made).unwrap();
    // A new schema counts a moment after it was applied; until then, its fields are dropped.
    eventually("the new schema counts", async || {
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        let answer = endpoints.create(&dry, &made).await.ok()?;
        (answer.data["spec"]["fromTheFuture"] == "kept").then_some(())
    })
    .await;
    endpoints.create(&PostParams::default(), &made).await.unwrap();
    let status = Patch::Merge(json!({"status": {"fromTheFuture": "kept"}}));
    endpoints.patch_status("agents", &PatchParams::default(), &status).await.unwrap();

    let operator = operator(&plane, "one").await;
    let seen = planned(&client, &namespace, "agents").await;
    let conditions = seen.status.unwrap().conditions;
    assert_ne!(condition(&conditions, "Stalled").map(|(status, _)| status).as_deref(), Some("True"), "{conditions:?}");
    let changed = Patch::Merge(json!({"spec": {"limits": {"burst": 8}}}));
    api::<McpEndpoint>(&client, &namespace).patch("agents", &PatchParams::default(), &changed).await.unwrap();
    planned(&client, &namespace, "agents").await;
    let after: Value = endpoints.get("agents").await.unwrap().data;
    assert_eq!(after["spec"]["fromTheFuture"], "kept");
    let limits = &after["spec"]["limits"];
    assert_eq!((&limits["burst"], &limits["fromTheFuture"]), (&json!(8), &json!(1)));
    assert_eq!(after["status"]["fromTheFuture"], "kept");
    assert!(!operator.log().contains("ERROR"), "{}", operator.log());
}
