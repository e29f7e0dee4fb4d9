//! `portcullis dev` as a person uses it: the real binary, and the command lines that it prints, run by a shell.
#![expect(unreachable_pub, reason = "an integration test is a crate of its own, of which nothing is reachable")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers may fail as tests do")]

#[path = "support/dev.rs"]
mod support;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output},
};
use support::{Dev, SERVED, eventually};

const ENDPOINT: &str = "\
apiVersion: portcullis.dev/v1alpha1
kind: McpEndpoint
metadata: {name: agents}
spec: {url: https://mcp.example.com/mcp}
---
";

fn client(name: &str) -> String {
    format!(
        "apiVersion: portcullis.dev/v1alpha1\nkind: OAuthClient\nmetadata: {{name: {name}}}\n\
         spec: {{endpointRef: {{name: agents}}, grants: [client_credentials], scopes: [workspaces:read]}}\n---\n"
    )
}

/// The command line that it printed below `heading`.
fn printed(dev: &Dev, heading: &str) -> String {
    let said = dev.wait_for(SERVED);
    let below = said.split(heading).nth(1).unwrap_or_else(|| panic!("no {heading:?} in:\n{said}"));
    below.trim_start_matches([':', '\n']).split("\n\n").next().unwrap().to_owned()
}

/// Ends it as Ctrl-C does.
fn stop(mut dev: Dev) {
    kill(Pid::from_raw(dev.child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    assert!(ended(&mut dev).success());
}

fn ended(dev: &mut Dev) -> ExitStatus {
    eventually(|| dev.child.try_wait().unwrap()).expect("it did not end")
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn shell(script: &str) -> Output {
    Command::new("sh").args(["-c", script]).output().unwrap()
}

/// What a script printed, one JSON-RPC answer per line.
fn answers(script: &str) -> Vec<Value> {
    let output = shell(script);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

/// The status of a token request with the credentials in `folder`, and the token.
fn token(folder: &Path) -> (u16, String) {
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
fn list_tools(url: &str, token: &str) -> String {
    let output = shell(&format!(
        "curl -sS -o /dev/null -w '%{{http_code}}' -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' \
         -d '{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\"}}' {url}"
    ));
    String::from_utf8(output.stdout).unwrap()
}

fn quickstart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart.yaml")
}

#[test]
fn the_printed_command_lines_do_what_they_say() {
    let state = tempfile::tempdir().unwrap();
    let dev = Dev::serve(&quickstart(), state.path());

    let listed = answers(&printed(&dev, "List the tools"));
    let tools: Vec<&str> =
        listed[0]["result"]["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert!(tools.contains(&"whoami") && tools.contains(&"run_command"), "{tools:?}");

    let ran = answers(&printed(&dev, "Create a workspace, and run a command in it"));
    assert_eq!(ran[0]["result"]["structuredContent"]["name"], "hello", "{ran:?}");
    let stdout = ran[1]["result"]["structuredContent"]["stdout"].as_str().unwrap();
    assert!(stdout.starts_with("git version "), "{ran:?}");
}

/// The value after a word at the beginning of a line of the banner.
fn told(dev: &Dev, word: &str) -> String {
    let said = dev.wait_for(SERVED);
    let line = said.lines().find_map(|line| line.trim_start().strip_prefix(word));
    line.unwrap_or_else(|| panic!("no {word:?} in:\n{said}")).trim().to_owned()
}

#[test]
fn where_nobody_else_can_sign_in_the_person_in_front_of_it_can() {
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().join("secrets/agents-local-user");
    let mounted = || fs::read_to_string(state.path().join("mounted/agents/login.json")).unwrap();
    let first = Dev::serve(&quickstart(), state.path());
    let (name, password) = (told(&first, "user name"), told(&first, "password"));
    assert_eq!(told(&first, "kept in"), path(&folder.join("password").canonicalize().unwrap()));
    assert_eq!(fs::metadata(folder.join("password")).unwrap().permissions().mode() & 0o777, 0o600);
    let line = fs::read_to_string(folder.join("htpasswd")).unwrap();
    let (user, hash) = line.trim().split_once(':').unwrap();
    assert!(user == name && bcrypt::verify(&password, hash).unwrap(), "{line}");
    assert!(mounted().contains(hash) && !mounted().contains(&password), "{}", mounted());
    stop(first);

    let second = Dev::serve(&quickstart(), state.path());
    assert_eq!(told(&second, "password"), password);
    // Whoever takes the password away takes it back.
    fs::remove_file(folder.join("password")).unwrap();
    eventually(|| (!mounted().contains(hash)).then_some(())).expect("the old password counts no longer");
    assert_ne!(fs::read_to_string(folder.join("password")).unwrap().trim(), password);
}

#[test]
fn a_login_of_the_manifest_takes_the_local_users_place() {
    let folder = tempfile::tempdir().unwrap();
    let (manifest, state) = (folder.path().join("all.yaml"), folder.path().join("state"));
    fs::write(&manifest, ENDPOINT).unwrap();
    let dev = Dev::serve(&manifest, &state);
    let local = state.join("secrets/agents-local-user");
    assert!(local.is_dir());
    let people =
        ENDPOINT.replace("spec: {", "spec: {login: [{name: people, passwords: {secretRef: {name: people}}}], ");
    fs::write(&manifest, &people).unwrap();
    dev.wait_for(r#"login "people": Secret "people" was not found with the label portcullis.dev/endpoint=agents"#);
    assert!(!local.exists(), "nobody can sign in as the local user any more");
    let hash = "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: people, labels: {{portcullis.dev/endpoint: agents}}}}\n\
         stringData: {{htpasswd: 'ada:{hash}'}}\n"
    );
    fs::write(&manifest, format!("{people}{secret}")).unwrap();
    let mounted = || fs::read_to_string(state.join("mounted/agents/login.json")).unwrap();
    eventually(|| mounted().contains("\"ada\"").then_some(())).expect("the manifest's user can sign in");
}

#[test]
fn keys_and_clients_survive_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let credentials = state.path().join("secrets/ci-agent-oauth");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let start = || {
        let listen = format!("localhost:{port}");
        let dev = Dev::start(&[path(&quickstart()), "--listen", &listen, "--state-dir", path(state.path())], "");
        dev.wait_for(SERVED);
        dev
    };
    let first = start();
    let (_, old_token) = token(&credentials);
    assert_eq!(list_tools(&first.url(), &old_token), "200");
    let secret = fs::read(credentials.join("client-secret")).unwrap();
    stop(first);

    let second = start();
    assert_eq!(fs::read(credentials.join("client-secret")).unwrap(), secret);
    assert_eq!(list_tools(&second.url(), &old_token), "200");
    for (file, mode) in [("", 0o700), ("client-secret", 0o600), ("../agents-signing-keys/signing-keys.json", 0o600)] {
        assert_eq!(fs::metadata(credentials.join(file)).unwrap().permissions().mode() & 0o777, mode, "{file}");
    }
}

#[test]
fn good_edits_are_live_and_bad_ones_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (manifests, state) = (folder.path().join("manifests"), folder.path().join("state"));
    fs::create_dir(&manifests).unwrap();
    fs::write(manifests.join("endpoint.yaml"), ENDPOINT).unwrap();
    fs::write(manifests.join("first.yaml"), client("first")).unwrap();
    let dev = Dev::serve(&manifests, &state);
    let secrets = state.join("secrets");
    let works = |name: &str| eventually(|| (token(&secrets.join(name)).0 == 200).then_some(())).is_some();

    fs::write(manifests.join("second.yaml"), client("second")).unwrap();
    dev.wait_for("client \"second\": it can obtain tokens now");
    assert!(works("second-oauth"));

    fs::write(manifests.join("endpoint.yaml"), ENDPOINT.replace("https", "http")).unwrap();
    fs::write(manifests.join("first.yaml"), client("first").replace("workspaces:read", "everything")).unwrap();
    for complaint in
        ["endpoint.yaml:4: spec.url", "first.yaml:4: spec.scopes[0]", "The last good manifests stay in force."]
    {
        dev.wait_for(complaint);
    }
    assert!(works("first-oauth") && works("second-oauth"));

    let (_, late) = token(&secrets.join("second-oauth"));
    fs::write(manifests.join("endpoint.yaml"), ENDPOINT).unwrap();
    fs::write(manifests.join("first.yaml"), client("first")).unwrap();
    fs::remove_file(manifests.join("second.yaml")).unwrap();
    dev.wait_for("client \"second\": it was deleted");
    assert!(!secrets.join("second-oauth").exists());
    assert!(eventually(|| (list_tools(&dev.url(), &late) == "401").then_some(())).is_some());
    assert!(works("first-oauth"));
}

#[test]
fn an_oauth_user_of_the_manifests_ends_grants_while_it_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let (manifests, state) = (folder.path().join("manifests"), folder.path().join("state"));
    let grants = state.join("oauth/agents/grants");
    fs::create_dir_all(&grants).unwrap();
    fs::create_dir(&manifests).unwrap();
    fs::write(manifests.join("endpoint.yaml"), ENDPOINT).unwrap();
    let grant = |name: &str, user: &str| {
        let spec = serde_json::json!({
            "endpointRef": {"name": "local"}, "clientId": "claude", "user": {"id": user, "name": user},
            "scopes": ["files:read"], "resource": "http://127.0.0.1/mcp", "expiresAt": "2099-01-01T00:00:00Z",
        });
        let object = serde_json::json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "OAuthGrant",
            "metadata": {"name": name, "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": spec,
        });
        fs::write(grants.join(format!("{name}.json")), object.to_string()).unwrap();
    };
    grant("g-ada", "local:ada");
    grant("g-bob", "local:bob");
    let dev = Dev::serve(&manifests, &state);
    let kept = |name: &str| fs::read_to_string(grants.join(format!("{name}.json"))).unwrap_or_default();

    let user = |id: &str, endpoint: &str| {
        format!(
            "apiVersion: portcullis.dev/v1alpha1\nkind: OAuthUser\nmetadata: {{name: ended}}\n\
             spec: {{endpointRef: {{name: {endpoint}}}, user: {{id: '{id}'}}, disabled: true}}\n"
        )
    };
    let manifest = manifests.join("user.yaml");
    fs::write(&manifest, user("ada", "agents")).unwrap();
    dev.wait_for("user.yaml:4: spec.user.id: must be LOGIN:ID");
    fs::write(&manifest, user("local:ada", "agents")).unwrap();
    eventually(|| kept("g-ada").contains("UserDisabled").then_some(())).expect("the grant is revoked");
    assert!(!kept("g-bob").contains("revoked"), "{}", kept("g-bob"));
}

/// What a call of a tool answers.
fn call(dev: &Dev, token: &str, tool: &str, arguments: &Value) -> Value {
    let params = serde_json::json!({"name": tool, "arguments": arguments});
    let call = serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
    let mut answers = answers(&format!(
        "curl -sS -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' -d '{call}' {}; echo",
        dev.url()
    ));
    answers[0]["result"].take()
}

#[test]
fn templates_of_the_manifests_can_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let (manifests, state) = (folder.path().join("manifests.yaml"), folder.path().join("state"));
    let agent = client("first").replace("workspaces:read", "workspaces:write, workspaces:exec, templates:read");
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: npm}\nstringData: {token: from-a-secret}\n---\n";
    let template = |name: &str| {
        format!(
            "apiVersion: portcullis.dev/v1alpha1\nkind: WorkspaceTemplate\nmetadata: {{name: {name}}}\n\
             spec:\n  parameters: [{{name: mode, type: enum, options: [test, live], default: test}}]\n  \
             pod:\n    image: node:24\n    env:\n    - {{name: MODE, value: $(parameters.mode)}}\n    \
             - {{name: TOKEN, secretKeyRef: {{name: npm, key: token}}}}\n---\n"
        )
    };
    let elsewhere = template("hidden").replace("{name: hidden}", "{name: hidden, namespace: elsewhere}");
    fs::write(&manifests, format!("{ENDPOINT}{agent}{secret}{}{elsewhere}", template("node"))).unwrap();
    let dev = Dev::serve(&manifests, &state);
    let said = dev.wait_for("templates   node. Their parameters and environment count here");
    assert!(!said.contains("skipped"), "{said}");

    let token = token(&state.join("secrets/first-oauth")).1;
    let names = || {
        let listed = call(&dev, &token, "list_templates", &serde_json::json!({}));
        let templates = listed["structuredContent"]["templates"].as_array().unwrap().clone();
        templates.iter().map(|template| template["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(), ["blank", "node"]);
    let request = |mode: &str| serde_json::json!({"template": "node", "name": "web", "parameters": {"mode": mode}});
    let refused = call(&dev, &token, "create_workspace", &request("prod"));
    assert!(refused["content"][0]["text"].as_str().unwrap().contains("it is one of: test, live"), "{refused}");
    call(&dev, &token, "create_workspace", &request("live"));
    let line = serde_json::json!({"workspace": "web", "command": "echo $MODE $TOKEN"});
    let ran = call(&dev, &token, "run_command", &line);
    assert_eq!(ran["structuredContent"]["stdout"], "live from-a-secret\n", "{ran}");

    fs::write(&manifests, format!("{ENDPOINT}{agent}{secret}{}", template("deno"))).unwrap();
    dev.wait_for("the manifests changed; what they say is in force");
    assert_eq!(names(), ["blank", "deno"]);
}

#[test]
fn a_secret_of_the_manifests_counts() {
    let folder = tempfile::tempdir().unwrap();
    let manifests = folder.path().join("manifests.yaml");
    let secret = "a secret that somebody else has made and keeps";
    let existing = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: kept, labels: {{portcullis.dev/endpoint: agents}}}}\n\
         stringData: {{client-secret: {secret}}}\n"
    );
    let agent = client("first").replace("scopes:", "existingSecret: {name: kept}, scopes:");
    fs::write(&manifests, format!("{ENDPOINT}{agent}{existing}")).unwrap();
    let dev = Dev::serve(&manifests, &folder.path().join("state"));

    let (credentials, token_url) = (folder.path().join("credentials"), dev.url().replace("/mcp", "/token"));
    fs::create_dir(&credentials).unwrap();
    for (file, text) in [("client-id", "first"), ("client-secret", secret), ("token-url", &token_url)] {
        fs::write(credentials.join(file), text).unwrap();
    }
    assert_eq!(token(&credentials).0, 200);

    fs::write(&manifests, format!("{ENDPOINT}{agent}")).unwrap();
    dev.wait_for("client \"first\": Secret \"kept\" was not found with the label portcullis.dev/endpoint=agents");
    assert!(eventually(|| (token(&credentials).0 == 401).then_some(())).is_some());
}

