//! The records of the probes: plain data without secrets. Each field stays empty until its probe has run.

use crate::cluster::ClusterObservations;
use http::HeaderMap;
use jiff::Timestamp;
use portcullis_core::PublicUrl;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// Everything that was recorded.
#[derive(Clone, Debug)]
pub struct Observations {
    /// What was read from the cluster. Absent without a kubeconfig.
    pub cluster: Option<Box<ClusterObservations>>,
    /// Whether the URL is missing, because the McpEndpoint that has it was not read.
    pub url_unknown: bool,
    /// The time of the first request, by this machine's clock.
    pub time: Timestamp,
    /// The URL, or why it cannot be the URL of an endpoint.
    pub url: Result<PublicUrl, &'static str>,
    /// The addresses of the host, or why there are none.
    pub addresses: Option<Result<Vec<IpAddr>, String>>,
    /// One connection to each address.
    pub connections: Vec<ConnectionAttempt>,
    /// The TLS handshake. Absent for plain http on loopback.
    pub tls: Option<Result<Certificate, TlsFailure>>,
    /// A POST of a message without a token.
    pub unauthenticated: Option<HttpExchange>,
    /// The protected resource metadata.
    pub resource_metadata: Option<HttpExchange>,
    /// The authorization server metadata.
    pub issuer_metadata: Option<IssuerDiscovery>,
    /// The public keys, if the metadata names them.
    pub jwks: Option<HttpExchange>,
    /// The authorization requests of clients with a metadata document.
    pub client_documents: Vec<DocumentRequest>,
    /// The sign-in page, and the ways from there to identity providers.
    pub logins: Option<LoginRequests>,
    /// The requests of web pages.
    pub pages: Vec<PageRequests>,
    /// The token request. Absent without credentials.
    pub token: Option<TokenRequest>,
    /// The token of a user's sign-in. Absent if none was asked for.
    pub user_token: Option<UserTokenOutcome>,
    /// `initialize` or `server/discover`, for each MCP revision.
    pub revisions: Vec<RevisionRequest>,
    /// `tools/list`.
    pub tools: Option<HttpExchange>,
    /// Calls of `whoami`.
    pub calls: Vec<HttpExchange>,
}

/// A connection to one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionAttempt {
    /// The address.
    pub address: SocketAddr,
    /// Why there is none.
    pub failure: Option<ConnectFailure>,
}

/// The reason for a failed connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectFailure {
    /// The host refused it.
    Refused,
    /// No answer in time.
    Timeout,
    /// Anything else, such as a missing route.
    Other(String),
}

/// The validity of a trusted certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Its first second. `None`: unknown.
    pub not_before: Option<Timestamp>,
    /// Its last second. `None`: unknown, or later than any date.
    pub not_after: Option<Timestamp>,
}

/// Why there is no TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsFailure {
    /// The peer does not use TLS.
    NotSpoken,
    /// The peer refused the handshake, closed the connection or did not answer.
    Refused(String),
    /// The certificate has expired.
    Expired(Option<Timestamp>),
    /// The certificate is not valid yet.
    NotYetValid(Option<Timestamp>),
    /// The certificate is for these names.
    WrongName(String),
    /// The certificate is self-signed.
    SelfSigned,
    /// No trusted authority issued the certificate. The number of certificates that were sent.
    UnknownAuthority(usize),
    /// The certificate cannot be used otherwise.
    Invalid(String),
}

/// A response, or why there is none.
pub type HttpExchange = Result<HttpReply, NoReply>;

/// The reason for a missing response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoReply {
    /// It did not arrive in time.
    Timeout,
    /// It was too large, or the connection broke. The reason.
    Broken(String),
}

/// A response, with a bounded body.
#[derive(Clone, Debug, Default)]
pub struct HttpReply {
    /// The status.
    pub status: u16,
    /// The headers, with names in lower case.
    pub headers: BTreeMap<String, Vec<String>>,
    /// The body.
    pub body: String,
    /// The duration.
    pub took: Duration,
}

/// The metadata of the authorization server.
#[derive(Clone, Debug)]
pub struct IssuerDiscovery {
    /// The issuer that the resource metadata names.
    pub issuer: String,
    /// The response.
    pub exchange: HttpExchange,
}

