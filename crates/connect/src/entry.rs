//! The entry for one server in the configuration of each client.

use crate::{EditError, FileClient, ServerName};
use portcullis_core::PublicUrl;
use serde_json::json;

/// A server to connect a client to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its name in the configuration.
    pub name: ServerName,
    /// The endpoint.
    pub url: PublicUrl,
    /// The client id that was registered at the endpoint. Without it the client registers itself, or has a metadata
    /// document.
    pub client_id: Option<String>,
}

/// A value of a configuration, whose members keep their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Setting {
    Text(String),
    Flag(bool),
    List(Vec<String>),
    Group(Vec<(String, Setting)>),
}

impl Setting {
    fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    fn group(members: impl IntoIterator<Item = (&'static str, Setting)>) -> Self {
        Self::Group(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }
}

/// The entry of a client with JSON that has one format.
pub(crate) fn of(client: FileClient, server: &Server) -> Result<Setting, EditError> {
    let url = || Setting::text(server.url.resource());
    let id = server.client_id.as_ref().map(Setting::text);
    Ok(match client {
        FileClient::ClaudeDesktop => bridge(server),
        FileClient::ClaudeCode | FileClient::Vscode => {
            let oauth = id.map(|id| ("oauth", Setting::group([("clientId", id)])));
            Setting::group([("type", Setting::text("http")), ("url", url())].into_iter().chain(oauth))
        }
        FileClient::Cursor => {
            let auth = id.map(|id| ("auth", Setting::group([("CLIENT_ID", id)])));
            Setting::group([("url", url())].into_iter().chain(auth))
        }
        FileClient::Windsurf if id.is_some() => return Err(EditError::ClientId { client: client.title() }),
        FileClient::Windsurf => Setting::group([("serverUrl", url())]),
        FileClient::GeminiCli => {
            let oauth = id.map(|id| ("oauth", Setting::group([("enabled", Setting::Flag(true)), ("clientId", id)])));
            Setting::group([("httpUrl", url())].into_iter().chain(oauth))
        }
        FileClient::Codex => codex(server),
        FileClient::Opencode => opencode(server, false),
    })
}

/// Claude Desktop starts local programs only: mcp-remote is one that forwards to the endpoint and signs in by the browser.
fn bridge(server: &Server) -> Setting {
    let mut arguments = vec!["-y".to_owned(), "mcp-remote".to_owned(), server.url.resource()];
    if let Some(id) = &server.client_id {
        arguments.push("--static-oauth-client-info".to_owned());
        arguments.push(json!({"client_id": id}).to_string());
    }
    Setting::group([("command", Setting::text("npx")), ("args", Setting::List(arguments))])
}

pub(crate) fn codex(server: &Server) -> Setting {
    let oauth = server.client_id.as_ref().map(|id| ("oauth", Setting::group([("client_id", Setting::text(id))])));
    Setting::group([("url", Setting::text(server.url.resource()))].into_iter().chain(oauth))
}

/// opencode 2 has the servers in `mcp.servers`. opencode 1 has them in `mcp`, which opencode 2 reads too.
pub(crate) fn opencode(server: &Server, native: bool) -> Setting {
    let enabled = (!native).then_some(("enabled", Setting::Flag(true)));
    let name = if native { "client_id" } else { "clientId" };
    let oauth = server.client_id.as_ref().map(|id| ("oauth", Setting::group([(name, Setting::text(id))])));
    let url = Setting::text(server.url.resource());
    Setting::group([("type", Setting::text("remote")), ("url", url)].into_iter().chain(enabled).chain(oauth))
}