#[test]
fn deleting_a_secret_revokes_it() {
    let state = tempfile::tempdir().unwrap();
    let dev = Dev::serve(&quickstart(), state.path());
    let (credentials, leaked) = (state.path().join("secrets/ci-agent-oauth"), state.path().join("leaked"));
    fs::create_dir(&leaked).unwrap();
    for file in ["client-id", "client-secret", "token-url"] {
        fs::copy(credentials.join(file), leaked.join(file)).unwrap();
    }
    assert_eq!(token(&leaked).0, 200);
    fs::remove_file(credentials.join("client-secret")).unwrap();
    dev.wait_for("it has a new secret; the old one is no longer valid");
    assert!(eventually(|| (token(&leaked).0 == 401).then_some(())).is_some());
    assert_eq!(token(&credentials).0, 200);
}

#[test]
fn it_listens_beyond_loopback_only_when_told_twice() {
    let state = tempfile::tempdir().unwrap();
    let (manifests, state) = (quickstart(), state.path());
    let args = [path(&manifests), "--state-dir", path(state), "--listen", "0.0.0.0:0"];
    let mut refused = Dev::start(&args, "");
    assert_eq!(ended(&mut refused).code(), Some(1));
    refused.wait_for("add --insecure-listen-beyond-loopback");

    let insisting = Dev::start(&[&args[..], &["--insecure-listen-beyond-loopback"]].concat(), "");
    insisting.wait_for(SERVED);
    assert!(insisting.url().starts_with("http://127.0.0.1:"), "{}", insisting.url());
    assert_eq!(token(&state.join("secrets/ci-agent-oauth")).0, 200);
}