/// The two requests that a page of an origin leads to.
#[derive(Clone, Debug)]
pub struct PageRequests {
    /// The origin, such as `https://claude.ai`.
    pub origin: String,
    /// Whether the origin must be allowed.
    pub required: bool,
    /// The response to the preflight request.
    pub preflight: HttpExchange,
    /// The response to the request itself, without a token.
    pub answer: HttpExchange,
}

/// An authorization request of a client with a metadata document.
#[derive(Clone, Debug)]
pub struct DocumentRequest {
    /// The id of the client, which is the URL of the document.
    pub client_id: String,
    /// Whether the document must be accepted.
    pub required: bool,
    /// The response. Absent if the authorization server accepts no documents.
    pub exchange: Option<HttpExchange>,
}

/// The sign-in page, and what follows for each login with an identity provider.
#[derive(Clone, Debug)]
pub struct LoginRequests {
    /// The sign-in page.
    pub page: HttpExchange,
    /// The logins with a provider.
    pub providers: Vec<ProviderRequest>,
}

/// The begin of a sign-in at an identity provider.
#[derive(Clone, Debug)]
pub struct ProviderRequest {
    /// The name of the login.
    pub login: String,
    /// The response of the endpoint, which is a redirect to the provider.
    pub begin: HttpExchange,
    /// The host of the provider, and its response to a request without parameters.
    pub provider: Option<(String, HttpExchange)>,
}

/// The token of a user's sign-in. The token itself is not recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserTokenOutcome {
    /// A token. Its audience, if it is a JWT.
    Issued {
        /// The `aud` claim, if the token is a JWT.
        audience: Option<Vec<String>>,
    },
    /// No user has signed in on this machine.
    NotSignedIn,
    /// The stored sign-in has ended.
    Ended,
    /// The reason for a missing token.
    Failed(String),
}

/// The request for a token. The token itself is not recorded.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// With the credentials in the `Authorization` header.
    pub by_header: TokenOutcome,
    /// With the credentials in the body, if the header was refused.
    pub by_body: Option<TokenOutcome>,
}

/// The response of the token endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenOutcome {
    /// A token. Its audience, if it is a JWT.
    Issued {
        /// The `aud` claim, if the token is a JWT.
        audience: Option<Vec<String>>,
    },
    /// An error (RFC 6749 §5.2), or a response of another program.
    Refused {
        /// The status.
        status: u16,
        /// The error code.
        error: Option<String>,
        /// The description of the error, from the server.
        description: String,
    },
    /// No response.
    NoReply(NoReply),
}

/// One request for an MCP revision.
#[derive(Clone, Debug)]
pub struct RevisionRequest {
    /// The revision.
    pub revision: &'static str,
    /// The response.
    pub exchange: HttpExchange,
}

impl Observations {
    /// The observations before any I/O.
    #[must_use]
    pub fn new(url: &str, time: Timestamp) -> Self {
        Self {
            cluster: None,
            url_unknown: false,
            time,
            url: url.parse::<PublicUrl>().map_err(|error| error.reason()),
            addresses: None,
            connections: Vec::new(),
            tls: None,
            unauthenticated: None,
            resource_metadata: None,
            issuer_metadata: None,
            jwks: None,
            client_documents: Vec::new(),
            logins: None,
            pages: Vec::new(),
            token: None,
            user_token: None,
            revisions: Vec::new(),
            tools: None,
            calls: Vec::new(),
        }
    }
}

impl HttpReply {
    /// The values of a header that can be shown.
    pub(crate) fn recorded(headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
        let mut recorded: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in headers {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            recorded.entry(name.as_str().to_owned()).or_default().push(value);
        }
        recorded
    }

    /// The values of a header.
    pub(crate) fn all(&self, name: &str) -> &[String] {
        self.headers.get(name).map_or(&[], Vec::as_slice)
    }

