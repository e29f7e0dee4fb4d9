//! Connections: the limit of their number, handshakes (PROXY protocol, TLS), HTTP/1.1 and HTTP/2 with timeouts, and
//! draining at shutdown.

mod activity;
mod open;
mod proxy;
mod streams;
mod timeout_io;

pub(crate) use activity::{ConnectionTimeouts, Unsent};
pub(crate) use open::Connections;
pub(crate) use proxy::ProxyError;

use activity::{Activity, InFlightBody};
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
use open::{ConnectionPermit, NotAdmitted};
use portcullis_core::report::chain;
use socket2::SockRef;
use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};
use streams::TrackedExecutor;
use timeout_io::TimeoutIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{either::Either, sync::CancellationToken, task::TaskTracker};
use tower::{Service, ServiceExt as _};

/// The interval and the timeout of HTTP/2 pings.
const PING: Duration = Duration::from_secs(30);
/// The maximum size of a request's head in bytes; larger ones are answered with 431.
const MAX_HEAD: u32 = 64 << 10;
/// The pause after a failed accept, such as without free file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The time to wait for a permit before the terms are read again.
const PERMIT_PAUSE: Duration = Duration::from_secs(1);
/// The socket buffer in each direction, in bytes; Linux doubles it. It counts as memory of the container.
const SOCKET_BUFFER: usize = 64 << 10;
/// The HTTP/2 flow-control windows of a stream and of a connection, in bytes.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;
/// The HTTP/2 send buffer of a stream, in bytes.
const SEND_BUFFER: usize = 64 << 10;
/// The maximum number of concurrent HTTP/2 streams of a connection.
const STREAMS: u32 = 100;
/// The maximum number of concurrent long HTTP/1.1 heads.
const LONG_HEADS: usize = 64;

/// The settings for new connections. They are read for each connection, so that they can change while a listener runs.
#[derive(Clone, Default)]
pub(crate) struct Terms {
    /// The open connections and their limit; `None`: no limit.
    pub connections: Option<Arc<Connections>>,
    /// Trusted proxies, which may use every permit and have longer timeouts.
    pub trusted: Vec<IpNet>,
    /// The peers that send a PROXY protocol header.
    pub proxies: Vec<IpNet>,
    /// Whether the listener uses TLS.
    pub tls: Tls,
    /// The timeouts.
    pub timeouts: ConnectionTimeouts,
}

/// Whether a listener uses TLS.
#[derive(Clone, Default)]
pub(crate) enum Tls {
    /// TLS is not used.
    #[default]
    Off,
    /// TLS is required, but there is no certificate yet.
    Missing,
    /// TLS is used, with this certificate.
    On(Arc<rustls::ServerConfig>),
}

/// When a listener stops.
pub(crate) struct Stopping<'a> {
    /// Cancelled to stop the listener.
    pub shutdown: &'a CancellationToken,
    /// The lame-duck period: the listener accepts connections for this long after that, until every proxy knows that it
    /// stops.
    pub lame_duck: Duration,
}