#[test]
fn a_state_directory_is_used_by_one_at_a_time() {
    let state = tempfile::tempdir().unwrap();
    let _first = Dev::serve(&quickstart(), state.path());
    let mut second =
        Dev::start(&[path(&quickstart()), "--listen", "127.0.0.1:0", "--state-dir", path(state.path())], "");
    assert_eq!(ended(&mut second).code(), Some(1));
    second.wait_for("is in use by another portcullis dev");
}

#[test]
fn what_cannot_be_read_or_listened_at_is_named() {
    let state = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let manifests = quickstart();
    for (arguments, said) in [
        (["nowhere.yaml", "--listen", "127.0.0.1:0"], "error: nowhere.yaml: No such file or directory".to_owned()),
        (
            [path(&manifests), "--listen", &address],
            format!("error: cannot listen at {address}; name another with --listen"),
        ),
    ] {
        let mut dev = Dev::start(&[&arguments[..], &["--state-dir", path(state.path())]].concat(), "");
        assert_eq!(ended(&mut dev).code(), Some(1));
        dev.wait_for(&said);
    }
}

#[test]
fn misspelt_names_are_said_with_file_line_and_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let (manifests, state) = (folder.path().join("manifests"), folder.path().join("state"));
    fs::create_dir(&manifests).unwrap();
    let denying = ENDPOINT.replace("spec: {", "spec:\n  tools:\n    deny:\n    - run_comand\n  url: ");
    let denying = denying.replace("url: url: ", "url: ").replace("mcp}", "mcp");
    fs::write(manifests.join("endpoint.yaml"), &denying).unwrap();
    fs::write(manifests.join("client.yaml"), client("robot").replace("name: agents}", "name: agent}")).unwrap();
    let template = "apiVersion: portcullis.dev/v1alpha1\nkind: WorkspaceTemplate\nmetadata: {name: debian}\nspec:\n  parameters:\n  \
                    - name: zone\n    pattern: '[a-z'\n  pod:\n    image: debian\n    env:\n    - name: TZ\n      value: $(parameters.tz)\n";
    fs::write(manifests.join("template.yaml"), template).unwrap();
    let start = || Dev::start(&[path(&manifests), "--listen", "127.0.0.1:0", "--state-dir", path(&state)], "");
    let mut dev = start();
    assert_eq!(ended(&mut dev).code(), Some(1));
    for said in [
        "endpoint.yaml:7: spec.tools.deny[0]: there is no tool \"run_comand\"; did you mean run_command?",
        "client.yaml:4: spec.endpointRef.name: there is no McpEndpoint \"agent\" in namespace \"default\"; did you mean agents?",
        "template.yaml:7: spec.parameters[0].pattern: \"[a-z\" is not a regular expression: unclosed character class; correct the \
         expression",
        "template.yaml:12: spec.pod.env[0].value: there is no parameter \"tz\"; add it to spec.parameters, or use one of zone",
    ] {
        dev.wait_for(said);
    }
    fs::write(manifests.join("endpoint.yaml"), ENDPOINT.replace("McpEndpoint", "MCPEndpoint")).unwrap();
    let mut dev = start();
    assert_eq!(ended(&mut dev).code(), Some(1));
    dev.wait_for("endpoint.yaml:2: kind: there is no MCPEndpoint in portcullis.dev/v1alpha1; write McpEndpoint");
}

