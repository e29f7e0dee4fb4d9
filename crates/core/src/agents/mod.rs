//! The agents that users connect to an endpoint: their names, and what each needs in its configuration or on its command
//! line. The landing page, `portcullis dev` and `portcullis connect` read it here. `docs/clients.md` has the sources.

mod setting;

pub use setting::Setting;

use crate::preset::Preset;
use serde_json::{Value, json};

/// A well-known agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agent {
    /// claude.ai, and the applications that use its connectors.
    ClaudeAi,
    /// ChatGPT.
    Chatgpt,
    /// The desktop application of Anthropic, with servers of its own.
    ClaudeDesktop,
    /// Anthropic's coding agent.
    ClaudeCode,
    /// The editor Cursor and its command line.
    Cursor,
    /// Visual Studio Code.
    Vscode,
    /// The editor Windsurf.
    Windsurf,
    /// OpenAI's coding agent.
    Codex,
    /// Google's coding agent.
    GeminiCli,
    /// The coding agent opencode.
    Opencode,
}

/// An endpoint as a server of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentServer<'a> {
    /// Its name in the agent.
    pub name: &'a str,
    /// The URL of the endpoint.
    pub url: &'a str,
    /// The client id that was registered at the endpoint. Without it the agent registers itself, or has a metadata
    /// document.
    pub client_id: Option<&'a str>,
}

impl Agent {
    /// Every agent.
    pub const ALL: [Self; 10] = [
        Self::ClaudeAi,
        Self::Chatgpt,
        Self::ClaudeDesktop,
        Self::ClaudeCode,
        Self::Cursor,
        Self::Vscode,
        Self::Windsurf,
        Self::Codex,
        Self::GeminiCli,
        Self::Opencode,
    ];

