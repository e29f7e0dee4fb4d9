//! `search` and `fetch` in the form that ChatGPT's research mode expects (<https://platform.openai.com/docs/mcp>).

use crate::tools::stage::{Stage, URL, caller};
use portcullis_core::Scope;
use serde_json::{Value, json};

fn assert_form(schema: &Value, answer: &Value) {
    let schema = jsonschema::draft202012::new(schema).unwrap();
    let errors: Vec<String> = schema.iter_errors(answer).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?} {answer}");
}

fn results() -> Value {
    let text = json!({"type": "string", "minLength": 1});
    json!({
        "type": "object", "required": ["results"], "additionalProperties": false,
        "properties": {"results": {"type": "array", "items": {
            "type": "object", "required": ["id", "title", "url"], "additionalProperties": false,
            "properties": {"id": text, "title": text, "url": {"type": "string", "format": "uri", "minLength": 1}}
        }}}
    })
}

fn document() -> Value {
    let text = json!({"type": "string", "minLength": 1});
    json!({
        "type": "object", "required": ["id", "title", "text", "url"], "additionalProperties": false,
        "properties": {
            "id": text, "title": text, "text": text, "url": text,
            "metadata": {"type": "object", "additionalProperties": {"type": "string"}}
        }
    })
}

async fn with_files(stage: &Stage) {
    let ann = caller("ann", &Scope::ALL);
    for name in ["shop", "blog", "asleep"] {
        stage.done(&ann, "create_workspace", json!({"template": "blank", "name": name})).await;
    }
    for (workspace, path, content) in [
        ("shop", "src/retry.rs", "/// Tries again, with a growing pause.\nfn backoff() {}\n"),
        ("shop", "src/main.rs", "mod retry;\n"),
        ("shop", "a b#c.md", "Checkout notes\n"),
        ("blog", "post.md", "Why we retry with backoff\n"),
        ("asleep", "retry.md", "not to be found\n"),
    ] {
        let arguments = json!({"workspace": workspace, "path": path, "content": content});
        stage.done(&ann, "write_file", arguments).await;
    }
    let png = json!({"workspace": "shop", "path": "retry.png", "content": "iVBORw0KGgo=", "encoding": "base64"});
    stage.done(&ann, "write_file", png).await;
    stage.done(&ann, "stop_workspace", json!({"workspace": "asleep"})).await;
}

