//! Fetches what somebody who is not trusted points to: client metadata documents, and the keys of clients.
//!
//! Only what [`guard`](super::guard) admits: by name, over https, from port 443, at public addresses. A name is looked
//! up once; every address that it has is checked, and the connection goes to one of those (no DNS rebinding). Redirects
//! are answers like others, and refused. An answer counts if it is a 200 with JSON, of a limited size, in a limited time.

use crate::{
    HttpClient, OutboundError, RequestError,
    guard::{self, Refused},
    tls,
};
use async_trait::async_trait;
use http::{HeaderMap, StatusCode, header};
use portcullis_core::media_type;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use rustls::RootCertStore;
use std::{
    error::Error,
    fmt::Debug,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

/// How long it may take, from the look-up to the last byte.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(5);
/// The one port.
const PORT: u16 = 443;

/// How names become addresses, and addresses connections. There is one in the product, [`PublicInternet`]; a test may
/// put servers of its own behind public addresses.
#[async_trait]
pub trait Network: Debug + Send + Sync {
    /// All addresses of a host.
    async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>>;

    /// Where to connect for an address that was checked.
    fn dial(&self, address: IpAddr) -> SocketAddr;
}

/// The machine's own resolver and network.
#[derive(Clone, Copy, Debug)]
pub struct PublicInternet;

#[async_trait]
impl Network for PublicInternet {
    async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        // With a dot at the end it is the whole name: a pod's search list (`svc.cluster.local`, …) is not tried.
        let found = tokio::net::lookup_host((format!("{host}."), PORT)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }

    fn dial(&self, address: IpAddr) -> SocketAddr {
        SocketAddr::new(address, PORT)
    }
}

/// The client for places that are not trusted.
#[derive(Clone, Debug)]
pub struct PublicOnly {
    client: HttpClient,
}

/// A document, and how long its server says that it may be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// JSON, by its content type.
    pub body: Vec<u8>,
    /// `None` where nothing is said; zero where it should not be kept.
    pub fresh_for: Option<Duration>,
}

/// Why there is no document. For people; tells nothing of what was found instead.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The URL may not be fetched.
    #[error("its URL is not fetched: {0}")]
    Url(#[from] Refused),
    /// The host has an address that is not public, or none.
    #[error("its host {host} has no address, or one that is not public")]
    Address {
        /// The host.
        host: String,
    },
    /// No answer, or one that is too large.
    #[error(transparent)]
    Request(RequestError),
    /// Something else than 200; a redirect, too.
    #[error("{host} answered {status} instead of 200 (redirects are not followed)")]
    Status {
        /// The host.
        host: String,
        /// What it answered.
        status: StatusCode,
    },
    /// Something else than JSON.
    #[error("{host} answered with something else than application/json")]
    ContentType {
        /// The host.
        host: String,
    },
}

impl FetchError {
    /// Whether the place itself said that there is nothing, rather than could not be asked.
    #[must_use]
    pub fn is_definite(&self) -> bool {
        match self {
            Self::Url(_) | Self::ContentType { .. } => true,
            Self::Status { status, .. } => !status.is_server_error() && *status != StatusCode::TOO_MANY_REQUESTS,
            Self::Address { .. } | Self::Request(_) => false,
        }
    }
}

impl PublicOnly {
    /// Over the public internet, with the public authorities.
    pub(super) fn new() -> Result<Self, OutboundError> {
        Self::build(Arc::new(PublicInternet), tls::config(None)?)
    }

    /// Over another network, with other authorities, by the same rules.
    pub(super) fn over(network: Arc<dyn Network>, authorities: RootCertStore) -> Result<Self, OutboundError> {
        Self::build(network, tls::with_roots(authorities)?)
    }

    fn build(network: Arc<dyn Network>, tls: rustls::ClientConfig) -> Result<Self, OutboundError> {
        let client = HttpClient::build(tls, |builder| {
            builder
                .dns_resolver(Guarded { network })
                .https_only(true)
                .http1_only()
                // Nothing is kept open: each fetch looks up and checks.
                .pool_max_idle_per_host(0)
                .timeout(TOTAL_TIMEOUT)
        })?;
        Ok(Self { client })
    }

