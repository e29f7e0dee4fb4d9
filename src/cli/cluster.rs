//! The connection to the API server.

use http::Response;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioExecutor};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder, ConfigExt as _},
};
use std::time::Duration;
use tower::ServiceBuilder;

/// The idle time of a connection before the first TCP keepalive probe, and the interval of the probes.
const KEEPALIVE: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 2;

/// A Kubernetes client like kube's default one, but with TCP_NODELAY, without which a request with a body waits 40 ms
/// for a delayed ACK, and with TCP keepalive, which detects a dead peer within 15 seconds. `heard` is called after each
/// successful response. With a proxy, it is kube's default client, and `heard` is never called.
pub fn client(config: Config, heard: impl Fn() + Clone + Send + Sync + 'static) -> Result<Client, kube::Error> {
    if config.proxy_url.is_some() {
        return Client::try_from(config);
    }
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_keepalive(Some(KEEPALIVE));
    connector.set_keepalive_interval(Some(KEEPALIVE));
    connector.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build::<_, Body>(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_response(move |response: Response<_>| {
            if response.status().is_success() {
                heard();
            }
            response
        })
        .map_err(tower::BoxError::from)
        .service(http);
    Ok(ClientBuilder::new(service, config.default_namespace).build())
}