#[test]
fn several_endpoints_need_a_choice() {
    let state = tempfile::tempdir().unwrap();
    let manifests = format!("{ENDPOINT}{}{}", ENDPOINT.replace("agents", "others"), client("first"));
    let args = ["-", "--listen", "127.0.0.1:0", "--state-dir", path(state.path())];
    let mut undecided = Dev::start(&args, &manifests);
    assert_eq!(ended(&mut undecided).code(), Some(1));
    undecided.wait_for("several McpEndpoints: agents, others; pick one with --endpoint");

    let decided = Dev::start(&[&args[..], &["--endpoint", "others"]].concat(), &manifests);
    let said = decided.wait_for(SERVED);
    assert!(said.contains("The endpoint \"others\"") && said.contains("No OAuthClient names this endpoint"), "{said}");
    stop(decided);
}

/// Calls a tool as the quickstart's client.
fn call_by(dev: &Dev, state: &Path, tool: &str, arguments: &Value) -> Value {
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

/// The processes `sleep NUMBER`, however they came to be.
fn sleeping(number: &str) -> Vec<u32> {
    let line = format!("sleep\0{number}\0").into_bytes();
    let processes =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    processes.filter(|id: &u32| fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|found| found == line)).collect()
}

/// Has an agent start processes in every way that outlives a command, each of which sleeps for `number` seconds.
fn start_sleepers(dev: &Dev, state: &Path, number: &str, more: &str, count: usize) {
    let run = |more: &Value| {
        let mut arguments = serde_json::json!({"workspace": "web"});
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        call_by(dev, state, "run_command", &arguments)
    };
    run(&serde_json::json!({"command": format!("sleep {number}"), "background": true}));
    let line = format!(
        "setsid sleep {number} </dev/null >/dev/null 2>&1 & (setsid nohup sleep {number} </dev/null >/dev/null 2>&1 &)\n\
         sleep {number} </dev/null >/dev/null 2>&1 &\n{more}"
    );
    run(&serde_json::json!({"command": line}));
    let all = eventually(|| Some(sleeping(number)).filter(|found| found.len() == count));
    all.unwrap_or_else(|| panic!("{:?} sleep", sleeping(number)));
}

