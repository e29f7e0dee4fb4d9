//! TLS from mounted files: what is spoken, and certificates that are renewed, broken or late.

use crate::serve::{
    mounted::Files,
    stage::{PATIENCE, SECRET, Server, Setup, answer_to, client, header, ping, secret},
};
use reqwest::{Method, StatusCode, tls::TlsInfo};
use std::{sync::Arc, time::Duration};
use tokio::net::TcpStream;

/// A certificate and its key; and the certificate as it is sent.
fn certificate() -> ((String, String), Vec<u8>) {
    let names = ["127.0.0.1".to_owned()];
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names).unwrap();
    ((cert.pem(), signing_key.serialize_pem()), cert.der().to_vec())
}

fn over_tls(certificate: Option<(String, String)>) -> impl FnOnce(&mut Setup) {
    move |setup| {
        setup.config.tls = true;
        setup.config.url = setup.config.url.at_origin(&setup.config.url.origin().replace("http:", "https:"));
        setup.certificate = certificate;
    }
}

fn trusting(certificate: &[u8]) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.to_vec().into()).unwrap();
    Arc::new(rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

/// The certificate that a new connection meets.
async fn met(server: &Server) -> Vec<u8> {
    let url = format!("https://{}/jwks.json", server.address);
    let answer = client().get(url).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    answer.extensions().get::<TlsInfo>().unwrap().peer_certificate().unwrap().to_vec()
}

fn files(server: &Server, certificate: Option<(String, String)>) -> Files {
    Files { certificate, ..server.files(vec![secret(SECRET)]) }
}

async fn eventually<F: Future<Output = bool>>(reached: impl Fn() -> F) {
    let wait = async {
        while !reached().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("the server takes notice of the files");
}

#[tokio::test]
async fn tls_is_all_that_is_spoken() {
    let (pem, der) = certificate();
    let server = Server::set(over_tls(Some(pem))).await;
    let token = server.token().await;
    let answer = server.call(&token, &ping()).send().await.unwrap();
    assert_eq!((answer.status(), answer.version()), (StatusCode::OK, http::Version::HTTP_2));
    assert_eq!(header(&answer, "strict-transport-security"), "max-age=31536000");
    let old = reqwest::Client::builder().danger_accept_invalid_certs(true).http1_only().build().unwrap();
    let answer = old.get(format!("https://{}/jwks.json", server.address)).send().await.unwrap();
    assert_eq!((answer.status(), answer.version()), (StatusCode::OK, http::Version::HTTP_11));
    assert_eq!(met(&server).await, der);

    let stream = TcpStream::connect(server.address).await.unwrap();
    let answer = answer_to(stream, b"GET /jwks.json HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert!(!answer.contains("HTTP"), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn a_renewed_certificate_is_live_and_connections_live_on() {
    let ((first, first_der), (second, second_der)) = (certificate(), certificate());
    let server = Server::set(over_tls(Some(first.clone()))).await;
    let revision = server.revision().await.revision;
    let token = server.token().await;
    assert_eq!(met(&server).await, first_der);

    server.volume.replace(&files(&server, Some(second.clone())));
    eventually(|| async { met(&server).await == second_der }).await;
    assert_eq!(server.revision().await.revision, revision, "it is no part of the revision");
    // This client keeps its connection.
    let answer = server.call(&token, &ping()).send().await.unwrap();
    let seen = answer.extensions().get::<TlsInfo>().unwrap().peer_certificate().unwrap();
    assert_eq!((answer.status(), seen), (StatusCode::OK, &first_der[..]));

    let mixed = (second.0.clone(), first.1.clone());
    for (broken, word) in
        [(Some(mixed), "tls.key"), (None, "missing"), (Some(("hush".to_owned(), second.1)), "tls.crt")]
    {
        server.volume.replace(&files(&server, broken));
        server.eventually(|loaded| loaded.rejected.as_ref().is_some_and(|reason| reason.contains(word))).await;
        assert!(!server.revision().await.rejected.unwrap().contains("hush"));
        assert_eq!(met(&server).await, second_der, "the last good one stays");
        assert_eq!(server.private("/readyz").await.status(), StatusCode::OK);
    }
    server.volume.replace(&files(&server, Some(first)));
    server.eventually(|loaded| loaded.rejected.is_none()).await;
    assert_eq!(met(&server).await, first_der);
    server.stop().await;
}

#[tokio::test]
async fn a_server_waits_for_its_first_certificate() {
    let server = Server::set(over_tls(None)).await;
    let ready = server.private("/readyz").await;
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(ready.text().await.unwrap().contains("certificate"));
    assert!(server.revision().await.rejected.unwrap().contains("tls.crt is missing"));
    let stream = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(answer_to(stream, b"GET /jwks.json HTTP/1.1\r\nhost: h\r\n\r\n").await, "");

    let (pem, der) = certificate();
    server.volume.replace(&files(&server, Some(pem)));
    eventually(|| async { server.private("/readyz").await.status() == StatusCode::OK }).await;
    assert_eq!(met(&server).await, der);
    assert_eq!(server.request(Method::GET, "/jwks.json").send().await.unwrap().status(), StatusCode::OK);
    server.stop().await;
}

#[tokio::test]
async fn a_proxy_speaks_first_and_tls_follows() {
    let (pem, der) = certificate();
    let server = Server::set(|setup| {
        over_tls(Some(pem))(setup);
        setup.config.access.proxy_protocol = true;
        setup.config.access.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        setup.config.access.allowed_cidrs = vec!["198.51.100.0/24".parse().unwrap()];
    })
    .await;
    for (from, status) in [("198.51.100.7", "HTTP/1.1 200 "), ("203.0.113.7", "HTTP/1.1 403 ")] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let line = format!("PROXY TCP4 {from} 192.0.2.1 4711 443\r\n");
        tokio::io::AsyncWriteExt::write_all(&mut stream, line.as_bytes()).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
        let stream = tokio_rustls::TlsConnector::from(trusting(&der)).connect(name, stream).await.unwrap();
        let request = b"GET /jwks.json HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
        let answer = answer_to(stream, request).await;
        assert!(answer.starts_with(status), "{answer}");
    }
    server.stop().await;
}
