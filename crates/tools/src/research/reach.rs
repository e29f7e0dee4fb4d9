//! The kinds of results that an endpoint has for a caller, and the ids and URLs of results.

use crate::ToolError;
use portcullis_config::ServerConfig;
use portcullis_core::Scope;
use portcullis_oauth::Caller;
use schemars::JsonSchema;
use serde::Serialize;
use std::fmt::Write as _;

/// The kind of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Workspace,
    Template,
    File,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Workspace, Self::Template, Self::File];

    /// The part of an id before the colon.
    pub(super) const fn prefix(self) -> &'static str {
        match self {
            Self::Workspace => "workspace",
            Self::Template => "template",
            Self::File => "file",
        }
    }

    pub(super) const fn scope(self) -> Scope {
        match self {
            Self::Workspace => Scope::WorkspacesRead,
            Self::Template => Scope::TemplatesRead,
            Self::File => Scope::FilesRead,
        }
    }

    /// The tools that show the same data. If one of them is not served, this kind is not served either.
    pub(super) const fn tools(self) -> [&'static str; 2] {
        match self {
            Self::Workspace => ["list_workspaces", "get_workspace"],
            Self::Template => ["list_templates", "get_template"],
            Self::File => ["search_files", "read_file"],
        }
    }

    /// The operation, for errors.
    pub(super) const fn named(self) -> &'static str {
        match self {
            Self::Workspace => "reading workspaces",
            Self::Template => "reading templates",
            Self::File => "reading files",
        }
    }
}

/// The kinds of results that the endpoint serves, and the prefix of their URLs.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    served: Vec<Kind>,
    url: String,
}

impl Reach {
    pub(crate) fn new(config: &ServerConfig, is_served: &dyn Fn(&str) -> bool) -> Self {
        let served = Kind::ALL.into_iter().filter(|kind| kind.tools().into_iter().all(is_served)).collect();
        Self { served, url: config.url.resource() }
    }

    pub(super) fn check(&self, kind: Kind, caller: &Caller) -> Result<(), ToolError> {
        if !self.served.contains(&kind) {
            return Err(ToolError::NotServed { what: kind.named() });
        }
        let scope = kind.scope();
        if caller.scopes.contains(&scope) { Ok(()) } else { Err(ToolError::NeedsScope { what: kind.named(), scope }) }
    }

    pub(super) fn allows(&self, kind: Kind, caller: &Caller) -> bool {
        self.check(kind, caller).is_ok()
    }

    pub(super) fn url_of(&self, kind: Kind, rest: &str) -> String {
        match kind {
            Kind::Workspace => format!("{}/workspaces/{rest}", self.url),
            Kind::Template => format!("{}/templates/{rest}", self.url),
            // The URI of the same resource in MCP.
            Kind::File => format!("workspace://{}", escaped(rest)),
        }
    }
}

impl Reach {
    pub(super) fn hit(&self, kind: Kind, rest: &str, title: String) -> Hit {
        Hit { id: format!("{}:{rest}", kind.prefix()), title, url: self.url_of(kind, rest) }
    }
}

/// One result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Hit {
    /// The id, for fetch.
    pub(super) id: String,
    /// The display name.
    title: String,
    /// The URL, for citations.
    url: String,
}

/// Percent-encodes a path for a URI (RFC 3986 §3.3).
fn escaped(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_uris() {
        for (path, uri) in [("web/src/main.rs", "web/src/main.rs"), ("web/a b#?%.ü", "web/a%20b%23%3F%25.%C3%BC")] {
            assert_eq!(escaped(path), uri);
        }
    }
}
