//! What schemathesis finds: it makes requests of the OpenAPI document's schemas, right ones and wrong ones, and holds
//! the answers against it.

use crate::rest::{script, stage::Stage};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::process::Command;

/// What the answers are held against. The rest of its checks are about how strict a server is with what it does not
/// need.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
    response_headers_conformance,unsupported_method,use_after_free,ignored_auth";

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_found() {
    let stage = Stage::start().await;
    stage.workspace("web").await;
    let printed = script::installed("clients/install.sh").await;
    let python = PathBuf::from(printed.lines().nth(2).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let hooks = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/schemathesis_hooks.py");
    fs::copy(hooks, folder.path().join("schemathesis_hooks.py")).unwrap();
    let run = Command::new(python.with_file_name("schemathesis"))
        .current_dir(folder.path())
        .env("SCHEMATHESIS_HOOKS", "schemathesis_hooks")
        .env("PYTHONPATH", folder.path())
        .args(["run", &format!("{}/openapi.json", stage.url)])
        .args(["--header", &format!("Authorization: Bearer {}", stage.token)])
        .args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing,stateful"])
        .args(["--seed", "7", "--max-examples", "5", "--max-time", "60", "--request-timeout", "20", "--no-color"])
        .kill_on_drop(true)
        .output();
    let run = tokio::time::timeout(Duration::from_mins(4), run).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}\n{}", String::from_utf8_lossy(&run.stderr));
    // Silence would be no success.
    assert!(said.contains("Tested: 26") && said.contains("generated"), "{said}");
}
