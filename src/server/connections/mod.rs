//! Connections: accepted as long as there is room, greeted (the PROXY protocol, TLS), served with HTTP/1.1 or HTTP/2 as
//! long as the other end does its part, and drained at the end.

mod activity;
mod patient;
mod proxy;

pub use activity::Patience;
pub use proxy::ProxyError;

use crate::chain::chain;
use activity::{Activity, Sending};
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{HeaderValue, Request, Response, Version, header};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::{
        conn::auto,
        graceful::{GracefulShutdown, Watcher},
    },
};
use ipnet::IpNet;
use patient::Patient;
use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{either::Either, sync::CancellationToken, task::TaskTracker};
use tower::{Service, ServiceExt as _};

/// How long a client may stay silent on HTTP/2, where it is asked whether it is still there.
const PING: Duration = Duration::from_secs(30);
/// The largest head of a request: 431 beyond.
const MAX_HEAD: u32 = 64 << 10;
/// The pause after the system had no more file descriptors to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long the places that hold now are waited for.
const PLACES_PAUSE: Duration = Duration::from_secs(1);

/// What holds for new connections. Asked for anew with each, so that it may change while a listener runs.
#[derive(Clone, Default)]
pub struct Terms {
    /// The places for connections; `None`: there may be any number.
    pub places: Option<Arc<Semaphore>>,
    /// From where connections begin with a header of the PROXY protocol.
    pub proxies: Vec<IpNet>,
    /// Whether TLS is spoken.
    pub tls: Tls,
    /// How patient the listener is.
    pub patience: Patience,
}

/// Whether TLS is spoken.
#[derive(Clone, Default)]
pub enum Tls {
    /// No.
    #[default]
    Off,
    /// It must be, but there is no certificate yet.
    Missing,
    /// Yes, with this certificate.
    On(Arc<rustls::ServerConfig>),
}

/// When a listener stops.
pub struct Stopping<'a> {
    /// When it is told to.
    pub shutdown: &'a CancellationToken,
    /// For how long it goes on accepting after that: until everybody has heard that it stops.
    pub lame_duck: Duration,
}

