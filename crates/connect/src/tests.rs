//! Configuration files as users have them: nothing is lost.

use crate::{BYTE_ORDER_MARK, Change, EditError, FileClient, Server, ServerName, add, remove, unified};

const CLIENTS: [FileClient; 8] = [
    FileClient::ClaudeDesktop,
    FileClient::ClaudeCode,
    FileClient::Cursor,
    FileClient::Vscode,
    FileClient::Windsurf,
    FileClient::Codex,
    FileClient::GeminiCli,
    FileClient::Opencode,
];

const GOLDEN: [(FileClient, &str, &str); 9] = [
    (FileClient::ClaudeDesktop, "claude-desktop", include_str!("golden/claude-desktop.json")),
    (FileClient::ClaudeCode, "claude-code", include_str!("golden/claude-code.json")),
    (FileClient::Cursor, "cursor", include_str!("golden/cursor.json")),
    (FileClient::Vscode, "vscode", include_str!("golden/vscode.json")),
    (FileClient::Windsurf, "windsurf", include_str!("golden/windsurf.json")),
    (FileClient::Codex, "codex", include_str!("golden/codex.toml")),
    (FileClient::GeminiCli, "gemini-cli", include_str!("golden/gemini-cli.json")),
    (FileClient::Opencode, "opencode", include_str!("golden/opencode.jsonc")),
    (FileClient::Opencode, "opencode-2", include_str!("golden/opencode-2.jsonc")),
];

fn server(url: &str, client_id: Option<&str>) -> Server {
    let name = "agents-example-com".parse().unwrap();
    let program = "/home/ada/.cargo/bin/portcullis".to_owned();
    Server { name, url: url.parse().unwrap(), client_id: client_id.map(str::to_owned), program }
}

fn ours() -> Server {
    server("https://agents.example.com/mcp", None)
}

fn added(client: FileClient, text: &str, server: &Server) -> String {
    match add(client, text, server).unwrap() {
        Change::Added(new) => new,
        other => panic!("{client:?}: {other:?}"),
    }
}

fn replaced(client: FileClient, text: &str, server: &Server) -> String {
    match add(client, text, server).unwrap() {
        Change::Replaced(new) => new,
        other => panic!("{client:?}: {other:?}"),
    }
}

#[test]
fn an_entry_is_added_and_removed_and_nothing_else_changes() {
    for (client, name, text) in GOLDEN {
        let new = added(client, text, &ours());
        insta::assert_snapshot!(format!("{name}-added"), unified(text, &new, name));
        assert_eq!(add(client, &new, &ours()), Ok(Change::AlreadyConnected), "{name}");
        assert_eq!(remove(client, &new, &ours().name).unwrap().as_deref(), Some(text), "{name}");
        assert_eq!(remove(client, text, &ours().name), Ok(None), "{name}");
    }
}

#[test]
fn an_entry_of_the_same_name_is_replaced() {
    for (client, name, text) in GOLDEN {
        let old = added(client, text, &server("https://old.example.com/mcp", None));
        let new = replaced(client, &old, &ours());
        insta::assert_snapshot!(format!("{name}-replaced"), unified(&old, &new, name));
        assert_eq!(new, added(client, text, &ours()), "{name}");
    }
}

#[test]
fn a_client_id_is_added_where_the_client_has_a_setting_for_it() {
    let server = server("https://agents.example.com/mcp", Some("team \"a\""));
    for (client, name, text) in GOLDEN {
        if client == FileClient::Windsurf {
            assert_eq!(add(client, text, &server), Err(EditError::ClientId { client: "Windsurf" }));
            continue;
        }
        let without = added(client, text, &ours());
        let new = replaced(client, &without, &server);
        insta::assert_snapshot!(format!("{name}-client-id"), unified(&without, &new, name));
        assert_eq!(new, added(client, text, &server), "{name}");
        assert_eq!(add(client, &new, &ours()), Ok(Change::AlreadyConnected), "{name}: more than what is wanted");
    }
}

#[test]
fn line_ends_of_windows_and_byte_order_marks_stay() {
    for (client, name, text) in GOLDEN {
        let windows = |text: &str| text.replace('\n', "\r\n");
        let new = added(client, text, &ours());
        assert_eq!(added(client, &windows(text), &ours()), windows(&new), "{name}");
        assert_eq!(remove(client, &windows(&new), &ours().name), Ok(Some(windows(text))), "{name}");
        let marked = |text: &str| format!("{BYTE_ORDER_MARK}{text}");
        assert_eq!(added(client, &marked(text), &ours()), marked(&new), "{name}");
        assert_eq!(remove(client, &marked(&new), &ours().name), Ok(Some(marked(text))), "{name}");
    }
}

