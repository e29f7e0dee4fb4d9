//! The transport to a workspace agent in this process, without a connection.

use crate::client::{AnswerBody, Lost, Repeat, Transport};
use async_trait::async_trait;
use axum::{Router, body::Body};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

/// Passes requests directly to the router of a workspace agent.
#[derive(Clone, Debug)]
pub struct InProcess {
    router: Router,
    tasks: TaskTracker,
}

impl InProcess {
    /// A transport to the workspace agent with this router.
    #[must_use]
    pub fn new(router: Router) -> Self {
        Self { router, tasks: TaskTracker::new() }
    }
}

#[async_trait]
impl Transport for InProcess {
    async fn send(&self, request: Request<Full<Bytes>>, _repeat: Repeat) -> Result<Response<AnswerBody>, Lost> {
        let Ok(response) = self.router.clone().oneshot(request.map(Body::new)).await;
        Ok(response.map(|body| body.map_err(|error| Lost { why: error.to_string(), maybe_done: true }).boxed_unsync()))
    }

    fn abandon(&self, command_id: &str) {
        let request = Request::builder().method(Method::DELETE).uri(format!("http://agent/commands/{command_id}"));
        // Without a runtime, the process is ending and so are its commands.
        if let (Ok(request), Ok(runtime)) = (request.body(Body::empty()), Handle::try_current()) {
            let router = self.router.clone();
            self.tasks.spawn_on(
                async move {
                    let Ok(_) = router.oneshot(request).await;
                },
                &runtime,
            );
        }
    }
}
