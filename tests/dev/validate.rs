//! `portcullis validate`: what `dev` and admission check, without either.

use crate::helpers::{ENDPOINT, client, path};
use serde_json::{Value, json};
use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

fn validate(args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .arg("validate")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that refuses its arguments reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn every_example_is_valid() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for entry in fs::read_dir(&examples).unwrap() {
        let path = entry.unwrap().path();
        let output = validate(&[path.to_str().unwrap()], "");
        assert!(output.status.success(), "{}: {}", path.display(), text(&output.stdout));
    }
    let quickstart = examples.join("quickstart.yaml");
    assert_eq!(text(&validate(&[path(&quickstart)], "").stdout), "3 valid objects\n");
    let tls = examples.join("tls.yaml");
    assert_eq!(text(&validate(&[path(&tls)], "").stdout), "1 valid object; not checked: 1 document of other kinds\n");
}

#[test]
fn each_problem_is_a_line_with_file_document_and_field() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = client("robot").replace("name: agents}", "name: agent}");
    fs::write(folder.path().join("a.yaml"), format!("{ENDPOINT}{wrong}")).unwrap();
    fs::write(folder.path().join("b.yaml"), "a: [\n").unwrap();
    let workspace = "apiVersion: portcullis.dev/v1alpha1\nkind: Workspace\nmetadata: {name: w}\nspec: {colour: red}\n";
    fs::write(folder.path().join("c.yml"), workspace).unwrap();
    let output = validate(&[path(folder.path())], "");
    assert_eq!(output.status.code(), Some(1));
    let lines: Vec<&str> = text(&output.stdout).lines().collect();
    let at = |file: &str| format!("{}/{file}", folder.path().display());
    assert!(lines.iter().any(|line| line.starts_with(&format!("{}: document 1: ", at("b.yaml")))), "{lines:?}");
    assert!(
        lines.iter().any(|line| line.starts_with(&format!("{}:4: document 1: spec.colour: ", at("c.yml")))),
        "{lines:?}"
    );
    let said = text(&output.stderr);
    assert!(said.contains(&format!("problems found: {}; correct the manifests", lines.len())), "{said}");

    let output = validate(&["-"], &format!("{ENDPOINT}{wrong}"));
    assert_eq!(
        text(&output.stdout),
        "standard input:9: document 2: spec.endpointRef.name: there is no McpEndpoint \"agent\" in namespace \"default\"; \
         did you mean agents?\n"
    );
}

#[test]
fn programs_get_json() {
    let found = |input: &str| -> (bool, Value) {
        let output = validate(&["--json", "-"], input);
        (output.status.success(), serde_json::from_slice(&output.stdout).unwrap())
    };
    assert_eq!(found(ENDPOINT), (true, json!({"valid": true, "objects": 1, "skipped": 0, "problems": []})));
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "portcullis.dev/v1alpha1", "kind": "McpEndpoint", "metadata": {"name": "a"},
            "spec": {"url": "http://mcp.example.com/mcp"}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}},
    ]});
    let (valid, report) = found(&list.to_string());
    assert!(!valid && report["valid"] == false && report["skipped"] == 1, "{report}");
    let problem = &report["problems"][0];
    assert_eq!((&problem["file"], &problem["document"]), (&json!("standard input"), &json!(1)), "{report}");
    assert_eq!(problem["field"], "items[0].spec.url", "{report}");
    assert!(problem["message"].as_str().unwrap().contains("must begin with https://"), "{report}");
    let missing = validate(&["--json", "nowhere.yaml"], "");
    let report: Value = serde_json::from_slice(&missing.stdout).unwrap();
    assert_eq!(
        (&report["problems"][0]["file"], &report["problems"][0]["document"]),
        (&json!("nowhere.yaml"), &Value::Null)
    );
}
