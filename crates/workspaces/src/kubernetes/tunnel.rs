//! The persistent connection to a workspace agent: HTTP/2 over one exec stream, shared by all requests of this server.
//!
//! The first request opens the connection, and concurrent requests wait for it. It is closed after it was idle for a
//! while, and reopened if it is lost. A request that has not reached the workspace agent is sent again; a request that
//! may have reached it is sent again only if it is idempotent.

use crate::Status;
use crate::kubernetes::{
    activity::{Activity, Working},
    catalog::Catalog,
    exec::{self, ExecError},
};
use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::AttachedProcess};
use portcullis_agent::{
    AnswerBody, Lost, Repeat, Transport,
    http2::{self, Connection},
};
use portcullis_reflector::Lookup;
use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long a request waits for a connection: longer than a workspace agent takes to start, shorter than the timeout of
/// any request.
const CONNECTED_WITHIN: Duration = Duration::from_secs(10);
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(1);
/// The maximum number of attempts to send a request.
const TRIES: u32 = 3;
/// How long to try to end an abandoned command. After that, the workspace agent has ended it by itself.
const ABANDONED_WITHIN: Duration = Duration::from_secs(20);
/// How long to wait for the end of `agent connect`.
const ENDED_WITHIN: Duration = Duration::from_secs(2);

/// The context that all tunnels share.
pub(super) struct TunnelContext {
    pub pods: Api<Pod>,
    pub catalog: Arc<Catalog>,
    pub activity: Arc<Activity>,
    /// How long an idle connection stays open.
    pub idle: Duration,
    /// Tasks that outlive their request.
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
}

/// The connection to one workspace, whether it is open or not.
pub(super) struct Tunnel {
    context: Arc<TunnelContext>,
    /// The workspace's id and uid, and its pod.
    id: String,
    uid: String,
    pod: String,
    /// Locked while the connection is being opened.
    current: tokio::sync::Mutex<Option<TunnelConnection>>,
}

/// An open connection.
#[derive(Clone)]
struct TunnelConnection {
    connection: Connection,
    usage: Arc<ConnectionUsage>,
    /// The reason for its end, once the connection is closed.
    ended: watch::Receiver<Option<ExecError>>,
}

impl Tunnel {
    pub(super) fn new(context: Arc<TunnelContext>, id: &str, uid: &str, pod: &str) -> Self {
        let (id, uid, pod) = (id.to_owned(), uid.to_owned(), pod.to_owned());
        Self { context, id, uid, pod, current: tokio::sync::Mutex::default() }
    }

    /// The pod of the workspace.
    pub(super) fn pod(&self) -> &str {
        &self.pod
    }

    /// The open connection. Opens it if necessary, and retries until `deadline`.
    async fn connected(self: &Arc<Self>, deadline: Instant) -> Result<TunnelConnection, String> {
        let Ok(mut current) = tokio::time::timeout_at(deadline, self.current.lock()).await else {
            return Err(too_long("other requests wait for it too"));
        };
        if let Some(open) = current.as_ref().filter(|open| !open.connection.is_closed()) {
            return Ok(open.clone());
        }
        *current = None;
        let mut pause = FIRST_RETRY;
        loop {
            self.still_running()?;
            let why = match tokio::time::timeout_at(deadline, self.open()).await {
                Ok(Ok(open)) => return Ok(current.insert(open).clone()),
                Ok(Err(ExecError { why, passing: false })) => return Err(why),
                Ok(Err(ExecError { why, passing: true })) => why,
                Err(_) => return Err(too_long("its agent does not answer; call restart_workspace if this persists")),
            };
            if Instant::now() + pause > deadline {
                return Err(too_long(&why));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_RETRY);
        }
    }

    /// Fails if the workspace does not run, with the reason from its status.
    fn still_running(&self) -> Result<(), String> {
        if self.context.stop.is_cancelled() {
            return Err("this server is shutting down".to_owned());
        }
        match self.context.catalog.workspaces.find(&self.id) {
            Lookup::Present(entry) if entry.uid == self.uid => match entry.view.status {
                Status::Running => Ok(()),
                // Its pod is being replaced.
                Status::Starting if !entry.settled => Ok(()),
                _ => Err(entry.view.problem.clone().unwrap_or_default()),
            },
            _ => Err("it was deleted".to_owned()),
        }
    }

