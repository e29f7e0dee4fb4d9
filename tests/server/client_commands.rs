//! `portcullis login` and the commands that use its sign-in, at a real `portcullis dev`. The user's browser is driven over
//! HTTP.

use crate::{
    dev::{Dev, SERVED, eventually},
    form_browser::Browser,
};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio},
};
use tempfile::TempDir;

pub const MANIFESTS: &str = r"
apiVersion: portcullis.dev/v1alpha1
kind: McpEndpoint
metadata: {name: agents}
spec:
  url: https://mcp.example.com/mcp
  clients:
    dynamicRegistration:
      scopes: [workspaces:read, workspaces:write, workspaces:exec, files:read, files:write, templates:read]
---
apiVersion: portcullis.dev/v1alpha1
kind: OAuthClient
metadata: {name: ci-agent}
spec:
  endpointRef: {name: agents}
  grants: [client_credentials]
  scopes: [workspaces:read]
";

/// An endpoint on this machine, and the home folder of a user.
pub struct Machine {
    dev: Option<Dev>,
    port: u16,
    folder: TempDir,
    /// The environment of the user's commands. They leave the keyring of the developer alone.
    pub environment: Vec<(&'static str, String)>,
}

impl Machine {
    fn start() -> Self {
        Self::start_with(MANIFESTS)
    }

    pub fn start_with(manifests: &str) -> Self {
        // For reqwest's clients.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("endpoint.yaml"), manifests).unwrap();
        // It is the same after a restart.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let environment = vec![("PORTCULLIS_STORE", "file".to_owned())];
        let mut machine = Self { dev: None, port, folder, environment };
        machine.serve();
        machine
    }

