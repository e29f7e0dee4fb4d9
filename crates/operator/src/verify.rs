//! Verifies a ready server with the first steps of a client: metadata (RFC 9728, RFC 8414), keys (RFC 7517), challenge
//! (RFC 6750, RFC 9728 §5.1), and with a token `server/discover` (MCP 2026-07-28).
//!
//! The token is signed with the endpoint's signing keys, for a client id that only the operator can use
//! ([`OPERATOR_CLIENT_ID`]). It has no scope and a short lifetime. An external authorization server is not verified.

use crate::{
    probe::{PodResponse, Probe},
    servers::Server,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Full;
use jiff::Timestamp;
use portcullis_config::{OPERATOR_CLIENT_ID, PUBLIC_PORT, ServerConfig, SigningKeys};
use portcullis_core::{PublicUrl, report::chain};
use portcullis_oauth::jwt::{AccessTokens, Subject};
use rand::CryptoRng;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

/// The MCP revision of the verification.
const REVISION: &str = "2026-07-28";
/// Clocks differ a little.
const TOKEN_LIFETIME: Duration = Duration::from_mins(2);

/// Why the verification failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The server does not accept the operator's address, so it cannot be verified.
    #[error(
        "pod {server} does not accept the operator's address; add it to spec.network.allowedCidrs to have the endpoint verified"
    )]
    AddressNotAllowed {
        /// The pod.
        server: String,
    },
    /// A step returned an unexpected result.
    #[error("pod {server}, {step}: {mismatch}")]
    Step {
        /// The pod.
        server: String,
        /// The step.
        step: String,
        /// The expected and the actual result.
        mismatch: String,
    },
    /// The operator cannot sign a token.
    #[error("no token could be signed with the endpoint's signing keys: {0}")]
    Token(String),
}

/// A token for `server/discover` only. It must not be logged.
pub fn operator_token(
    url: &PublicUrl,
    keys: &SigningKeys,
    now: Timestamp,
    rng: &mut dyn CryptoRng,
) -> Result<HeaderValue, VerifyError> {
    let tokens = AccessTokens::new(url, TOKEN_LIFETIME, keys).map_err(|error| VerifyError::Token(chain(&error)))?;
    let token = tokens
        .issue(&Subject::client(OPERATOR_CLIENT_ID, &BTreeSet::new()), now, rng)
        .map_err(|error| VerifyError::Token(chain(&error)))?;
    let mut header =
        HeaderValue::try_from(format!("Bearer {token}")).map_err(|error| VerifyError::Token(chain(&error)))?;
    header.set_sensitive(true);
    Ok(header)
}

/// Verifies one server. Returns the MCP revisions that it supports.
pub async fn verify(
    probe: &Probe,
    server: &Server,
    config: &ServerConfig,
    token: &HeaderValue,
) -> Result<Vec<String>, VerifyError> {
    let url = &config.url;
    let tls = if config.tls { Some(server_name(url, server)?) } else { None };
    let visit = Visit { probe, server, url, tls };
    let issuer = config.issuer();
    visit.get(&url.resource_metadata_path(), |document| check_resource(document, url, &issuer)).await?;
    if config.external_issuer.is_none() {
        let keys_path = visit.get(&url.issuer_metadata_path(), |document| check_issuer(document, url)).await?;
        visit.get(&keys_path, check_keys).await?;
    }
    visit.post_without_token().await?;
    visit.discover(token).await
}

/// The revisions that all servers support, in the order of the first server.
#[must_use]
pub fn common(offers: &[Vec<String>]) -> Vec<String> {
    let Some((first, others)) = offers.split_first() else { return Vec::new() };
    first.iter().filter(|revision| others.iter().all(|offer| offer.contains(revision))).cloned().collect()
}

struct Visit<'a> {
    probe: &'a Probe,
    server: &'a Server,
    url: &'a PublicUrl,
    /// The expected name in the certificate, if the server uses TLS.
    tls: Option<ServerName<'static>>,
}

/// The host of the URL, which the certificate must match.
fn server_name(url: &PublicUrl, server: &Server) -> Result<ServerName<'static>, VerifyError> {
    ServerName::try_from(url.host().to_owned()).map_err(|_| VerifyError::Step {
        server: server.name.clone(),
        step: "TLS".to_owned(),
        mismatch: format!("{:?}, the host of spec.url, cannot be in a certificate", url.host()),
    })
}

