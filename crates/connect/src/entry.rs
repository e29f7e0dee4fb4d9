//! The entry for one server in the configuration of each client.

use crate::{EditError, FileClient, ServerName};
pub(crate) use portcullis_core::agents::Setting;
use portcullis_core::{
    PublicUrl,
    agents::{self, AgentServer},
};

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
    /// The path of the program `portcullis`, for clients that start local programs only. Desktop applications do not have
    /// the `PATH` of a shell.
    pub program: String,
}

/// The entry of a client with one format.
pub(crate) fn of(client: FileClient, server: &Server) -> Result<Setting, EditError> {
    let url = server.url.resource();
    let entry = if client == FileClient::ClaudeDesktop {
        let arguments = Setting::List(agents::stdio_arguments(agent_server(server, &url)));
        Some(Setting::group([("command", Setting::text(&server.program)), ("args", arguments)]))
    } else {
        client.agent().entry(agent_server(server, &url))
    };
    entry.ok_or(EditError::ClientId { client: client.title() })
}

/// The entry in the format of opencode 2.
pub(crate) fn opencode_2(server: &Server) -> Setting {
    let url = server.url.resource();
    agents::opencode_2_entry(agent_server(server, &url))
}

fn agent_server<'a>(server: &'a Server, url: &'a str) -> AgentServer<'a> {
    AgentServer { name: server.name.as_str(), url, client_id: server.client_id.as_deref() }
}
