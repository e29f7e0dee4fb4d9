//! The name of a server in a client's configuration.

use portcullis_core::PublicUrl;
use std::{fmt, str::FromStr};

/// The longest name. Clients put it before the name of each tool, and models accept 64 characters for both.
const MAX_LENGTH: usize = 40;
/// The name where a URL has no letter and no digit for one.
const FALLBACK: &str = "portcullis";

/// The name of a server: letters, digits, `-` and `_`, which every client accepts, and TOML without quotation marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerName(String);

/// A text is not a [`ServerName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} cannot be the name of a server; use at most {MAX_LENGTH} letters, digits, - and _, with a letter or a digit first"
)]
pub struct ServerNameError(String);

impl ServerName {
    /// The name for an endpoint: its host, and the path of its issuer, since one host may have several endpoints.
    #[must_use]
    pub fn of(url: &PublicUrl) -> Self {
        let host = url.host();
        let host = host.strip_prefix("mcp.").filter(|rest| rest.contains('.')).unwrap_or(host);
        let words = format!("{host}{}", url.base_path()).to_ascii_lowercase();
        let words: Vec<&str> =
            words.split(|char: char| !char.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
        let mut name = words.join("-");
        name.truncate(MAX_LENGTH);
        let name = name.trim_end_matches('-');
        Self(if name.is_empty() { FALLBACK } else { name }.to_owned())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ServerName {
    type Err = ServerNameError;

    fn from_str(text: &str) -> Result<Self, ServerNameError> {
        let allowed = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_');
        let begins = text.starts_with(|char: char| char.is_ascii_alphanumeric());
        if begins && text.len() <= MAX_LENGTH && text.chars().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ServerNameError(text.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_follows_from_the_url() {
        for (url, name) in [
            ("https://agents.example.com/mcp", "agents-example-com"),
            ("https://mcp.example.com/mcp", "example-com"),
            ("https://mcp.example/mcp", "mcp-example"),
            ("https://example.com:8443/Team_A/mcp", "example-com-team-a"),
            ("http://127.0.0.1:8080/mcp", "127-0-0-1"),
            ("http://localhost:8080/mcp", "localhost"),
            ("http://[::1]:8080/mcp", "1"),
            (
                "https://a-very-long-name-of-a-host.with.many.labels.example.com/mcp",
                "a-very-long-name-of-a-host-with-many-lab",
            ),
            ("https://a-very-long-name-of-a-host.with.ma-ny.labels/mcp", "a-very-long-name-of-a-host-with-ma-ny-la"),
        ] {
            let derived = ServerName::of(&url.parse().unwrap());
            assert_eq!(derived.as_str(), name, "{url}");
            assert_eq!(name.parse(), Ok(derived));
        }
    }

    #[test]
    fn names_that_a_client_would_refuse_are_refused() {
        for name in ["", "-a", "_a", "a b", "a.b", "é", "a\"", &"a".repeat(MAX_LENGTH + 1)] {
            assert!(name.parse::<ServerName>().is_err(), "{name:?}");
        }
        for name in ["a", "A_b-1", "1", &"a".repeat(MAX_LENGTH)] {
            assert_eq!(name.parse::<ServerName>().unwrap().as_str(), name);
        }
    }
}
