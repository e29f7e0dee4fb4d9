//! Tool calls that bypass rmcp's transport, which starts two tasks for each request, and parses and serializes its
//! message twice more. Only calls without progress in the revisions with `initialize` bypass it: their only protocol
//! data is the id. rmcp handles all other calls, and all errors of the protocol. The answers of both paths have the
//! same bytes: see the tests of `mcp_edge`.

use crate::{
    PROTOCOL_VERSIONS,
    message::cancelled,
    revision::{PROTOCOL_VERSION, is_older},
    scope_gate::{Requested, ScopeGate},
    splice::Slot,
};
use axum::response::{IntoResponse as _, Response};
use futures::future::BoxFuture;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CONTENT_TYPE, HOST},
    request::Parts,
};
use portcullis_budget::Account;
use portcullis_oauth::Caller;
use portcullis_telemetry::audit::RequestContext;
use rmcp::model::{CallToolResult, JsonObject, RequestId, ServerJsonRpcMessage, ServerResult};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;
use std::{borrow::Cow, collections::HashMap, sync::Arc};
use tokio_util::sync::CancellationToken;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A plain call. rmcp handles messages with any other member.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlainCall<'a> {
    #[serde(rename = "jsonrpc")]
    _jsonrpc: IgnoredAny,
    #[serde(rename = "method")]
    _method: IgnoredAny,
    id: RequestId,
    #[serde(borrow)]
    params: Params<'a>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(default)]
    arguments: Option<JsonObject>,
    #[serde(default, borrow, rename = "_meta")]
    meta: Option<HashMap<Cow<'a, str>, &'a RawValue>>,
}

impl Params<'_> {
    /// Whether rmcp or the handler uses a member of `_meta`.
    fn has_meaningful_meta(&self, accepts_events: bool) -> bool {
        let meaningful =
            |name: &str| name.starts_with("io.modelcontextprotocol/") || (accepts_events && name == "progressToken");
        self.meta.as_ref().is_some_and(|meta| meta.keys().any(|name| meaningful(name)))
    }
}

/// Calls the tool of the message in `body`, if it is a plain call. The future returns the response; `aborted` ends it.
pub(super) fn call(
    offer: &impl ScopeGate,
    hosts: &[String],
    (parts, body): (&Parts, &[u8]),
    (caller, slot, accepts_events): (&Arc<Caller>, &Arc<Slot>, bool),
    aborted: &CancellationToken,
) -> Option<BoxFuture<'static, Response>> {
    if !is_plain(&parts.headers, hosts) {
        return None;
    }
    let PlainCall { id, params, .. } = serde_json::from_slice(body).ok()?;
    if params.has_meaningful_meta(accepts_events) {
        return None;
    }
    let requested = Requested {
        name: &params.name,
        arguments: params.arguments.unwrap_or_default(),
        caller: Arc::clone(caller),
        from: RequestContext::of(&parts.extensions),
        account: parts.extensions.get::<Account>().cloned().unwrap_or_else(Account::unlimited),
        slot: Arc::clone(slot),
    };
    let result = offer.call(requested)?;
    let (slot, aborted) = (Arc::clone(slot), aborted.clone());
    Some(Box::pin(async move {
        tokio::select! {
            biased;
            result = result => written(result, id, &slot),
            () = aborted.cancelled() => cancelled(serde_json::to_value(id).ok()),
        }
    }))
}

/// Whether rmcp is not needed for the headers: the host is the endpoint's, and the revision has plain calls.
fn is_plain(headers: &HeaderMap, hosts: &[String]) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let ours = host.is_some_and(|host| hosts.iter().any(|name| is_at(host, name)));
    let is_known = |revision: &HeaderValue| PROTOCOL_VERSIONS.iter().any(|known| revision == known);
    ours && is_older(headers) && headers.get(PROTOCOL_VERSION).is_none_or(is_known)
}

/// Whether `host` is `name`, with or without a port.
fn is_at(host: &str, name: &str) -> bool {
    let (Some(start), Some(rest)) = (host.get(..name.len()), host.get(name.len()..)) else { return false };
    let port = rest.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    start.eq_ignore_ascii_case(name) && (rest.is_empty() || port)
}

/// The response in the form of rmcp, with the answer instead of the marks.
fn written(mut result: CallToolResult, id: RequestId, slot: &Slot) -> Response {
    // The member exists only since 2026-07-28.
    result.result_type = None;
    let message = ServerJsonRpcMessage::response(ServerResult::CallToolResult(result), id);
    let body = match serde_json::to_vec(&message) {
        Ok(written) => slot.splice(&written.into()),
        Err(error) => {
            tracing::error!(%error, "the result of a tool could not be written");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}
