//! How well-known agents connect to an endpoint that they register at: a line each, to paste.

use portcullis_core::agents::{Agent, AgentServer};
use std::fmt::Write as _;

const AGENTS: [Agent; 5] = [Agent::ClaudeCode, Agent::Codex, Agent::GeminiCli, Agent::Vscode, Agent::Cursor];

/// The lines for the endpoint `name` at `url`.
pub(super) fn snippets(name: &str, url: &str) -> String {
    let server = AgentServer { name, url, client_id: None };
    let others = ("others", format!("portcullis stdio {url}   # for agents that start a program"));
    let lines = AGENTS.map(|agent| (agent.title(), line(agent, server))).into_iter().chain([others]);
    let mut text = String::new();
    for (client, line) in lines {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {client:<13}{line}");
    }
    text
}

/// The command and what follows it, or the text for the configuration file.
fn line(agent: Agent, server: AgentServer<'_>) -> String {
    match (agent.command(server), agent.sign_in_command(server.name)) {
        (Some(command), Some(sign_in)) => format!("{command}   # then {sign_in}"),
        (Some(command), None) => command,
        (None, _) => format!("in {}: {}", agent.file(), agent.document(server).unwrap_or_default()),
    }
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
