//! OAuth scopes (RFC 6749 §3.3): the permissions that a client can request.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, str::FromStr};

/// A permission for workspaces, their files or templates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Scope {
    /// See workspaces and their state.
    #[serde(rename = "workspaces:read")]
    WorkspacesRead,
    /// Create, start, stop and delete workspaces.
    #[serde(rename = "workspaces:write")]
    WorkspacesWrite,
    /// Run commands in workspaces.
    #[serde(rename = "workspaces:exec")]
    WorkspacesExec,
    /// Read files in workspaces.
    #[serde(rename = "files:read")]
    FilesRead,
    /// Write, move and delete files in workspaces.
    #[serde(rename = "files:write")]
    FilesWrite,
    /// See workspace templates.
    #[serde(rename = "templates:read")]
    TemplatesRead,
}

impl Scope {
    /// Every scope, in the order in which metadata documents list them.
    pub const ALL: [Self; 6] = [
        Self::WorkspacesRead,
        Self::WorkspacesWrite,
        Self::WorkspacesExec,
        Self::FilesRead,
        Self::FilesWrite,
        Self::TemplatesRead,
    ];

    /// The spelling in tokens, requests and manifests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WorkspacesRead => "workspaces:read",
            Self::WorkspacesWrite => "workspaces:write",
            Self::WorkspacesExec => "workspaces:exec",
            Self::FilesRead => "files:read",
            Self::FilesWrite => "files:write",
            Self::TemplatesRead => "templates:read",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The word is not a known scope.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("unknown scope {0:?}; the scopes are {all}", all = Scope::ALL.map(Scope::as_str).join(", "))]
pub struct UnknownScope(pub String);

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(word: &str) -> Result<Self, UnknownScope> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == word).ok_or_else(|| UnknownScope(word.to_owned()))
    }
}

/// Formats a `scope` parameter (RFC 6749 §3.3): scopes separated by single spaces.
#[must_use]
pub fn join(scopes: &BTreeSet<Scope>) -> String {
    let words: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
    words.join(" ")
}

/// Parses a `scope` parameter and removes duplicates.
pub fn parse(parameter: &str) -> Result<BTreeSet<Scope>, UnknownScope> {
    parameter.split_ascii_whitespace().map(Scope::from_str).collect()
}