#[test]
fn no_process_of_an_agent_is_left_behind() {
    let state = tempfile::tempdir().unwrap();
    let root = state.path().canonicalize().unwrap();
    // No other test's.
    let number = format!("3{:07}", std::process::id());
    let gone = || eventually(|| sleeping(&number).is_empty().then_some(()));

    let first = Dev::serve(&quickstart(), &root);
    call_by(&first, &root, "create_workspace", &serde_json::json!({"template": "blank", "name": "web"}));
    // One without the mark too: it is found as a descendant.
    let unmarked = format!("env -i setsid sleep {number} </dev/null >/dev/null 2>&1 &");
    start_sleepers(&first, &root, &number, &unmarked, 5);
    let mut first = first;
    kill(Pid::from_raw(first.child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    assert!(first.wait_for("ending what agents have running").contains("sleep"));
    assert!(ended(&mut first).success());
    assert_eq!(sleeping(&number), [0_u32; 0], "as soon as it has ended");

    let mut second = Dev::serve(&quickstart(), &root);
    start_sleepers(&second, &root, &number, "", 4);
    second.child.kill().unwrap();
    second.child.wait().unwrap();
    assert!(!sleeping(&number).is_empty(), "nobody could end them");
    let third = Dev::serve(&quickstart(), &root);
    assert!(third.wait_for(SERVED).contains("ended what an earlier run had left: "));
    gone().expect("the next start ends what was left");

    // Stopping a workspace is as thorough.
    start_sleepers(&third, &root, &number, "", 4);
    call_by(&third, &root, "stop_workspace", &serde_json::json!({"workspace": "web"}));
    assert_eq!(sleeping(&number), [0_u32; 0]);
    stop(third);
}

#[test]
fn it_ends_when_nobody_reads_what_it_says() {
    let state = tempfile::tempdir().unwrap();
    let said = shell(&format!(
        "{} dev {} --listen 127.0.0.1:0 --state-dir {} 2>{}/errors | head -n 2; cat {}/errors",
        env!("CARGO_BIN_EXE_portcullis"),
        path(&quickstart()),
        path(state.path()),
        path(state.path()),
        path(state.path())
    ));
    let said = String::from_utf8(said.stdout).unwrap();
    let (first, errors) = said.split_once("on this machine.\n").unwrap();
    assert_eq!(first, "\nThe endpoint \"agents\" is served ");
    assert!(errors.lines().all(|line| line.contains(" INFO ")), "quietly: {errors}");
}

#[test]
fn a_state_directory_that_is_moved_ends_it_with_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let mut dev = Dev::serve(&quickstart(), &state);
    fs::rename(&state, folder.path().join("elsewhere")).unwrap();
    assert!(!ended(&mut dev).success());
    dev.wait_for("was moved or deleted, so nothing can be kept any more; move it back, or start again");
}

#[test]
fn it_shows_its_pages_in_a_browser() {
    let folder = tempfile::tempdir().unwrap();
    let (script, shown) = (folder.path().join("xdg-open"), folder.path().join("opened"));
    fs::write(&script, format!("#!/bin/sh\necho \"$1\" > {0}.new && mv {0}.new {0}\n", path(&shown))).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["dev", path(&quickstart()), "--listen", "127.0.0.1:0", "--open", "--state-dir"])
        .arg(folder.path().join("state"))
        .env("PATH", format!("{}:{}", path(folder.path()), std::env::var("PATH").unwrap()))
        .spawn()
        .unwrap();
    let url = eventually(|| fs::read_to_string(&shown).ok()).expect("a page is opened");
    assert!(url.starts_with("http://127.0.0.1:") && url.ends_with("/agents\n"), "{url}");
    child.kill().unwrap();
    child.wait().unwrap();
}
