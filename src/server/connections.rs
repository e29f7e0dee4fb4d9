//! Connections: accepted, served with HTTP/1.1 or HTTP/2, and drained at the end.

use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use std::{convert::Infallible, net::SocketAddr, pin::pin, time::Duration};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::{Service, ServiceExt as _};

/// How long a client may take to send the head of a request, and how long it may stay silent on HTTP/2.
const PATIENCE: Duration = Duration::from_secs(30);
/// The pause after the system had no more file descriptors to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves a listener until `shutdown`, then lets running requests finish for as long as `grace` says at that moment.
pub async fn serve<S>(listener: TcpListener, service: S, shutdown: &CancellationToken, grace: impl FnOnce() -> Duration)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    let tasks = TaskTracker::new();
    let abort = CancellationToken::new();
    let drain = GracefulShutdown::new();
    let mut builder = auto::Builder::new(TrackedExecutor { tasks: tasks.clone(), abort: abort.clone() });
    builder.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(PATIENCE).keep_alive_timeout(PATIENCE);

    while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let connection = builder.serve_connection(TokioIo::new(prepared(stream)), for_peer(service.clone(), peer));
        let connection = drain.watch(connection.into_owned());
        let abort = abort.clone();
        tasks.spawn(async move {
            if let Some(Err(error)) = abort.run_until_cancelled(connection).await {
                // Clients that vanish are no news.
                tracing::debug!(%error, %peer, "a connection ended early");
            }
        });
    }
    // From here on, connecting is refused.
    drop(listener);
    let finished = tokio::time::timeout(grace(), drain.shutdown()).await;
    if finished.is_err() {
        tracing::warn!("some requests did not finish in time and were cut off");
    }
    abort.cancel();
    tasks.close();
    tasks.wait().await;
}

fn prepared(stream: TcpStream) -> TcpStream {
    // Answers are small, and written whole: waiting for more to send only delays them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    stream
}

/// The service, told who is at the other end.
fn for_peer<S>(
    service: S,
    peer: SocketAddr,
) -> TowerToHyperService<
    impl Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone,
>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
{
    TowerToHyperService::new(service.map_request(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        request
    }))
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
