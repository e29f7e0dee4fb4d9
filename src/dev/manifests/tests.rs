use super::*;

const ENDPOINT: &str = "apiVersion: portcullis.dev/v1alpha1\nkind: McpEndpoint\nmetadata: {name: agents}\nspec: {url: 'https://h.example/mcp'}\n";

fn read(text: &str) -> Result<Manifests, ManifestErrors> {
    load(&[Source::Text(text.to_owned())], Path::new("/nowhere"))
}

#[test]
fn documents_of_every_kind_are_sorted_out() {
    let found = read(&format!(
        "{ENDPOINT}---\n# nothing here\n---\napiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n  \
         metadata: {{name: s, namespace: dev}}\n  data: {{a: YQ==}}\n  stringData: {{b: b}}\n---\napiVersion: apps/v1\nkind: \
         Deployment\nmetadata: {{name: d}}\n---\napiVersion: portcullis.dev/v1alpha1\nkind: WorkspaceTemplate\n\
         metadata: {{name: node}}\nspec: {{pod: {{image: 'node:24'}}}}\n"
    ))
    .unwrap();
    assert_eq!(found.endpoints[0].metadata.namespace.as_deref(), Some("default"));
    assert_eq!(found.secrets[0].metadata.namespace.as_deref(), Some("dev"));
    assert_eq!(found.templates[0].metadata.namespace.as_deref(), Some("default"));
    let data = found.secrets[0].data.as_ref().unwrap();
    assert_eq!((data["a"].0.as_slice(), data["b"].0.as_slice()), (b"a".as_slice(), b"b".as_slice()));
    assert_eq!(found.notes, ["standard input, document 3 is a Deployment, which is skipped without a cluster"]);
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let url = |from: &str| ENDPOINT.replace("https://h.example/mcp", from);
    for (text, said) in [
        ("kind: McpEndpoint".to_owned(), "standard input:1: a manifest needs apiVersion and kind"),
        (ENDPOINT.replace("v1alpha1", "v1"), ":1: apiVersion: \"portcullis.dev/v1\" has no McpEndpoint"),
        (url("http://h.example/mcp"), ":4: spec.url: must begin with https://"),
        (ENDPOINT.replace("spec: {", "spec: {colour: red, "), ":4: spec.colour: "),
        (ENDPOINT.replace("spec: {", "spec: {tools: {allow: 7}, "), ":4: spec.tools.allow: "),
        (ENDPOINT.replace("agents", "../../etc"), ":3: metadata.name: "),
        (ENDPOINT.replace("name: agents", ""), ":3: metadata.name: "),
        (
            format!("{ENDPOINT}---\n{ENDPOINT}"),
            ":8: metadata.name: McpEndpoint \"agents\" of namespace \"default\" is in standard input:3 already",
        ),
        (format!("{ENDPOINT}---\na: [\n"), "document 2: "),
    ] {
        let error = read(&text).unwrap_err().to_string();
        assert!(error.contains(said), "{error:?} should say {said:?}");
    }
}

