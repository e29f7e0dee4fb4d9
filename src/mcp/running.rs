//! Calls of tools in the revisions with `initialize`: a lost connection does not end one (MCP 2025-11-25, Transports,
//! Sending Messages), `notifications/cancelled` does (Utilities, Cancellation).
//!
//! Without sessions, two conversations of one client cannot be told apart but by their address, and both may give a
//! request the same id. A notification that could mean either ends neither.

use crate::{
    audit::RequestContext,
    heartbeat::{Place, is_event_stream},
    oauth::Caller,
};
use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures::stream::poll_fn;
use http_body_util::BodyExt as _;
use serde_json::Value;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

/// The calls that run. As many as requests may at once.
#[derive(Default)]
pub(super) struct Running {
    calls: Mutex<HashMap<CallId, Vec<CancellationToken>>>,
}

/// What a client can name a call by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct CallId {
    client_id: String,
    subject: String,
    grant: Option<String>,
    address: Option<IpAddr>,
    /// The request's id, as JSON.
    request: String,
}

impl CallId {
    pub fn of(caller: &Caller, from: &RequestContext, request: &Value) -> Self {
        Self {
            client_id: caller.client_id.clone(),
            subject: caller.subject.clone(),
            grant: caller.grant.clone(),
            address: from.address,
            request: request.to_string(),
        }
    }
}

/// A call, until it is dropped.
struct Call {
    running: Arc<Running>,
    id: CallId,
    ended: CancellationToken,
}

impl Drop for Call {
    fn drop(&mut self) {
        // Marked, so that this one is known among those of its name.
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

    /// Ends the call of this name, if there is one only.
    pub fn cancel(&self, id: &CallId) {
        if let Some([call]) = self.calls().get(id).map(Vec::as_slice) {
            call.cancel();
        }
    }

    /// Has `work` go on to its end, or that of its time, whoever waits for it. `None`: it was ended. At the end of its
    /// time, which its waiter has too, there is no answer.
    pub fn run(
        self: &Arc<Self>,
        id: CallId,
        place: Place,
        work: impl Future<Output = Response> + Send + 'static,
    ) -> impl Future<Output = Option<Response>> + Send + 'static {
        let ended = CancellationToken::new();
        self.calls().entry(id.clone()).or_default().push(ended.clone());
        let call = Call { running: Arc::clone(self), id, ended: ended.clone() };
        let (sender, receiver) = oneshot::channel();
        // Ended by the end of its time, by its client, and by that of the server, when `work` is given up.
        tokio::spawn(async move {
            let _held = (call, place.taken);
            let work = ended.run_until_cancelled(async { hand_over(work.await, sender).await });
            let _ = timeout_at(place.until, work).await;
        });
        async move {
            match receiver.await {
                Ok(response) => Some(response),
                Err(_) if Instant::now() >= place.until => std::future::pending().await,
                Err(_) => None,
            }
        }
    }
}

/// Gives the response to whoever waits for it. A stream goes on when nobody does: whatever writes it ends with it.
async fn hand_over(response: Response, to: oneshot::Sender<Response>) {
    if !is_event_stream(response.headers()) {
        let _ = to.send(response);
        return;
    }
    let (head, mut body) = response.into_parts();
    let (sender, mut receiver) = mpsc::channel::<Result<Bytes, axum::Error>>(1);
    let rest = Body::from_stream(poll_fn(move |context| receiver.poll_recv(context)));
    let _ = to.send(Response::from_parts(head, rest));
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame.map(|frame| frame.into_data().ok()).transpose() {
            let _ = sender.send(data).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;
    use http::{HeaderValue, header::CONTENT_TYPE};
    use std::{any::Any, time::Duration};
    use tokio::{sync::Notify, time::sleep};

    fn call(address: &str, request: u64) -> CallId {
        CallId {
            client_id: "claude".to_owned(),
            subject: "local:ada".to_owned(),
            grant: None,
            address: address.parse().ok(),
            request: request.to_string(),
        }
    }

    fn place() -> Place {
        Place { until: Instant::now() + Duration::from_mins(1), taken: Arc::new(()) }
    }

    async fn until_free(place: &Arc<dyn Any + Send + Sync>) {
        while Arc::strong_count(place) > 1 {
            sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn a_call_outlasts_its_connection_and_keeps_its_place() {
        let (running, place, go_on) = (Arc::new(Running::default()), place(), Arc::new(Notify::new()));
        let work = {
            let go_on = Arc::clone(&go_on);
            async move {
                go_on.notified().await;
                Response::default()
            }
        };
        drop(running.run(call("192.0.2.1", 1), place.clone(), work));
        sleep(Duration::from_millis(20)).await;
        assert_eq!(Arc::strong_count(&place.taken), 2, "it still runs");
        go_on.notify_one();
        until_free(&place.taken).await;
        assert!(running.calls().is_empty());
    }

    #[tokio::test]
    async fn a_stream_goes_on_without_a_reader() {
        let (running, place, written) = (Arc::new(Running::default()), place(), Arc::new(Notify::new()));
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
        let mut body = running.run(call("192.0.2.1", 1), place.clone(), work).await.unwrap().into_body();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "data: 1\n\n");
        drop(body);
        written.notified().await;
        until_free(&place.taken).await;
    }

    #[tokio::test]
    async fn only_a_call_that_is_meant_without_doubt_is_ended() {
        let running = Arc::new(Running::default());
        let endless = |id: CallId| running.run(id, place(), std::future::pending::<Response>());
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
        let place = Place { until: Instant::now() + Duration::from_millis(50), ..place() };
        let answer = running.run(call("192.0.2.1", 1), place.clone(), std::future::pending());
        until_free(&place.taken).await;
        assert!(Instant::now() >= place.until && running.calls().is_empty());
        let answer = tokio::time::timeout(Duration::from_millis(20), answer).await;
        assert!(answer.is_err(), "its waiter has the same time, and says what that means");
    }
}