fn ids(found: &Value) -> Vec<&str> {
    found["results"].as_array().unwrap().iter().map(|hit| hit["id"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_found_can_be_fetched() {
    let stage = Stage::new().await;
    with_files(&stage).await;
    let ann = caller("ann", &Scope::ALL);
    for (query, expected) in [
        (
            "retry backoff",
            &["file:shop/src/retry.rs", "file:blog/post.md", "file:shop/retry.png", "file:shop/src/main.rs"][..],
        ),
        ("Checkout", &["file:shop/a b#c.md"]),
        ("shop", &["workspace:shop"]),
        ("blank template", &["template:blank", "workspace:asleep", "workspace:blog", "workspace:shop"]),
        ("nowhere-to-be-found", &[]),
    ] {
        let found = stage.done(&ann, "search", json!({"query": query})).await;
        assert_form(&results(), &found);
        assert_eq!(ids(&found), expected, "{query}");
        for hit in found["results"].as_array().unwrap() {
            let fetched = stage.call(&ann, "fetch", json!({"id": hit["id"]})).await;
            if hit["id"] == "file:shop/retry.png" {
                let refused = fetched.unwrap_err();
                assert!(refused.contains("is not text but image/png; read_file shows it"), "{refused}");
                continue;
            }
            let fetched = fetched.unwrap();
            assert_form(&document(), &fetched);
            for same in ["id", "title", "url"] {
                assert_eq!(fetched[same], hit[same]);
            }
        }
    }
    let text = async |id: &str| stage.done(&ann, "fetch", json!({"id": id})).await;
    assert_eq!(text("file:shop/src/main.rs").await["text"], "mod retry;\n");
    assert_eq!(text("file:shop/a b#c.md").await["url"], "workspace://shop/a%20b%23c.md");
    let line = r#"printf 'caf\351\n' > "$(printf 'caf\351.txt')""#;
    stage.done(&ann, "run_command", json!({"workspace": "shop", "command": line})).await;
    let latin = text("file:shop/caf%E9.txt").await;
    assert_eq!((&latin["text"], &latin["metadata"]["charset"]), (&json!("caf\u{e9}\n"), &json!("iso-8859-1")));
    assert_eq!(latin["url"], "workspace://shop/caf%25E9.txt");
    let shop = text("workspace:shop").await;
    assert_eq!(shop["url"], format!("{URL}/workspaces/shop"));
    assert!(shop["text"].as_str().unwrap().contains("\"status\": \"running\""));
    assert_eq!(text("template:blank").await["url"], format!("{URL}/templates/blank"));
    stage.backend.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_is_explained() {
    let stage = Stage::new().await;
    with_files(&stage).await;
    let ann = caller("ann", &Scope::ALL);
    for (tool, arguments, said) in [
        ("search", json!({"query": " ?! "}), "query: it has no words"),
        ("fetch", json!({"id": "shop"}), "id: pass an id that search returned"),
        ("fetch", json!({"id": "https://example.com"}), "id: pass an id that search returned"),
        ("fetch", json!({"id": "file:shop"}), "id: pass an id that search returned"),
        ("fetch", json!({"id": "workspace:nope"}), "there is no workspace \"nope\"; your workspaces are: \"asleep\""),
        ("fetch", json!({"id": "template:nope"}), "there is no template \"nope\"; the templates are: \"blank\""),
        ("fetch", json!({"id": "file:asleep/retry.md"}), "is stopped; call start_workspace"),
        ("fetch", json!({"id": "file:shop/../../workspace.json"}), "home"),
    ] {
        let refused = stage.call(&ann, tool, arguments.clone()).await.unwrap_err();
        assert!(refused.contains(said), "{arguments}: {refused}");
    }
    stage.backend.shutdown().await;
}

/// Neither a token without a scope nor an endpoint without a tool is got around.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_scopes_and_tools_reach_is_found() {
    let stage = Stage::new().await;
    with_files(&stage).await;
    let kinds = async |stage: &Stage, scopes: &[Scope]| {
        let found = stage.done(&caller("ann", scopes), "search", json!({"query": "retry shop blank"})).await;
        let mut kinds: Vec<String> = ids(&found).iter().map(|id| id.split(':').next().unwrap().to_owned()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        kinds
    };
    assert_eq!(kinds(&stage, &Scope::ALL).await, ["file", "template", "workspace"]);
    for (scope, kind, id) in [
        (Scope::WorkspacesRead, "workspace", "workspace:shop"),
        (Scope::TemplatesRead, "template", "template:blank"),
        (Scope::FilesRead, "file", "file:shop/src/main.rs"),
    ] {
        assert_eq!(kinds(&stage, &[scope]).await, [kind]);
        stage.done(&caller("ann", &[scope]), "fetch", json!({"id": id})).await;
        let others: Vec<Scope> = Scope::ALL.into_iter().filter(|other| *other != scope).collect();
        assert!(!kinds(&stage, &others).await.contains(&kind.to_owned()));
        let refused = stage.call(&caller("ann", &others), "fetch", json!({"id": id})).await.unwrap_err();
        assert!(refused.contains(&format!("needs the scope {scope}")), "{refused}");
    }
    assert!(kinds(&stage, &[]).await.is_empty());
    stage.backend.shutdown().await;

    for (denied, kind, id) in [
        ("get_workspace", "workspace", "workspace:shop"),
        ("list_workspaces", "workspace", "workspace:shop"),
        ("*_template*", "template", "template:blank"),
        ("read_file", "file", "file:shop/src/main.rs"),
        ("search_files", "file", "file:shop/src/main.rs"),
    ] {
        let stage = Stage::with_tools(&json!({"allow": ["*"], "deny": [denied]})).await;
        with_files(&stage).await;
        assert!(!kinds(&stage, &Scope::ALL).await.contains(&kind.to_owned()), "{denied}");
        let refused = stage.call(&caller("ann", &Scope::ALL), "fetch", json!({"id": id})).await.unwrap_err();
        assert!(refused.contains("is not served by this endpoint"), "{refused}");
        stage.backend.shutdown().await;
    }
}