#[test]
fn manifests_are_taken_as_kubectl_takes_them() {
    let endpoint = |name: &str| {
        serde_json::json!({"apiVersion": "portcullis.dev/v1alpha1", "kind": "McpEndpoint",
            "metadata": {"name": name}, "spec": {"url": "https://h.example/mcp"}})
    };
    let list = "apiVersion: portcullis.dev/v1alpha1\nkind: McpEndpointList\nitems:\n- metadata: {name: a}\n  spec: \
                {url: 'https://h.example/mcp'}\n";
    assert_eq!(read(list).unwrap().endpoints.len(), 1, "an item without a kind is of the list's");
    let stream = format!("{}\n{}", endpoint("a"), endpoint("b"));
    assert_eq!(read(&stream).unwrap().endpoints.len(), 2);
    let floats = ENDPOINT.replace("spec: {", "spec: {limits: {requestsPerSecond: 1e3, burst: 20.0}, ");
    let limits = read(&floats).unwrap().endpoints.remove(0).spec.limits;
    assert_eq!((limits.requests_per_second, limits.burst), (1000, 20));
    let amounts = "apiVersion: portcullis.dev/v1alpha1\nkind: WorkspaceTemplate\nmetadata: {name: t}\nspec: {pod: {image: \
                   'a:1', resources: {limits: {cpu: 2, memory: 1Gi}, requests: {cpu: '$(parameters.cpu)'}}}, \
                   parameters: [{name: cpu}]}\n";
    let resources = read(amounts).unwrap().templates.remove(0).spec.pod.resources;
    assert_eq!((&*resources.limits["cpu"], &*resources.limits["memory"]), ("2", "1Gi"));
    for wrong in ["cpu: 0.5", "cpu: -1", "cpu: two", "cpu: ''"] {
        let error = read(&amounts.replace("cpu: 2", wrong)).unwrap_err().to_string();
        assert!(error.contains("spec.pod.resources.limits.cpu: must "), "{error}");
    }
}

#[test]
fn one_mistake_is_one_message_without_words_of_libraries() {
    let client = |rotation: &str| {
        format!(
            "apiVersion: portcullis.dev/v1alpha1\nkind: OAuthClient\nmetadata: {{name: c}}\nspec: {{endpointRef: {{name: a}}, \
             preset: custom, type: Confidential, grants: [client_credentials], scopes: [files:read], secret: {{rotation: {rotation}}}}}\n"
        )
    };
    assert_eq!(read(&client("{interval: 90h}")).map(|found| found.clients.len()), Ok(1));
    let tokens = |tokens: &str| ENDPOINT.replace("spec: {", &format!("spec: {{tokens: {tokens}, "));
    for (text, said) in [
        (client("{interval: 90d}"), ":4: spec.secret.rotation.interval: must be a duration from 1h"),
        (client("{interval: 20m}"), ":4: spec.secret.rotation.interval: must be a duration from 1h"),
        (client("{interval: 2h, overlap: 90d}"), ":4: spec.secret.rotation.overlap: must be a duration"),
        (client("{interval: 2h, overlap: 3h}"), ":4: spec.secret.rotation.overlap: must be shorter than interval"),
        (tokens("{refreshLifetime: 90d}"), "refreshLifetime: must be a duration from 1h"),
        (format!("{ENDPOINT}kind: McpEndpoint\n"), "document 1: duplicate mapping key `kind` is not allowed"),
        (
            ENDPOINT.replace("McpEndpoint", "MCPEndpoint"),
            "standard input:2: kind: there is no MCPEndpoint in portcullis.dev/v1alpha1; write McpEndpoint",
        ),
        (
            ENDPOINT.replace("McpEndpoint", "Endpoint"),
            "there is no Endpoint in portcullis.dev/v1alpha1; the kinds are McpEndpoint, ",
        ),
    ] {
        let error = read(&text).unwrap_err().to_string();
        assert!(error.contains(said) && error.lines().count() == 1, "{error:?} should say {said:?} alone");
    }
}

