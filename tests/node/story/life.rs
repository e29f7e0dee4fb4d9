//! The life of a workspace, in the hands of the official clients: made, worked in, stopped, started, brought up to date,
//! deleted.

use super::repository;
use crate::{
    clients::{Client, Identity, Kind, nobody},
    stage::{CLIENT, Stage},
    support::operator::eventually,
};
use serde_json::{Value, json};

/// An official client with the workspace that it works in.
struct Agent(Client);

impl Agent {
    async fn start(stage: &Stage<'_>, kind: Kind, revision: &str) -> Self {
        let identity = Identity::Preset { client_id: CLIENT, client_secret: None };
        let mut client = Client::start(kind, revision, &stage.url, &identity).await;
        let approve = async |url: &str| {
            let callback = stage.allow("ann", url).await;
            reqwest::get(callback).await.unwrap();
        };
        client.connect(approve).await.unwrap();
        Self(client)
    }

    /// What a tool answers; of one that works in a workspace, in `hello`.
    async fn done(&mut self, tool: &str, arguments: Value) -> Value {
        let mut result = self.call(tool, arguments).await;
        assert_ne!(result["isError"], true, "{tool}: {result}");
        result["structuredContent"].take()
    }

    /// What a tool says where it refuses.
    async fn refused(&mut self, tool: &str, arguments: Value) -> String {
        let result = self.call(tool, arguments).await;
        assert_eq!(result["isError"], true, "{tool}: {result}");
        result["content"][0]["text"].as_str().unwrap().to_owned()
    }

    async fn call(&mut self, tool: &str, mut arguments: Value) -> Value {
        if !["list_templates", "create_workspace", "list_workspaces"].contains(&tool) {
            arguments["workspace"] = json!("hello");
        }
        self.0.call(tool, &arguments, nobody).await.unwrap()
    }

