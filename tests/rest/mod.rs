//! The HTTP interface of a running `portcullis dev`: by the guide's own JavaScript, by schemathesis, which reads the
//! OpenAPI document and tries what it says, and by hand.

use crate::{dev, script};

mod alias;
mod by_hand;
mod documents;
mod memory;
mod schemathesis;
mod stage;

use script::Script;
use serde_json::json;
use stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn the_guides_javascript() {
    let stage = Stage::start().await;
    let id = stage.workspace("web").await;
    for url in [&stage.url, &stage.alias()] {
        guide_at(url, &stage.token, &id).await;
    }
}

async fn guide_at(url: &str, token: &str, id: &str) {
    let mut guide = Script::start("clients/guide.mjs", &[], &[("URL", url), ("TOKEN", token)]).await;

    let listed = guide.must("listWorkspaces", json!(null)).await;
    assert_eq!(listed["workspaces"][0]["id"], id);
    assert_eq!(
        (&listed["workspaces"][0]["name"], &listed["workspaces"][0]["status"]),
        (&json!("web"), &json!("running"))
    );

    // By its id, as the guide does, and by its name.
    for workspace in [id, "web"] {
        let done = guide.must("executeCommand", json!([workspace, "echo out; echo err >&2; exit 3"])).await;
        assert_eq!(
            (&done["exit_code"], &done["stdout"], &done["stderr"]),
            (&json!(3), &json!("out\n"), &json!("err\n"))
        );
    }

    let refused = guide.must("executeCommand", json!(["nowhere", "true"])).await;
    assert_eq!((&refused["status"], &refused["reason"]), (&json!(404), &json!("not_found")));
    assert!(refused["detail"].as_str().unwrap().contains("web"), "it says which there are: {refused}");
}