#[test]
fn names_of_things_that_are_not_there_are_said_with_line_and_remedy() {
    let object = |kind: &str, rest: &str| {
        format!("---\napiVersion: portcullis.dev/v1alpha1\nkind: {kind}\nmetadata:\n  name: x\n{rest}")
    };
    let client = |endpoint: &str, namespace: &str| {
        let spec = "spec:\n  preset: claude\n  scopes: [files:read]\n  endpointRef:\n    name: ";
        object("OAuthClient", &format!("  namespace: {namespace}\n{spec}{endpoint}\n"))
    };
    let template = |spec: &str| object("WorkspaceTemplate", &format!("spec:\n{spec}"));
    let tools = "spec: {url: 'https://h.example/mcp', tools: {deny: [\n fetch,\n run_comand]}}\n";
    for (text, said) in [
        (
            ENDPOINT.split_inclusive('\n').take(3).collect::<String>() + tools,
            ":6: spec.tools.deny[1]: there is no tool \"run_comand\"; did you mean run_command?",
        ),
        (
            ENDPOINT.replace("spec: {", "spec: {tools: {allow: ['*', 'delet_*']}, "),
            ":4: spec.tools.allow[1]: no tool matches \"delet_*\"; did you mean delete_workspace?",
        ),
        (
            format!("{ENDPOINT}{}", client("agent", "default")),
            ":15: spec.endpointRef.name: there is no McpEndpoint \"agent\" in namespace \"default\"; did you mean agents?",
        ),
        (
            format!("{ENDPOINT}{}", client("agents", "dev")),
            "in namespace \"dev\"; the one of namespace \"default\" needs metadata.namespace: default here",
        ),
        (
            format!("{ENDPOINT}{}", client("zzz", "default")),
            "there is no McpEndpoint \"zzz\" in namespace \"default\"; add it, or use one of agents",
        ),
        (
            format!(
                "{ENDPOINT}{}",
                object("OAuthUser", "spec: {endpointRef: {name: agenst}, user: {id: 'local:a'}, disabled: true}\n")
            ),
            ":10: spec.endpointRef.name: there is no McpEndpoint \"agenst\"",
        ),
        (
            template("  parameters:\n  - name: tz\n    pattern: '[a-z'\n  pod: {image: debian}\n"),
            ":9: spec.parameters[0].pattern: \"[a-z\" is not a regular expression: unclosed character class; correct",
        ),
        (
            template(
                "  parameters: [{name: zone}]\n  pod:\n    image: debian\n    env:\n    - name: TZ\n      value: $(parameters.zon)\n",
            ),
            ":12: spec.pod.env[0].value: parameter \"zon\" does not exist; did you mean zone?",
        ),
        (
            template("  idleStop: 1m\n  pod: {image: 'a:$(parameters.zon)'}\n"),
            ":8: spec.pod.image: parameter \"zon\" does not exist; the template has none: add it to spec.parameters",
        ),
    ] {
        let error = read(&text).unwrap_err().to_string();
        assert!(error.contains(said) && error.starts_with("standard input:"), "{error:?} should say {said:?}");
        assert_eq!(error.lines().count(), if text.contains("idleStop") { 2 } else { 1 }, "{error}");
    }
    // An invalid endpoint exists, and an unreadable document can contain one: neither causes an error about
    // `endpointRef`.
    let wrong = ENDPOINT.replace("https", "http");
    for text in
        [format!("{wrong}{}", client("agents", "default")), format!("{}---\na: [\n", client("agents", "default"))]
    {
        let error = read(&text).unwrap_err().to_string();
        assert!(!error.contains("endpointRef"), "{error}");
    }
}

#[test]
fn everything_wrong_is_said_at_once() {
    let wrong = ENDPOINT.replace("https", "http");
    let error = read(&format!("{wrong}---\n{}", wrong.replace("agents", "others"))).unwrap_err().to_string();
    assert!(error.contains(":4: spec.url") && error.contains(":9: spec.url"), "{error}");
}

#[test]
fn a_folder_is_read_with_its_folders_but_not_with_the_state() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    for (path, text) in [
        ("a/b.yml", ENDPOINT.to_owned()),
        ("c.json", r#"{"some": "settings"}"#.to_owned()),
        ("state/d.yaml", ENDPOINT.to_owned()),
        (".git/e.yaml", "not: [yaml".to_owned()),
        ("notes.txt", "not: [yaml".to_owned()),
    ] {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let found = load(&[Source::Path(root.clone())], &root.join("state")).unwrap();
    assert_eq!((found.endpoints.len(), found.notes.len()), (1, 1), "{found:?}");

    let nowhere = load(&[Source::Path(root.join("nowhere"))], &root).unwrap_err().to_string();
    assert!(nowhere.contains("nowhere: No such file"), "{nowhere}");
}
