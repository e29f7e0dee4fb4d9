//! Finds the authorization server of an endpoint: the challenge of a request without a token leads to the protected
//! resource metadata (RFC 9728), and these to the authorization server metadata (RFC 8414).

use super::{
    challenge::{self, BearerChallenge},
    metadata::{self, AuthorizationServer, MetadataError, ResourceMetadata, ServerMetadata},
};
use http::{HeaderMap, StatusCode, header};
use portcullis_core::PublicUrl;
use portcullis_outbound::{HttpClient, HttpResponse, RequestError, ResponseError};

/// A request that every MCP server refuses without a token, and that changes nothing.
const PROBE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"ping"}"#;

/// The metadata of an endpoint that a sign-in needs.
#[derive(Clone, Debug)]
pub struct Discovered {
    /// The value of the parameter `resource` (RFC 8707).
    pub resource: String,
    /// The scopes to request, if the endpoint names any.
    pub scope: Option<String>,
    /// The authorization server.
    pub server: AuthorizationServer,
}

/// Why the authorization server cannot be found.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// The request failed without a response.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The endpoint needs no token.
    #[error(
        "{url} answered {status} without a token, not 401 with a challenge; is it the URL of an MCP endpoint? It often ends with /mcp"
    )]
    NoChallenge {
        /// The URL of the endpoint.
        url: String,
        /// The status of the response.
        status: StatusCode,
    },
    /// A document cannot be fetched or parsed.
    #[error("the {name} at {url} cannot be used")]
    Document {
        /// The kind of document.
        name: &'static str,
        /// Its URL.
        url: String,
        /// The cause.
        source: ResponseError,
    },
    /// A document is not valid.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

/// Finds the authorization server of `endpoint`.
pub async fn discover(http: &HttpClient, endpoint: &PublicUrl) -> Result<Discovered, DiscoveryError> {
    let url = endpoint.resource();
    let probe = http.post(&url).header(header::CONTENT_TYPE, "application/json").body(PROBE);
    let challenge = challenged(&url, &http.send(probe).await?)?;

    let at = match &challenge.resource_metadata {
        Some(named) => metadata::secure("resource_metadata", named, endpoint)?.to_string(),
        None => endpoint.resource_metadata_url(),
    };
    let resource: ResourceMetadata = document(http, "protected resource metadata", &at).await?;
    let issuer = resource.issuer(endpoint)?;

    let at = metadata::server_metadata_url(&issuer).to_string();
    let server: ServerMetadata = document(http, "authorization server metadata", &at).await?;
    let server = server.check(&issuer, endpoint)?;

    let listed = (!resource.scopes_supported.is_empty()).then(|| resource.scopes_supported.join(" "));
    Ok(Discovered { resource: resource.resource, scope: challenge.scope.or(listed), server })
}

/// The challenge of a response.
fn challenged(url: &str, answer: &HttpResponse) -> Result<BearerChallenge, DiscoveryError> {
    let missing = || DiscoveryError::NoChallenge { url: url.to_owned(), status: answer.status() };
    if answer.status() != StatusCode::UNAUTHORIZED {
        return Err(missing());
    }
    // Without a Bearer challenge, the well-known URL is tried.
    Ok(bearer_challenge(answer.headers()).unwrap_or_default())
}

fn bearer_challenge(headers: &HeaderMap) -> Option<BearerChallenge> {
    challenge::bearer(headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()))
}

async fn document<T: serde::de::DeserializeOwned>(
    http: &HttpClient,
    name: &'static str,
    url: &str,
) -> Result<T, DiscoveryError> {
    let answer = http.send(http.get(url)).await?;
    answer.object().map_err(|source| DiscoveryError::Document { name, url: url.to_owned(), source })
}
