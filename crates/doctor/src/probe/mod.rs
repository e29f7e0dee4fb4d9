//! The I/O of an examination: each step records plain data. A step runs only if the diagnosis of the earlier steps lets it
//! make sense, so that no request waits for a server that cannot be reached, and no secret is sent to a wrong one.

mod mcp;
mod network;
mod requests;
mod sign_in;
mod target;
mod tls;

pub(crate) use mcp::TOOL;
pub use target::{Credentials, Origin, OriginError, Target, UserToken, UserTokenError, UserTokenFuture};

use crate::{Check, diagnose::is_blocked, observation::Observations, redact::Redactor};
use portcullis_core::{PublicUrl, clock::Clock};
use portcullis_outbound::OutboundError;
use requests::Requests;

/// Examines the target. Fails only if the client itself cannot be set up.
pub async fn probe(target: &Target, clock: &dyn Clock) -> Result<Observations, OutboundError> {
    let roots = portcullis_outbound::tls::roots(target.ca.as_deref())?;
    let mut observed = Observations::new(&target.url, clock.now());
    observed.cluster = target.cluster.clone().map(Box::new);
    observed.url_unknown = target.url.is_empty() && observed.cluster.is_some();
    let Ok(url) = observed.url.clone() else { return Ok(observed) };

    let (host, port) = (url.host().to_owned(), port(&url));
    observed.addresses = Some(network::lookup(&host).await);
    let Some(Ok(addresses)) = &observed.addresses else { return Ok(observed) };
    observed.connections = network::connect(addresses, port).await;
    let reachable = observed.connections.iter().find(|attempt| attempt.failure.is_none());
    let Some(address) = reachable.map(|attempt| attempt.address) else { return Ok(observed) };
    if url.is_https() {
        observed.tls = Some(tls::handshake(address, &host, roots.clone()).await?);
    }
    if is_blocked(Check::Http, &observed) {
        return Ok(observed);
    }

    let mut redactor = Redactor::default();
    if let Some(credentials) = &target.credentials {
        redactor.add(&credentials.client_secret);
        redactor.add(&credentials.encoded());
    }
    let mut requests = Requests::new(&host, address, roots, redactor)?;
    observed.time = clock.now();
    observed.unauthenticated = Some(requests.unauthenticated(&url, None).await);
    if is_blocked(Check::ResourceMetadata, &observed) {
        return Ok(observed);
    }
    discover(&mut observed, &requests, &url).await;
    sign_in::pages(&mut observed, &requests, &url, target).await;
    for (origin, required) in target.origins() {
        observed.pages.push(requests.page(&url, origin, required).await);
    }
    if !is_blocked(Check::Token, &observed) {
        let token = match (&target.credentials, &target.user_token) {
            (Some(credentials), _) => mcp::of_client(&mut observed, &requests, &url, credentials).await,
            (None, Some(user_token)) => mcp::of_user(&mut observed, user_token.as_ref()).await,
            (None, None) => None,
        };
        if let Some(token) = token {
            mcp::session(&mut observed, &mut requests, &url, &token).await;
        }
    }
    Ok(observed)
}

/// Reads the metadata documents and the keys, each from where the one before says.
async fn discover(observed: &mut Observations, requests: &Requests, url: &PublicUrl) {
    observed.resource_metadata = Some(requests.get(&url.resource_metadata_url()).await);
    if is_blocked(Check::IssuerMetadata, observed) {
        return;
    }
    observed.issuer_metadata = match observed.issuer() {
        Some(issuer) => requests.discover_issuer(issuer).await,
        None => None,
    };
    if is_blocked(Check::Jwks, observed) {
        return;
    }
    if let Some(keys) = observed.issuer_field("jwks_uri") {
        observed.jwks = Some(requests.get(&keys).await);
    }
}

/// The port of the URL.
fn port(url: &PublicUrl) -> u16 {
    let explicit = url.authority().rsplit_once(':').and_then(|(_, port)| port.trim_end_matches(']').parse().ok());
    let default = if url.is_https() { 443 } else { 80 };
    explicit.filter(|_| !url.authority().ends_with(']')).unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_that_of_the_url() {
        for (url, expected) in [
            ("https://mcp.example.com/mcp", 443),
            ("https://mcp.example.com:8443/mcp", 8443),
            ("http://127.0.0.1/mcp", 80),
            ("http://[::1]:8080/mcp", 8080),
            ("https://[2001:db8::1]/mcp", 443),
        ] {
            assert_eq!(port(&url.parse().unwrap()), expected, "{url}");
        }
    }
}
