//! The pages of web applications: https origins from which a browser calls.

use crate::authority::Authority;
use rustls::{ServerConfig, pki_types::PrivatePkcs8KeyDer};
use std::{io, net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

const PAGE: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 36\r\nconnection: close\r\n\r\n\
                    <!doctype html><title>An app</title>";

/// Answers every request of these hosts with an empty page.
pub struct Apps {
    pub address: SocketAddr,
    _task: JoinSet<()>,
}

impl Apps {
    pub async fn start(authority: &Authority, hosts: &[&str]) -> Self {
        let pair = authority.certify(hosts);
        let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![pair.certificate], PrivatePkcs8KeyDer::from(pair.key).into())
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut answers = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                // A browser opens connections that it does not use.
                answers.spawn(answer(stream, acceptor.clone()));
            }
        });
        Self { address, _task: task }
    }
}

async fn answer(stream: TcpStream, acceptor: TlsAcceptor) -> io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    stream.write_all(PAGE.as_bytes()).await?;
    stream.shutdown().await
}