impl Visit<'_> {
    async fn get<T>(&self, path: &str, check: impl Fn(&Value) -> Result<T, String>) -> Result<T, VerifyError> {
        let step = format!("GET {path}");
        let checked = self.ask(Method::GET, path, HeaderMap::new(), Bytes::new()).await.and_then(|answer| {
            if answer.status == StatusCode::FORBIDDEN {
                return Ok(None);
            }
            if answer.status != StatusCode::OK {
                return Err(format!("expected 200, got {}", answer.status));
            }
            let document = serde_json::from_slice(&answer.body).map_err(|_| "expected JSON, got none".to_owned())?;
            check(&document).map(Some)
        });
        self.outcome(step, checked)
    }

    async fn post_without_token(&self) -> Result<(), VerifyError> {
        let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}).to_string();
        let path = self.url.path();
        let checked = self.ask(Method::POST, path, HeaderMap::new(), ping.into()).await.and_then(|answer| {
            if answer.status == StatusCode::FORBIDDEN { Ok(None) } else { check_challenge(&answer, self.url).map(Some) }
        });
        self.outcome(format!("POST {path} without a token"), checked)
    }

    async fn discover(&self, token: &HeaderValue) -> Result<Vec<String>, VerifyError> {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": {
            "io.modelcontextprotocol/protocolVersion": REVISION,
            "io.modelcontextprotocol/clientInfo": {"name": "portcullis-operator", "version": env!("CARGO_PKG_VERSION")},
            "io.modelcontextprotocol/clientCapabilities": {},
        }}});
        let headers = HeaderMap::from_iter([
            (header::AUTHORIZATION, token.clone()),
            (HeaderName::from_static("mcp-protocol-version"), HeaderValue::from_static(REVISION)),
            (HeaderName::from_static("mcp-method"), HeaderValue::from_static("server/discover")),
        ]);
        let answer = self.ask(Method::POST, self.url.path(), headers, message.to_string().into()).await;
        self.outcome("server/discover".to_owned(), answer.and_then(|answer| check_discovery(&answer).map(Some)))
    }

    async fn ask(&self, method: Method, path: &str, headers: HeaderMap, body: Bytes) -> Result<PodResponse, String> {
        let address = SocketAddr::new(self.server.address, PUBLIC_PORT);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.url.authority())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, text/event-stream")
            .body(Full::new(body))
            .map_err(|error| chain(&error))?;
        request.headers_mut().extend(headers);
        self.probe
            .send(address, self.tls.clone(), request)
            .await
            .map_err(|error| format!("{address}: {}", chain(&error)))
    }

    /// `Ok(None)` is a refusal of the operator's address.
    fn outcome<T>(&self, step: String, checked: Result<Option<T>, String>) -> Result<T, VerifyError> {
        let server = || self.server.name.clone();
        match checked {
            Ok(Some(found)) => Ok(found),
            Ok(None) => Err(VerifyError::AddressNotAllowed { server: server() }),
            Err(mismatch) => Err(VerifyError::Step { server: server(), step, mismatch }),
        }
    }
}

fn check_resource(document: &Value, url: &PublicUrl, issuer: &str) -> Result<(), String> {
    expect_field(document, "resource", &url.resource())?;
    let servers = document["authorization_servers"].as_array();
    if servers.is_some_and(|servers| servers.iter().any(|server| *server == *issuer)) {
        return Ok(());
    }
    Err(format!("expected authorization_servers to contain {issuer:?}, got {}", document["authorization_servers"]))
}

/// Returns the path of the keys.
fn check_issuer(document: &Value, url: &PublicUrl) -> Result<String, String> {
    expect_field(document, "issuer", &url.issuer())?;
    let path = |field: &str| {
        let absolute = document[field].as_str().unwrap_or_default();
        let path = absolute.strip_prefix(url.origin()).filter(|path| path.starts_with('/'));
        path.map(ToOwned::to_owned)
            .ok_or_else(|| format!("expected {field} to be a URL at {}, got {}", url.origin(), document[field]))
    };
    path("token_endpoint")?;
    path("jwks_uri")
}

fn check_keys(document: &Value) -> Result<(), String> {
    match document["keys"].as_array() {
        Some(keys) if !keys.is_empty() => Ok(()),
        _ => Err("expected at least one key, got none".to_owned()),
    }
}

fn check_challenge(answer: &PodResponse, url: &PublicUrl) -> Result<(), String> {
    if answer.status != StatusCode::UNAUTHORIZED {
        return Err(format!("expected 401, got {}", answer.status));
    }
    let wanted = format!("resource_metadata=\"{}\"", url.resource_metadata_url());
    let challenges: Vec<&str> =
        answer.headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()).collect();
    let fits = |challenge: &&str| {
        challenge.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("Bearer ")) && challenge.contains(&wanted)
    };
    if challenges.iter().any(fits) {
        return Ok(());
    }
    Err(format!("expected WWW-Authenticate: Bearer with {wanted}, got {challenges:?}"))
}

