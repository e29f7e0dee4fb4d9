//! `portcullis connect` as users run it, in a home folder of its own.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tempfile::TempDir;

const URL: &str = "https://agents.example.com/mcp";

/// A user's home folder, and a project in it.
struct Home {
    folder: TempDir,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("project")).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn connect(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .arg("connect")
            .args(arguments)
            .env_clear()
            .env("HOME", self.folder.path())
            .current_dir(self.path("project"))
            .output()
            .unwrap()
    }

    /// What a successful command printed.
    fn done(&self, arguments: &[&str]) -> String {
        let output = self.connect(arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments:?}: {errors}");
        assert_eq!(errors, "");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a command that failed printed.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.connect(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    }
}

/// The names in a folder that are backups.
fn backups(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.to_str().unwrap().contains(".bak-")).collect()
}

#[test]
fn a_client_is_connected_and_disconnected() {
    let home = Home::new();
    let config = "{\n  // Mine.\n  \"mcpServers\": {\n    \"a\": { \"url\": \"https://a.example/mcp\" }\n  }\n}\n";
    fs::create_dir(home.path(".cursor")).unwrap();
    fs::write(home.path(".cursor/mcp.json"), config).unwrap();

    let shown = home.done(&["cursor", URL, "--dry-run"]);
    assert!(
        shown.contains("+    \"agents-example-com\": {\n+      \"url\": \"https://agents.example.com/mcp\"\n+    }\n"),
        "{shown}"
    );
    assert_eq!(home.read(".cursor/mcp.json"), config);

    let added = home.done(&["cursor", URL]);
    assert!(added.starts_with("Added agents-example-com to Cursor: "), "{added}");
    let [backup] = backups(&home.path(".cursor")).try_into().unwrap();
    assert!(added.contains(backup.to_str().unwrap()), "{added}");
    assert_eq!(fs::read_to_string(&backup).unwrap(), config);

    assert!(home.done(&["cursor", URL]).starts_with("Cursor is already connected: "));
    assert_eq!(backups(&home.path(".cursor")).len(), 1);

    let replaced = home.done(&["cursor", "https://b.example/mcp", "--name", "agents-example-com"]);
    assert!(replaced.starts_with("Replaced another entry agents-example-com of Cursor: "), "{replaced}");

    let removed = home.done(&["cursor", "--remove", "--name", "agents-example-com"]);
    assert!(removed.starts_with("Removed agents-example-com from Cursor: "), "{removed}");
    assert_eq!(home.read(".cursor/mcp.json"), config);
    assert!(
        home.done(&["cursor", URL, "--remove"]).ends_with(" has no server agents-example-com; nothing was changed\n")
    );
}

#[test]
fn every_client_has_its_file() {
    for (client, file) in [
        ("claude-desktop", ".config/Claude/claude_desktop_config.json"),
        ("claude-code", ".claude.json"),
        ("cursor", ".cursor/mcp.json"),
        ("vscode", ".config/Code/User/mcp.json"),
        ("windsurf", ".codeium/windsurf/mcp_config.json"),
        ("codex", ".codex/config.toml"),
        ("gemini-cli", ".gemini/settings.json"),
        ("opencode", ".config/opencode/opencode.jsonc"),
    ] {
        // On macOS two of them are elsewhere; --file says where.
        let home = Home::new();
        let path = home.path(file);
        let chosen = ["--file", path.to_str().unwrap()];
        let arguments = [client, URL];
        let arguments: Vec<&str> =
            if cfg!(target_os = "macos") { arguments.into_iter().chain(chosen).collect() } else { arguments.to_vec() };
        home.done(&arguments);
        assert!(home.read(file).contains(URL), "{client}");
        assert_eq!(backups(path.parent().unwrap()), Vec::<PathBuf>::new());
    }
}

#[test]
fn claude_desktop_starts_this_program() {
    let home = Home::new();
    let config = home.path("claude.json");
    let printed = home.done(&["claude-desktop", URL, "--client-id", "team", "--file", config.to_str().unwrap()]);
    assert!(printed.contains("Quit Claude Desktop"), "{printed}");
    let entry: serde_json::Value = serde_json::from_str(&home.read("claude.json")).unwrap();
    let entry = &entry["mcpServers"]["agents-example-com"];
    let arguments: Vec<&str> = entry["args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(arguments, ["stdio", URL, "--client-id", "team"]);
    // The program knows these arguments.
    let help = Command::new(entry["command"].as_str().unwrap()).args(&arguments).arg("--help").output().unwrap();
    assert!(help.status.success(), "{}", String::from_utf8_lossy(&help.stderr));
    assert!(String::from_utf8(help.stdout).unwrap().contains("between standard input and output"));
}

#[test]
fn a_project_has_a_configuration_of_its_own() {
    let home = Home::new();
    home.done(&["claude-code", URL, "--project", "--name", "team"]);
    assert!(home.read("project/.mcp.json").contains("\"team\""));
    // Of several files, the one that exists.
    fs::write(home.path("project/opencode.json"), "{}").unwrap();
    home.done(&["opencode", URL, "--project"]);
    assert!(home.read("project/opencode.json").contains(URL));
    assert!(!home.path("project/opencode.jsonc").exists());
    // A path relative to the current folder.
    home.done(&["vscode", URL, "--file", "mcp.json"]);
    assert!(home.read("project/mcp.json").contains(URL));
    assert!(home.refused(&["windsurf", URL, "--project"]).contains("omit --project"));
}

#[test]
fn a_broken_file_is_left_alone() {
    let home = Home::new();
    fs::write(home.path(".claude.json"), "{\n  \"token\": \"s3cret\"\n  \"b\": 1\n}").unwrap();
    let error = home.refused(&["claude-code", URL]);
    assert!(
        error.contains(".claude.json was not changed: it is not valid JSON: line 2, column 20: expected comma"),
        "{error}"
    );
    assert!(!error.contains("s3cret"), "{error}");
    assert_eq!(backups(home.folder.path()), Vec::<PathBuf>::new());
}

#[test]
fn web_applications_get_instructions() {
    let home = Home::new();
    let claude = home.done(&["claude-ai", URL, "--client-id", "team-claude"]);
    assert!(claude.contains("Remote MCP server URL: https://agents.example.com/mcp\n"), "{claude}");
    assert!(claude.contains("OAuth Client ID: team-claude\n"), "{claude}");
    assert!(home.done(&["chatgpt", URL]).contains("MCP Server URL: https://agents.example.com/mcp\n"));
    assert!(
        home.refused(&["claude-ai", "http://127.0.0.1:8080/mcp"]).contains("cannot reach http://127.0.0.1:8080/mcp")
    );
    assert!(home.refused(&["chatgpt", URL, "--dry-run"]).contains("chatgpt has no configuration file"));
}

#[test]
fn wrong_arguments_are_explained() {
    let home = Home::new();
    for (arguments, expected) in [
        (vec!["emacs", URL], "[possible values: claude-ai, chatgpt, claude-desktop"),
        (vec!["cursor"], "<URL>"),
        (vec!["cursor", "--remove"], "<URL>"),
        (vec!["cursor", "mcp.example.com"], "for example https://mcp.example.com/mcp"),
        (vec!["cursor", URL, "--name", "a b"], "cannot be the name of a server"),
        (vec!["windsurf", URL, "--client-id", "c"], "omit --client-id"),
        (vec!["cursor", URL, "--file", "/dev/null"], "pass the client's configuration file with --file"),
    ] {
        let error = home.refused(&arguments);
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    assert!(fs::read_dir(home.path("project")).unwrap().next().is_none());
}
