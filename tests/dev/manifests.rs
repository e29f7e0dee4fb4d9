//! Manifests: edits, templates, Secrets, and messages about mistakes.

use crate::{
    helpers::{ENDPOINT, call, client, ended, list_tools, path, stop, token},
    support::{Dev, SERVED, eventually},
};
use std::fs;

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
        ["endpoint.yaml:4: spec.url", "first.yaml:4: spec.scopes[0]", "The last valid manifests remain in force."]
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
    let said = dev.wait_for("templates   node. Their parameters and environment apply here");
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
    assert!(refused["content"][0]["text"].as_str().unwrap().contains("it must be one of: test, live"), "{refused}");
    call(&dev, &token, "create_workspace", &request("live"));
    let line = serde_json::json!({"workspace": "web", "command": "echo $MODE $TOKEN"});
    let ran = call(&dev, &token, "run_command", &line);
    assert_eq!(ran["structuredContent"]["stdout"], "live from-a-secret\n", "{ran}");

    fs::write(&manifests, format!("{ENDPOINT}{agent}{secret}{}", template("deno"))).unwrap();
    dev.wait_for("the manifests changed and are in effect");
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
        "template.yaml:12: spec.pod.env[0].value: parameter \"tz\" does not exist; add it to spec.parameters, or use one of zone",
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
    let closed = ENDPOINT.replace("agents", "others").replace("spec: {", "spec: {clients: {}, ");
    let manifests = format!("{ENDPOINT}{closed}{}", client("first"));
    let args = ["-", "--listen", "127.0.0.1:0", "--state-dir", path(state.path())];
    let mut undecided = Dev::start(&args, &manifests);
    assert_eq!(ended(&mut undecided).code(), Some(1));
    undecided.wait_for("several McpEndpoints: agents, others; select one with --endpoint");

    let decided = Dev::start(&[&args[..], &["--endpoint", "others"]].concat(), &manifests);
    let said = decided.wait_for(SERVED);
    assert!(
        said.contains("The endpoint \"others\"") && said.contains("No OAuthClient refers to this endpoint"),
        "{said}"
    );
    stop(decided);
}
