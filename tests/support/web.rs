//! A small public web: real TLS on loopback, behind names and public addresses that exist for the test only. What is
//! fetched from it passes the product's own rules; only looking up and dialling are the test's.

use async_trait::async_trait;
use portcullis_outbound::{Outbound, public_only::Network};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{RootCertStore, ServerConfig, pki_types::PrivatePkcs8KeyDer};
use serde_json::Value;
use std::{
    collections::HashMap,
    fmt::Write as _,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

/// Where every name is, unless a test says otherwise.
pub const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::new(93, 184, 215, 14));

/// What a URL answers.
#[derive(Clone)]
pub struct Page {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Body,
}

#[derive(Clone)]
pub enum Body {
    Text(String),
    /// Goes on for ever.
    Endless,
    /// Begins, and never ends.
    Stalled,
}

impl Page {
    pub fn json(value: &Value) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { status: 200, headers, body: Body::Text(value.to_string()) }
    }

    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.retain(|(found, _)| *found != name);
        self.headers.push((name, value.into()));
        self
    }

    pub fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }
}

/// The pages by host and path, and what happened so far.
#[derive(Default)]
struct State {
    pages: HashMap<String, Page>,
    hits: HashMap<String, usize>,
    /// What looking a name up finds, one after the other; the last for ever. Others are at [`PUBLIC`].
    names: HashMap<String, Vec<Vec<IpAddr>>>,
    lookups: Vec<String>,
    dialled: Vec<IpAddr>,
}

pub struct Web {
    state: Arc<Mutex<State>>,
    outbound: Arc<Outbound>,
    task: JoinHandle<()>,
}

struct TestNetwork {
    state: Arc<Mutex<State>>,
    server: SocketAddr,
}

impl std::fmt::Debug for TestNetwork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TestNetwork")
    }
}

#[async_trait]
impl Network for TestNetwork {
    async fn lookup(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let mut state = self.state.lock().unwrap();
        state.lookups.push(host.to_owned());
        Ok(match state.names.get_mut(host) {
            None => vec![PUBLIC],
            Some(found) if found.len() > 1 => found.remove(0),
            Some(found) => found[0].clone(),
        })
    }

    fn dial(&self, address: IpAddr) -> SocketAddr {
        self.state.lock().unwrap().dialled.push(address);
        self.server
    }
}

impl Web {
    /// A web of these hosts.
    pub async fn start(hosts: &[&str]) -> Self {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(authority.self_signed(&authority_key).unwrap().der().clone()).unwrap();
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
            .unwrap();

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let task = tokio::spawn({
            let state = Arc::clone(&state);
            async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
                    // Clients that hang up early are what some tests are about.
                    tokio::spawn(async move { answer(stream, acceptor, state).await });
                }
            }
        });
        let network = Arc::new(TestNetwork { state: Arc::clone(&state), server });
        Self { state, outbound: Arc::new(Outbound::over(network, roots).unwrap()), task }
    }

    /// What a server is given to reach this web.
    pub fn outbound(&self) -> Arc<Outbound> {
        Arc::clone(&self.outbound)
    }

    /// Publishes a page at `https://` and `place`.
    pub fn publish(&self, place: &str, page: Page) {
        self.state.lock().unwrap().pages.insert(place.to_owned(), page);
    }

    /// How often a place was asked for.
    pub fn hits(&self, place: &str) -> usize {
        self.state.lock().unwrap().hits.get(place).copied().unwrap_or(0)
    }

    /// Puts a name at these addresses, one set per look-up.
    pub fn resolve(&self, host: &str, answers: &[&[&str]]) {
        let parsed = answers.iter().map(|set| set.iter().map(|address| address.parse().unwrap()).collect()).collect();
        self.state.lock().unwrap().names.insert(host.to_owned(), parsed);
    }

    /// The names that were looked up.
    pub fn lookups(&self) -> Vec<String> {
        self.state.lock().unwrap().lookups.clone()
    }

    /// The addresses that were dialled.
    pub fn dialled(&self) -> Vec<IpAddr> {
        self.state.lock().unwrap().dialled.clone()
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(stream: TcpStream, acceptor: TlsAcceptor, state: Arc<Mutex<State>>) -> io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default();
    let host = head.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
    let place = format!("{host}{path}");
    let page = {
        let mut state = state.lock().unwrap();
        *state.hits.entry(place.clone()).or_default() += 1;
        state.pages.get(&place).cloned()
    };
    let missing = Page { status: 404, headers: Vec::new(), body: Body::Text(String::new()) };
    let page = page.unwrap_or(missing);
    let mut text = format!("HTTP/1.1 {} Any\r\nconnection: close\r\n", page.status);
    for (name, value) in &page.headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    if let Body::Text(body) = &page.body {
        let _ = write!(text, "content-length: {}\r\n", body.len());
    }
    stream.write_all(format!("{text}\r\n").as_bytes()).await?;
    match page.body {
        Body::Text(body) => stream.write_all(body.as_bytes()).await?,
        Body::Endless => loop {
            stream.write_all(&[b' '; 1024]).await?;
        },
        Body::Stalled => {
            stream.write_all(b"{").await?;
            stream.flush().await?;
            tokio::time::sleep(Duration::from_mins(10)).await;
        }
    }
    stream.shutdown().await
}
