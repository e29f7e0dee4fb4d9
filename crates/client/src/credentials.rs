//! The stored result of a sign-in at one endpoint, and the time at which its access token must be refreshed.

use jiff::{SignedDuration, Timestamp};
use portcullis_core::PublicUrl;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The version of the format.
const VERSION: u32 = 1;
/// The time before its expiry at which an access token is refreshed. It is longer than a request takes to arrive.
const REFRESH_BEFORE: SignedDuration = SignedDuration::from_secs(60);

/// The client of a sign-in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredClient {
    /// The client id.
    pub id: String,
    /// The client secret; public clients have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Whether the client registered itself, so that a new registration can replace it.
    #[serde(default)]
    pub registered: bool,
}

impl fmt::Debug for StoredClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredClient").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The tokens of a sign-in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredTokens {
    /// The access token.
    pub access_token: String,
    /// The refresh token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_token: Option<String>,
    /// The end of the access token's lifetime, if the server says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The granted scopes, if the server says them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

impl fmt::Debug for StoredTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredTokens").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

impl StoredTokens {
    /// Whether the access token can be sent: it is not about to expire, and it is not `rejected`, the one that the
    /// server refused.
    pub(crate) fn is_usable(&self, now: Timestamp, rejected: Option<&str>) -> bool {
        let fresh = self.expires_at.is_none_or(|end| end.duration_since(now) > REFRESH_BEFORE);
        fresh && rejected != Some(self.access_token.as_str())
    }
}

/// The stored sign-in at one endpoint. `Debug` shows no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    version: u32,
    /// The URL of the endpoint.
    pub url: PublicUrl,
    /// The issuer, which sent the tokens.
    pub issuer: String,
    /// The token endpoint of the issuer.
    pub token_endpoint: String,
    /// The revocation endpoint of the issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation_endpoint: Option<String>,
    /// The client.
    pub client: StoredClient,
    /// The tokens; `None` after the access has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<StoredTokens>,
}

/// Why stored credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The content cannot be parsed.
    #[error("it is damaged (at line {0}); run portcullis login again")]
    Damaged(usize),
    /// The content has a format of a later release.
    #[error("it has the format {0} of a newer portcullis; update this program")]
    Newer(u32),
    /// The content is that of another endpoint.
    #[error("it belongs to the endpoint {0}; run portcullis login again")]
    OtherEndpoint(String),
}

#[derive(Deserialize)]
struct FormatVersion {
    version: u32,
}

impl Credentials {
    /// The credentials of a sign-in at `url`.
    pub(crate) fn new(
        url: PublicUrl,
        issuer: String,
        token_endpoint: String,
        revocation_endpoint: Option<String>,
        client: StoredClient,
        tokens: StoredTokens,
    ) -> Self {
        Self { version: VERSION, url, issuer, token_endpoint, revocation_endpoint, client, tokens: Some(tokens) }
    }

    /// Parses stored credentials of the endpoint `url`. An error never quotes the content.
    pub(crate) fn parse(content: &[u8], url: &PublicUrl) -> Result<Self, CredentialsError> {
        let damaged = |error: serde_json::Error| CredentialsError::Damaged(error.line());
        let FormatVersion { version } = serde_json::from_slice(content).map_err(damaged)?;
        if version != VERSION {
            return Err(CredentialsError::Newer(version));
        }
        let credentials: Self = serde_json::from_slice(content).map_err(damaged)?;
        if credentials.url != *url {
            return Err(CredentialsError::OtherEndpoint(credentials.url.resource()));
        }
        Ok(credentials)
    }

    /// The stored form.
    pub(crate) fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn credentials(url: &str) -> Credentials {
        let tokens = StoredTokens {
            access_token: "the-access-token".to_owned(),
            refresh_token: Some("the-refresh-token".to_owned()),
            expires_at: Some(Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1)),
            scope: Some("files:read".to_owned()),
        };
        let client = StoredClient { id: "cli".to_owned(), secret: Some("the-secret".to_owned()), registered: false };
        Credentials::new(
            url.parse().unwrap(),
            "https://h.example.com".to_owned(),
            "https://h.example.com/token".to_owned(),
            None,
            client,
            tokens,
        )
    }

    #[test]
    fn the_format_survives_and_shows_no_secret() {
        let stored = credentials("https://h.example.com/mcp");
        let json = stored.to_json().unwrap();
        assert_eq!(Credentials::parse(&json, &stored.url).unwrap(), stored);
        let shown = format!("{stored:?}");
        assert!(["the-access-token", "the-refresh-token", "the-secret"].iter().all(|secret| !shown.contains(secret)));
    }

    #[test]
    fn other_content_is_refused_without_quoting_it() {
        let stored = credentials("https://h.example.com/mcp");
        let json = String::from_utf8(stored.to_json().unwrap()).unwrap();
        let other: PublicUrl = "https://other.example.com/mcp".parse().unwrap();
        for (content, url, part) in [
            (json.clone(), &other, "belongs to the endpoint https://h.example.com/mcp"),
            (json.replace("\"version\":1", "\"version\":2"), &stored.url, "newer portcullis"),
            (json[..json.len() - 3].to_owned(), &stored.url, "damaged"),
            (json.replace("\"access_token\"", "\"token\""), &stored.url, "damaged"),
            (String::new(), &stored.url, "damaged"),
        ] {
            let error = Credentials::parse(content.as_bytes(), url).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains("the-"), "{error}");
        }
    }

    #[test]
    fn a_token_is_usable_until_a_minute_before_its_end() {
        let tokens = credentials("https://h.example.com/mcp").tokens.unwrap();
        let at = |seconds| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
        for (seconds, rejected, usable) in [
            (0, None, true),
            (3539, None, true),
            (3540, None, false),
            (4000, None, false),
            (0, Some("the-access-token"), false),
            (0, Some("another"), true),
        ] {
            assert_eq!(tokens.is_usable(at(seconds), rejected), usable, "{seconds} {rejected:?}");
        }
        let endless = StoredTokens { expires_at: None, ..tokens };
        assert!(endless.is_usable(Timestamp::MAX, None));
    }
}
