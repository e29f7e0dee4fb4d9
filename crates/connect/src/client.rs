//! The MCP clients that can be connected. `portcullis_core::agents` has the facts about them.

use portcullis_core::agents::Agent;
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
        self.agent().name()
    }

    const fn agent(self) -> Agent {
        match self {
            Self::Web(WebClient::ClaudeAi) => Agent::ClaudeAi,
            Self::Web(WebClient::Chatgpt) => Agent::Chatgpt,
            Self::File(client) => client.agent(),
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
    pub(crate) const fn agent(self) -> Agent {
        match self {
            Self::ClaudeDesktop => Agent::ClaudeDesktop,
            Self::ClaudeCode => Agent::ClaudeCode,
            Self::Cursor => Agent::Cursor,
            Self::Vscode => Agent::Vscode,
            Self::Windsurf => Agent::Windsurf,
            Self::Codex => Agent::Codex,
            Self::GeminiCli => Agent::GeminiCli,
            Self::Opencode => Agent::Opencode,
        }
    }

    /// The name by which users know it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.agent().title()
    }

    /// The members that lead to the servers.
    pub(crate) const fn path(self) -> &'static [&'static str] {
        self.agent().servers()
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
        for agent in Agent::ALL {
            assert_eq!(agent.name().parse::<Client>().map(Client::agent), Ok(agent));
        }
        assert_eq!("emacs".parse::<Client>(), Err(UnknownClient("emacs".to_owned())));
    }
}
