//! The values in recorded documents on which the next request depends.

use crate::observation::{HttpExchange, HttpReply, Observations};
use portcullis_core::loopback::is_loopback;
use serde_json::Value;
use url::Url;

impl Observations {
    /// The issuer to ask: the endpoint's own if the resource metadata names it, otherwise the first.
    pub(crate) fn issuer(&self) -> Option<String> {
        let own = self.url.as_ref().ok()?.issuer();
        let document = document(self.resource_metadata.as_ref())?;
        let named: Vec<&str> = document["authorization_servers"].as_array()?.iter().filter_map(Value::as_str).collect();
        named.iter().find(|issuer| **issuer == own).or(named.first()).map(|issuer| (*issuer).to_owned())
    }

    /// Whether the endpoint is its own authorization server.
    pub(crate) fn issuer_is_own(&self) -> bool {
        self.url.as_ref().is_ok_and(|url| self.issuer() == Some(url.issuer()))
    }

    /// Whether the authorization server accepts a client's secret in the `Authorization` header. That is the default
    /// (RFC 8414 §2, `token_endpoint_auth_methods_supported`).
    pub(crate) fn accepts_basic(&self) -> bool {
        let document = self.issuer_metadata.as_ref().and_then(|discovery| document(Some(&discovery.exchange)));
        let methods =
            document.as_ref().and_then(|document| document["token_endpoint_auth_methods_supported"].as_array());
        methods.is_none_or(|methods| methods.iter().any(|method| method == "client_secret_basic"))
    }

    /// Whether the authorization server reads metadata documents of clients.
    pub(crate) fn accepts_client_metadata(&self) -> bool {
        let document = self.issuer_metadata.as_ref().and_then(|discovery| document(Some(&discovery.exchange)));
        document.is_some_and(|document| document["client_id_metadata_document_supported"] == true)
    }

    /// A URL of the authorization server metadata, if requests to it are protected by TLS or stay on this machine.
    pub(crate) fn issuer_field(&self, field: &str) -> Option<String> {
        let discovery = self.issuer_metadata.as_ref()?;
        let document = document(Some(&discovery.exchange))?;
        let url = Url::parse(document[field].as_str()?).ok()?;
        (url.scheme() == "https" || is_loopback(&url)).then(|| url.to_string())
    }

    /// Whether the list of tools has this one.
    pub(crate) fn serves(&self, tool: &str) -> bool {
        let tools = self.tools.as_ref().and_then(tools);
        tools.is_some_and(|names| names.iter().any(|name| name == tool))
    }

    /// Every recorded response.
    pub(crate) fn replies(&self) -> impl Iterator<Item = &HttpReply> {
        let pages = self.pages.iter().flat_map(|page| [&page.preflight, &page.answer]);
        let discovery = self.issuer_metadata.as_ref().map(|discovery| &discovery.exchange);
        let single = [&self.unauthenticated, &self.resource_metadata, &self.jwks, &self.tools];
        single
            .into_iter()
            .flatten()
            .chain(discovery)
            .chain(pages)
            .chain(self.revisions.iter().map(|request| &request.exchange))
            .chain(&self.calls)
            .filter_map(|exchange| exchange.as_ref().ok())
    }
}

/// The JSON object of a successful response.
fn document(exchange: Option<&HttpExchange>) -> Option<Value> {
    let reply = exchange?.as_ref().ok().filter(|reply| reply.status == 200)?;
    reply.json().filter(Value::is_object)
}

/// The names of the tools in a response to `tools/list`.
pub(crate) fn tools(exchange: &HttpExchange) -> Option<Vec<String>> {
    let answer = exchange.as_ref().ok()?.json()?;
    let tools = answer["result"]["tools"].as_array()?;
    Some(tools.iter().filter_map(|tool| tool["name"].as_str()).map(str::to_owned).collect())
}