/// Why a connection was closed before it was served.
#[derive(Debug, thiserror::Error)]
enum GreetingError {
    #[error("the connection came through a proxy that does not say from whom")]
    Proxy(#[from] ProxyError),
    #[error("TLS could not be agreed upon")]
    Tls(#[source] io::Error),
    #[error("there is no certificate to speak TLS with")]
    NoCertificate,
    #[error("the headers of the PROXY protocol and of TLS did not arrive in time")]
    Slow,
}

/// Serves a listener until it stops, then lets running requests finish for as long as `grace` says at that moment.
pub async fn serve<S>(
    listener: TcpListener,
    service: S,
    terms: impl Fn() -> Terms,
    stopping: Stopping<'_>,
    grace: impl FnOnce() -> Duration,
) where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    let Stopping { shutdown, lame_duck } = stopping;
    let host = Host::new(service, shutdown.clone());
    let drain = GracefulShutdown::new();
    let mut stopped = pin!(async {
        shutdown.cancelled().await;
        tokio::time::sleep(lame_duck).await;
    });
    loop {
        let (accepted, place) = tokio::select! {
            () = &mut stopped => break,
            accepted = accept(&listener, &terms) => accepted,
        };
        match accepted {
            Ok((stream, peer)) => host.receive(stream, peer, place, terms(), drain.watcher()),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // From here on, connecting is refused.
    drop(listener);
    let finished = timeout(grace(), drain.shutdown()).await;
    if finished.is_err() {
        tracing::warn!("some requests did not finish in time and were cut off");
    }
    host.abort.cancel();
    host.tasks.close();
    host.tasks.wait().await;
}

/// The next connection, as soon as there is a place for it.
async fn accept(
    listener: &TcpListener,
    terms: impl Fn() -> Terms,
) -> (io::Result<(TcpStream, SocketAddr)>, Option<OwnedSemaphorePermit>) {
    let place = loop {
        let Some(places) = terms().places else { break None };
        // Asked for anew now and then: there may be more of them since.
        if let Ok(place) = timeout(PLACES_PAUSE, places.acquire_owned()).await {
            break place.ok();
        }
    };
    (listener.accept().await, place)
}

/// Whoever serves connections.
#[derive(Clone)]
struct Host<S> {
    service: S,
    builder: auto::Builder<TrackedExecutor>,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    abort: CancellationToken,
}

impl<S> Host<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    fn new(service: S, shutdown: CancellationToken) -> Self {
        let (tasks, abort) = (TaskTracker::new(), CancellationToken::new());
        let mut builder = auto::Builder::new(TrackedExecutor { tasks: tasks.clone(), abort: abort.clone() });
        // Its own limit would close connections that are kept for later; see `patient`.
        builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(MAX_HEAD as usize);
        builder.http2().timer(TokioTimer::new()).keep_alive_interval(PING).keep_alive_timeout(PING);
        builder.http2().max_header_list_size(MAX_HEAD);
        Self { service, builder, shutdown, tasks, abort }
    }

    /// Has a task serve a connection.
    fn receive(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        place: Option<OwnedSemaphorePermit>,
        terms: Terms,
        drain: Watcher,
    ) {
        let host = self.clone();
        self.tasks.spawn(async move {
            let _place = place;
            let abort = host.abort.clone();
            abort.run_until_cancelled(host.attend(stream, peer, terms, drain)).await;
        });
    }

    async fn attend(self, stream: TcpStream, peer: SocketAddr, terms: Terms, drain: Watcher) {
        // Answers are small, and written whole: waiting for more to send only delays them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let greeted = timeout(terms.patience.handshake, greet(stream, peer, &terms)).await;
        let (stream, client) = match greeted.unwrap_or(Err(GreetingError::Slow)) {
            Ok(greeted) => greeted,
            Err(error) => {
                tracing::debug!(error = chain(&error), %peer, "a connection was closed");
                return;
            }
        };
        let activity = Activity::new(Instant::now());
        let patient = Patient::new(stream, Arc::clone(&activity), terms.patience);
        let answer = service_fn(|request: Request<Incoming>| {
            let turn = activity.begin();
            if request.version() == Version::HTTP_2 {
                activity.speaks_frames();
            }
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(client));
            let last = self.shutdown.is_cancelled() && request.version() < Version::HTTP_2;
            let answer = self.service.clone().oneshot(request);
            async move {
                let mut response = answer.await?;
                if last {
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response.map(|body| Sending::new(body, turn)))
            }
        });
        let connection = self.builder.serve_connection(TokioIo::new(patient), answer);
        if let Err(error) = drain.watch(connection).await {
            // Clients that vanish are no news.
            tracing::debug!(%error, %peer, "a connection ended early");
        }
    }
}

/// What comes before HTTP: the header of the PROXY protocol, then TLS. With the address of the client.
async fn greet(
    mut stream: TcpStream,
    peer: SocketAddr,
    terms: &Terms,
) -> Result<(Either<TcpStream, TlsStream<TcpStream>>, SocketAddr), GreetingError> {
    let address = peer.ip().to_canonical();
    let through_proxy = terms.proxies.iter().any(|network| network.contains(&address));
    let named = if through_proxy { proxy::read(&mut stream).await? } else { None };
    let stream = match &terms.tls {
        Tls::Off => Either::Left(stream),
        Tls::Missing => return Err(GreetingError::NoCertificate),
        Tls::On(config) => {
            let accepted = TlsAcceptor::from(Arc::clone(config)).accept(stream).await;
            Either::Right(accepted.map_err(GreetingError::Tls)?)
        }
    };
    Ok((stream, named.unwrap_or(peer)))
}

/// Runs the streams of HTTP/2 connections, so that they too are waited for and cut off at the end.
#[derive(Clone)]
struct TrackedExecutor {
    tasks: TaskTracker,
    abort: CancellationToken,
}

impl<F> hyper::rt::Executor<F> for TrackedExecutor
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        let abort = self.abort.clone();
        self.tasks.spawn(async move {
            let future = pin!(future);
            abort.run_until_cancelled(future).await;
        });
    }
}
