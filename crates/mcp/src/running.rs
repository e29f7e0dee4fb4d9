//! Running tool calls in the revisions with `initialize`: a lost connection does not end a call (MCP 2025-11-25,
//! Transports, Sending Messages), but `notifications/cancelled` does (Utilities, Cancellation).
//!
//! Without sessions, two conversations of one client differ only in their address, and both may use the same request
//! id. An ambiguous notification cancels neither call.

use axum::{body::Body, response::Response};
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame};
use portcullis_oauth::Caller;
use portcullis_telemetry::audit::RequestContext;
use portcullis_tools::heartbeat::{RequestPermit, is_event_stream};
use serde_json::Value;
use std::{
    collections::HashMap,
    future::poll_fn,
    hash::{Hash, Hasher},
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};
use tokio::{
    runtime::Handle,
    time::{Instant, timeout_at},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// The running calls, limited by the number of concurrent requests.
#[derive(Default)]
pub(super) struct Running {
    calls: Mutex<HashMap<CallId, Vec<CancellationToken>>>,
}

/// The identity of a call, by which its client can cancel it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct CallId {
    caller: SameCaller,
    address: Option<IpAddr>,
    /// The request's id.
    request: Value,
}

impl CallId {
    pub(crate) fn of(caller: &Arc<Caller>, from: &RequestContext, request: &Value) -> Self {
        Self { caller: SameCaller(Arc::clone(caller)), address: from.address, request: request.clone() }
    }
}

/// A caller, compared by client, user and grant.
#[derive(Clone, Debug)]
struct SameCaller(Arc<Caller>);

impl SameCaller {
    fn key(&self) -> (&str, &str, Option<&str>) {
        (&self.0.client_id, &self.0.subject, self.0.grant.as_deref())
    }
}

impl PartialEq for SameCaller {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for SameCaller {}

impl Hash for SameCaller {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

/// A running call, until this value is dropped.
struct Call {
    running: Arc<Running>,
    id: CallId,
    ended: CancellationToken,
}

impl Drop for Call {
    fn drop(&mut self) {
        // Marks this call among those with the same id.
        self.ended.cancel();
        let mut calls = self.running.calls();
        if let Some(same) = calls.get_mut(&self.id) {
            same.retain(|call| !call.is_cancelled());
            if same.is_empty() {
                calls.remove(&self.id);
            }
        }
    }
}

impl Running {
    fn calls(&self) -> MutexGuard<'_, HashMap<CallId, Vec<CancellationToken>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cancels the call with this id, unless several calls have it.
    pub(crate) fn cancel(&self, id: &CallId) {
        if let Some([call]) = self.calls().get(id).map(Vec::as_slice) {
            call.cancel();
        }
    }

    /// Runs `work` to its end. The result is `None` if its client cancels it. At the time limit, `work` is dropped, and
    /// the future stays pending. The caller polls it; if the caller drops it, since the connection is lost, it
    /// continues in a separate task.
    pub(crate) fn run(
        self: &Arc<Self>,
        id: CallId,
        permit: RequestPermit,
        work: impl Future<Output = Response> + Send + 'static,
    ) -> impl Future<Output = Option<Response>> + Send + 'static {
        let ended = CancellationToken::new();
        self.calls().entry(id.clone()).or_default().push(ended.clone());
        let call = Call { running: Arc::clone(self), id, ended: ended.clone() };
        let run = Detachable::new(async move {
            let held = (call, permit.taken);
            let response = timeout_at(permit.until, ended.run_until_cancelled(work)).await.ok()?;
            Some(response.map(|response| outlasting(response, ended, permit.until, held)))
        });
        async move {
            match run.await {
                Some(outcome) => outcome,
                None => std::future::pending().await,
            }
        }
    }
}

/// A future that continues in a separate task if it is dropped before its end.
struct Detachable<T: Send + 'static>(Option<Pin<Box<dyn Future<Output = T> + Send>>>);

impl<T: Send + 'static> Detachable<T> {
    fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(Some(Box::pin(future)))
    }
}

impl<T: Send + 'static> Future for Detachable<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let Some(future) = &mut self.0 else { return Poll::Pending };
        let output = ready!(future.as_mut().poll(context));
        self.0 = None;
        Poll::Ready(output)
    }
}

impl<T: Send + 'static> Drop for Detachable<T> {
    fn drop(&mut self) {
        if let (Some(future), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(future);
        }
    }
}

/// The response. An event stream is read to its end even if its client has disconnected, since reading drives the call.
/// `held` is kept until then.
fn outlasting(response: Response, ended: CancellationToken, until: Instant, held: impl Send + 'static) -> Response {
    if !is_event_stream(response.headers()) {
        return response;
    }
    let ended = Box::pin(ended.cancelled_owned());
    response.map(|body| Body::new(Outlasting(Some(Stream { body, ended, until, _held: Box::new(held) }))))
}

/// A body that is read to its end even if its client has disconnected.
struct Outlasting(Option<Stream>);

