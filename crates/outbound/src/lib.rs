//! The one HTTPS client: what this endpoint asks of others.
//!
//! TLS is rustls with ring and the public authorities of webpki-roots. No redirect is followed, no proxy is taken from
//! the environment, no cookie is kept, no answer is read without limit, and no request lasts for ever. What an answer
//! held is never part of an error.

mod answer;
pub mod guard;
pub mod public_only;
pub mod tls;

pub use answer::{Answer, AnswerError};

use http::Method;
use public_only::{Network, PublicOnly};
use reqwest::{RequestBuilder, redirect::Policy};
use rustls::RootCertStore;
use std::{error::Error, sync::Arc, time::Duration};

/// How long it may take to connect, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request may take in all.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(10);
/// How large an answer may be: discovery documents, key sets, and lists of groups are far smaller.
const MAX_ANSWER: usize = 1 << 20;
/// Who asks.
const USER_AGENT: &str = concat!("portcullis/", env!("CARGO_PKG_VERSION"));

/// Makes clients for the places that are asked, each with what that place is trusted with.
#[derive(Clone, Debug)]
pub struct Outbound {
    public_only: PublicOnly,
}

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// The certificates of a private authority cannot be read.
    #[error("the CA bundle holds no certificate that can be read; it must be PEM")]
    Certificates(#[source] Box<dyn Error + Send + Sync>),
    /// The client itself refused.
    #[error("the HTTPS client could not be made")]
    Client(#[source] reqwest::Error),
    /// TLS could not be set up.
    #[error("TLS could not be set up")]
    Tls(#[from] rustls::Error),
}

/// Why a request has no answer. The messages are for people, and say nothing of what was sent.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// It took too long.
    #[error("{host} did not answer in time")]
    Timeout {
        /// Who was asked.
        host: String,
    },
    /// Nobody could be reached there, or TLS failed.
    #[error("{host} cannot be reached")]
    Unreachable {
        /// Who was asked.
        host: String,
        /// What went wrong, without the URL.
        source: reqwest::Error,
    },
    /// The answer is longer than any that makes sense.
    #[error("the answer of {host} is too large")]
    TooLarge {
        /// Who was asked.
        host: String,
    },
    /// The URL cannot be asked.
    #[error("the request could not be made; is its URL right?")]
    Request(#[source] reqwest::Error),
}

impl Outbound {
    /// Prepares what all clients share.
    pub fn new() -> Result<Self, OutboundError> {
        Ok(Self { public_only: PublicOnly::new()? })
    }

    /// The same, but that what is fetched for clients comes over another network, with other authorities: for tests,
    /// whose servers stand for public ones.
    pub fn over(network: Arc<dyn Network>, authorities: RootCertStore) -> Result<Self, OutboundError> {
        Ok(Self { public_only: PublicOnly::over(network, authorities)? })
    }

    /// For a place that somebody who is not trusted named.
    #[must_use]
    pub fn public_only(&self) -> &PublicOnly {
        &self.public_only
    }

    /// For a place that an administrator named: at any address. `ca_bundle` holds certificates (PEM) of authorities that
    /// count besides the public ones.
    pub fn trusted(&self, ca_bundle: Option<&str>) -> Result<HttpClient, OutboundError> {
        HttpClient::build(tls::config(ca_bundle)?, |builder| builder)
    }
}

/// Asks places of one kind.
#[derive(Clone, Debug)]
pub struct HttpClient {
    inner: reqwest::Client,
    max_answer: usize,
}

impl HttpClient {
    /// With what all clients have in common; `profile` adds what one kind of them needs, such as a resolver.
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

    /// The same, with another limit on answers.
    #[must_use]
    pub fn with_max_answer(self, bytes: usize) -> Self {
        Self { max_answer: bytes, ..self }
    }

    /// A request without any headers of its own. Add to it and hand it to [`HttpClient::send`].
    pub fn request(&self, method: Method, url: &str) -> RequestBuilder {
        self.inner.request(method, url)
    }

    /// A GET that asks for JSON. Add to it and hand it to [`HttpClient::send`].
    pub fn get(&self, url: &str) -> RequestBuilder {
        self.inner.get(url).header(http::header::ACCEPT, "application/json")
    }

    /// A POST that asks for JSON. Add to it and hand it to [`HttpClient::send`].
    pub fn post(&self, url: &str) -> RequestBuilder {
        self.inner.post(url).header(http::header::ACCEPT, "application/json")
    }

    /// Sends it, and reads the answer whole, whatever its status.
    pub async fn send(&self, request: RequestBuilder) -> Result<Answer, RequestError> {
        let request = request.build().map_err(|error| RequestError::Request(error.without_url()))?;
        let host = request.url().host_str().unwrap_or_default().to_owned();
        let failed = |error: reqwest::Error| {
            let host = host.clone();
            if error.is_timeout() {
                RequestError::Timeout { host }
            } else if error.is_builder() {
                RequestError::Request(error.without_url())
            } else {
                RequestError::Unreachable { host, source: error.without_url() }
            }
        };
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
        Ok(Answer::new(host, response.status(), response.headers().clone(), body))
    }
}