    /// What a command line prints that must succeed.
    async fn run(&mut self, line: &str, folder: &str) -> String {
        let ran = self.done("run_command", json!({"command": line, "cwd": folder, "timeout_seconds": 60})).await;
        assert_eq!(ran["exit_code"], 0, "{line}: {ran}");
        ran["stdout"].as_str().unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_typescript_client() {
    Box::pin(lives(Kind::TypeScript2, "2026-07-28")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_python_client() {
    Box::pin(lives(Kind::Python, "2025-11-25")).await;
}

async fn lives(kind: Kind, revision: &str) {
    // Two servers, in turn: which one is asked makes no difference.
    let Some(stage) = Stage::shared(&json!({"deployment": {"replicas": 2}})).await else { return };
    repository::serve(&stage);
    let mut agent = Agent::start(&stage, kind, revision).await;
    let templates = agent.done("list_templates", json!({})).await;
    assert_eq!(templates["templates"][0]["name"], "debian", "{templates}");
    let new = json!({"template": "debian", "name": "hello", "parameters": {"timezone": "Europe/Zurich"}});
    let made = agent.done("create_workspace", new).await;
    assert_eq!((&made["status"], &made["outdated"]), (&json!("running"), &json!(false)), "{made}");
    let id = made["id"].as_str().unwrap();

    builds(&mut agent).await;
    serves(&mut agent).await;
    is_measured(&mut agent).await;
    stops_and_starts(&mut agent).await;
    follows_its_template(&stage, &mut agent).await;
    leaves_nothing(&stage, &mut agent, id).await;
}

async fn builds(agent: &mut Agent) {
    agent.run("git clone git://git/hello", ".").await;
    let tested = agent.run("make test", "hello").await;
    assert!(tested.ends_with("passed\n"), "{tested}");
    assert!(agent.run("date", ".").await.contains("CE"), "the parameter got there");
}

/// A server in the background, and a change to what it serves.
async fn serves(agent: &mut Agent) {
    let started =
        agent.done("run_command", json!({"command": "python3 serve.py", "cwd": "hello", "background": true})).await;
    let server = &started["process_id"];
    let said = agent.done("process_output", json!({"process_id": server, "wait_seconds": 20})).await;
    assert_eq!((&said["output"], &said["running"]), (&json!("listening\n"), &json!(true)), "{said}");
    assert_eq!(agent.run("curl --silent --fail http://127.0.0.1:8000/", ".").await, "Hello, world\n");

    let found = agent.done("search_files", json!({"pattern": "Hello, \\w+", "glob": "*.c"})).await;
    assert_eq!((&found["matches"][0]["path"], &found["matches"][0]["line"]), (&json!("hello/greet.c"), &json!(4)));
    let read = agent.done("read_file", json!({"path": "hello/greet.c", "start_line": 4, "end_line": 4})).await;
    assert_eq!(read["content"], "  return puts(\"Hello, world\") < 0;\n", "{read}");
    let edit = json!({"path": "hello/greet.c", "old_text": "world", "new_text": "agents"});
    let edited = agent.done("edit_file", edit).await;
    assert!(edited["diff"].as_str().unwrap().contains("+  return puts(\"Hello, agents\")"), "{edited}");
    agent.done("write_file", json!({"path": "hello/notes/today.md", "content": "# Today\n"})).await;
    let listed = agent.done("list_files", json!({"path": "hello", "depth": 2})).await;
    assert!(listed.to_string().contains("notes/today.md"), "{listed}");
    agent.run("make", "hello").await;
    assert_eq!(agent.run("curl --silent --fail http://127.0.0.1:8000/", ".").await, "Hello, agents\n");

    let failed = agent.done("run_command", json!({"command": "make test", "cwd": "hello"})).await;
    assert_eq!(failed["exit_code"], 2, "a test that fails is told as such: {failed}");
    let processes = agent.done("list_processes", json!({})).await;
    assert_eq!(processes["processes"][0]["process_id"], *server, "{processes}");
    agent.done("stop_process", json!({"process_id": server})).await;
    let refused = agent.done("run_command", json!({"command": "curl --silent http://127.0.0.1:8000/"})).await;
    assert_eq!(refused["exit_code"], 7, "nobody listens: {refused}");
}

async fn is_measured(agent: &mut Agent) {
    let usage = agent.done("workspace_usage", json!({})).await;
    let amount = |what: &str, which: &str| usage[what][which].as_f64().unwrap_or_else(|| panic!("{what}: {usage}"));
    assert!(amount("memory", "used") > 0.0 && amount("disk", "used") > 0.0, "{usage}");
    assert!((amount("memory", "limit") - f64::from(1 << 30)).abs() < 1.0, "{usage}");
    assert!((amount("cpu", "limit") - 2.0).abs() < 0.01, "{usage}");
    let logs = agent.done("workspace_logs", json!({"lines": 50})).await["lines"].to_string();
    assert!(logs.contains("the workspace runs") && logs.contains("ended with exit code 7"), "{logs}");
}

async fn stops_and_starts(agent: &mut Agent) {
    agent.done("stop_workspace", json!({})).await;
    eventually("it has stopped", async || {
        (agent.done("get_workspace", json!({})).await["status"] == "stopped").then_some(())
    })
    .await;
    let refused = agent.refused("run_command", json!({"command": "true"})).await;
    assert!(refused.contains("call start_workspace"), "{refused}");
    assert_eq!(agent.done("start_workspace", json!({})).await["status"], "running");
    let read = agent.done("read_file", json!({"path": "hello/notes/today.md"})).await;
    assert_eq!(read["content"], "# Today\n", "{read}");
    assert_eq!(agent.run("./greet", "hello").await, "Hello, agents\n");
}

async fn follows_its_template(stage: &Stage<'_>, agent: &mut Agent) {
    let variable = r#"[{"op": "add", "path": "/spec/pod/env/-", "value": {"name": "GREETING", "value": "hi"}}]"#;
    stage.kubectl(&["patch", "workspacetemplate", "debian", "--type=json", "-p", variable]);
    eventually("it is outdated", async || {
        let now = agent.done("get_workspace", json!({})).await;
        assert_eq!(now["status"], "running", "{now}");
        (now["outdated"] == true).then_some(())
    })
    .await;
    assert_eq!(agent.run("echo \"$GREETING\"", ".").await, "\n", "what runs is left alone");
    let restarted = agent.done("restart_workspace", json!({})).await;
    assert_eq!((&restarted["status"], &restarted["outdated"]), (&json!("running"), &json!(false)), "{restarted}");
    assert_eq!(agent.run("echo \"$GREETING\"; ls hello/notes", ".").await, "hi\ntoday.md\n");
}

async fn leaves_nothing(stage: &Stage<'_>, agent: &mut Agent, id: &str) {
    let claim = format!("home-workspace-{id}-0");
    let uid = stage.kubectl(&["get", "pvc", &claim, "-o", "jsonpath={.metadata.uid}"]);
    let disk = stage.node.folder().join("disks").join(format!("{uid}.image"));
    assert!(disk.exists(), "{}", disk.display());

    assert_eq!(agent.done("delete_workspace", json!({})).await["deleted"]["id"], id);
    assert_eq!(agent.done("list_workspaces", json!({})).await["workspaces"], json!([]));
    let refused = agent.refused("get_workspace", json!({})).await;
    assert!(refused.contains("there is no workspace \"hello\""), "{refused}");
    let kinds = stage.kubectl(&["api-resources", "--namespaced", "--verbs=list", "-o", "name"]);
    let kinds: Vec<&str> = kinds.lines().filter(|kind| !kind.contains("event") && !kind.contains("metrics")).collect();
    eventually("nothing is left of it", async || {
        let objects = stage.kubectl(&["get", &kinds.join(","), "-o", "name"]);
        let volumes = stage.kubectl(&["get", "persistentvolumes", "-o", "jsonpath={..claimRef.uid}"]);
        let left = objects.contains(id) || volumes.contains(&uid) || disk.exists();
        (!left).then_some(())
    })
    .await;
}
