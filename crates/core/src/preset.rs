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
    /// Codex.
    Codex,
    /// opencode.
    Opencode,
    /// Zed.
    Zed,
    /// Goose.
    Goose,
    /// MCP Inspector, in the browser.
    McpInspector,
    /// n8n Cloud. For your own n8n, add its callback.
    N8n,
    /// Any other client: the manifest has all settings.
    #[default]
    Custom,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 13] = [
        Self::Claude,
        Self::Chatgpt,
        Self::ClaudeCode,
        Self::Cursor,
        Self::Vscode,
        Self::GeminiCli,
        Self::Codex,
        Self::Opencode,
        Self::Zed,
        Self::Goose,
        Self::McpInspector,
        Self::N8n,
        Self::Custom,
    ];

    /// The name in a manifest.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Chatgpt => "chatgpt",
            Self::ClaudeCode => "claude-code",
            Self::Cursor => "cursor",
            Self::Vscode => "vscode",
            Self::GeminiCli => "gemini-cli",
            Self::Codex => "codex",
            Self::Opencode => "opencode",
            Self::Zed => "zed",
            Self::Goose => "goose",
            Self::McpInspector => "mcp-inspector",
            Self::N8n => "n8n",
            Self::Custom => "custom",
        }
    }

    /// The default client type.
    #[must_use]
    pub const fn client_type(self) -> ClientType {
        match self {
            Self::Claude | Self::Chatgpt | Self::N8n | Self::Custom => ClientType::Confidential,
            Self::ClaudeCode
            | Self::Cursor
            | Self::Vscode
            | Self::GeminiCli
            | Self::Codex
            | Self::Opencode
            | Self::Zed
            | Self::Goose
            | Self::McpInspector => ClientType::Public,
        }
    }

    /// The default grant types.
    #[must_use]
    pub const fn grants(self) -> &'static [Grant] {
        &[Grant::AuthorizationCode, Grant::RefreshToken]
    }

    /// Its callbacks, to which the manifest's `redirectUris` are added.
    ///
    /// A loopback callback matches with any port (RFC 8252 §7.3). `{id}` stands for exactly one path segment: ChatGPT makes
    /// one callback per connector, Codex one per server.
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
            // codex-rs/rmcp-client/src/perform_oauth_login.rs of openai/codex; older versions have no segment.
            Self::Codex => &["http://127.0.0.1/callback/{id}", "http://127.0.0.1/callback"],
            // packages/opencode/src/mcp/oauth-provider.ts of anomalyco/opencode.
            Self::Opencode => &["http://127.0.0.1/mcp/oauth/callback"],
            // https://zed.dev/oauth/client-metadata.json, quoted in zed-industries/zed#56210.
            Self::Zed => &["http://127.0.0.1/callback"],
            // crates/goose/src/oauth/mod.rs of block/goose.
            Self::Goose => &["http://127.0.0.1/oauth_callback"],
            // client/src/lib/auth.ts of modelcontextprotocol/inspector: at the origin of its page.
            Self::McpInspector => &[
                "http://localhost/oauth/callback",
                "http://localhost/oauth/callback/debug",
                "http://127.0.0.1/oauth/callback",
                "http://127.0.0.1/oauth/callback/debug",
            ],
            // n8n-io/n8n#21808: one callback for every instance in n8n's cloud.
            Self::N8n => &["https://oauth.n8n.cloud/oauth2/callback"],
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
            Self::Codex => Some("Codex"),
            Self::Opencode => Some("opencode"),
            Self::Zed => Some("Zed"),
            Self::Goose => Some("Goose"),
            Self::McpInspector => Some("MCP Inspector"),
            Self::N8n => Some("n8n"),
            Self::Custom => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_manifests() {
        for preset in Preset::ALL {
            assert_eq!(serde_json::to_value(preset).unwrap(), preset.name());
        }
        assert_eq!(Preset::ALL.len(), schemars::schema_for!(Preset).get("oneOf").unwrap().as_array().unwrap().len());
    }
}
