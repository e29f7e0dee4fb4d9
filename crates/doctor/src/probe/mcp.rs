//! Requests with credentials: a token (RFC 6749 §4.4, RFC 8707), then MCP messages with it. Neither the secret nor the
//! token is recorded.

use super::{Credentials, UserToken, UserTokenError, requests::Requests};
use crate::{
    Check,
    diagnose::is_blocked,
    observation::{
        HttpExchange, NoReply, Observations, RevisionRequest, TokenOutcome, TokenRequest, UserTokenOutcome, clipped,
    },
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use http::{HeaderValue, header};
use portcullis_core::PublicUrl;
use serde_json::{Value, json};

/// The revisions with `initialize`, from the oldest to the newest.
const REVISIONS: [&str; 3] = ["2025-03-26", "2025-06-18", "2025-11-25"];
/// The first revision without `initialize`.
const STATELESS: &str = "2026-07-28";
/// The revision of the requests for tools.
const COMMON: &str = "2025-06-18";
/// The tool that is called: it changes nothing, and needs no scope.
pub(crate) const TOOL: &str = "whoami";
/// The number of calls.
const CALLS: usize = 3;
/// The `clientInfo` of this client.
const NAME: &str = "portcullis-doctor";

/// Obtains a token by client credentials.
pub(super) async fn of_client(
    observed: &mut Observations,
    requests: &Requests,
    url: &PublicUrl,
    credentials: &Credentials,
) -> Option<String> {
    let endpoint = observed.issuer_field("token_endpoint")?;
    obtain(observed, requests, url, (&endpoint, credentials)).await
}

/// Obtains a token of a user's sign-in.
pub(super) async fn of_user(observed: &mut Observations, user_token: &dyn UserToken) -> Option<String> {
    let token = user_token.token().await;
    observed.user_token = Some(match &token {
        Ok(token) => UserTokenOutcome::Issued { audience: audience(token) },
        Err(UserTokenError::NotSignedIn) => UserTokenOutcome::NotSignedIn,
        Err(UserTokenError::Ended) => UserTokenOutcome::Ended,
        Err(UserTokenError::Failed(why)) => UserTokenOutcome::Failed(why.clone()),
    });
    token.ok()
}

/// Uses a token.
pub(super) async fn session(observed: &mut Observations, requests: &mut Requests, url: &PublicUrl, token: &str) {
    if is_blocked(Check::Authorization, observed) {
        return;
    }
    requests.redactor.add(token);
    let Ok(mut authorization) = HeaderValue::try_from(format!("Bearer {token}")) else { return };
    authorization.set_sensitive(true);

    for revision in REVISIONS {
        let exchange = requests.send(initialize(requests, url, revision).header(header::AUTHORIZATION, &authorization));
        let exchange = exchange.await;
        observed.revisions.push(RevisionRequest { revision, exchange });
        // The first request with the token shows whether the token is accepted.
        if is_blocked(Check::Revisions, observed) {
            return;
        }
    }
    let exchange = requests.send(discover(requests, url).header(header::AUTHORIZATION, &authorization)).await;
    observed.revisions.push(RevisionRequest { revision: STATELESS, exchange });

    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    observed.tools = Some(with_token(requests, url, &authorization, &list).await);
    if is_blocked(Check::Call, observed) || !observed.serves(TOOL) {
        return;
    }
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": TOOL, "arguments": {}}});
    for _ in 0..CALLS {
        let exchange = with_token(requests, url, &authorization, &call).await;
        let succeeded = exchange.as_ref().is_ok_and(|reply| reply.status == 200);
        observed.calls.push(exchange);
        if !succeeded {
            return;
        }
    }
}

async fn with_token(requests: &Requests, url: &PublicUrl, token: &HeaderValue, message: &Value) -> HttpExchange {
    let request = requests.message(url, message).header(header::AUTHORIZATION, token);
    requests.send(request.header("mcp-protocol-version", COMMON)).await
}

/// Requests a token with the credentials in the header; if that is refused, with the credentials in the body.
async fn obtain(
    observed: &mut Observations,
    requests: &Requests,
    url: &PublicUrl,
    (endpoint, credentials): (&str, &Credentials),
) -> Option<String> {
    let (id, secret) = (credentials.client_id.as_str(), credentials.client_secret.as_str());
    let basic = STANDARD.encode(credentials.encoded());
    let resource = url.resource();
    let fields = [("grant_type", "client_credentials"), ("resource", &*resource)];

    let mut header = HeaderValue::try_from(format!("Basic {basic}")).ok()?;
    header.set_sensitive(true);
    let request = requests.form(endpoint, &fields).header(header::AUTHORIZATION, header);
    let (by_header, token) = outcome(requests, requests.send_secret(request).await);
    let refused = matches!(by_header, TokenOutcome::Refused { status: 400 | 401, .. });
    if !refused {
        observed.token = Some(TokenRequest { by_header, by_body: None });
        return token;
    }
    let [first, second] = fields;
    let request = requests.form(endpoint, &[first, second, ("client_id", id), ("client_secret", secret)]);
    let (by_body, token) = outcome(requests, requests.send_secret(request).await);
    observed.token = Some(TokenRequest { by_header, by_body: Some(by_body) });
    token
}

/// The record of a token response, without the token; and the token.
fn outcome(requests: &Requests, response: Result<(u16, Vec<u8>), NoReply>) -> (TokenOutcome, Option<String>) {
    let (status, body) = match response {
        Ok(response) => response,
        Err(none) => return (TokenOutcome::NoReply(none), None),
    };
    let document: Value = serde_json::from_slice(&body).unwrap_or_default();
    let shown = |field: &str| document[field].as_str().map(|text| clipped(&requests.redactor.apply(text)));
    if let (200, Some(token)) = (status, document["access_token"].as_str()) {
        return (TokenOutcome::Issued { audience: audience(token) }, Some(token.to_owned()));
    }
    let description = shown("error_description").unwrap_or_default();
    (TokenOutcome::Refused { status, error: shown("error"), description }, None)
}

/// The audience of a JWT. The token is not verified: this is about what it says.
fn audience(token: &str) -> Option<Vec<String>> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    match &claims["aud"] {
        Value::String(one) => Some(vec![clipped(one)]),
        Value::Array(many) => Some(many.iter().filter_map(Value::as_str).map(clipped).collect()),
        _ => None,
    }
}

