//! What the tests share: the command lines that `portcullis dev` prints, and calls with curl.

use crate::support::{Dev, SERVED, eventually};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output},
};

pub(crate) const ENDPOINT: &str = "\
apiVersion: portcullis.dev/v1alpha1
kind: McpEndpoint
metadata: {name: agents}
spec: {url: https://mcp.example.com/mcp}
---
";

pub(crate) fn client(name: &str) -> String {
    format!(
        "apiVersion: portcullis.dev/v1alpha1\nkind: OAuthClient\nmetadata: {{name: {name}}}\n\
         spec: {{endpointRef: {{name: agents}}, grants: [client_credentials], scopes: [workspaces:read]}}\n---\n"
    )
}

/// The command line that it printed below `heading`.
pub(crate) fn printed(dev: &Dev, heading: &str) -> String {
    let said = dev.wait_for(SERVED);
    let below = said.split(heading).nth(1).unwrap_or_else(|| panic!("no {heading:?} in:\n{said}"));
    below.trim_start_matches([':', '\n']).split("\n\n").next().unwrap().to_owned()
}

/// The value after a word at the beginning of a line of the banner.
pub(crate) fn banner_value(dev: &Dev, word: &str) -> String {
    let said = dev.wait_for(SERVED);
    let line = said.lines().find_map(|line| line.trim_start().strip_prefix(word));
    line.unwrap_or_else(|| panic!("no {word:?} in:\n{said}")).trim().to_owned()
}

/// Ends it as Ctrl-C does.
pub(crate) fn stop(mut dev: Dev) {
    kill(Pid::from_raw(dev.child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    assert!(ended(&mut dev).success());
}

pub(crate) fn ended(dev: &mut Dev) -> ExitStatus {
    eventually(|| dev.child.try_wait().unwrap()).expect("it did not end")
}

pub(crate) fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub(crate) fn shell(script: &str) -> Output {
    Command::new("sh").args(["-c", script]).output().unwrap()
}

/// What a script printed, one JSON-RPC answer per line.
pub(crate) fn answers(script: &str) -> Vec<Value> {
    let output = shell(script);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

/// The status of a token request with the credentials in `folder`, and the token.
pub(crate) fn token(folder: &Path) -> (u16, String) {
    let folder = path(folder);
    let output = shell(&format!(
        "curl -sS -w '\\n%{{http_code}}' -d grant_type=client_credentials --data-urlencode client_id@{folder}/client-id \
         --data-urlencode client_secret@{folder}/client-secret \"$(cat {folder}/token-url)\""
    ));
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    let token = serde_json::from_str::<Value>(body).unwrap_or_default()["access_token"].as_str().map(str::to_owned);
    (status.parse().unwrap(), token.unwrap_or_default())
}

/// The status of a `tools/list`.
pub(crate) fn list_tools(url: &str, token: &str) -> String {
    let output = shell(&format!(
        "curl -sS -o /dev/null -w '%{{http_code}}' -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' \
         -d '{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\"}}' {url}"
    ));
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn quickstart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart.yaml")
}

/// What a call of a tool answers.
pub(crate) fn call(dev: &Dev, token: &str, tool: &str, arguments: &Value) -> Value {
    let params = serde_json::json!({"name": tool, "arguments": arguments});
    let call = serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let mut answers = answers(&format!(
        "curl -sS -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' -d '{call}' {}; echo",
        dev.url()
    ));
    answers[0]["result"].take()
}

/// Calls a tool as the quickstart's client.
pub(crate) fn call_by(dev: &Dev, state: &Path, tool: &str, arguments: &Value) -> Value {
    let (_, token) = token(&state.join("secrets/ci-agent-oauth"));
    let message = serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": tool, "arguments": arguments}});
    let request = state.join("request.json");
    fs::write(&request, message.to_string()).unwrap();
    let answer = answers(&format!(
        "curl -sS -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' -d @{} {}; echo",
        path(&request),
        dev.url()
    ));
    assert_eq!(answer[0]["result"]["isError"], false, "{answer:?}");
    answer[0]["result"]["structuredContent"].clone()
}