    async fn open(self: &Arc<Self>) -> Result<TunnelConnection, ExecError> {
        let (process, stream) = exec::connect(&self.context.pods, &self.pod).await?;
        let handshake = http2::handshake(stream, self.context.tasks.clone()).await;
        let (connection, moved) = handshake.map_err(|Lost { why, .. }| ExecError { why, passing: true })?;
        let (end_sender, ended) = watch::channel(None);
        let usage = Arc::new(ConnectionUsage::default());
        let unused = {
            let (used, idle, stop) = (Arc::clone(&usage), self.context.idle, self.context.stop.clone());
            async move { stop.run_until_cancelled(used.idle(idle)).await.unwrap_or_default() }
        };
        // Keeps the tunnel in the map while the connection is open.
        let open = Arc::clone(self);
        self.context.tasks.spawn(async move {
            end_sender.send_replace(Some(follow(moved, process, unused).await));
            drop(open);
        });
        let mut current = TunnelConnection { connection, usage, ended };
        match current.connection.send(request(&Method::GET, "/hello")).await {
            Ok(answer) if answer.status().is_success() => Ok(current),
            Ok(answer) => {
                Err(ExecError { why: format!("its agent answered with status {}", answer.status()), passing: false })
            }
            Err(lost) => Err(current.why_ended(lost).await),
        }
    }
}

/// Drives a connection to its end, or closes it when it is idle. Returns why it ended.
async fn follow(
    moved: impl Future<Output = Result<(), Lost>> + Send,
    mut process: AttachedProcess,
    unused: impl Future<Output = ()> + Send,
) -> ExecError {
    let mut moved = Box::pin(moved);
    let status = process.take_status();
    let mut status = pin!(async move {
        match status {
            Some(status) => status.await,
            None => None,
        }
    });
    let known = tokio::select! {
        _ = moved.as_mut() => None,
        // If the connection to the API server breaks, kube ends the status, but not the stream.
        status = status.as_mut() => Some(status),
        () = unused => None,
    };
    if let Some(Some(_)) = known {
        // Reads the data that was sent before the end.
        let _ = tokio::time::timeout(ENDED_WITHIN, moved.as_mut()).await;
    }
    // Dropping the connection closes the stream, and `agent connect` reads its end.
    drop(moved);
    let status = match known {
        Some(status) => status,
        None => tokio::time::timeout(ENDED_WITHIN, status).await.ok().flatten(),
    };
    exec::ended(status)
}

impl TunnelConnection {
    /// The reason for the end of the connection. The exec status is more precise than the error of HTTP/2.
    async fn why_ended(&mut self, lost: Lost) -> ExecError {
        let ended = tokio::time::timeout(ENDED_WITHIN, self.ended.wait_for(Option::is_some)).await;
        let end = ended.ok().and_then(|ended| ended.ok().and_then(|end| end.clone()));
        end.unwrap_or(ExecError { why: lost.why, passing: true })
    }
}

/// The number of requests in flight on a connection, and the time of the last change.
#[derive(Default)]
struct ConnectionUsage(Mutex<(usize, Option<Instant>)>);

impl ConnectionUsage {
    fn change(&self, change: impl FnOnce(usize) -> usize) {
        let mut usage = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *usage = (change(usage.0), Some(Instant::now()));
    }