fn check_discovery(answer: &PodResponse) -> Result<Vec<String>, String> {
    if answer.status != StatusCode::OK {
        return Err(format!("expected 200, got {}", answer.status));
    }
    let document: Value = serde_json::from_slice(&answer.body).map_err(|_| "expected JSON, got none".to_owned())?;
    let offered = document["result"]["supportedVersions"].as_array();
    let offered: Vec<String> = offered.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    if offered.iter().any(|revision| revision == REVISION) {
        return Ok(offered);
    }
    Err(format!("expected supportedVersions to contain {REVISION:?}, got {}", document["result"]["supportedVersions"]))
}

fn expect_field(document: &Value, field: &str, expected: &str) -> Result<(), String> {
    if document[field] == expected {
        return Ok(());
    }
    Err(format!("expected {field} to be {expected:?}, got {}", document[field]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url() -> PublicUrl {
        "https://mcp.example.com/mcp".parse().unwrap()
    }

    #[test]
    fn documents_must_speak_of_this_endpoint() {
        let good =
            json!({"resource": "https://mcp.example.com/mcp", "authorization_servers": ["https://mcp.example.com"]});
        assert_eq!(check_resource(&good, &url(), "https://mcp.example.com"), Ok(()));
        for (field, wrong) in [
            ("resource", json!("https://mcp.example.com")),
            ("resource", Value::Null),
            ("authorization_servers", json!([])),
            ("authorization_servers", json!("https://mcp.example.com")),
        ] {
            let mut document = good.clone();
            document[field] = wrong;
            assert!(
                check_resource(&document, &url(), "https://mcp.example.com").unwrap_err().contains(field),
                "{document}"
            );
        }

        let good = json!({
            "issuer": "https://mcp.example.com",
            "token_endpoint": "https://mcp.example.com/token",
            "jwks_uri": "https://mcp.example.com/jwks",
        });
        assert_eq!(check_issuer(&good, &url()).as_deref(), Ok("/jwks"));
        for (field, wrong) in [
            ("issuer", json!("https://mcp.example.com/")),
            ("token_endpoint", json!("https://mcp.example.com.evil/token")),
            ("jwks_uri", json!("https://elsewhere.example.com/jwks")),
            ("jwks_uri", Value::Null),
        ] {
            let mut document = good.clone();
            document[field] = wrong;
            assert!(check_issuer(&document, &url()).unwrap_err().contains(field), "{document}");
        }
        assert_eq!(check_keys(&json!({"keys": [{}]})), Ok(()));
        assert!(check_keys(&json!({"keys": []})).is_err() && check_keys(&json!({})).is_err());
    }

    #[test]
    fn a_discovery_must_support_the_revision_of_the_request() {
        let answer = |status: StatusCode, body: Value| PodResponse {
            status,
            headers: HeaderMap::new(),
            body: body.to_string().into(),
        };
        let offer = |versions: Value| json!({"jsonrpc": "2.0", "id": 1, "result": {"supportedVersions": versions}});
        let good = check_discovery(&answer(StatusCode::OK, offer(json!(["2025-11-25", "2026-07-28"]))));
        assert_eq!(good, Ok(vec!["2025-11-25".to_owned(), "2026-07-28".to_owned()]));
        for (status, body) in [
            (StatusCode::UNAUTHORIZED, offer(json!(["2026-07-28"]))),
            (StatusCode::OK, offer(json!(["2025-11-25"]))),
            (StatusCode::OK, offer(Value::Null)),
            (StatusCode::OK, json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "unknown"}})),
        ] {
            assert!(check_discovery(&answer(status, body.clone())).is_err(), "{status} {body}");
        }
    }

    #[test]
    fn only_revisions_of_all_servers_are_supported() {
        let list = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        for (offers, expected) in [
            (vec![], list(&[])),
            (vec![list(&["a", "b"])], list(&["a", "b"])),
            (vec![list(&["a", "b", "c"]), list(&["c", "b"]), list(&["b", "c", "d"])], list(&["b", "c"])),
        ] {
            assert_eq!(common(&offers), expected);
        }
    }

    #[test]
    fn the_challenge_must_lead_to_the_metadata() {
        let metadata = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp";
        let rows = [
            (401, Some(format!("Bearer resource_metadata=\"{metadata}\"")), true),
            (401, Some(format!("bearer realm=\"a\", resource_metadata=\"{metadata}\", scope=\"x\"")), true),
            (401, Some("Bearer".to_owned()), false),
            (401, Some(format!("Basic resource_metadata=\"{metadata}\"")), false),
            (401, None, false),
            (200, Some(format!("Bearer resource_metadata=\"{metadata}\"")), false),
        ];
        for (status, challenge, good) in rows {
            let mut headers = HeaderMap::new();
            if let Some(challenge) = &challenge {
                headers.insert(header::WWW_AUTHENTICATE, challenge.parse().unwrap());
            }
            let answer = PodResponse { status: StatusCode::from_u16(status).unwrap(), headers, body: Bytes::new() };
            assert_eq!(check_challenge(&answer, &url()).is_ok(), good, "{status} {challenge:?}");
        }
    }
}
