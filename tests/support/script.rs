//! Scripts of Node and Python that the tests talk with, in lines of JSON (`conversation.mjs`), and where the packages
//! that they use come from (`tests/clients/install.sh`).

use serde_json::{Value, json};
use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::OnceCell,
};

/// Far beyond what any step takes; only a hang gets there.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// A running script, in a folder of its own that is removed with it. It ends with this value, and with the test process:
/// both close its standard input.
pub struct Script {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    folder: TempDir,
}

impl Script {
    /// Starts `name`, a path below `tests/`.
    pub async fn start(name: &str, args: &[&str], env: &[(&str, &str)]) -> Self {
        let packages = Packages::installed().await;
        let is_python = Path::new(name).extension().is_some_and(|end| end == "py");
        let program = if is_python { &packages.python } else { &packages.node };
        Self::start_by(program, name, args, env).await
    }

    /// The same with another interpreter.
    pub async fn start_by(program: &Path, name: &str, args: &[&str], env: &[(&str, &str)]) -> Self {
        let packages = Packages::installed().await;
        // All scripts lie side by side, since Node looks for modules beside the one that asks.
        let folder = tempfile::Builder::new().prefix("portcullis-script-").tempdir().unwrap();
        for source in ["browser", "clients", "idp", "support"] {
            for entry in fs::read_dir(tests().join(source)).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_some_and(|end| end == "mjs" || end == "py") {
                    fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
                }
            }
        }
        symlink(&packages.node_modules, folder.path().join("node_modules")).unwrap();

        let script = folder.path().join(Path::new(name).file_name().unwrap());
        let mut child = Command::new(program)
            .arg(script)
            .args(args)
            .envs(env.iter().copied())
            .env("TMPDIR", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(folder.path().join("stderr")).unwrap())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { name: name.to_owned(), input: child.stdin.take(), child, output, folder }
    }

    /// Has it begin a step.
    pub async fn tell(&mut self, step: &str, with: Value) {
        let line = format!("{}\n", json!({"do": step, "with": with}));
        // Where it has ended, what it said last tells why.
        let _ = self.input.as_mut().unwrap().write_all(line.as_bytes()).await;
    }

    /// The next thing that it says.
    pub async fn hear(&mut self) -> Value {
        let Ok(line) = tokio::time::timeout(PATIENCE, self.output.next_line()).await else {
            panic!("{} says nothing:\n{}", self.name, self.complaints());
        };
        let Some(line) = line.unwrap() else { panic!("{} ended:\n{}", self.name, self.complaints()) };
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// Has it do a step that it says nothing else about. The error is the script's message.
    pub async fn ask(&mut self, step: &str, with: Value) -> Result<Value, String> {
        self.tell(step, with).await;
        let said = self.hear().await;
        outcome(&said).unwrap_or_else(|| panic!("{} said {said} instead of an outcome", self.name))
    }

    /// Has it do a step that cannot but succeed.
    pub async fn must(&mut self, step: &str, with: Value) -> Value {
        let outcome = self.ask(step, with).await;
        outcome.unwrap_or_else(|problem| panic!("{} {step}: {problem}\n{}", self.name, self.complaints()))
    }

    /// What it wrote on standard error.
    pub fn complaints(&self) -> String {
        fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // The end of its input is the end of it, and of what it started. Killed, it could not clean up.
        drop(self.input.take());
        for _ in 0..500 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.start_kill();
    }
}

/// The outcome of a step, where it is one that was said.
pub fn outcome(said: &Value) -> Option<Result<Value, String>> {
    let failed = said.get("failed").map(|message| Err(message.as_str().unwrap_or_default().to_owned()));
    said.get("done").map(|value| Ok(value.clone())).or(failed)
}

/// What an installing script, a path below `tests/`, prints.
pub async fn installed(script: &str) -> String {
    let output = Command::new(tests().join(script)).output().await.unwrap();
    assert!(output.status.success(), "{script}:\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// What `tests/clients/install.sh` installs.
struct Packages {
    node_modules: PathBuf,
    node: PathBuf,
    python: PathBuf,
}

impl Packages {
    async fn installed() -> &'static Self {
        static INSTALLED: OnceCell<Packages> = OnceCell::const_new();
        INSTALLED
            .get_or_init(async || {
                let printed = installed("clients/install.sh").await;
                let [folder, node, python] = printed.lines().map(PathBuf::from).collect::<Vec<_>>().try_into().unwrap();
                Self { node_modules: folder.join("node_modules"), node, python }
            })
            .await
    }
}

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}
