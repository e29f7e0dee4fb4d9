//! The HTTPS client for all outbound requests.
//!
//! TLS is rustls with ring and the public certificate authorities of webpki-roots. The client follows no redirects,
//! ignores proxy settings in the environment and stores no cookies. Response sizes and request times are limited.
//! Errors never contain the content of a response.

pub mod guard;
pub mod issuer;
pub mod public_only;
mod response;
pub mod tls;

pub use response::{HttpResponse, ResponseError};

use public_only::{Network, PublicOnly};
use reqwest::{Method, Request, RequestBuilder, Response, redirect::Policy};
use rustls::RootCertStore;
use std::{error::Error, sync::Arc, time::Duration};

/// The timeout of a connection attempt, including the TLS handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The timeout of a whole request.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest response body, in bytes. Discovery documents, key sets and lists of groups are far smaller.
const MAX_ANSWER: usize = 1 << 20;
/// The value of the `User-Agent` header.
const USER_AGENT: &str = concat!("portcullis/", env!("CARGO_PKG_VERSION"));

/// Creates clients, each with the trust settings for its kind of host.
#[derive(Clone, Debug)]
pub struct Outbound {
    public_only: PublicOnly,
}

/// Why a client could not be created.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// The CA bundle cannot be parsed.
    #[error("the CA bundle contains no valid certificate; it must be PEM")]
    Certificates(#[source] Box<dyn Error + Send + Sync>),
    /// The HTTP client could not be built.
    #[error("the HTTPS client could not be created")]
    Client(#[source] reqwest::Error),
    /// TLS could not be configured.
    #[error("TLS could not be configured")]
    Tls(#[from] rustls::Error),
}

/// Why a request got no response. The messages are for people, and do not reveal what was sent.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The request timed out.
    #[error("{host} did not answer in time")]
    Timeout {
        /// The host of the request.
        host: String,
    },
    /// The connection or the TLS handshake failed.
    #[error("{host} cannot be reached")]
    Unreachable {
        /// The host of the request.
        host: String,
        /// The cause, without the URL.
        source: reqwest::Error,
    },
    /// The response body is larger than the limit.
    #[error("the answer of {host} is too large")]
    TooLarge {
        /// The host of the request.
        host: String,
    },
    /// The request could not be built, for example because its URL is not valid.
    #[error("the request could not be created; check its URL")]
    Request(#[source] reqwest::Error),
}

impl RequestError {
    /// The error of a request to `host`, or of the body of its response.
    #[must_use]
    pub fn of(error: reqwest::Error, host: &str) -> Self {
        let host = host.to_owned();
        if error.is_timeout() {
            Self::Timeout { host }
        } else if error.is_builder() {
            Self::Request(error.without_url())
        } else {
            Self::Unreachable { host, source: error.without_url() }
        }
    }

    /// Whether no connection was made, so that the server has not seen the request.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        matches!(self, Self::Unreachable { source, .. } if source.is_connect())
    }
}

fn host_of(request: &Request) -> String {
    request.url().host_str().unwrap_or_default().to_owned()
}

impl Outbound {
    /// Creates the client for untrusted URLs.
    pub fn new() -> Result<Self, OutboundError> {
        Ok(Self { public_only: PublicOnly::new()? })
    }

    /// Like [`Self::new`], but untrusted URLs are fetched over another network with other certificate authorities: for
    /// tests, whose servers stand in for public ones.
    pub fn over(network: Arc<dyn Network>, authorities: RootCertStore) -> Result<Self, OutboundError> {
        Ok(Self { public_only: PublicOnly::over(network, authorities)? })
    }

    /// The client for URLs from untrusted sources.
    #[must_use]
    pub fn public_only(&self) -> &PublicOnly {
        &self.public_only
    }

    /// A client for URLs from an administrator: any address is allowed. `ca_bundle` contains certificates (PEM) of
    /// authorities to trust in addition to the public ones.
    pub fn trusted(&self, ca_bundle: Option<&str>) -> Result<HttpClient, OutboundError> {
        HttpClient::build(tls::config(ca_bundle)?, |builder| builder)
    }
}

/// An HTTPS client for one kind of host.
#[derive(Clone, Debug)]
pub struct HttpClient {
    inner: reqwest::Client,
    max_answer: usize,
}

impl HttpClient {
    /// Builds a client with the common settings; `profile` adds those of one kind of client, such as a resolver.
    pub fn build(
        tls: rustls::ClientConfig,
        profile: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
    ) -> Result<Self, OutboundError> {
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(Policy::none())
            .no_proxy()
            .referer(false)
            .user_agent(USER_AGENT)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TOTAL_TIMEOUT);
        let inner = profile(builder).build().map_err(OutboundError::Client)?;
        Ok(Self { inner, max_answer: MAX_ANSWER })
    }

    /// The same client with another limit on response bodies, in bytes.
    #[must_use]
    pub fn with_max_answer(self, bytes: usize) -> Self {
        Self { max_answer: bytes, ..self }
    }

    /// Starts a GET request that accepts JSON. Complete it and pass it to [`HttpClient::send`].
    pub fn get(&self, url: &str) -> RequestBuilder {
        self.inner.get(url).header(http::header::ACCEPT, "application/json")
    }

    /// Starts a POST request that accepts JSON. Complete it and pass it to [`HttpClient::send`].
    pub fn post(&self, url: &str) -> RequestBuilder {
        self.inner.post(url).header(http::header::ACCEPT, "application/json")
    }

    /// Starts a request of any method, without headers. Complete it and pass it to [`HttpClient::send`] or
    /// [`HttpClient::open`].
    pub fn request(&self, method: Method, url: &str) -> RequestBuilder {
        self.inner.request(method, url)
    }

    /// Sends a request and returns the response as soon as its headers are there, for bodies that are streams. The
    /// caller limits what it reads, and how long: the timeout of the request ends the body too.
    pub async fn open(&self, request: RequestBuilder) -> Result<Response, RequestError> {
        let request = request.build().map_err(|error| RequestError::Request(error.without_url()))?;
        let host = host_of(&request);
        self.inner.execute(request).await.map_err(|error| RequestError::of(error, &host))
    }

    /// Sends a request and reads the whole response, whatever its status.
    pub async fn send(&self, request: RequestBuilder) -> Result<HttpResponse, RequestError> {
        let request = request.build().map_err(|error| RequestError::Request(error.without_url()))?;
        let host = host_of(&request);
        let failed = |error| RequestError::of(error, &host);
        let mut response = self.inner.execute(request).await.map_err(failed)?;
        let announced = response.content_length().unwrap_or_default();
        if announced > self.max_answer as u64 {
            return Err(RequestError::TooLarge { host });
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > self.max_answer {
                return Err(RequestError::TooLarge { host });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(HttpResponse::new(host, response.status(), response.headers().clone(), body))
    }
}