    fn serve(&mut self) {
        let listen = format!("127.0.0.1:{}", self.port);
        let (manifests, state) = (self.path("endpoint.yaml"), self.path("state"));
        let args = [manifests.to_str().unwrap(), "--listen", &listen, "--state-dir", state.to_str().unwrap()];
        let dev = Dev::start(&args, "");
        dev.wait_for(SERVED);
        self.dev = Some(dev);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn origin(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// One of the user's commands.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command
            .args(args)
            .current_dir(self.folder.path())
            .env("PORTCULLIS_URL", format!("{}/mcp", self.origin()))
            .env("XDG_STATE_HOME", self.path("home"))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// What a command prints that succeeds.
    pub fn printed(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The error of a command that fails.
    pub fn failed(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {error}");
        error
    }

    /// `portcullis login`, and what the user does in the browser.
    pub async fn login(&self) -> String {
        self.sign_in_by(&["login", "--no-browser"]).await.1
    }

    /// A command that signs in, and what the user does in the browser. What it prints, and the rest of its messages.
    async fn sign_in_by(&self, args: &[&str]) -> (String, String) {
        let mut command = self.command(args);
        // It finds no program that opens a browser.
        command.env("PATH", "").stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Running(command.spawn().unwrap());
        let mut errors = BufReader::new(child.0.stderr.take().unwrap());
        let url = loop {
            let mut line = String::new();
            assert!(errors.read_line(&mut line).unwrap() > 0, "no address was shown");
            if let Some(path) = line.trim().strip_prefix(&self.origin()) {
                break path.to_owned();
            }
        };
        let said = self.dev.as_ref().unwrap().wait_for(SERVED);
        let after = |label: &str| said.split(label).nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
        let (user, password) = (after("user name"), after("password"));
        let mut browser = Browser::new(&self.origin(), &self.origin());
        let to_sign_in = browser.get(&url).await.path().to_owned();
        let page = browser.sign_in(&to_sign_in, &user, &password).await;
        let consent = page.path().to_owned();
        let callback = browser.allow(&consent).await;
        let last = reqwest::get(callback.location()).await.unwrap();
        assert_eq!(last.status(), 200);
        assert_eq!(last.headers()["content-security-policy"], "default-src 'none'; frame-ancestors 'none'");
        assert!(last.text().await.unwrap().contains("You are signed in"));
        let mut rest = String::new();
        errors.read_to_string(&mut rest).unwrap();
        let mut printed = String::new();
        child.0.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
        assert!(child.0.wait().unwrap().success(), "{rest}{printed}");
        (printed, rest)
    }

    /// The file of the sign-in.
    pub fn sign_in(&self) -> Option<PathBuf> {
        let entries = fs::read_dir(self.path("home/portcullis")).ok()?;
        entries.map(|entry| entry.unwrap().path()).find(|path| path.extension().is_some_and(|end| end == "json"))
    }

    /// Changes what is stored of the sign-in.
    fn change(&self, change: impl FnOnce(&mut Value)) {
        let path = self.sign_in().unwrap();
        let mut stored: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut stored);
        fs::write(path, stored.to_string()).unwrap();
    }
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running `portcullis stdio`.
struct Relay {
    child: Running,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Relay {
    fn start(machine: &Machine) -> Self {
        let mut command = machine.command(&["stdio", "--no-browser"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child: Running(child), input, output }
    }

    fn send(&mut self, message: &str) {
        writeln!(self.input.as_mut().unwrap(), "{message}").unwrap();
    }

    fn receive(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
    }

    /// Calls a tool, and returns the response.
    fn call(&mut self, id: u32, tool: &str, arguments: &Value) -> Value {
        self.send(&request(id, tool, arguments));
        self.receive()
    }

    fn end(mut self) {
        drop(self.input.take());
        assert!(self.child.0.wait().unwrap().success());
    }
}

fn request(id: u32, tool: &str, arguments: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": arguments}})
        .to_string()
}

/// A workspace called `web`.
async fn workspace(machine: &Machine) {
    let token = machine.printed(&["token"]);
    let request = reqwest::Client::new().post(format!("{}/mcp/workspaces", machine.origin())).bearer_auth(token.trim());
    let made = request.json(&json!({"template": "blank", "name": "web"})).send().await.unwrap();
    assert_eq!(made.status(), 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sign_in_from_login_to_logout() {
    let machine = Machine::start();
    assert!(machine.failed(&["token"]).contains("run: portcullis login"));
    let said = machine.login().await;
    assert!(said.contains("You are signed in") && !said.contains("eyJ"), "{said}");
    let file = machine.sign_in().unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);

    let first = machine.printed(&["token"]);
    assert_eq!(machine.printed(&["token"]), first, "it is valid for a while");
    machine.change(|stored| stored["tokens"]["expires_at"] = json!("2020-01-01T00:00:00Z"));
    let together: Vec<Child> =
        (0..4).map(|_| machine.command(&["token"]).stdout(Stdio::piped()).spawn().unwrap()).collect();
    let tokens: Vec<Vec<u8>> = together.into_iter().map(|child| child.wait_with_output().unwrap().stdout).collect();
    assert!(tokens.iter().all(|token| *token == tokens[0]), "one process refreshes it for all");
    assert_ne!(tokens[0], first.as_bytes());

    // A second sign-in replaces the first, which is revoked; the client stays the same.
    let client = |machine: &Machine| {
        let stored: Value = serde_json::from_slice(&fs::read(machine.sign_in().unwrap()).unwrap()).unwrap();
        stored["client"]["id"].as_str().unwrap().to_owned()
    };
    let before = client(&machine);
    machine.login().await;
    assert_eq!(client(&machine), before);

    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(machine.failed(&["token"]).contains("chmod 600"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();

    let token = machine.printed(&["token"]);
    assert!(machine.run(&["logout"]).status.success());
    assert_eq!(machine.sign_in(), None);
    let whoami = format!("{}/mcp/whoami", machine.origin());
    let refused = reqwest::Client::new().get(whoami).bearer_auth(token.trim()).send().await.unwrap();
    assert_eq!(refused.status(), 401, "the token is revoked");
    assert!(String::from_utf8(machine.run(&["logout"]).stderr).unwrap().contains("There is no sign-in"));

    let secret = "state/secrets/ci-agent-oauth/client-secret";
    let token = machine.printed(&["token", "--client-id", "ci-agent", "--client-secret-file", secret]);
    assert_eq!(token.trim().split('.').count(), 3, "a JWT");
    assert!(
        machine.failed(&["token", "--client-id", "other", "--client-secret-file", secret]).contains("invalid_client")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_on_a_workspace() {
    let machine = Machine::start();
    machine.login().await;
    workspace(&machine).await;

    let output = machine.run(&["exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert_eq!(
        (output.status.code(), text(&output.stdout), text(&output.stderr)),
        (Some(7), "out\n".into(), "err\n".into())
    );
    assert_eq!(machine.printed(&["exec", "web", "--", "printf", "%s|", "a b", "$HOME", "'"]), "a b|$HOME|'|");
    assert_eq!(machine.printed(&["exec", "web", "--", "cat"]), "", "its input is empty");
    let mut child = machine.command(&["exec", "-i", "web", "--", "cat"]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all("héllo\n".as_bytes()).unwrap();
    assert_eq!(text(&child.wait_with_output().unwrap().stdout), "héllo\n");

    // More than one part, and not text.
    let bytes: Vec<u8> =
        (0..2_500_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes().into_iter().take(1)).collect();
    fs::write(machine.path("data.bin"), &bytes).unwrap();
    machine.printed(&["cp", "data.bin", "web:folder/"]);
    machine.printed(&["cp", "web:folder/data.bin", "copy.bin"]);
    assert!(fs::read(machine.path("copy.bin")).unwrap() == bytes);
    assert!(machine.run(&["exec", "web", "--", "cat", "folder/data.bin"]).stdout == bytes);
    assert!(machine.failed(&["cp", "web:folder", "x"]).contains("is a folder"));
    assert!(machine.failed(&["cp", "data.bin", "x"]).contains("WORKSPACE:PATH"));

    let table = machine.printed(&["ps", "web"]);
    assert!(table.contains("exit 7") && table.contains("cat folder/data.bin"), "{table}");
    assert!(machine.printed(&["logs", "web", "--lines", "50"]).contains("ended with exit code 7"));
    assert!(machine.failed(&["exec", "nosuch", "--", "true"]).contains("there is no workspace"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_relay_survives_a_restart_and_reports_the_end_of_access() {
    let mut machine = Machine::start();
    let mut relay = Relay::start(&machine);
    let whoami = |relay: &mut Relay, id| relay.call(id, "whoami", &json!({}));
    let error = |response: &Value| response["error"]["message"].as_str().unwrap_or_default().to_owned();
    let before = whoami(&mut relay, 1);
    assert!(error(&before).contains("there is no sign-in") && before["id"] == 1, "{before}");
    machine.login().await;
    assert_eq!(
        whoami(&mut relay, 2)["result"]["structuredContent"]["user"],
        "dev",
        "no restart of the relay is needed"
    );

    workspace(&machine).await;
    let progress = json!({"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {
        "name": "run_command", "_meta": {"progressToken": "p"},
        "arguments": {"workspace": "web", "command": "echo begun; sleep 1; echo done"},
    }});
    relay.send(&progress.to_string());
    let first = relay.receive();
    assert_eq!((&first["method"], &first["params"]["progressToken"]), (&json!("notifications/progress"), &json!("p")));
    let last = loop {
        let message = relay.receive();
        if message["id"] == 3 {
            break message;
        }
    };
    assert_eq!(last["result"]["structuredContent"]["exit_code"], 0);

    // A cancelled call gets no response, and its command ends.
    let marker = machine.path("ended");
    let command = format!("trap 'touch {}; exit' TERM; echo begun; while :; do sleep 0.1; done", marker.display());
    let mut call: Value =
        serde_json::from_str(&request(4, "run_command", &json!({"workspace": "web", "command": command}))).unwrap();
    call["params"]["_meta"] = json!({"progressToken": "q"});
    relay.send(&call.to_string());
    assert_eq!(relay.receive()["params"]["progressToken"], "q", "it runs");
    relay.send(r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":4}}"#);
    assert!(eventually(|| marker.exists().then_some(())).is_some(), "it was ended");
    assert_eq!(whoami(&mut relay, 5)["id"], 5);
    relay.send("not JSON");
    assert_eq!(relay.receive()["error"]["code"], -32700);

    drop(machine.dev.take());
    // A call would be sent again only if the server cannot have seen it.
    relay.send(r#"{"jsonrpc":"2.0","id":6,"method":"tools/list"}"#);
    machine.serve();
    assert!(relay.receive()["result"]["tools"].is_array(), "it was sent again");

    let stored: Value = serde_json::from_slice(&fs::read(machine.sign_in().unwrap()).unwrap()).unwrap();
    let form = [("token", &stored["tokens"]["refresh_token"]), ("client_id", &stored["client"]["id"])];
    let form = form.map(|(name, value)| (name, value.as_str().unwrap().to_owned()));
    let revoke = reqwest::Client::new().post(format!("{}/revoke", machine.origin())).form(&form);
    assert_eq!(revoke.send().await.unwrap().status(), 200);
    for id in [7, 8] {
        let ended = whoami(&mut relay, id);
        assert!(error(&ended).contains("has ended") && ended["id"] == id, "{ended}");
    }
    machine.login().await;
    assert_eq!(whoami(&mut relay, 9)["result"]["structuredContent"]["user"], "dev");
    relay.end();
}

/// `portcullis doctor` uses the sign-in that is stored, and signs in if it may.
#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_examines_with_the_token_of_a_user() {
    let machine = Machine::start();
    let url = format!("{}/mcp", machine.origin());
    let without = machine.printed(&["doctor", &url]);
    assert!(without.contains("skipped token") && without.contains("--browser"), "{without}");

    let (printed, asked) = machine.sign_in_by(&["doctor", &url, "--browser"]).await;
    assert!(printed.contains("ok      call") && printed.ends_with(" 0 skipped\n"), "{printed}");
    assert!(asked.contains("Waiting for the browser."), "{asked}");

    let stored = machine.printed(&["doctor", &url]);
    assert!(stored.contains("ok      call"), "{stored}");
    machine.change(|stored| stored["tokens"] = Value::Null);
    let ended = machine.printed(&["doctor", &url]);
    assert!(ended.contains("the stored sign-in has ended"), "{ended}");
}