/// Why a connection was closed before its first request.
#[derive(Debug, thiserror::Error)]
enum HandshakeError {
    #[error("the PROXY protocol header could not be read")]
    Proxy(#[from] ProxyError),
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
    #[error("there is no TLS certificate yet")]
    NoCertificate,
    #[error("the PROXY protocol header and the TLS handshake took too long")]
    Slow,
}

/// Serves a listener until it stops, then lets running requests finish. `grace` returns the time limit for that, and is
/// called at that moment.
pub(crate) async fn serve<S>(
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
    let host = ConnectionServer::new(service, shutdown.clone());
    let drain = GracefulShutdown::new();
    let mut stopped = pin!(async {
        shutdown.cancelled().await;
        tokio::time::sleep(lame_duck).await;
    });
    loop {
        let accepted = tokio::select! {
            () = &mut stopped => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let activity = Activity::new(Instant::now());
        let permit = tokio::select! {
            () = &mut stopped => break,
            permit = permit(peer, &activity, &terms) => permit,
        };
        if let Ok(permit) = permit {
            host.receive(stream, peer, permit, activity, terms(), drain.watcher());
        } else {
            tracing::debug!(%peer, "a connection was refused: its address has reached its share");
        }
    }
    // From here on, new connections are refused.
    drop(listener);
    let finished = timeout(grace(), drain.shutdown()).await;
    if finished.is_err() {
        tracing::warn!("some requests did not finish in time and were aborted");
    }
    host.abort.cancel();
    host.tasks.close();
    host.tasks.wait().await;
}

/// Waits for a permit for a connection. While all connections have requests in flight, new ones wait in the system's
/// accept queue.
async fn permit(
    peer: SocketAddr,
    activity: &Arc<Activity>,
    terms: impl Fn() -> Terms,
) -> Result<Option<ConnectionPermit>, NotAdmitted> {
    loop {
        let terms = terms();
        let Some(connections) = &terms.connections else { return Ok(None) };
        match connections.admit(peer.ip().to_canonical(), terms.trusts(peer), activity) {
            Err(NotAdmitted::Full) => {
                // Read the terms again from time to time, since the limit can change.
                let _ = timeout(PERMIT_PAUSE, connections.freed()).await;
            }
            admitted => return admitted.map(Some),
        }
    }
}

impl Terms {
    fn trusts(&self, peer: SocketAddr) -> bool {
        let address = peer.ip().to_canonical();
        self.trusted.iter().any(|network| network.contains(&address))
    }
}

/// Serves connections.
#[derive(Clone)]
struct ConnectionServer<S> {
    service: S,
    builder: auto::Builder<TrackedExecutor>,
    long_heads: Arc<Semaphore>,
    shutdown: CancellationToken,
    tasks: TaskTracker,
    abort: CancellationToken,
}

impl<S> ConnectionServer<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    fn new(service: S, shutdown: CancellationToken) -> Self {
        let (tasks, abort) = (TaskTracker::new(), CancellationToken::new());
        let mut builder = auto::Builder::new(TrackedExecutor::new(tasks.clone(), abort.clone()));
        // hyper's own timeout would close idle connections; see `timeout_io`.
        builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(MAX_HEAD as usize);
        builder.http2().timer(TokioTimer::new()).keep_alive_interval(PING).keep_alive_timeout(PING);
        builder.http2().max_header_list_size(MAX_HEAD).max_concurrent_streams(STREAMS).max_send_buf_size(SEND_BUFFER);
        builder.http2().initial_stream_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
        Self { service, builder, long_heads: Arc::new(Semaphore::new(LONG_HEADS)), shutdown, tasks, abort }
    }

    /// Spawns a task that serves a connection.
    fn receive(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        permit: Option<ConnectionPermit>,
        activity: Arc<Activity>,
        terms: Terms,
        drain: Watcher,
    ) {
        let host = self.clone();
        self.tasks.spawn(async move {
            let abort = host.abort.clone();
            let attended = host.attend(stream, peer, Arc::clone(&activity), terms, drain);
            abort.run_until_cancelled(until_closed(attended, permit, &activity)).await;
        });
    }

    async fn attend(self, stream: TcpStream, peer: SocketAddr, activity: Arc<Activity>, terms: Terms, drain: Watcher) {
        let socket = SockRef::from(&stream);
        let sized =
            socket.set_send_buffer_size(SOCKET_BUFFER).and_then(|()| socket.set_recv_buffer_size(SOCKET_BUFFER));
        if let Err(error) = sized {
            tracing::debug!(%error, "the socket buffers of a connection could not be set");
        }
        // Responses are small and written at once: Nagle's algorithm would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        let handshaken = timeout(terms.timeouts.handshake, handshake(stream, peer, &terms)).await;
        let (stream, client) = match handshaken.unwrap_or(Err(HandshakeError::Slow)) {
            Ok(handshaken) => handshaken,
            Err(error) => {
                tracing::debug!(error = chain(&error), %peer, "a connection was closed");
                return;
            }
        };
        let untrusted = terms.connections.is_some() && !terms.trusts(peer);
        let timeouts = if untrusted { terms.timeouts.elsewhere() } else { terms.timeouts };
        let io = TimeoutIo::new(stream, Arc::clone(&activity), timeouts, Arc::clone(&self.long_heads));
        let answer = service_fn(|request: Request<Incoming>| {
            let mut in_flight = activity.begin();
            if request.version() == Version::HTTP_2 {
                activity.speaks_frames();
            }
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(client));
            let last = self.shutdown.is_cancelled() && request.version() < Version::HTTP_2;
            let answer = self.service.clone().oneshot(request);
            async move {
                let mut response = answer.await?;
                if let Some(unsent) = response.extensions_mut().remove::<Unsent>() {
                    streams::send_until(unsent.deadline());
                    in_flight.sends(unsent);
                }
                if last {
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response.map(|body| InFlightBody::new(body, in_flight)))
            }
        });
        let connection = self.builder.serve_connection(TokioIo::new(io), answer);
        if let Err(error) = drain.watch(connection).await {
            // Disconnects of clients are normal.
            tracing::debug!(%error, %peer, "a connection ended early");
        }
    }
}

/// The handshake before HTTP: the PROXY protocol header, then TLS. Also returns the address of the client.
async fn handshake(
    mut stream: TcpStream,
    peer: SocketAddr,
    terms: &Terms,
) -> Result<(Either<TcpStream, TlsStream<TcpStream>>, SocketAddr), HandshakeError> {
    let address = peer.ip().to_canonical();
    let through_proxy = terms.proxies.iter().any(|network| network.contains(&address));
    let named = if through_proxy { proxy::read(&mut stream).await? } else { None };
    let stream = match &terms.tls {
        Tls::Off => Either::Left(stream),
        Tls::Missing => return Err(HandshakeError::NoCertificate),
        Tls::On(config) => {
            let accepted = TlsAcceptor::from(Arc::clone(config)).accept(stream).await;
            Either::Right(accepted.map_err(HandshakeError::Tls)?)
        }
    };
    Ok((stream, named.unwrap_or(peer)))
}

/// Serves a connection until it ends, or until it is asked to close and is idle.
async fn until_closed(attended: impl Future<Output = ()>, permit: Option<ConnectionPermit>, activity: &Activity) {
    let Some(permit) = permit else { return attended.await };
    let mut attended = pin!(attended);
    loop {
        tokio::select! {
            biased;
            () = attended.as_mut() => return,
            () = permit.close_requested() => {
                if activity.idle_since().is_some() {
                    return;
                }
                permit.stays();
            }
        }
    }
}
