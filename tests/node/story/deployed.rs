//! The servers as they are deployed: the planned pods really run, are what a client expects, and get into workspaces.

use crate::{
    stage::{Stage, template},
    support::operator::eventually,
};
use portcullis_api::McpEndpoint;
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

#[tokio::test(flavor = "multi_thread")]
async fn what_one_server_did_the_others_know() {
    let Some(stage) = Stage::shared(&json!({"deployment": {"replicas": 2}})).await else { return };
    let mut template = template();
    template["metadata"]["name"] = json!("nowhere");
    // Nothing need run.
    template["spec"]["pod"]["nodeSelector"] = json!({"kubernetes.io/hostname": "nowhere"});
    stage.apply(&[template]);
    let ann = stage.sign_in("ann").await;
    for round in 0..20 {
        let (name, web) = (format!("w{round}"), json!({"workspace": format!("w{round}")}));
        let new = json!({"template": "nowhere", "name": name, "wait": false});
        let made = eventually("the template is known", async || ann.call("create_workspace", &new).await.ok()).await;
        assert_eq!(ann.call("get_workspace", &web).await.unwrap()["id"], made["id"]);
        let twice = ann.call("create_workspace", &new).await.unwrap_err();
        assert!(twice.contains("you already have a workspace"), "{twice}");
        ann.call("delete_workspace", &web).await.unwrap();
    }
}