    /// Fetches a document of at most `limit` bytes.
    pub async fn fetch(&self, url: &str, limit: usize) -> Result<Fetched, FetchError> {
        let url = guard::admit(url)?;
        let host = url.host_str().unwrap_or_default().to_owned();
        let client = self.client.clone().with_max_answer(limit);
        let answer = client.send(client.get(url.as_str())).await.map_err(|error| match error {
            RequestError::Unreachable { host, source } if is_not_public(&source) => FetchError::Address { host },
            error => FetchError::Request(error),
        })?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Status { host, status: answer.status() });
        }
        if !is_json(answer.headers()) {
            return Err(FetchError::ContentType { host });
        }
        Ok(Fetched { body: answer.body().to_vec(), fresh_for: fresh_for(answer.headers()) })
    }
}

/// The only resolver of that client: what it answers is what is connected to.
#[derive(Debug)]
struct Guarded {
    network: Arc<dyn Network>,
}

/// A host that may not be connected to. Its addresses are nobody's business.
#[derive(Debug, thiserror::Error)]
#[error("the host has no public address")]
struct NotPublic;

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let network = Arc::clone(&self.network);
        Box::pin(async move {
            let addresses = network.lookup(name.as_str()).await?;
            // One that is not public spoils all: honest hosts have none.
            if addresses.is_empty() || !addresses.iter().all(|address| guard::is_public(*address)) {
                return Err(NotPublic.into());
            }
            let addresses: Vec<SocketAddr> = addresses.into_iter().map(|address| network.dial(address)).collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

fn is_not_public(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = cause {
        if error.is::<NotPublic>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// `application/json`, or `application/…+json`.
fn is_json(headers: &HeaderMap) -> bool {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type::essence(text).to_ascii_lowercase();
    essence
        .strip_prefix("application/")
        .is_some_and(|subtype| subtype == "json" || (subtype.len() > "+json".len() && subtype.ends_with("+json")))
}

/// How long an answer stays fresh in a cache that several users share (RFC 9111 §4.2.1), less its age.
fn fresh_for(headers: &HeaderMap) -> Option<Duration> {
    let directives: Vec<String> = headers
        .get_all(header::CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|directive| directive.trim().to_ascii_lowercase())
        .collect();
    if directives.iter().any(|directive| matches!(directive.as_str(), "no-store" | "no-cache" | "private")) {
        return Some(Duration::ZERO);
    }
    let seconds = |name: &str| {
        directives.iter().find_map(|directive| {
            let (key, value) = directive.split_once('=')?;
            (key.trim() == name).then(|| value.trim().trim_matches('"').parse::<u64>().unwrap_or(0))
        })
    };
    let age = headers.get(header::AGE).and_then(|age| age.to_str().ok()).and_then(|age| age.trim().parse().ok());
    let lifetime = seconds("s-maxage").or_else(|| seconds("max-age"))?;
    Some(Duration::from_secs(lifetime.saturating_sub(age.unwrap_or(0))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn caching_follows_the_headers() {
        for (value, expected) in [
            ("max-age=300", Some(300)),
            ("public, Max-Age=\"300\"", Some(300)),
            ("max-age=300, s-maxage=60", Some(60)),
            ("no-store", Some(0)),
            ("max-age=300, no-cache", Some(0)),
            ("private, max-age=300", Some(0)),
            ("max-age=soon", Some(0)),
            ("max-age=-1", Some(0)),
            ("immutable", None),
        ] {
            let found = fresh_for(&headers(header::CACHE_CONTROL, value));
            assert_eq!(found, expected.map(Duration::from_secs), "{value}");
        }
        assert_eq!(fresh_for(&HeaderMap::new()), None);
        let mut aged = headers(header::CACHE_CONTROL, "max-age=300");
        aged.insert(header::AGE, HeaderValue::from_static("250"));
        assert_eq!(fresh_for(&aged), Some(Duration::from_secs(50)));
        aged.insert(header::AGE, HeaderValue::from_static("400"));
        assert_eq!(fresh_for(&aged), Some(Duration::ZERO));
    }

    #[test]
    fn json_is_recognised_by_its_content_type() {
        for (value, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/oauth-client+json", true),
            ("application/+json", false),
            ("text/html", false),
            ("text/json", false),
            ("application/jsonp", false),
            ("application/javascript; x=application/json", false),
        ] {
            assert_eq!(is_json(&headers(header::CONTENT_TYPE, value)), expected, "{value}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
