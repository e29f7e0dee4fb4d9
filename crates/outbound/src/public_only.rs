//! Fetches untrusted URLs: client metadata documents, and the keys of clients.
//!
//! Only URLs that pass [`guard`](super::guard) are fetched: by name, over https, from port 443, at public addresses. A
//! name is resolved once; all its addresses are checked, and the connection goes to one of them (no DNS rebinding). A
//! redirect is an error. A response must be a 200 with JSON, within the limits for size and time.

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

/// The timeout from the DNS lookup to the last byte.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(5);
/// The only port that is used.
const PORT: u16 = 443;

/// Resolves names and opens connections. [`PublicInternet`] is the only implementation in the product; tests can put
/// their own servers behind public addresses.
#[async_trait]
pub trait Network: Debug + Send + Sync {
    /// All addresses of a host.
    async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>>;

    /// The socket address to connect to for an address that was checked.
    fn dial(&self, address: IpAddr) -> SocketAddr;
}

/// The resolver and the network of this machine.
#[derive(Clone, Copy, Debug)]
pub struct PublicInternet;

#[async_trait]
impl Network for PublicInternet {
    async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        // With a trailing dot, the name is absolute: the pod's search list (`svc.cluster.local`, …) is not tried.
        let found = tokio::net::lookup_host((format!("{host}."), PORT)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }

    fn dial(&self, address: IpAddr) -> SocketAddr {
        SocketAddr::new(address, PORT)
    }
}

/// The client for untrusted URLs.
#[derive(Clone, Debug)]
pub struct PublicOnly {
    client: HttpClient,
}

/// A document, and how long it may be cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The JSON body. Only its content type is checked.
    pub body: Vec<u8>,
    /// The freshness lifetime. `None`: the response does not say; zero: it must not be cached.
    pub fresh_for: Option<Duration>,
}

/// Why a document could not be fetched. The messages are for people, and do not reveal what was found instead.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The URL is not allowed.
    #[error("its URL is not fetched: {0}")]
    Url(#[from] Refused),
    /// The host has no address, or one that is not public.
    #[error("its host {host} has no address, or one that is not public")]
    Address {
        /// The host of the URL.
        host: String,
    },
    /// There was no response, or it was too large.
    #[error(transparent)]
    Request(RequestError),
    /// The status is not 200; it may be a redirect.
    #[error("{host} answered {status} instead of 200 (redirects are not followed)")]
    Status {
        /// The host of the URL.
        host: String,
        /// The status of the response.
        status: StatusCode,
    },
    /// The content type is not JSON.
    #[error("{host} returned an unexpected Content-Type; expected application/json")]
    ContentType {
        /// The host of the URL.
        host: String,
    },
}

impl FetchError {
    /// Whether the failure is permanent: the URL is refused, or the response is not a document. `false` for failures
    /// that may be temporary, such as no response, or a 5xx or 429 status.
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
    /// A client for the public internet and the public certificate authorities.
    pub(super) fn new() -> Result<Self, OutboundError> {
        Self::build(Arc::new(PublicInternet), tls::config(None)?)
    }

    /// A client for another network and other certificate authorities, with the same rules.
    pub(super) fn over(network: Arc<dyn Network>, authorities: RootCertStore) -> Result<Self, OutboundError> {
        Self::build(network, tls::with_roots(authorities)?)
    }

    fn build(network: Arc<dyn Network>, tls: rustls::ClientConfig) -> Result<Self, OutboundError> {
        let client = HttpClient::build(tls, |builder| {
            builder
                .dns_resolver(Guarded { network })
                .https_only(true)
                .http1_only()
                // No connection is reused: each fetch resolves and checks the name.
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

/// The only resolver of that client: connections go only to addresses that it returns.
#[derive(Debug)]
struct Guarded {
    network: Arc<dyn Network>,
}

/// The host has an address that is not public, or none. The error does not reveal addresses.
#[derive(Debug, thiserror::Error)]
#[error("the host has no public address")]
struct NotPublic;

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let network = Arc::clone(&self.network);
        Box::pin(async move {
            let addresses = network.lookup(name.as_str()).await?;
            // One address that is not public is enough to refuse the host: honest hosts have none.
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

/// How long a response stays fresh in a shared cache (RFC 9111 §4.2.1), minus its age.
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
