//! The servers as they are deployed: the planned pods really run, are what a client expects, and get into workspaces.

use crate::stage::Stage;
use portcullis::api::McpEndpoint;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn the_planned_servers_run_and_are_verified_and_run_a_command() {
    let Some(stage) = Stage::shared(&json!({"deployment": {"replicas": 2}})).await else { return };
    let status = stage.api::<McpEndpoint>().get("agents").await.unwrap().status.unwrap();
    for wanted in ["Ready", "Verified"] {
        let condition = status.conditions.iter().find(|condition| condition.type_ == wanted);
        assert_eq!(condition.unwrap().status, "True", "{status:?}");
    }
    let restarts = ["get", "pods", "-o", "jsonpath={..restartCount}"];
    assert_eq!(stage.kubectl(&restarts), "0 0");

    let ann = stage.sign_in("ann").await;
    let made = ann.make("web").await;
    assert_eq!((&made["name"], &made["home"]), (&json!("web"), &json!("/home/dev")), "{made}");
    let ran = ann.run("web", "echo $((6 * 7)); whoami >&2; exit 3").await;
    assert_eq!((&ran["exit_code"], &ran["stdout"], &ran["stderr"]), (&json!(3), &json!("42\n"), &json!("dev\n")));
}
