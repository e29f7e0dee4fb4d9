//! What agent frameworks make of the tools: their converters, from PyPI, take every schema that `tools/list` publishes.

use crate::tools::stage::Stage;
use serde_json::{Value, json};
use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

/// The tools whose arguments have maps of any names, which strict schemas cannot say.
const WITH_MAPS: [&str; 2] = ["create_workspace", "run_command"];
/// The tools without arguments. openai-agents takes an object without properties for one of any names, unless
/// `additionalProperties` is false, which google-genai fails on.
const WITHOUT_ARGUMENTS: [&str; 2] = ["whoami", "list_templates"];

/// Runs the converters on the tools.
fn converted(tools: &Value) -> Value {
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let installed = Command::new(clients.join("frameworks.sh")).output().unwrap();
    assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    let python = String::from_utf8(installed.stdout).unwrap();
    let mut converters = Command::new(python.trim())
        .arg(clients.join("converters.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    converters.stdin.take().unwrap().write_all(tools.to_string().as_bytes()).unwrap();
    let output = converters.wait_with_output().unwrap();
    assert!(output.status.success(), "{tools}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn frameworks_convert_every_tool() {
    let stage = Stage::new().await;
    let tools: Vec<Value> = stage
        .definitions()
        .iter()
        .map(|tool| {
            let (input, output) = (&*tool.published_input, &*tool.published_output);
            json!({"name": tool.name, "description": tool.description, "inputSchema": input, "outputSchema": output})
        })
        .collect();
    let names: Vec<&Value> = tools.iter().map(|tool| &tool["name"]).collect();
    let converted = converted(&json!(tools));
    for framework in ["google-genai", "openai-agents", "pydantic-ai"] {
        assert_eq!(converted[framework]["converted"], json!(names), "{framework}");
    }
    let strict_but_for = |others: &[&str]| -> Vec<&Value> {
        names.iter().filter(|name| !others.iter().any(|other| **name == other)).copied().collect()
    };
    assert_eq!(converted["pydantic-ai"]["strict"], json!(strict_but_for(&WITH_MAPS)));
    let others = [WITH_MAPS, WITHOUT_ARGUMENTS].concat();
    assert_eq!(converted["openai-agents"]["strict"], json!(strict_but_for(&others)));
    stage.backend.shutdown().await;
}
