//! Today's tools in front of an agent of an earlier version, as after an upgrade of the server while a workspace runs.
//!
//! `old_agent.jsonl` has what the agent of commit 205550a answered: the last one before results had pages and commands
//! terminals. Each line is a request of a tool and the answer. To record it anew, give a program of that version:
//! `OLD_AGENT=PATH cargo test --test server old_agent`.

use crate::mcp_edge::endpoint::{EVERYTHING, Endpoint, config, endpoint_behind};
use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use portcullis_agent::{
    AnswerBody, Client, Lost, Repeat, Transport,
    http2::{Connection, handshake},
    protocol::JournalRequest,
};
use portcullis_config::WorkspaceRules;
use portcullis_workspaces::{
    CreateWorkspace, Error, Owner, Purpose, Template, Workspace, WorkspaceFilter, WorkspaceLogs, WorkspacePage,
    Workspaces,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    env,
    ffi::OsStr,
    fs,
    mem::discriminant,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{net::UnixStream, process, time::sleep};
use tokio_util::task::TaskTracker;

const RECORDING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mcp_edge/old_agent.jsonl");
/// The longest text that is kept of an answer.
const MOST_TEXT: usize = 500;

/// A request to the agent, and its answer.
#[derive(Debug, Serialize, Deserialize)]
struct Exchange {
    /// Method and path; the ids of commands are random, and stand as `ID`.
    route: String,
    request: Value,
    status: u16,
    /// The lines of the answer that have a value.
    answer: Vec<Value>,
}

impl Exchange {
    async fn begin(request: Request<Full<Bytes>>) -> Self {
        let path = request.uri().path();
        let path = if path.starts_with("/commands/") { "/commands/ID" } else { path };
        let route = format!("{} {path}", request.method());
        let Ok(body) = request.into_body().collect().await;
        let body = body.to_bytes();
        let request = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
        Self { route, request, status: 0, answer: Vec::new() }
    }

    fn into_response(self) -> Response<AnswerBody> {
        let lines: Vec<String> = self.answer.iter().map(Value::to_string).collect();
        let body = Full::new(Bytes::from(lines.join("\n") + "\n")).map_err(|never| match never {});
        Response::builder().status(self.status).body(body.boxed_unsync()).unwrap()
    }
}

/// Where the answers come from.
enum OldAgent {
    Recorded(Mutex<VecDeque<Exchange>>),
    Running { connection: Connection, kept: Mutex<Vec<Exchange>>, _agent: Box<process::Child>, _folder: TempDir },
}

impl OldAgent {
    async fn get() -> Self {
        let Some(program) = env::var_os("OLD_AGENT") else {
            let recording = fs::read_to_string(RECORDING).unwrap();
            return Self::Recorded(Mutex::new(
                recording.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
            ));
        };
        Self::start(&program).await
    }

    async fn start(program: &OsStr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("home")).unwrap();
        let agent = process::Command::new(program)
            .args(["agent", "run", "--termination-log", "/nowhere", "--home"])
            .arg(at("home"))
            .arg("--socket")
            .arg(at("socket"))
            .arg("--output")
            .arg(at("output"))
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stream = loop {
            match UnixStream::connect(at("socket")).await {
                Ok(stream) => break stream,
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        };
        let (connection, drive) = handshake(stream, TaskTracker::new()).await.unwrap();
        tokio::spawn(drive);
        Self::Running { connection, kept: Mutex::default(), _agent: Box::new(agent), _folder: folder }
    }

    /// Checks that all was asked that was recorded, or writes what was.
    fn finish(&self) {
        match self {
            Self::Recorded(left) => assert!(left.lock().unwrap().is_empty(), "not asked: {left:?}"),
            Self::Running { kept, .. } => {
                let kept = kept.lock().unwrap();
                let lines: Vec<String> = kept.iter().map(|kept| serde_json::to_string(kept).unwrap() + "\n").collect();
                fs::write(RECORDING, lines.concat()).unwrap();
            }
        }
    }
}

#[async_trait]
impl Transport for OldAgent {
    async fn send(&self, request: Request<Full<Bytes>>, _: Repeat) -> Result<Response<AnswerBody>, Lost> {
        match self {
            Self::Recorded(left) => {
                let asked = Exchange::begin(request).await;
                let next = left.lock().unwrap().pop_front();
                let next = next.unwrap_or_else(|| panic!("nothing was recorded for {asked:?}"));
                assert_eq!(asked.route, next.route, "the agent was asked something else in this place");
                assert!(has_members_of(&asked.request, &next.request), "the agent needs {next:?}, not {asked:?}");
                Ok(next.into_response())
            }
            Self::Running { connection, kept, .. } => {
                let mut exchange = Exchange::begin(request.clone()).await;
                let response = connection.send(request).await?;
                exchange.status = response.status().as_u16();
                let body = response.into_body().collect().await?.to_bytes();
                let lines = str::from_utf8(&body).unwrap().lines().filter(|line| !line.is_empty());
                exchange.answer = lines.map(|line| shortened(serde_json::from_str(line).unwrap())).collect();
                let line = serde_json::to_string(&exchange).unwrap();
                kept.lock().unwrap().push(serde_json::from_str(&line).unwrap());
                Ok(exchange.into_response())
            }
        }
    }

    fn abandon(&self, _: &str) {}
}

/// Whether a request has all members of an older one, each of the same kind. More is no harm: agents ignore what they do
/// not know.
fn has_members_of(request: &Value, older: &Value) -> bool {
    let Some(members) = older.as_object() else { return discriminant(request) == discriminant(older) };
    members.iter().all(|(name, old)| match request.get(name) {
        None => false,
        Some(new) => new.is_null() || old.is_null() || has_members_of(new, old),
    })
}

fn shortened(value: Value) -> Value {
    match value {
        Value::String(text) if text.len() > MOST_TEXT => {
            let end = text.floor_char_boundary(MOST_TEXT);
            Value::String(text[..end].to_owned())
        }
        Value::Array(values) => values.into_iter().map(shortened).collect(),
        Value::Object(members) => members.into_iter().map(|(name, value)| (name, shortened(value))).collect(),
        other => other,
    }
}

/// Workspaces whose agent is the old one.
struct Outdated(Arc<dyn Workspaces>, Arc<OldAgent>);

#[async_trait]
impl Workspaces for Outdated {
    fn apply(&self, rules: &WorkspaceRules) {
        self.0.apply(rules);
    }

    async fn templates(&self, owner: &Owner) -> Result<Vec<Template>, Error> {
        self.0.templates(owner).await
    }

    async fn list(&self, owner: &Owner, filter: WorkspaceFilter) -> Result<WorkspacePage, Error> {
        self.0.list(owner, filter).await
    }

    async fn list_all(&self, cursor: Option<&str>, limit: usize) -> Result<WorkspacePage, Error> {
        self.0.list_all(cursor, limit).await
    }

    async fn get(&self, owner: &Owner, workspace: &str) -> Result<Workspace, Error> {
        self.0.get(owner, workspace).await
    }

    async fn create(&self, owner: &Owner, request: CreateWorkspace) -> Result<Workspace, Error> {
        self.0.create(owner, request).await
    }

    async fn start(&self, owner: &Owner, workspace: &str, wait: Option<Duration>) -> Result<Workspace, Error> {
        self.0.start(owner, workspace, wait).await
    }

    async fn stop(&self, owner: &Owner, workspace: &str) -> Result<Workspace, Error> {
        self.0.stop(owner, workspace).await
    }

    async fn restart(&self, owner: &Owner, workspace: &str, wait: Option<Duration>) -> Result<Workspace, Error> {
        self.0.restart(owner, workspace, wait).await
    }

    async fn delete(&self, owner: &Owner, workspace: &str) -> Result<Workspace, Error> {
        self.0.delete(owner, workspace).await
    }

    async fn logs(&self, owner: &Owner, workspace: &str, lines: u32) -> Result<WorkspaceLogs, Error> {
        self.0.logs(owner, workspace, lines).await
    }

    async fn agent(&self, _: &Owner, _: &str, _: Purpose) -> Result<Client, Error> {
        Ok(Client::new(Arc::clone(&self.1) as Arc<dyn Transport>))
    }
}

/// Calls tools in the workspace, whose results must be what `tools/list` says.
struct Caller {
    endpoint: Endpoint,
    schemas: HashMap<String, jsonschema::Validator>,
    called: BTreeSet<String>,
}

impl Caller {
    async fn new(endpoint: Endpoint) -> Self {
        let tools = endpoint.ask("2025-11-25", "tools/list", json!({})).await.json()["result"]["tools"].take();
        let schema = |tool: &Value| jsonschema::draft202012::new(&tool["outputSchema"]).unwrap();
        let tools = tools.as_array().unwrap().iter();
        let schemas = tools.map(|tool| (tool["name"].as_str().unwrap().to_owned(), schema(tool))).collect();
        Self { endpoint, schemas, called: BTreeSet::new() }
    }

    /// The text for the model, and the result.
    async fn done(&mut self, tool: &str, mut arguments: Value) -> (String, Value) {
        arguments["workspace"] = json!("web");
        let mut result = self.endpoint.call(tool, arguments).await;
        assert_eq!(result["isError"], false, "{tool}: {result}");
        let (text, result) = (result["content"][0]["text"].take(), result["structuredContent"].take());
        self.schemas[tool].validate(&result).unwrap();
        self.called.insert(tool.to_owned());
        (text.as_str().unwrap_or_default().to_owned(), result)
    }

    async fn failed(&self, tool: &str, mut arguments: Value) -> String {
        arguments["workspace"] = json!("web");
        self.endpoint.failed(tool, arguments).await
    }
}

#[tokio::test]
async fn tools_work_with_an_agent_of_an_earlier_version() {
    let old = Arc::new(OldAgent::get().await);
    let agent = Arc::clone(&old);
    let choose = |local| Some(Arc::new(Outdated(local, agent)) as Arc<dyn Workspaces>);
    let endpoint = endpoint_behind(config(|_| {}), EVERYTHING, choose).await;
    endpoint.done("create_workspace", json!({"template": "blank", "name": "web"})).await;
    let mut agent = Caller::new(endpoint).await;

    let hello = Client::new(Arc::clone(&old) as Arc<dyn Transport>).hello().await.unwrap();
    assert!(hello.home.ends_with("/home"), "{hello:?}");

    let notes = json!({"path": "notes.txt", "content": "one\ntwo\nthree\n"});
    let written = agent.done("write_file", notes).await.1;
    assert_eq!((&written["size"], &written["created"]), (&json!(14), &json!(true)));
    let script = json!({"path": "bin/run", "content": "echo ran\n", "mode": "755"});
    agent.done("write_file", script).await;
    let picture = json!({"path": "data", "content": "AP8A/w==", "encoding": "base64"});
    agent.done("write_file", picture).await;
    // The old `/files/write` would replace what is there.
    let refused = agent.failed("write_file", json!({"path": "notes.txt", "content": "four\n", "append": true})).await;
    assert!(refused.contains("older version") && refused.contains("restart_workspace"), "{refused}");

    assert_eq!(agent.done("read_file", json!({"path": "notes.txt"})).await.0, "one\ntwo\nthree\n");
    let part = agent.done("read_file", json!({"path": "notes.txt", "start_line": 2, "end_line": 2})).await.1;
    assert_eq!((&part["content"], &part["next_start_line"]), (&json!("two\n"), &json!(3)), "{part}");
    let bytes = agent.done("read_file", json!({"path": "data"})).await.1;
    assert_eq!((&bytes["encoding"], &bytes["content"]), (&json!("base64"), &json!("AP8A/w==")));
    let missing = agent.failed("read_file", json!({"path": "note.txt"})).await;
    assert!(missing.contains("there is no such file"), "{missing}");
    let edit = json!({"path": "notes.txt", "old_text": "two", "new_text": "2"});
    assert!(agent.done("edit_file", edit).await.0.contains("+2"));

    let (_, listed) = agent.done("list_files", json!({"depth": 2})).await;
    let paths: Vec<&str> =
        listed["entries"].as_array().unwrap().iter().map(|entry| entry["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["bin", "bin/run", "data", "notes.txt"]);
    // It has no pages: the whole list is the only one.
    assert_eq!((listed.get("next_offset"), &listed["truncated"]), (None, &json!(false)));
    let (found, _) = agent.done("search_files", json!({"pattern": "^t"})).await;
    assert!(found.starts_with("notes.txt:3:three"), "{found}");
    agent.done("move_path", json!({"from": "notes.txt", "to": "docs/notes.txt"})).await;
    agent.done("remove_path", json!({"path": "bin", "recursive": true})).await;

    let (text, ran) = agent.done("run_command", json!({"command": "echo hello; echo oh >&2; exit 3"})).await;
    assert!(text.starts_with("exit code 3") && text.contains("hello") && text.contains("oh"), "{text}");
    assert_eq!((&ran["exit_code"], &ran["stdout"]), (&json!(3), &json!("hello\n")));
    let (text, ran) = agent.done("run_command", json!({"command": "seq 1 100000"})).await;
    assert_eq!(ran["truncated"], true);
    assert!(text.contains(ran["stdout_file"].as_str().unwrap()), "{text}");
    let live = json!({"name": "run_command", "_meta": {"progressToken": 1},
        "arguments": {"workspace": "web", "command": "echo first; sleep 1; echo last"}});
    let answer = agent.endpoint.ask("2025-11-25", "tools/call", live).await;
    assert_eq!(answer.json()["result"]["structuredContent"]["stdout"], "first\nlast\n", "{}", answer.text);
    let slow = json!({"command": "sleep 60", "timeout_seconds": 1, "on_timeout": "background"});
    // It does not know how to let it run on.
    assert_eq!(agent.done("run_command", slow).await.1["timed_out"], true);
    let refused = agent.failed("run_command", json!({"command": "true", "cwd": "nowhere"})).await;
    assert!(refused.contains("nowhere"), "{refused}");

    let cat = agent.done("run_command", json!({"command": "echo begun; cat", "background": true})).await.1;
    let process = &cat["process_id"];
    let (text, _) = agent.done("list_processes", json!({})).await;
    assert!(text.contains("echo begun; cat") && text.contains("running"), "{text}");
    let wait = json!({"process_id": process, "wait_for": "begun", "offset": 0});
    let (text, output) = agent.done("process_output", wait).await;
    assert!(text.contains("begun"), "{text}");
    assert_eq!((&output["running"], output.get("matched")), (&json!(true), None));
    let typed = json!({"process_id": process, "text": "typed\n", "wait_seconds": 20});
    assert!(agent.done("send_input", typed).await.0.contains("typed"));
    let stopped = agent.done("stop_process", json!({"process_id": process})).await.1;
    assert_eq!(stopped["running"], false, "{stopped}");
    let unknown = agent.failed("stop_process", json!({"process_id": 999_999})).await;
    assert!(unknown.contains("999999"), "{unknown}");
    let used = agent.done("workspace_usage", json!({})).await.1;
    assert!(used["memory"]["used"].is_number(), "{used}");
    let journal = Client::new(Arc::clone(&old) as Arc<dyn Transport>).journal(&JournalRequest::default()).await;
    let refused = journal.map_err(Error::agent("web")).unwrap_err().to_string();
    assert!(refused.contains("older version") && refused.contains("restart_workspace"), "{refused}");

    let all = [
        "edit_file",
        "list_files",
        "list_processes",
        "move_path",
        "process_output",
        "read_file",
        "remove_path",
        "run_command",
        "search_files",
        "send_input",
        "stop_process",
        "workspace_usage",
        "write_file",
    ];
    assert_eq!(agent.called.iter().collect::<Vec<_>>(), all);
    old.finish();
}
