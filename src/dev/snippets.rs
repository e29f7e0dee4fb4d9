//! How well-known clients connect to an endpoint that they register at: a line each, to paste. Sources:
//! `docs/clients.md`.

use std::fmt::Write as _;

/// The lines for the endpoint `name` at `url`.
pub(super) fn snippets(name: &str, url: &str) -> String {
    let lines = [
        ("Claude Code", format!("claude mcp add --transport http {name} {url}   # then /mcp")),
        ("Codex", format!("codex mcp add {name} --url {url}   # then codex mcp login {name}")),
        ("Gemini CLI", format!("gemini mcp add --transport http {name} {url}   # then /mcp auth {name}")),
        ("VS Code", format!(r#"code --add-mcp '{{"name":"{name}","type":"http","url":"{url}"}}'"#)),
        ("Cursor", format!(r#"in .cursor/mcp.json: {{"mcpServers": {{"{name}": {{"url": "{url}"}}}}}}"#)),
        ("others", format!("npx mcp-remote {url}   # for agents that start a program")),
    ];
    let mut text = String::new();
    for (client, line) in lines {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {client:<13}{line}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn six_clients_have_a_line_each() {
        let text = snippets("agents", "http://127.0.0.1:8080/mcp");
        assert_eq!(text.lines().count(), 6);
        assert!(text.lines().all(|line| line.contains("http://127.0.0.1:8080/mcp") && line.len() < 120), "{text}");
        for json in [text.split('\'').nth(1).unwrap(), text.split("mcp.json: ").nth(1).unwrap().lines().next().unwrap()]
        {
            assert!(serde_json::from_str::<Value>(json).unwrap().to_string().contains("http://127.0.0.1:8080/mcp"));
        }
    }
}
