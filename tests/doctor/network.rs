//! Endpoints that no HTTP request reaches.

use crate::{
    certificates::{Authority, TlsListener, parameters, self_signed, valid},
    examined::{cause, expect_cause, report, without_credentials},
};
use axum::serve::Listener as _;
use portcullis_doctor::{Code, Target};
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

#[tokio::test]
async fn a_url_of_another_shape() {
    for url in
        ["http://mcp.example.com/mcp", "https://mcp.example.com", "mcp.example.com/mcp", "https://ada:hush@h/mcp"]
    {
        let report = report(&without_credentials(url)).await;
        assert_eq!(cause(&report), Some(Code::UrlInvalid), "{report}");
        assert!(!report.to_string().contains("hush"), "{report}");
    }
}

#[tokio::test]
async fn a_name_without_an_address() {
    expect_cause(&without_credentials("https://no-such-host.invalid/mcp"), Code::DnsFailed).await;
}

#[tokio::test]
async fn a_port_on_which_nothing_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    expect_cause(&without_credentials(&format!("http://{address}/mcp")), Code::TcpRefused).await;
}

/// Handles each connection like this, and examines a URL of this scheme.
async fn raw<F: Future<Output = ()> + Send + 'static>(
    scheme: &str,
    handle: impl Fn(TcpStream) -> F + Send + 'static,
    code: Code,
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("{scheme}://{}/mcp", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(handle(stream));
        }
    });
    expect_cause(&without_credentials(&url), code).await;
    task.abort();
}

async fn plain_http(mut stream: TcpStream) {
    let _ = stream.read(&mut [0; 4096]).await;
    let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").await;
}

async fn closed(stream: TcpStream) {
    drop(stream);
}

async fn silent(stream: TcpStream) {
    std::future::pending::<()>().await;
    drop(stream);
}

#[tokio::test]
async fn plain_http_instead_of_tls() {
    raw("https", plain_http, Code::TlsNotSpoken).await;
}

#[tokio::test]
async fn connections_that_are_closed() {
    raw("https", closed, Code::TlsRefused).await;
    raw("http", closed, Code::HttpBroken).await;
}

#[tokio::test]
async fn a_server_that_never_answers() {
    raw("http", silent, Code::HttpTimeout).await;
}

/// Examines a server with this certificate.
async fn presented(acceptor: TlsAcceptor, ca: Option<String>, code: Code) {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/mcp", tcp.local_addr().unwrap());
    let mut listener = TlsListener { tcp, acceptor };
    let task = tokio::spawn(async move {
        loop {
            drop(listener.accept().await);
        }
    });
    expect_cause(&Target { ca, ..without_credentials(&url) }, code).await;
    task.abort();
}

#[tokio::test]
async fn certificates_of_a_known_authority() {
    let authority = Authority::new();
    let host = "127.0.0.1";
    let mut for_clients = parameters(host);
    for_clients.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    for (parameters, code) in [
        (valid(parameters(host), -90, -1), Code::TlsExpired),
        (valid(parameters(host), 2, 90), Code::TlsNotYetValid),
        (parameters("other.example.com"), Code::TlsWrongName),
        (for_clients, Code::TlsInvalid),
    ] {
        presented(authority.issue(&parameters), Some(authority.pem()), code).await;
    }
}

#[tokio::test]
async fn certificates_of_unknown_issuers() {
    let host = "127.0.0.1";
    // As `openssl req -x509` makes them.
    let mut of_authority = parameters(host);
    of_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    presented(self_signed(&parameters(host)), None, Code::TlsSelfSigned).await;
    presented(self_signed(&of_authority), None, Code::TlsSelfSigned).await;
    presented(Authority::new().issue(&parameters(host)), Some(Authority::new().pem()), Code::TlsUnknownAuthority).await;
}