#[test]
fn every_other_entry_can_be_removed_too() {
    for (client, name, text) in GOLDEN {
        let servers: &[&str] = match name {
            "claude-desktop" => &["filesystem", "notes"],
            "claude-code" => &["github"],
            "cursor" => &["linear", "db"],
            "vscode" => &["context7", "local"],
            "windsurf" => &["figma"],
            "codex" => &["context7", "linear"],
            "gemini-cli" => &["git", "github"],
            "opencode" => &["context7", "files"],
            _ => &["everything"],
        };
        let mut rest = text.to_owned();
        for server in servers {
            let server: ServerName = server.parse().unwrap();
            rest = remove(client, &rest, &server).unwrap().unwrap();
            assert_eq!(remove(client, &rest, &server), Ok(None), "{name} {server}");
            added(client, &rest, &ours());
        }
        insta::assert_snapshot!(format!("{name}-without-servers"), rest);
    }
}

#[test]
fn a_missing_or_empty_file_becomes_a_configuration() {
    for client in CLIENTS {
        let new = added(client, "", &ours());
        insta::assert_snapshot!(format!("new-{}", client.title().to_lowercase().replace(' ', "-")), new);
        assert_eq!(add(client, &new, &ours()), Ok(Change::AlreadyConnected));
        assert_eq!(added(client, BYTE_ORDER_MARK, &ours()), format!("{BYTE_ORDER_MARK}{new}"));
        assert_eq!(remove(client, "", &ours().name), Ok(None));
        if client != FileClient::Codex {
            assert_eq!(added(client, " \n\t\n", &ours()), new);
            assert_eq!(added(client, "// Mine.\n", &ours()), format!("// Mine.\n{new}"));
            assert_eq!(added(client, "/* Mine. */", &ours()), format!("/* Mine. */\n{new}"));
        }
    }
}

#[test]
fn broken_files_are_refused_with_line_and_column() {
    let json =
        |line, column, problem: &str| EditError::Syntax { format: "JSON", line, column, problem: problem.to_owned() };
    for (text, expected) in [
        ("{\n  \"mcpServers\": {\n", json(2, 17, "unterminated object")),
        ("{\"a\": 1 \"b\": 2}", json(1, 8, "expected comma")),
        ("{\n  \"a\": tru\n}", json(2, 8, "unexpected word")),
        ("{a: 1}", json(1, 2, "expected string for object property")),
        ("{'a': 1}", json(1, 2, "single-quoted strings are not allowed")),
        ("{} {}", json(1, 4, "text cannot contain more than one json value")),
        ("{\"é\": 1,\r\n \"b\": \"", json(2, 7, "unterminated string literal")),
    ] {
        for client in CLIENTS {
            if client != FileClient::Codex {
                assert_eq!(add(client, text, &ours()), Err(expected.clone()), "{client:?} {text:?}");
                assert_eq!(remove(client, text, &ours().name), Err(expected.clone()), "{client:?} {text:?}");
            }
        }
    }
    for (text, line, column) in [
        ("a = 1\nb = \n", 2, 5),
        ("[mcp_servers.a]\nurl = \"x\"\n[mcp_servers.a]\n", 3, 14),
        ("token = \"s3cret", 1, 16),
    ] {
        let error = add(FileClient::Codex, text, &ours()).unwrap_err();
        assert!(
            matches!(error, EditError::Syntax { format: "TOML", line: l, column: c, .. } if (l, c) == (line, column)),
            "{error:?}"
        );
        assert_eq!(remove(FileClient::Codex, text, &ours().name), Err(error.clone()));
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}

#[test]
fn configurations_of_another_shape_are_refused() {
    for (client, text, wrong) in [
        (FileClient::Cursor, "[]", "the whole document"),
        (FileClient::Cursor, "null", "the whole document"),
        (FileClient::Cursor, "{\"mcpServers\": null}", "mcpServers"),
        (FileClient::Vscode, "{\"servers\": []}", "servers"),
        (FileClient::Opencode, "{\"mcp\": 1}", "mcp"),
        (FileClient::Codex, "mcp_servers = 1", "mcp_servers"),
        (FileClient::Codex, "mcp_servers = { a = { url = \"x\" } }", "mcp_servers"),
        (FileClient::Codex, "[[mcp_servers]]\na = 1\n", "mcp_servers"),
    ] {
        match add(client, text, &ours()) {
            Err(EditError::WrongType { path, .. }) => assert_eq!(path, wrong, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
        assert_eq!(remove(client, text, &ours().name), Ok(None), "{text}");
    }
}

#[test]
fn opencode_keeps_the_format_of_the_file() {
    let native = "{\"mcp\": {\"servers\": {}}}";
    assert!(added(FileClient::Opencode, native, &ours()).contains("\"servers\": {\n"));
    // A server of opencode 1 that has this name.
    let named = "{\"mcp\": {\"servers\": {\"type\": \"local\", \"command\": [\"x\"]}}}";
    assert_eq!(
        added(FileClient::Opencode, named, &ours()),
        "{\"mcp\": {\"servers\": {\"type\": \"local\", \"command\": [\"x\"]}, \"agents-example-com\": {\"type\": \"remote\", \
         \"url\": \"https://agents.example.com/mcp\", \"enabled\": true}}}"
    );
    let both = "{\"mcp\": {\"agents-example-com\": {\"type\": \"remote\", \"url\": \"https://a.example/mcp\"}, \"servers\": {}}}";
    assert!(
        replaced(FileClient::Opencode, both, &ours()).ends_with("\"servers\": {}}}"),
        "the entry is replaced where it is"
    );
}
