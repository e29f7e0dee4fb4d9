//! A proxy in front of a server, with a fault.

use crate::certificates::TlsListener;
use axum::{Router, body::Body, extract::Request, response::Response};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use http_body_util::BodyExt as _;
use std::net::SocketAddr;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

/// Changes a request on its way to the server.
pub type RequestFault = fn(&mut http::Request<Bytes>);
/// Changes a response on its way to the client.
pub type ResponseFault = fn(&Seen, http::Response<Bytes>) -> http::Response<Bytes>;

/// What a proxy does wrong.
#[derive(Clone, Copy)]
pub struct Fault {
    pub request: RequestFault,
    pub response: ResponseFault,
}

impl Fault {
    pub const NONE: Self = Self { request: |_| {}, response: |_, response| response };

    pub const fn of_request(request: RequestFault) -> Self {
        Self { request, ..Self::NONE }
    }

    pub const fn of_response(response: ResponseFault) -> Self {
        Self { response, ..Self::NONE }
    }
}

/// The request, as the client sent it.
pub struct Seen {
    /// The origin of the proxy.
    pub origin: String,
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
}

/// A proxy that listens, but does not answer yet.
pub struct Front {
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    address: SocketAddr,
}

/// A proxy that answers. It ends with this value.
pub struct Running(JoinHandle<()>);

impl Front {
    pub async fn bind(acceptor: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, acceptor, address }
    }

    pub fn origin(&self) -> String {
        let scheme = if self.acceptor.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    pub fn url(&self) -> String {
        format!("{}/mcp", self.origin())
    }

    /// Passes requests to the server at this address, with the fault.
    pub fn pass_to(self, server: SocketAddr, fault: Fault) -> Running {
        let origin = self.origin();
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let app = Router::new()
            .fallback(move |request: Request| pass(client.clone(), origin.clone(), server, fault, request));
        Running(tokio::spawn(async move {
            match self.acceptor {
                Some(acceptor) => axum::serve(TlsListener { tcp: self.listener, acceptor }, app).await.unwrap(),
                None => axum::serve(self.listener, app).await.unwrap(),
            }
        }))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn pass(client: reqwest::Client, origin: String, server: SocketAddr, fault: Fault, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let seen = Seen {
        origin,
        method: parts.method.clone(),
        path: parts.uri.path().to_owned(),
        headers: parts.headers.clone(),
    };
    let mut request = http::Request::from_parts(parts, body.collect().await.unwrap().to_bytes());
    (fault.request)(&mut request);
    let (mut parts, body) = request.into_parts();
    // A fault may have changed the body.
    parts.headers.remove(header::CONTENT_LENGTH);
    let answer = client
        .request(parts.method, format!("http://{server}{}", parts.uri.path()))
        .headers(parts.headers)
        .body(body)
        .send()
        .await
        .unwrap();
    let mut response = http::Response::builder().status(answer.status());
    *response.headers_mut().unwrap() = answer.headers().clone();
    let response = response.body(answer.bytes().await.unwrap()).unwrap();
    let mut response = (fault.response)(&seen, response);
    response.headers_mut().remove(header::TRANSFER_ENCODING);
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.map(Body::from)
}

/// A response of the proxy itself.
pub fn page(status: StatusCode) -> http::Response<Bytes> {
    let response = http::Response::builder().status(status).header(header::CONTENT_TYPE, "text/html");
    response.body(Bytes::from_static(b"<html>")).unwrap()
}

/// A redirect by the proxy itself.
pub fn redirect(location: &str) -> http::Response<Bytes> {
    let response = http::Response::builder().status(StatusCode::PERMANENT_REDIRECT);
    response.header(header::LOCATION, location).body(Bytes::new()).unwrap()
}
