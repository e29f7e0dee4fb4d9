//! The MCP clients that can be connected. docs/clients.md has the sources of every fact about them.

use std::str::FromStr;

/// An MCP client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// Its servers are in a configuration file.
    File(FileClient),
    /// Its servers are entered in its settings, and stored with the user's account there.
    Web(WebClient),
}

/// A client with a configuration file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileClient {
    /// The desktop application of Anthropic.
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

/// A client that is a web application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebClient {
    /// claude.ai.
    ClaudeAi,
    /// ChatGPT.
    Chatgpt,
}

/// A name is not that of a [`Client`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no client {0:?}")]
pub struct UnknownClient(String);

impl Client {
    /// Every client.
    pub const ALL: [Self; 10] = [
        Self::Web(WebClient::ClaudeAi),
        Self::Web(WebClient::Chatgpt),
        Self::File(FileClient::ClaudeDesktop),
        Self::File(FileClient::ClaudeCode),
        Self::File(FileClient::Cursor),
        Self::File(FileClient::Vscode),
        Self::File(FileClient::Windsurf),
        Self::File(FileClient::Codex),
        Self::File(FileClient::GeminiCli),
        Self::File(FileClient::Opencode),
    ];

    /// The name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Web(WebClient::ClaudeAi) => "claude-ai",
            Self::Web(WebClient::Chatgpt) => "chatgpt",
            Self::File(FileClient::ClaudeDesktop) => "claude-desktop",
            Self::File(FileClient::ClaudeCode) => "claude-code",
            Self::File(FileClient::Cursor) => "cursor",
            Self::File(FileClient::Vscode) => "vscode",
            Self::File(FileClient::Windsurf) => "windsurf",
            Self::File(FileClient::Codex) => "codex",
            Self::File(FileClient::GeminiCli) => "gemini-cli",
            Self::File(FileClient::Opencode) => "opencode",
        }
    }
}

impl FromStr for Client {
    type Err = UnknownClient;

    fn from_str(text: &str) -> Result<Self, UnknownClient> {
        Self::ALL.into_iter().find(|client| client.name() == text).ok_or_else(|| UnknownClient(text.to_owned()))
    }
}

impl FileClient {
    /// The name by which users know it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
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

    /// The members that lead to the servers.
    pub(crate) const fn path(self) -> &'static [&'static str] {
        match self {
            Self::Vscode => &["servers"],
            Self::Opencode => &["mcp"],
            Self::Codex => &[crate::toml::SERVERS],
            _ => &["mcpServers"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_has_a_name_of_its_own() {
        for client in Client::ALL {
            assert_eq!(client.name().parse(), Ok(client));
        }
        assert_eq!("emacs".parse::<Client>(), Err(UnknownClient("emacs".to_owned())));
    }
}
