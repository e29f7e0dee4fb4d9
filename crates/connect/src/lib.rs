//! Adds an endpoint to the configuration files of MCP clients, and removes it. Every byte outside the entry stays.
//!
//! All of it is pure except [`file`], which reads and writes the file.

mod client;
mod diff;
mod entry;
mod error;
pub mod file;
mod instructions;
mod jsonc;
mod locations;
mod name;
mod toml;

pub use client::{Client, FileClient, UnknownClient, WebClient};
pub use diff::unified;
pub use entry::Server;
pub use error::EditError;
pub use instructions::{Unreachable, next_step, paste};
pub use locations::{Folders, System, project_files, user_files};
pub use name::{ServerName, ServerNameError};

/// A byte order mark, which some editors on Windows put first.
const BYTE_ORDER_MARK: &str = "\u{feff}";

/// The effect of adding a server on a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The file has the entry already; further members of the entry do not matter.
    AlreadyConnected,
    /// The new text, with a new entry.
    Added(String),
    /// The new text. An entry of this name was different, and is replaced.
    Replaced(String),
}

impl Change {
    fn map(self, change: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::AlreadyConnected => Self::AlreadyConnected,
            Self::Added(text) => Self::Added(change(text)),
            Self::Replaced(text) => Self::Replaced(change(text)),
        }
    }
}

/// Adds `server` to the configuration of `client`. `text` is the content of its file; empty if the file does not exist.
pub fn add(client: FileClient, text: &str, server: &Server) -> Result<Change, EditError> {
    let (mark, text) = split_mark(text);
    let change = match client {
        FileClient::Codex => toml::set(text, server.name.as_str(), &entry::of(client, server)?),
        FileClient::Opencode => {
            let native = jsonc::is_opencode_2(text, server.name.as_str())?;
            let entry = if native { entry::opencode_2(server) } else { entry::of(client, server)? };
            jsonc::set(text, opencode_path(native), server.name.as_str(), &entry)
        }
        _ => jsonc::set(text, client.path(), server.name.as_str(), &entry::of(client, server)?),
    }?;
    Ok(change.map(|text| format!("{mark}{text}")))
}

/// The text without the entry `name`; `None` if the entry does not exist.
pub fn remove(client: FileClient, text: &str, name: &ServerName) -> Result<Option<String>, EditError> {
    let (mark, text) = split_mark(text);
    let removed = match client {
        FileClient::Codex => toml::remove(text, name.as_str()),
        FileClient::Opencode => {
            let native = jsonc::is_opencode_2(text, name.as_str())?;
            jsonc::remove(text, opencode_path(native), name.as_str())
        }
        _ => jsonc::remove(text, client.path(), name.as_str()),
    }?;
    Ok(removed.map(|text| format!("{mark}{text}")))
}

/// The member with the servers, in the format of opencode 2 or 1.
fn opencode_path(native: bool) -> &'static [&'static str] {
    if native { &["mcp", "servers"] } else { FileClient::Opencode.path() }
}

fn split_mark(text: &str) -> (&str, &str) {
    text.strip_prefix(BYTE_ORDER_MARK).map_or(("", text), |rest| (BYTE_ORDER_MARK, rest))
}

#[cfg(test)]
mod tests;
