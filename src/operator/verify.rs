//! Does what a client does first, at a ready server: metadata (RFC 9728, RFC 8414), keys (RFC 7517), challenge
//! (RFC 6750, RFC 9728 §5.1). It stops where a client would need a token: the operator holds none and makes none.

use super::{
    probe::{Answer, Probe},
    servers::Server,
};
use crate::{
    chain::chain,
    config::{PUBLIC_PORT, PublicUrl},
};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};
use std::net::SocketAddr;

/// Why a server is not what a client expects.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The server does not accept the operator's address, so nothing can be said of it.
    #[error(
        "pod {server} does not accept the operator's address; add it to spec.network.allowedCidrs to have the endpoint verified"
    )]
    AddressNotAllowed {
        /// The pod.
        server: String,
    },
    /// A step did not go as a client needs it.
    #[error("pod {server}, {step}: {mismatch}")]
    Step {
        /// The pod.
        server: String,
        /// What was asked.
        step: String,
        /// What was expected and what came.
        mismatch: String,
    },
}

/// Goes through a client's first steps at one server.
pub async fn verify(probe: &Probe, server: &Server, url: &PublicUrl) -> Result<(), VerifyError> {
    let visit = Visit { probe, server, url };
    visit.get(&url.resource_metadata_path(), |document| check_resource(document, url)).await?;
    let keys_path = visit.get(&url.issuer_metadata_path(), |document| check_issuer(document, url)).await?;
    visit.get(&keys_path, check_keys).await?;
    visit.post_without_token().await
}

struct Visit<'a> {
    probe: &'a Probe,
    server: &'a Server,
    url: &'a PublicUrl,
}

impl Visit<'_> {
    async fn get<T>(&self, path: &str, check: impl Fn(&Value) -> Result<T, String>) -> Result<T, VerifyError> {
        let step = format!("GET {path}");
        let checked = self.ask(Method::GET, path, Bytes::new()).await.and_then(|answer| {
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
        let checked = self.ask(Method::POST, path, ping.into()).await.and_then(|answer| {
            if answer.status == StatusCode::FORBIDDEN { Ok(None) } else { check_challenge(&answer, self.url).map(Some) }
        });
        self.outcome(format!("POST {path} without a token"), checked)
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Answer, String> {
        let address = SocketAddr::new(self.server.address, PUBLIC_PORT);
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{address}{path}"))
            .header(header::HOST, self.url.authority())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, text/event-stream")
            .body(Full::new(body))
            .map_err(|error| chain(&error))?;
        self.probe.send(request).await.map_err(|error| format!("{address}: {}", chain(&error)))
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

fn check_resource(document: &Value, url: &PublicUrl) -> Result<(), String> {
    expect_field(document, "resource", &url.resource())?;
    let servers = document["authorization_servers"].as_array();
    if servers.is_some_and(|servers| servers.iter().any(|server| *server == *url.issuer())) {
        return Ok(());
    }
    Err(format!("expected authorization_servers to hold {:?}, got {}", url.issuer(), document["authorization_servers"]))
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

fn check_challenge(answer: &Answer, url: &PublicUrl) -> Result<(), String> {
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

fn expect_field(document: &Value, field: &str, expected: &str) -> Result<(), String> {
    if document[field] == expected {
        return Ok(());
    }
    Err(format!("expected {field} to be {expected:?}, got {}", document[field]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;

    fn url() -> PublicUrl {
        "https://mcp.example.com/mcp".parse().unwrap()
    }

    #[test]
    fn documents_must_speak_of_this_endpoint() {
        let good =
            json!({"resource": "https://mcp.example.com/mcp", "authorization_servers": ["https://mcp.example.com"]});
        assert_eq!(check_resource(&good, &url()), Ok(()));
        for (field, wrong) in [
            ("resource", json!("https://mcp.example.com")),
            ("resource", Value::Null),
            ("authorization_servers", json!([])),
            ("authorization_servers", json!("https://mcp.example.com")),
        ] {
            let mut document = good.clone();
            document[field] = wrong;
            assert!(check_resource(&document, &url()).unwrap_err().contains(field), "{document}");
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
            let answer = Answer { status: StatusCode::from_u16(status).unwrap(), headers, body: Bytes::new() };
            assert_eq!(check_challenge(&answer, &url()).is_ok(), good, "{status} {challenge:?}");
        }
    }
}
