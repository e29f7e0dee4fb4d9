//! A proxy in front of the API server that counts the writes which pass, and can stop at one of them: for tests that
//! kill the operator at a chosen point.

use super::api_server::ApiServer;
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{Method, StatusCode},
    response::{IntoResponse as _, Response},
};
use kube::Client;
use std::{
    future::pending,
    mem,
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{net::TcpListener, sync::oneshot, task::JoinSet};

/// A running proxy. It ends with this value.
pub struct Proxy {
    address: SocketAddr,
    gate: Arc<Gate>,
    _task: JoinSet<()>,
}

/// On which side of a write the proxy stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The write does not reach the API server.
    Before,
    /// The write is done, and its answer is lost.
    After,
}

struct Gate {
    upstream: Client,
    passage: Mutex<Passage>,
    /// Method and path of every write that reached the API server.
    writes: Mutex<Vec<String>>,
}

/// What becomes of the next write.
enum Passage {
    Open,
    StopAfter { count: usize, side: Side, reached: oneshot::Sender<String> },
    Closed,
}

impl Proxy {
    /// Starts one in front of a control plane. Requests pass with the credentials that they come with.
    pub async fn start(plane: &ApiServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let upstream = plane.anonymous_client().await;
        let gate = Arc::new(Gate { upstream, passage: Mutex::new(Passage::Open), writes: Mutex::default() });
        let router = Router::new().fallback(pass).with_state(Arc::clone(&gate));
        let mut task = JoinSet::new();
        task.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, gate, _task: task }
    }

    /// For a kubeconfig.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Method and path of every write that reached the API server so far, Leases left out.
    pub fn writes(&self) -> Vec<String> {
        self.gate.writes.lock().unwrap().clone()
    }

    /// Lets `count` more writes pass, then stops at the next and says which it is: from then on no write passes until
    /// [`Proxy::open`].
    pub fn stop_after(&self, count: usize, side: Side) -> oneshot::Receiver<String> {
        let (reached, receiver) = oneshot::channel();
        *self.gate.passage.lock().unwrap() = Passage::StopAfter { count, side, reached };
        receiver
    }

    /// Lets everything pass again. Requests that were stopped stay without an answer.
    pub fn open(&self) {
        *self.gate.passage.lock().unwrap() = Passage::Open;
    }
}

async fn pass(State(gate): State<Arc<Gate>>, request: Request) -> Response {
    if !is_write(&request) {
        return gate.forward(request).await;
    }
    let write = format!("{} {}", request.method(), request.uri().path());
    match gate.next_passage() {
        Passage::Open => gate.write(write, request).await,
        Passage::Closed => pending().await,
        Passage::StopAfter { side, reached, .. } => {
            if side == Side::After {
                drop(gate.write(write.clone(), request).await);
            }
            let _ = reached.send(write);
            pending().await
        }
    }
}

/// Leases are renewed all the time, whatever the operator does.
fn is_write(request: &Request) -> bool {
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    !reads && !request.uri().path().contains("/leases")
}

impl Gate {
    /// What becomes of a write that has come: it passes, it is not answered, or it is the one to stop at.
    fn next_passage(&self) -> Passage {
        let mut passage = self.passage.lock().unwrap();
        match &mut *passage {
            Passage::Open => Passage::Open,
            Passage::StopAfter { count: 0, .. } | Passage::Closed => mem::replace(&mut *passage, Passage::Closed),
            Passage::StopAfter { count, .. } => {
                *count -= 1;
                Passage::Open
            }
        }
    }

    async fn write(&self, write: String, request: Request) -> Response {
        self.writes.lock().unwrap().push(write);
        self.forward(request).await
    }

    /// Bodies of requests are short; those of answers may be watches, and are streamed.
    async fn forward(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else {
            return StatusCode::BAD_REQUEST.into_response();
        };
        match self.upstream.send(Request::from_parts(parts, body.into())).await {
            Ok(answer) => answer.map(Body::new),
            Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
        }
    }
}