    /// The name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ClaudeAi => "claude-ai",
            Self::Chatgpt => "chatgpt",
            Self::ClaudeDesktop => "claude-desktop",
            Self::ClaudeCode => "claude-code",
            Self::Cursor => "cursor",
            Self::Vscode => "vscode",
            Self::Windsurf => "windsurf",
            Self::Codex => "codex",
            Self::GeminiCli => "gemini-cli",
            Self::Opencode => "opencode",
        }
    }

    /// The name by which users know it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::ClaudeAi => "claude.ai and Claude Desktop",
            Self::Chatgpt => "ChatGPT",
            Self::ClaudeDesktop => "Claude Desktop",
            Self::ClaudeCode => "Claude Code",
            Self::Cursor => "Cursor",
            Self::Vscode => "VS Code",
            Self::Windsurf => "Windsurf",
            Self::Codex => "Codex",
            Self::GeminiCli => "Gemini CLI",
            Self::Opencode => "opencode",
        }
    }

    /// The preset of an `OAuthClient` for it.
    #[must_use]
    pub const fn preset(self) -> Option<Preset> {
        match self {
            Self::ClaudeAi => Some(Preset::Claude),
            Self::Chatgpt => Some(Preset::Chatgpt),
            Self::ClaudeCode => Some(Preset::ClaudeCode),
            Self::Cursor => Some(Preset::Cursor),
            Self::Vscode => Some(Preset::Vscode),
            Self::GeminiCli => Some(Preset::GeminiCli),
            Self::Codex => Some(Preset::Codex),
            Self::Opencode => Some(Preset::Opencode),
            Self::ClaudeDesktop | Self::Windsurf => None,
        }
    }

    /// The host of its client metadata document, if it has one.
    #[must_use]
    pub const fn document_host(self) -> Option<&'static str> {
        match self {
            Self::ClaudeAi | Self::ClaudeCode => Some("claude.ai"),
            Self::Vscode => Some("vscode.dev"),
            _ => None,
        }
    }

    /// The members of its configuration that lead to the servers. Empty for web applications.
    #[must_use]
    pub const fn servers(self) -> &'static [&'static str] {
        match self {
            Self::ClaudeAi | Self::Chatgpt => &[],
            Self::Vscode => &["servers"],
            Self::Opencode => &["mcp"],
            Self::Codex => &["mcp_servers"],
            _ => &["mcpServers"],
        }
    }

    /// The configuration file of a user or of a project, for instructions. Empty for web applications.
    #[must_use]
    pub const fn file(self) -> &'static str {
        match self {
            Self::ClaudeAi | Self::Chatgpt => "",
            Self::ClaudeDesktop => "claude_desktop_config.json",
            Self::ClaudeCode => "~/.claude.json",
            Self::Cursor => "~/.cursor/mcp.json",
            Self::Vscode => ".vscode/mcp.json of a project",
            Self::Windsurf => "~/.codeium/windsurf/mcp_config.json",
            Self::Codex => "~/.codex/config.toml",
            Self::GeminiCli => "~/.gemini/settings.json",
            Self::Opencode => "~/.config/opencode/opencode.jsonc",
        }
    }

    /// The entry of a server in the configuration. `None`: the agent is a web application or starts local programs only,
    /// or it has no setting for the client id.
    #[must_use]
    pub fn entry(self, server: AgentServer<'_>) -> Option<Setting> {
        let url = || Setting::text(server.url);
        let oauth = |group, name| {
            let with_id = |id| (group, Setting::group([(name, Setting::text(id))]));
            server.client_id.map(with_id)
        };
        Some(match self {
            Self::ClaudeAi | Self::Chatgpt | Self::ClaudeDesktop => return None,
            Self::ClaudeCode | Self::Vscode => Setting::group(
                [("type", Setting::text("http")), ("url", url())].into_iter().chain(oauth("oauth", "clientId")),
            ),
            Self::Cursor => Setting::group([("url", url())].into_iter().chain(oauth("auth", "CLIENT_ID"))),
            Self::Windsurf if server.client_id.is_some() => return None,
            Self::Windsurf => Setting::group([("serverUrl", url())]),
            Self::Codex => Setting::group([("url", url())].into_iter().chain(oauth("oauth", "client_id"))),
            Self::GeminiCli => {
                let oauth = server.client_id.map(|id| {
                    ("oauth", Setting::group([("enabled", Setting::Flag(true)), ("clientId", Setting::text(id))]))
                });
                Setting::group([("httpUrl", url())].into_iter().chain(oauth))
            }
            Self::Opencode => {
                let enabled = ("enabled", Setting::Flag(true));
                let members = [("type", Setting::text("remote")), ("url", url()), enabled];
                Setting::group(members.into_iter().chain(oauth("oauth", "clientId")))
            }
        })
    }

    /// A configuration with this server alone, as JSON.
    #[must_use]
    pub fn document(self, server: AgentServer<'_>) -> Option<Value> {
        let path = self.servers().iter().copied().chain([server.name]).rev();
        Some(path.fold(self.entry(server)?.to_json(), |inner, name| json!({name: inner})))
    }

    /// The text to add to the configuration file.
    #[must_use]
    pub fn snippet(self, server: AgentServer<'_>) -> Option<String> {
        match self {
            Self::Codex => Some(self.entry(server)?.to_toml(&format!("mcp_servers.{}", server.name))),
            _ => Some(format!("{:#}", self.document(server)?)),
        }
    }

    /// The command for a terminal that adds a server. `None`: the agent has none, or it cannot pass the client id.
    #[must_use]
    pub fn command(self, server: AgentServer<'_>) -> Option<String> {
        let AgentServer { name, url, client_id } = server;
        match self {
            Self::ClaudeCode => {
                let id = client_id.map(|id| format!("--client-id {id} ")).unwrap_or_default();
                Some(format!("claude mcp add --transport http {id}{name} {url}"))
            }
            _ if client_id.is_some() => None,
            Self::Vscode => Some(format!(r#"code --add-mcp '{{"name":"{name}","type":"http","url":"{url}"}}'"#)),
            Self::Codex => Some(format!("codex mcp add {name} --url {url}")),
            Self::GeminiCli => Some(format!("gemini mcp add --transport http {name} {url}")),
            _ => None,
        }
    }

    /// The command that starts the sign-in, in the agent or in a terminal.
    #[must_use]
    pub fn sign_in_command(self, name: &str) -> Option<String> {
        match self {
            Self::ClaudeCode => Some("/mcp".to_owned()),
            Self::Codex => Some(format!("codex mcp login {name}")),
            Self::GeminiCli => Some(format!("/mcp auth {name}")),
            _ => None,
        }
    }

    /// What a user does after the server was added. Empty for web applications, which ask by themselves.
    #[must_use]
    pub fn sign_in(self, name: &str) -> String {
        match self {
            Self::ClaudeAi | Self::Chatgpt => String::new(),
            Self::ClaudeDesktop => {
                "Quit Claude Desktop and start it again; the browser opens for the sign-in.".to_owned()
            }
            Self::ClaudeCode => format!("Start Claude Code, run /mcp, choose {name} and sign in."),
            Self::Cursor => format!("Open the MCP servers in Cursor's settings, turn {name} on and sign in."),
            Self::Vscode => {
                format!("In VS Code run the command \"MCP: List Servers\", choose {name}, start it and sign in.")
            }
            Self::Windsurf => format!("Open the MCP servers in Windsurf, refresh them and sign in to {name}."),
            Self::Codex => format!("Run: codex mcp login {name}"),
            Self::GeminiCli => format!("Start Gemini CLI and run: /mcp auth {name}"),
            Self::Opencode => format!("Start opencode, run /mcps, choose {name} and sign in."),
        }
    }
}

/// The entry of a server in the format of opencode 2, which has the servers in `mcp.servers`. opencode 1 has them in `mcp`,
/// which opencode 2 reads too.
#[must_use]
pub fn opencode_2_entry(server: AgentServer<'_>) -> Setting {
    let oauth = server.client_id.map(|id| ("oauth", Setting::group([("client_id", Setting::text(id))])));
    let members = [("type", Setting::text("remote")), ("url", Setting::text(server.url))];
    Setting::group(members.into_iter().chain(oauth))
}

/// The arguments of `portcullis` for an agent that starts local programs only.
#[must_use]
pub fn stdio_arguments(server: AgentServer<'_>) -> Vec<String> {
    let id = server.client_id.into_iter().flat_map(|id| ["--client-id", id]);
    ["stdio", server.url].into_iter().chain(id).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const URL: &str = "https://h.example.com/mcp";

    fn server(client_id: Option<&str>) -> AgentServer<'_> {
        AgentServer { name: "agents", url: URL, client_id }
    }

    #[test]
    fn every_agent_has_a_name_of_its_own() {
        let distinct =
            |text: fn(Agent) -> &'static str| Agent::ALL.map(text).into_iter().collect::<BTreeSet<_>>().len();
        assert_eq!((distinct(Agent::name), distinct(Agent::title)), (Agent::ALL.len(), Agent::ALL.len()));
    }

    #[test]
    fn an_agent_that_adds_servers_itself_has_a_command_or_a_file() {
        for agent in Agent::ALL {
            let is_web = matches!(agent, Agent::ClaudeAi | Agent::Chatgpt);
            assert_eq!(agent.sign_in("agents").is_empty(), is_web, "{agent:?}");
            let Some(text) = agent.snippet(server(None)) else {
                assert!(is_web || agent == Agent::ClaudeDesktop, "{agent:?}");
                assert_eq!(agent.command(server(None)), None, "{agent:?}");
                continue;
            };
            assert!(!agent.file().is_empty() && text.contains(URL), "{agent:?}: {text}");
            assert!(agent.command(server(None)).is_none_or(|command| command.contains(URL)), "{agent:?}");
            if agent != Agent::Codex {
                let value: Value = serde_json::from_str(&text).unwrap();
                let path = agent.servers().iter().fold(&value, |value, name| &value[name]);
                assert_eq!(path["agents"], agent.entry(server(None)).unwrap().to_json(), "{agent:?}");
            }
        }
    }

    #[test]
    fn a_client_id_is_in_the_command_or_in_the_file() {
        for agent in Agent::ALL {
            let by_command = agent.command(server(Some("team"))).is_some_and(|command| command.contains("team"));
            let by_file = agent.snippet(server(Some("team"))).is_some_and(|text| text.contains("\"team\""));
            let has_setting = agent.entry(server(None)).is_some() && agent != Agent::Windsurf;
            assert_eq!(by_command || by_file, has_setting, "{agent:?}");
        }
        assert_eq!(stdio_arguments(server(Some("team"))), ["stdio", URL, "--client-id", "team"]);
    }

    #[test]
    fn the_text_for_codex_is_toml() {
        let text = Agent::Codex.snippet(server(Some("team"))).unwrap();
        let expected = "[mcp_servers.agents]\nurl = \"https://h.example.com/mcp\"\n\n\
                        [mcp_servers.agents.oauth]\nclient_id = \"team\"";
        assert_eq!(text, expected);
    }
}
