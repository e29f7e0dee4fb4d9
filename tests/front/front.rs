//! What the tests share: a node, the product installed in it, and Traefik in front.

use crate::{
    authority::Authority,
    node::Node,
    support::operator::{Operator, install},
    traefik::Traefik,
};
use reqwest::{
    ClientBuilder,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect::Policy,
};
use rustls::pki_types::{CertificateDer, ServerName};
use std::{iter, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::TcpStream,
    sync::{Mutex, MutexGuard, OnceCell},
};
use tokio_rustls::TlsConnector;

pub struct Front {
    pub node: Node,
    pub traefik: Traefik,
    pub authority: Authority,
    _operator: Operator,
    turn: Mutex<()>,
}

impl Front {
    /// None, said on standard error, where this machine cannot have a node.
    pub async fn shared() -> Option<&'static Self> {
        static SHARED: OnceCell<Option<Front>> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await.as_ref()
    }

    async fn start() -> Option<Self> {
        // Other clients than those below want one for the whole process; where there is one, it is this one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let node = Node::start_with(&["two-nodes"]).await?;
        let traefik = Traefik::start(&node).await;
        install(&node);
        node.apply(include_str!("../../deploy/exec-policy.yaml"));
        let image = format!("--server-image={}", node.portcullis_image().await);
        let operator = Operator::start(&node, node.url(), "one", &[&image]).await;
        Some(Self { node, traefik, authority: Authority::new(), _operator: operator, turn: Mutex::new(()) })
    }

    /// Keeps the other tests away, as long as it is held: what is measured is not to be disturbed.
    pub async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// A client for which every name is where Traefik is.
    pub fn http(&self) -> ClientBuilder {
        self.http_at(self.traefik.address)
    }

    /// A client for which every name is at an address.
    pub fn http_at(&self, address: SocketAddr) -> ClientBuilder {
        reqwest::Client::builder()
            .tls_backend_preconfigured(self.authority.trusted())
            .dns_resolver(Arc::new(Always(address)))
            .redirect(Policy::none())
            .timeout(Duration::from_secs(30))
    }

    /// The certificate that is served for a host at an address.
    pub async fn certificate_at(&self, address: SocketAddr, host: &str) -> Option<CertificateDer<'static>> {
        let connector = TlsConnector::from(Arc::new(self.authority.trusted()));
        let stream = TcpStream::connect(address).await.ok()?;
        let stream = connector.connect(ServerName::try_from(host.to_owned()).ok()?, stream).await.ok()?;
        Some(stream.get_ref().1.peer_certificates()?.first()?.clone().into_owned())
    }
}

/// Finds every name at one address.
struct Always(SocketAddr);

impl Resolve for Always {
    fn resolve(&self, _name: Name) -> Resolving {
        let addresses: Addrs = Box::new(iter::once(self.0));
        Box::pin(std::future::ready(Ok(addresses)))
    }
}
