//! Where one row plays: a workspace of ann's, what she is told, and the ways to break something.

use crate::stage::{Person, Stage, template};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long something may take that happens by itself.
const SOON: Duration = Duration::from_secs(30);

/// A workspace of its own.
pub struct Scene<'a> {
    pub stage: &'a Stage<'a>,
    pub person: &'a Person,
    pub workspace: String,
    pub template: &'static str,
}

/// What was answered, and when.
pub struct Said {
    pub text: String,
    pub took: Duration,
    /// How long the next command may take, where something has to come back first.
    pub next_within: Duration,
    /// What the next command may be told until then.
    pub meanwhile: &'static [&'static str],
}

impl Said {
    /// With more to say that was found out after it.
    pub fn and(mut self, more: &str) -> Self {
        self.text = format!("{} | {more}", self.text);
        self
    }

    /// The pod has to come back first.
    pub fn until_it_is_back(self) -> Self {
        Self { next_within: Duration::from_mins(1), meanwhile: &["starting", "could not be reached"], ..self }
    }
}

/// Templates of little use, so that many fit on the node.
pub fn templates() -> Vec<Value> {
    let make = |name: &str, pod: Value, cpu: &str, memory: &str, size: &str| {
        let mut made = template();
        made["metadata"]["name"] = json!(name);
        made["spec"]["parameters"] = json!([]);
        made["spec"]["storage"] = json!({"size": size});
        made["spec"]["egress"] = json!("None");
        made["spec"].as_object_mut().unwrap().remove("egressRules");
        made["spec"]["pod"] = pod;
        made["spec"]["pod"]["imagePullPolicy"] = json!("Never");
        made["spec"]["pod"]["resources"] =
            json!({"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": cpu, "memory": memory}});
        made
    };
    vec![
        make("debian", json!({"image": "local/workspace:1"}), "1", "512Mi", "64Mi"),
        make("small", json!({"image": "local/workspace:1"}), "1", "256Mi", "32Mi"),
        make("big", json!({"image": "local/workspace:1"}), "1", "1Gi", "64Mi"),
        // A thousand processes that do nothing but fork are felt by the whole of a small machine.
        make("bomb", json!({"image": "local/workspace:1"}), "300m", "1Gi", "64Mi"),
        make("static", json!({"image": "local/static:1"}), "1", "256Mi", "32Mi"),
        make("nobody", json!({"image": "local/workspace:1", "runAsUser": 12345}), "1", "256Mi", "32Mi"),
    ]
}

impl Scene<'_> {
    pub async fn make(&self) {
        let arguments = json!({"template": self.template, "name": self.workspace});
        let made = self.person.call("create_workspace", &arguments).await.unwrap();
        assert_eq!(made["status"], "running", "{made}");
    }

    /// Calls a tool with the workspace.
    pub async fn call(&self, tool: &str, mut arguments: Value) -> Result<Value, String> {
        arguments["workspace"] = json!(self.workspace);
        self.person.call(tool, &arguments).await
    }

    /// Runs a line, and says what came of it.
    pub async fn command(&self, line: &str, timeout_seconds: u64) -> Said {
        let begun = Instant::now();
        let result = self.call("run_command", json!({"command": line, "timeout_seconds": timeout_seconds})).await;
        let (took, text) = (begun.elapsed(), result.map_or_else(|refused| refused, |result| told(&result)));
        Said { text, took, next_within: Duration::ZERO, meanwhile: &[] }
    }

    /// Runs a line that must work, and gives what it printed.
    pub async fn printed(&self, line: &str) -> String {
        let result = self.call("run_command", json!({"command": line, "timeout_seconds": 20})).await.unwrap();
        result["stdout"].as_str().unwrap().to_owned()
    }

    /// Breaks something while a command of so many seconds runs, once that has begun. It notes in `ran` that it has.
    pub async fn during(&self, seconds: u32, breaking: impl AsyncFnOnce()) -> Said {
        let line = format!("echo x >> ran; sleep {seconds}; echo done");
        let (said, ()) = tokio::join!(self.command(&line, 60), async {
            self.until("the command runs", async || self.in_pod("cat ran") == "x\n").await;
            breaking().await;
        });
        said
    }

    /// How often the command of [`Self::during`] ran.
    pub async fn runs(&self) -> String {
        format!("it ran {} times", self.printed("wc -l < ran").await.trim())
    }

    /// The first command afterwards that is not told to wait.
    pub async fn next(&self, meanwhile: &[&str]) -> Result<(), String> {
        let begun = Instant::now();
        let line = if self.template == "static" { "/static next" } else { "echo next" };
        loop {
            match self.call("run_command", json!({"command": line, "timeout_seconds": 10})).await {
                Ok(result) if result["stdout"] == "next\n" => return Ok(()),
                Err(told) if begun.elapsed() < SOON * 2 && meanwhile.iter().any(|words| told.contains(words)) => {
                    sleep(Duration::from_millis(500)).await;
                }
                Err(told) => return Err(told),
                Ok(other) => return Err(other.to_string()),
            }
        }
    }

    /// Runs a line in the workspace, past Portcullis.
    pub fn in_pod(&self, line: &str) -> String {
        let pod = self.pod();
        let args = ["-n", &self.stage.namespace, "exec", &pod, "-c", "workspace", "--", "sh", "-c", line];
        let done = self.stage.node.kubectl(&args);
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// Does something to the processes of a pod whose command line ends like this, from outside, as the node's kernel
    /// would: a line of shell for which `$p` is a process's folder below `/proc`.
    pub fn to_processes(&self, pod: &str, command: &str, line: &str) -> String {
        let script = format!(
            r#"for p in /proc/[0-9]*; do
            [ "$(cat $p/root/etc/hostname 2>/dev/null)" = "$1" ] || continue
            tr '\0' ' ' <$p/cmdline 2>/dev/null | grep -q "$2 *$" && {line}
            done; true"#
        );
        let done = self.stage.node.enter(&["sh", "-c", &script, "sh", pod, command]).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).unwrap()
    }

    /// Kills them.
    pub fn kill(&self, pod: &str, command: &str) {
        self.to_processes(pod, command, r#"kill -KILL "${p#/proc/}""#);
    }

    pub fn pod(&self) -> String {
        let named = format!("jsonpath={{.items[?(@.spec.displayName==\"{}\")].metadata.name}}", self.workspace);
        let id = self.stage.kubectl(&["get", "workspaces", "-o", &named]);
        format!("workspace-{id}-0")
    }

    /// Waits for something that happens by itself.
    pub async fn until(&self, what: &str, so: impl AsyncFn() -> bool) {
        let begun = Instant::now();
        while !so().await {
            assert!(begun.elapsed() < SOON, "{}: never: {what}", self.workspace);
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// A result in one line, with what a reader wants to know.
fn told(result: &Value) -> String {
    let mut parts = vec![format!("exit code {}", result["exit_code"])];
    let flags = ["timed_out", "truncated"].into_iter().filter(|flag| result[flag] == true);
    parts.extend(flags.map(|flag| flag.replace('_', " ")));
    for stream in ["stdout", "stderr"] {
        let said = result[stream].as_str().unwrap().trim();
        // Of what is shortened, only the line that says so.
        let shown = said.lines().find(|line| line.starts_with("[…")).unwrap_or(said);
        if !said.is_empty() {
            parts.push(format!("{stream}: {shown}"));
        }
    }
    parts.extend(result["note"].as_str().map(|note| format!("note: {note}")));
    parts.join(", ")
}