    /// The first value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().map(String::as_str)
    }

    /// The JSON value of the body; of an event stream, the one of its last event.
    pub(crate) fn json(&self) -> Option<Value> {
        if self.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream")) {
            let data =
                self.body.lines().filter_map(|line| line.strip_prefix("data:")).rfind(|data| !data.trim().is_empty());
            return serde_json::from_str(data?.trim()).ok();
        }
        serde_json::from_str(&self.body).ok()
    }

    /// The reason of a refusal by Portcullis, such as `address_not_allowed`.
    pub(crate) fn refusal(&self) -> Option<String> {
        let body = self.json()?;
        let data = &body["error"]["data"];
        let (reason, id) = if data.is_object() {
            (&data["reason"], &data["request_id"])
        } else {
            (&body["error"], &body["request_id"])
        };
        id.as_str().and(reason.as_str()).map(str::to_owned)
    }

    /// The status, with the message of a JSON error.
    pub(crate) fn summary(&self) -> String {
        let body = self.json().unwrap_or_default();
        let message = body["error"]["message"].as_str().or_else(|| body["error_description"].as_str());
        match message {
            Some(message) => format!("{}: {}", self.status, clipped(message)),
            None => self.status.to_string(),
        }
    }
}

impl NoReply {
    /// In words.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Timeout => "no response in time".to_owned(),
            Self::Broken(reason) => clipped(reason),
        }
    }
}

/// The most characters of a text from elsewhere that are shown.
const MAX_SHOWN: usize = 240;

/// A text from elsewhere, in one line without control characters, and not too long.
pub(crate) fn clipped(text: &str) -> String {
    let mut shown: String =
        text.chars().take(MAX_SHOWN).map(|character| if character.is_control() { ' ' } else { character }).collect();
    if text.chars().nth(MAX_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// A URL without user information, query and fragment, which may contain secrets.
pub(crate) fn shown_url(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = text.split_once("://").map_or(("", text), |(scheme, rest)| (scheme, rest));
    let (authority, path) = rest.split_once('/').map_or((rest, None), |(authority, path)| (authority, Some(path)));
    // A password may contain a slash, which ends the authority too early.
    let host = if path.is_some_and(|path| path.contains('@')) {
        "…"
    } else {
        authority.rsplit_once('@').map_or(authority, |(_, host)| host)
    };
    let separator = if scheme.is_empty() { "" } else { "://" };
    let path = path.filter(|path| !path.contains('@')).map(|path| format!("/{path}")).unwrap_or_default();
    clipped(&format!("{scheme}{separator}{host}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_secrets() {
        for (text, shown) in [
            ("https://mcp.example.com/mcp", "https://mcp.example.com/mcp"),
            ("https://mcp.example.com:8443/team/mcp", "https://mcp.example.com:8443/team/mcp"),
            ("https://ada:hush@mcp.example.com/mcp", "https://mcp.example.com/mcp"),
            ("https://ada:hu/sh@mcp.example.com/mcp", "https://…"),
            ("https://mcp.example.com/mcp?token=hush#hush", "https://mcp.example.com/mcp"),
            ("ada:hush@mcp.example.com", "mcp.example.com"),
            ("mcp.example.com/mcp\n\u{1b}[31m", "mcp.example.com/mcp  [31m"),
            ("", ""),
        ] {
            assert_eq!(shown_url(text), shown, "{text:?}");
        }
    }

    #[test]
    fn a_refusal_of_portcullis_has_a_reason_and_a_request_id() {
        for (body, refusal) in [
            (
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"m","data":{"reason":"busy","request_id":"r"}}}"#,
                Some("busy"),
            ),
            (r#"{"error":"not_found","error_description":"m","request_id":"r"}"#, Some("not_found")),
            (r#"{"error":"not_found"}"#, None),
            (r#"{"error":{"code":1}}"#, None),
            (r#"["error"]"#, None),
            ("<html>", None),
            ("", None),
        ] {
            let reply = HttpReply { body: body.to_owned(), ..HttpReply::default() };
            assert_eq!(reply.refusal().as_deref(), refusal, "{body}");
        }
    }

    #[test]
    fn the_last_event_of_a_stream_counts() {
        let headers = BTreeMap::from([("content-type".to_owned(), vec!["text/event-stream".to_owned()])]);
        let body = ": wait\n\ndata: {\"id\": 1}\n\nevent: message\ndata: {\"id\": 2}\n\ndata:\n\n".to_owned();
        let reply = HttpReply { headers, body, ..HttpReply::default() };
        assert_eq!(reply.json().unwrap()["id"], 2);
    }

    #[test]
    fn texts_from_elsewhere_are_short_and_in_one_line() {
        assert_eq!(clipped("a\r\nb\u{1b}"), "a  b ");
        assert_eq!(clipped(&"ä".repeat(1000)).chars().count(), MAX_SHOWN + 1);
    }
}