fn client_info() -> Value {
    json!({"name": NAME, "version": env!("CARGO_PKG_VERSION")})
}

fn initialize(requests: &Requests, url: &PublicUrl, revision: &str) -> reqwest::RequestBuilder {
    let params = json!({"protocolVersion": revision, "capabilities": {}, "clientInfo": client_info()});
    requests.message(url, &json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}))
}

fn discover(requests: &Requests, url: &PublicUrl) -> reqwest::RequestBuilder {
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": {
        "io.modelcontextprotocol/protocolVersion": STATELESS,
        "io.modelcontextprotocol/clientInfo": client_info(),
        "io.modelcontextprotocol/clientCapabilities": {},
    }}});
    requests.message(url, &message).header("mcp-protocol-version", STATELESS).header("mcp-method", "server/discover")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_audience_is_read_from_a_jwt() {
        let token = |claims: Value| format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()));
        for (token, expected) in [
            (token(json!({"aud": "https://h/mcp"})), Some(vec!["https://h/mcp".to_owned()])),
            (token(json!({"aud": ["a", 1, "b"]})), Some(vec!["a".to_owned(), "b".to_owned()])),
            (token(json!({})), None),
            ("opaque".to_owned(), None),
            ("a.b.c".to_owned(), None),
        ] {
            assert_eq!(audience(&token), expected, "{token}");
        }
    }
}