    /// Returns once the connection has been idle for `after`.
    async fn idle(&self, after: Duration) {
        let opened = Instant::now();
        loop {
            let (in_flight, last) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let end = if in_flight > 0 { now + after } else { last.unwrap_or(opened) + after };
            if end <= now {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }
}

/// A request in flight.
struct InFlightRequest(Arc<ConnectionUsage>);

impl InFlightRequest {
    fn begin(usage: &Arc<ConnectionUsage>) -> Self {
        usage.change(|in_flight| in_flight + 1);
        Self(Arc::clone(usage))
    }
}

impl Drop for InFlightRequest {
    fn drop(&mut self) {
        self.0.change(|in_flight| in_flight.saturating_sub(1));
    }
}

/// The transport of one user of a tunnel.
pub(super) struct TunnelTransport {
    pub tunnel: Arc<Tunnel>,
    /// Whether its requests count as activity in the workspace.
    pub is_work: bool,
}

impl TunnelTransport {
    async fn send_over(
        tunnel: &Arc<Tunnel>,
        request: Request<Full<Bytes>>,
        repeat: Repeat,
    ) -> Result<Response<AnswerBody>, Lost> {
        let (head, body) = request.into_parts();
        let (mut maybe_done, mut tries) = (false, 0);
        loop {
            let current = tunnel.connected(Instant::now() + CONNECTED_WITHIN).await;
            let mut current = current.map_err(|why| Lost { why, maybe_done })?;
            let in_flight = InFlightRequest::begin(&current.usage);
            let lost = match current.connection.send(Request::from_parts(head.clone(), body.clone())).await {
                Ok(answer) => return Ok(until_the_end(answer, in_flight)),
                Err(lost) => lost,
            };
            tries += 1;
            maybe_done |= lost.maybe_done;
            if tries == TRIES || (maybe_done && repeat == Repeat::Unsafe) {
                return Err(Lost { why: current.why_ended(lost).await.why, maybe_done });
            }
        }
    }
}

/// Keeps `kept` until the body of the response has been read or dropped.
fn until_the_end<K: Send + 'static>(answer: Response<AnswerBody>, kept: K) -> Response<AnswerBody> {
    answer.map(|body| {
        let lost = move |lost| {
            let _ = &kept;
            lost
        };
        body.map_err(lost).boxed_unsync()
    })
}

#[async_trait]
impl Transport for TunnelTransport {
    async fn send(&self, request: Request<Full<Bytes>>, repeat: Repeat) -> Result<Response<AnswerBody>, Lost> {
        let working = self.is_work.then(|| Working::begin(&self.tunnel.context.activity, &self.tunnel.id));
        let answer = Self::send_over(&self.tunnel, request, repeat).await?;
        Ok(until_the_end(answer, working))
    }

    fn abandon(&self, command_id: &str) {
        let tunnel = Arc::clone(&self.tunnel);
        let request = request(&Method::DELETE, &format!("/commands/{command_id}"));
        self.tunnel.context.tasks.spawn(async move {
            let ended = Self::send_over(&tunnel, request, Repeat::Safe);
            if !matches!(tokio::time::timeout(ABANDONED_WITHIN, ended).await, Ok(Ok(_))) {
                let workspace = &tunnel.id;
                tracing::debug!(workspace, "an abandoned command could not be ended; its agent will end it");
            }
        });
    }
}

fn request(method: &Method, path: &str) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::default());
    *request.method_mut() = method.clone();
    if let Ok(uri) = format!("http://agent{path}").parse() {
        *request.uri_mut() = uri;
    }
    request
}

fn too_long(why: &str) -> String {
    format!("there was no connection within {} s: {why}", CONNECTED_WITHIN.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_is_in_flight_until_its_answer_was_read() {
        let usage = Arc::new(ConnectionUsage::default());
        let body = Full::new(Bytes::from("answer")).map_err(|never| match never {}).boxed_unsync();
        let answer = until_the_end(Response::new(body), InFlightRequest::begin(&usage));
        let in_flight = || usage.0.lock().unwrap().0;
        assert_eq!(in_flight(), 1);
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "answer");
        assert_eq!(in_flight(), 0);
    }

    #[tokio::test]
    async fn a_connection_is_idle_when_nothing_was_in_flight_for_so_long() {
        let usage = Arc::new(ConnectionUsage::default());
        let (begun, idle) = (Instant::now(), Duration::from_millis(200));
        let work = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let in_flight = InFlightRequest::begin(&usage);
            tokio::time::sleep(Duration::from_millis(600)).await;
            drop(in_flight);
        };
        tokio::join!(usage.idle(idle), work);
        let closed = begun.elapsed().as_millis();
        assert!((900..3000).contains(&closed), "{closed}");
    }
}
