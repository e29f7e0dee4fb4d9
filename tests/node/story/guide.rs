//! The guide's own JavaScript, against an endpoint in a cluster.

use super::repository;
use crate::{script::Script, stage::Stage};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn the_guides_javascript_lists_clones_builds_and_tests() {
    let Some(stage) = Stage::shared(&json!({})).await else { return };
    repository::serve(&stage);
    let ann = stage.sign_in("ann").await;
    let made = ann.make("web").await;
    let mut guide = Script::start("clients/guide.mjs", &[], &[("URL", &stage.url), ("TOKEN", &ann.token)]).await;

    let listed = guide.must("listWorkspaces", json!(null)).await;
    assert_eq!(listed["workspaces"], json!([made]), "{listed}");
    let id = listed["workspaces"][0]["id"].as_str().unwrap();
    for (line, code, last) in [
        ("git clone git://git/hello", 0, ""),
        ("cd hello && make test", 0, "passed\n"),
        ("echo kept > hello/kept; cat hello/kept", 0, "kept\n"),
        ("cd hello && make nothing", 2, ""),
    ] {
        let done = guide.must("executeCommand", json!([id, line])).await;
        assert_eq!(done["exit_code"], code, "{line}: {done}");
        assert!(done["stdout"].as_str().unwrap().ends_with(last), "{line}: {done}");
    }
}
