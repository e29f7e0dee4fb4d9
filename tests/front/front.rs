//! What the tests share: a node, the product installed in it, and Traefik in front.

use crate::{authority::Authority, node::Node, script::installed, traefik::Traefik};
use reqwest::{
    ClientBuilder,
    dns::{Addrs, Name, Resolve, Resolving},
    redirect::Policy,
};
use rustls::pki_types::{CertificateDer, ServerName};
use std::{iter, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::TcpStream,
    process::Command,
    sync::{Mutex, MutexGuard, OnceCell},
    time::Instant,
};
use tokio_rustls::TlsConnector;

pub struct Front {
    pub node: Node,
    pub traefik: Traefik,
    pub authority: Authority,
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
        let node = Node::start_with(&[("two-nodes", "")]).await?;
        // The chart brings them.
        assert!(node.kubectl(&["delete", "crd", "--all"]).status.success());
        let traefik = Traefik::start(&node).await;
        node.portcullis_image().await;
        let begun = Instant::now();
        helm_install(&node).await;
        println!("helm install, until the operator is ready: {:.1} s", begun.elapsed().as_secs_f64());
        Some(Self { node, traefik, authority: Authority::new(), turn: Mutex::new(()) })
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

/// Installs the chart, with this checkout's image.
async fn helm_install(node: &Node) {
    let tools = installed("chart/tools/build.sh").await;
    let mut helm = Command::new(format!("{tools}/helm"));
    helm.args(["install", "portcullis", concat!(env!("CARGO_MANIFEST_DIR"), "/charts/portcullis")]);
    helm.args(["--namespace", "portcullis-system", "--create-namespace", "--wait", "--timeout", "2m"]);
    helm.args(["--set", "image.repository=local/portcullis,image.tag=test,image.pullPolicy=Never"]);
    helm.env("KUBECONFIG", node.admin_kubeconfig()).env("HOME", node.folder());
    let done = helm.output().await.unwrap();
    let shown = || node.kubectl(&["get", "pods,events", "--namespace", "portcullis-system"]);
    assert!(done.status.success(), "{done:?}\n{:?}", shown());
}

/// Finds every name at one address.
struct Always(SocketAddr);

impl Resolve for Always {
    fn resolve(&self, _name: Name) -> Resolving {
        let addresses: Addrs = Box::new(iter::once(self.0));
        Box::pin(std::future::ready(Ok(addresses)))
    }
}
