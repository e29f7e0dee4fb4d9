//! An unknown tool in an endpoint that was stored before admission knew the tools.

use super::stage::{api, condition, create, endpoint, eventually, operator, own_plane, planned};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use portcullis_api::{McpEndpoint, crds};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_tool_from_before_is_reported_and_can_stay_but_not_come_again() {
    let plane = own_plane().await;
    let client = plane.client().await;
    let apply = |definitions: &serde_json::Value| {
        let args = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        let done = plane.kubectl_with_input(&args, &definitions.to_string());
        assert!(done.status.success(), "{done:?}");
    };
    let newest = json!({"apiVersion": "v1", "kind": "List", "items": crds::all()});
    let mut old = json!(crds::of::<McpEndpoint>());
    let spec = &mut old["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    let rules = spec["tools"]["properties"]["deny"]["x-kubernetes-validations"].as_array_mut().unwrap();
    rules.retain(|rule| !rule["message"].as_str().unwrap().starts_with("each must be the name of a tool"));
    apply(&old);
    let namespace = plane.create_namespace("tools").await;
    // A new schema counts a moment after it was applied.
    let misspelt = endpoint("agents", &json!({"deployment": {"replicas": 0}, "tools": {"deny": ["run_comand"]}}));
    let endpoints: Api<McpEndpoint> = api(&client, &namespace);
    eventually("it is taken", async || endpoints.create(&kube::api::PostParams::default(), &misspelt).await.ok()).await;
    apply(&newest);
    let other = endpoint("other", &json!({"tools": {"deny": ["run_comand"]}}));
    eventually("another one is refused", async || {
        let dry = kube::api::PostParams { dry_run: true, ..kube::api::PostParams::default() };
        let refused = endpoints.create(&dry, &other).await.err()?.to_string();
        refused.contains("spec.tools.deny").then_some(())
    })
    .await;

    let _operator = operator(&plane, "one").await;
    let status = planned(&client, &namespace, "agents").await.status.unwrap();
    let known = status.conditions.iter().find(|condition| condition.type_ == "ToolsKnown").unwrap();
    assert_eq!((known.status.as_str(), known.reason.as_str()), ("False", "UnknownTool"));
    assert_eq!(known.message, "spec.tools.deny[0]: there is no tool \"run_comand\"; did you mean run_command?");
    let patch = async |spec: serde_json::Value| {
        let patch = Patch::Merge(json!({"spec": spec}));
        endpoints.patch("agents", &PatchParams::default(), &patch).await
    };
    patch(json!({"limits": {"burst": 7}})).await.unwrap();
    let refused = patch(json!({"tools": {"deny": ["run_comand", "raed_file"]}})).await.unwrap_err().to_string();
    assert!(refused.contains("each must be the name of a tool"), "{refused}");
    patch(json!({"tools": {"deny": ["run_command", "delet_*"]}})).await.unwrap();
    eventually("a pattern that matches nothing is reported", async || {
        let status = planned(&client, &namespace, "agents").await.status?;
        let known = status.conditions.into_iter().find(|condition| condition.type_ == "ToolsKnown")?;
        known.message.starts_with("spec.tools.deny[1]: no tool matches \"delet_*\"; did you mean").then_some(())
    })
    .await;
    patch(json!({"tools": {"deny": ["run_command"]}})).await.unwrap();
    eventually("the condition goes", async || {
        let status = planned(&client, &namespace, "agents").await.status?;
        condition(&status.conditions, "ToolsKnown").is_none().then_some(())
    })
    .await;
    create(&client, &namespace, &endpoint("patterns", &json!({"tools": {"allow": ["list_*", "*file*"]}}))).await;
}
