//! Requests to the endpoint, at the address whose connection and certificate were examined, and to an external
//! authorization server.

use crate::{
    observation::{HttpExchange, HttpReply, IssuerDiscovery, NoReply, PageRequests, clipped},
    redact::Redactor,
};
use http::{Method, header};
use portcullis_core::{PublicUrl, loopback::is_loopback, report::chain};
use portcullis_outbound::{HttpClient, OutboundError, RequestError, tls};
use reqwest::RequestBuilder;
use rustls::RootCertStore;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::time::Instant;
use url::Url;

/// The `Accept` header of agents (MCP, Streamable HTTP).
const ACCEPT: &str = "application/json, text/event-stream";
/// The request headers for which browsers ask before an agent's request.
const PAGE_HEADERS: &str = "authorization,content-type,mcp-protocol-version";
/// The paths of metadata, after which the path of the issuer follows (RFC 8414 §3.1).
const METADATA_PATHS: [&str; 2] = ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"];

/// The client of one examination.
pub(super) struct Requests {
    client: HttpClient,
    pub(super) redactor: Redactor,
}

impl Requests {
    /// A client that connects to this address of the host.
    pub(super) fn new(
        host: &str,
        address: SocketAddr,
        roots: RootCertStore,
        redactor: Redactor,
    ) -> Result<Self, OutboundError> {
        let client = HttpClient::build(tls::with_roots(roots)?, |builder| builder.resolve(host, address))?;
        Ok(Self { client, redactor })
    }

    /// Sends a request, and records the response without secrets.
    pub(super) async fn send(&self, request: RequestBuilder) -> HttpExchange {
        let begin = Instant::now();
        let answer = self.client.send(request).await.map_err(|error| match error {
            RequestError::Timeout { .. } => NoReply::Timeout,
            other => NoReply::Broken(self.redactor.apply(&chain(&other))),
        })?;
        let mut headers = HttpReply::recorded(answer.headers());
        for value in headers.values_mut().flatten() {
            *value = self.redactor.apply(value);
        }
        Ok(HttpReply {
            status: answer.status().as_u16(),
            headers,
            body: self.redactor.apply(&String::from_utf8_lossy(answer.body())),
            took: begin.elapsed(),
        })
    }

    /// A POST request for a JSON-RPC message, to be completed and sent.
    pub(super) fn message(&self, url: &PublicUrl, message: &Value) -> RequestBuilder {
        let request = self.client.request(Method::POST, &url.resource());
        request
            .header(header::ACCEPT, ACCEPT)
            .header(header::CONTENT_TYPE, "application/json")
            .body(message.to_string())
    }

    /// A POST request for a form, to be completed and sent.
    pub(super) fn form(&self, url: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        self.client.request(Method::POST, url).header(header::ACCEPT, "application/json").form(fields)
    }

    /// Sends a request whose response may contain a secret, and returns its status and body as they are.
    pub(super) async fn send_secret(&self, request: RequestBuilder) -> Result<(u16, Vec<u8>), NoReply> {
        match self.client.send(request).await {
            Ok(answer) => Ok((answer.status().as_u16(), answer.body().to_vec())),
            Err(RequestError::Timeout { .. }) => Err(NoReply::Timeout),
            Err(other) => Err(NoReply::Broken(clipped(&self.redactor.apply(&chain(&other))))),
        }
    }

    /// Sends a message without a token, as a page of `origin` if there is one.
    pub(super) async fn unauthenticated(&self, url: &PublicUrl, origin: Option<&str>) -> HttpExchange {
        let request = self.message(url, &json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}));
        self.send(match origin {
            Some(origin) => request.header(header::ORIGIN, origin),
            None => request,
        })
        .await
    }

    /// Reads a page, as a browser does.
    pub(super) async fn page_of(&self, url: &str) -> HttpExchange {
        self.send(self.client.get(url).header(header::ACCEPT, "text/html")).await
    }

    /// Reads a document.
    pub(super) async fn get(&self, url: &str) -> HttpExchange {
        self.send(self.client.get(url)).await
    }

    /// Reads the metadata of an issuer, where RFC 8414 puts it, or else OpenID Connect Discovery. `None`: the issuer is not
    /// a URL whose metadata may be requested.
    pub(super) async fn discover_issuer(&self, issuer: String) -> Option<IssuerDiscovery> {
        let url = Url::parse(&issuer).ok().filter(|url| url.scheme() == "https" || is_loopback(url))?;
        let path = url.path().trim_end_matches('/');
        let origin = url.origin().ascii_serialization();
        let [own, openid] = METADATA_PATHS.map(|prefix| format!("{origin}{prefix}{path}"));
        let exchange = self.get(&own).await;
        let found = |exchange: &HttpExchange| exchange.as_ref().is_ok_and(|reply| reply.status == 200);
        if found(&exchange) {
            return Some(IssuerDiscovery { issuer, exchange });
        }
        for url in [openid, format!("{origin}{path}{}", METADATA_PATHS[1])] {
            let other = self.get(&url).await;
            if found(&other) {
                return Some(IssuerDiscovery { issuer, exchange: other });
            }
        }
        Some(IssuerDiscovery { issuer, exchange })
    }

    /// Sends what the browser sends for a page of this origin.
    pub(super) async fn page(&self, url: &PublicUrl, origin: &str, required: bool) -> PageRequests {
        let preflight = self
            .client
            .request(Method::OPTIONS, &url.resource())
            .header(header::ORIGIN, origin)
            .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
            .header(header::ACCESS_CONTROL_REQUEST_HEADERS, PAGE_HEADERS);
        PageRequests {
            origin: origin.to_owned(),
            required,
            preflight: self.send(preflight).await,
            answer: self.unauthenticated(url, Some(origin)).await,
        }
    }
}
