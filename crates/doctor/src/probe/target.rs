//! The target of an examination: a URL, web origins, credentials.

use crate::cluster::ClusterObservations;
use std::{fmt, pin::Pin, str::FromStr, sync::Arc};
use url::{Url, form_urlencoded};

/// The origins of the web pages of known agents.
const KNOWN_ORIGINS: [&str; 2] = ["https://claude.ai", "https://chatgpt.com"];

/// The metadata documents of known agents.
const KNOWN_DOCUMENTS: [&str; 1] = ["https://claude.ai/oauth/mcp-oauth-client-metadata"];

/// The target of an examination.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// The URL of the endpoint.
    pub url: String,
    /// The credentials of a client that may use client credentials.
    pub credentials: Option<Credentials>,
    /// The sign-in of a user, for a token if there are no credentials.
    pub user_token: Option<Arc<dyn UserToken>>,
    /// The ids of clients whose metadata document the endpoint must be able to read.
    pub client_metadata: Vec<String>,
    /// What was read from the cluster.
    pub cluster: Option<ClusterObservations>,
    /// Origins that must be allowed.
    pub origins: Vec<Origin>,
    /// Certificates (PEM) of authorities to trust besides the public ones.
    pub ca: Option<String>,
}

/// The sign-in of a user.
pub trait UserToken: fmt::Debug + Send + Sync {
    /// A valid access token for the endpoint.
    fn token(&self) -> UserTokenFuture<'_>;
}

/// The future of [`UserToken::token`].
pub type UserTokenFuture<'a> = Pin<Box<dyn Future<Output = Result<String, UserTokenError>> + 'a>>;

/// Why there is no token of a user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserTokenError {
    /// No user has signed in.
    #[error("no user has signed in")]
    NotSignedIn,
    /// The stored sign-in was revoked, or it has expired.
    #[error("the stored sign-in has ended")]
    Ended,
    /// Another reason, without secrets.
    #[error("{0}")]
    Failed(String),
}

/// The credentials of a client.
#[derive(Clone)]
pub struct Credentials {
    /// The client id.
    pub client_id: String,
    /// The client secret.
    pub client_secret: String,
}

/// The origin of a web page (RFC 6454).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(String);

/// A text is not an origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an origin has a scheme, a host and nothing else; for example https://claude.ai")]
pub struct OriginError;

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let url = Url::parse(text).map_err(|_| OriginError)?;
        let bare = matches!(url.scheme(), "http" | "https")
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if bare { Ok(Self(url.origin().ascii_serialization())) } else { Err(OriginError) }
    }
}

impl Target {
    /// The origins to examine, and whether each of them must be allowed.
    pub(super) fn origins(&self) -> impl Iterator<Item = (&str, bool)> {
        let known = KNOWN_ORIGINS.into_iter().filter(|known| !self.origins.iter().any(|origin| origin.0 == *known));
        self.origins.iter().map(|origin| (origin.0.as_str(), true)).chain(known.map(|origin| (origin, false)))
    }
}

impl Target {
    /// The documents to examine, and whether each of them must be accepted. Known agents are in the cloud, from where they
    /// cannot reach an endpoint on this machine.
    pub(super) fn documents(&self, own_machine: bool) -> impl Iterator<Item = (&str, bool)> {
        let known = KNOWN_DOCUMENTS
            .into_iter()
            .filter(move |known| !own_machine && !self.client_metadata.iter().any(|given| given == known));
        self.client_metadata.iter().map(|id| (id.as_str(), true)).chain(known.map(|id| (id, false)))
    }
}

impl Credentials {
    /// Id and secret as the `Authorization` header has them before base64 (RFC 6749 §2.3.1).
    pub(super) fn encoded(&self) -> String {
        let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        format!("{}:{}", encode(&self.client_id), encode(&self.client_secret))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_and_a_host() {
        for (text, expected) in [
            ("https://claude.ai", Some("https://claude.ai")),
            ("https://Claude.AI:443/", Some("https://claude.ai")),
            ("http://localhost:5173", Some("http://localhost:5173")),
            ("claude.ai", None),
            ("https://claude.ai/chat", None),
            ("https://ada@claude.ai", None),
            ("https://claude.ai/?a=b", None),
            ("ftp://claude.ai", None),
            ("null", None),
        ] {
            let expected = expected.map(|origin| Origin(origin.to_owned())).ok_or(OriginError);
            assert_eq!(text.parse::<Origin>(), expected, "{text}");
        }
    }

    #[test]
    fn known_origins_are_examined_once_and_need_not_be_allowed() {
        let target = |origins: &[&str]| Target {
            origins: origins.iter().map(|origin| origin.parse().unwrap()).collect(),
            ..Target::default()
        };
        let origins = |target: &Target| -> Vec<(String, bool)> {
            target.origins().map(|(origin, required)| (origin.to_owned(), required)).collect()
        };
        let rows = |rows: &[(&str, bool)]| -> Vec<(String, bool)> {
            rows.iter().map(|(origin, required)| ((*origin).to_owned(), *required)).collect()
        };
        assert_eq!(origins(&target(&[])), rows(&[("https://claude.ai", false), ("https://chatgpt.com", false)]));
        assert_eq!(
            origins(&target(&["https://claude.ai"])),
            rows(&[("https://claude.ai", true), ("https://chatgpt.com", false)])
        );
    }

    #[test]
    fn the_document_of_claude_is_examined_where_claude_can_connect() {
        let known = KNOWN_DOCUMENTS[0];
        let target = |given: &[&str]| Target {
            client_metadata: given.iter().map(|id| (*id).to_owned()).collect(),
            ..Target::default()
        };
        for (given, own_machine, expected) in [
            (&[][..], false, vec![(known, false)]),
            (&[], true, vec![]),
            (&[known], false, vec![(known, true)]),
            (&["https://h.example/c"], true, vec![("https://h.example/c", true)]),
        ] {
            let target = target(given);
            assert_eq!(target.documents(own_machine).collect::<Vec<_>>(), expected, "{given:?} {own_machine}");
        }
    }

    #[test]
    fn credentials_are_not_printed() {
        let credentials = Credentials { client_id: "ci".to_owned(), client_secret: "hush".to_owned() };
        assert!(!format!("{credentials:?}").contains("hush"));
    }
}