struct Stream {
    body: Body,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    until: Instant,
    _held: Box<dyn Send>,
}

impl Stream {
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.ended.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.body).poll_frame(context)
    }
}

impl HttpBody for Outlasting {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(stream) = &mut self.0 else { return Poll::Ready(None) };
        let frame = ready!(stream.poll_frame(context));
        if frame.is_none() {
            self.0 = None;
        }
        Poll::Ready(frame)
    }
}

impl Drop for Outlasting {
    fn drop(&mut self) {
        let (Some(mut stream), Ok(runtime)) = (self.0.take(), Handle::try_current()) else { return };
        runtime.spawn(async move {
            let until = stream.until;
            let read = async { while poll_fn(|context| stream.poll_frame(context)).await.is_some() {} };
            // The stream is dropped at its time limit.
            let _ = timeout_at(until, read).await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;
    use http::{HeaderValue, header::CONTENT_TYPE};
    use http_body_util::BodyExt as _;
    use jiff::Timestamp;
    use std::{any::Any, collections::BTreeSet, pin::pin, time::Duration};
    use tokio::{sync::Notify, time::sleep};

    fn caller() -> Arc<Caller> {
        Arc::new(Caller {
            client_id: "claude".to_owned(),
            subject: "local:ada".to_owned(),
            user_name: None,
            grant: None,
            scopes: BTreeSet::new(),
            issued_at: Timestamp::UNIX_EPOCH,
            expires_at: Timestamp::MAX,
        })
    }

    fn call(address: &str, request: u64) -> CallId {
        let from = RequestContext { address: address.parse().ok(), ..RequestContext::UNKNOWN };
        CallId::of(&caller(), &from, &request.into())
    }

    fn permit() -> RequestPermit {
        RequestPermit { until: Instant::now() + Duration::from_mins(1), taken: Arc::new(()) }
    }

    async fn until_free(permit: &Arc<dyn Any + Send + Sync>) {
        while Arc::strong_count(permit) > 1 {
            sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn a_call_outlasts_its_connection_and_keeps_its_permit() {
        let (running, permit, go_on) = (Arc::new(Running::default()), permit(), Arc::new(Notify::new()));
        let work = {
            let go_on = Arc::clone(&go_on);
            async move {
                go_on.notified().await;
                Response::default()
            }
        };
        drop(running.run(call("192.0.2.1", 1), permit.clone(), work));
        sleep(Duration::from_millis(20)).await;
        assert_eq!(Arc::strong_count(&permit.taken), 2, "it still runs");
        go_on.notify_one();
        until_free(&permit.taken).await;
        assert!(running.calls().is_empty());
    }

    #[tokio::test]
    async fn a_stream_goes_on_without_a_reader() {
        let (running, permit, written) = (Arc::new(Running::default()), permit(), Arc::new(Notify::new()));
        let events = {
            let written = Arc::clone(&written);
            stream::unfold(0, move |count| {
                let written = Arc::clone(&written);
                async move {
                    if count == 20 {
                        written.notify_one();
                        return None;
                    }
                    Some((Ok::<_, axum::Error>(Bytes::from_static(b"data: 1\n\n")), count + 1))
                }
            })
        };
        let work = async move {
            let mut response = Response::new(Body::from_stream(events));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
            response
        };
        let mut body = running.run(call("192.0.2.1", 1), permit.clone(), work).await.unwrap().into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "data: 1\n\n");
        drop(body);
        written.notified().await;
        until_free(&permit.taken).await;
    }

    #[tokio::test]
    async fn only_a_call_that_is_meant_without_doubt_is_ended() {
        let running = Arc::new(Running::default());
        let endless = |id: CallId| running.run(id, permit(), std::future::pending::<Response>());
        let (one, other) = (endless(call("192.0.2.1", 1)), endless(call("192.0.2.2", 1)));
        let (twice, again) = (endless(call("192.0.2.1", 2)), endless(call("192.0.2.1", 2)));
        running.cancel(&call("192.0.2.1", 2));
        running.cancel(&call("192.0.2.1", 3));
        running.cancel(&call("192.0.2.1", 1));
        assert!(one.await.is_none());
        for left in [other, twice, again] {
            assert!(tokio::time::timeout(Duration::from_millis(20), left).await.is_err(), "it still runs");
        }
    }

    #[tokio::test]
    async fn a_call_ends_with_its_time() {
        let running = Arc::new(Running::default());
        let permit = RequestPermit { until: Instant::now() + Duration::from_millis(50), ..permit() };
        let mut answer = pin!(running.run(call("192.0.2.1", 1), permit.clone(), std::future::pending()));
        let waited = tokio::time::timeout_at(permit.until + Duration::from_millis(50), &mut answer).await;
        assert!(waited.is_err(), "its caller has the same time, and says what that means");
        assert_eq!((Arc::strong_count(&permit.taken), running.calls().len()), (1, 0));
    }
}
