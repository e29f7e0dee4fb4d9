//! The callbacks and the client types of well-known OAuth clients.
//!
//! `docs/clients.md` has the sources: the documentation and the issue trackers of the clients.

use crate::client::{ClientType, Grant};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A well-known client, or `custom`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// claude.ai and Claude Desktop.
    Claude,
    /// ChatGPT connectors.
    Chatgpt,
    /// Claude Code.
    ClaudeCode,
    /// Cursor.
    Cursor,
    /// Visual Studio Code.
    Vscode,
    /// Gemini CLI.
    GeminiCli,
    /// Any other client: the manifest has all settings.
    #[default]
    Custom,
}

impl Preset {
    /// The default client type.
    #[must_use]
    pub const fn client_type(self) -> ClientType {
        match self {
            Self::Claude | Self::Chatgpt | Self::Custom => ClientType::Confidential,
            Self::ClaudeCode | Self::Cursor | Self::Vscode | Self::GeminiCli => ClientType::Public,
        }
    }

    /// The default grant types.
    #[must_use]
    pub const fn grants(self) -> &'static [Grant] {
        &[Grant::AuthorizationCode, Grant::RefreshToken]
    }

    /// Its callbacks, to which the manifest's `redirectUris` are added.
    ///
    /// A loopback callback matches with any port (RFC 8252 §7.3). `https://chatgpt.com/connector/oauth/{id}`
    /// stands for exactly one path segment: ChatGPT makes one callback per connector.
    #[must_use]
    pub const fn redirect_uris(self) -> &'static [&'static str] {
        match self {
            Self::Claude => &["https://claude.ai/api/mcp/auth_callback", "https://claude.com/api/mcp/auth_callback"],
            Self::Chatgpt => {
                &["https://chatgpt.com/connector/oauth/{id}", "https://chatgpt.com/connector_platform_oauth_redirect"]
            }
            Self::ClaudeCode => &["http://localhost/callback", "http://127.0.0.1/callback"],
            Self::Cursor => &[
                "cursor://anysphere.cursor-mcp/oauth/callback",
                "https://www.cursor.com/agents/mcp/oauth/callback",
                "http://localhost/callback",
            ],
            Self::Vscode => &[
                "http://127.0.0.1/",
                "http://localhost/",
                "https://vscode.dev/redirect",
                "https://insiders.vscode.dev/redirect",
            ],
            Self::GeminiCli => &["http://localhost/oauth/callback"],
            Self::Custom => &[],
        }
    }

    /// The display name; `None` for `custom`.
    #[must_use]
    pub const fn display_name(self) -> Option<&'static str> {
        match self {
            Self::Claude => Some("Claude"),
            Self::Chatgpt => Some("ChatGPT"),
            Self::ClaudeCode => Some("Claude Code"),
            Self::Cursor => Some("Cursor"),
            Self::Vscode => Some("Visual Studio Code"),
            Self::GeminiCli => Some("Gemini CLI"),
            Self::Custom => None,
        }
    }
}
