//! HTTP/2 (RFC 9113) between a server and a workspace agent, over any byte stream: a tunnel into a pod, a socket, a
//! pipe.
//!
//! There is no TLS: the stream itself is trusted. Both sides use HTTP/2 with prior knowledge.

use crate::client::{AnswerBody, Lost};
use axum::Router;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{client::conn::http2 as client, rt::Executor, server::conn::http2 as server, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{pin::pin, time::Duration};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

/// The flow-control window of one answer, at the server, in bytes. Large enough for the network inside a cluster, and
/// small enough for many workspaces: it is not counted in a budget.
const ANSWER_WINDOW: u32 = 256 * 1024;
/// The flow-control window of all answers on a connection, in bytes.
const ANSWERS_WINDOW: u32 = 512 * 1024;
/// The flow-control window of one request, at the workspace agent, in bytes.
const STREAM_WINDOW: u32 = 1024 * 1024;
/// The flow-control window of all requests on a connection, in bytes.
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// The largest frame, in bytes. Larger frames have less overhead, and still let other streams interleave.
const FRAME: u32 = 64 * 1024;
/// The send buffer of each stream, in bytes.
const SEND_BUFFER: usize = 256 * 1024;
/// The limit on concurrent requests, above the limit on concurrent commands.
const STREAMS: u32 = 1024;
/// The interval of keep-alive pings from the client.
const PING: Duration = Duration::from_secs(10);
/// The timeout of a keep-alive ping. A workspace that lacks CPU time is slow, not lost.
const PING_TIME: Duration = Duration::from_secs(10);

/// An executor that tracks hyper's tasks and cancels them on disconnect.
#[derive(Clone, Debug)]
struct Tracked {
    tasks: TaskTracker,
    cut: CancellationToken,
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Tracked {
    fn execute(&self, future: F) {
        let cut = self.cut.clone();
        self.tasks.spawn(async move { cut.run_until_cancelled_owned(future).await.map(drop) });
    }
}

/// A client connection. Clones share it.
#[derive(Clone, Debug)]
pub struct Connection {
    sender: client::SendRequest<Full<Bytes>>,
}

/// Opens a connection over `io`. The caller must spawn the returned future, which transfers the bytes. It completes
/// when the connection ends, with an error unless the end was orderly; dropping it closes the connection.
///
/// Requests may be sent at once: the stream buffers them until the workspace agent reads them.
pub async fn handshake<I>(
    io: I,
    tasks: TaskTracker,
) -> Result<(Connection, impl Future<Output = Result<(), Lost>> + Send + 'static), Lost>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // hyper transfers the bytes in a separate task.
    let cut = CancellationToken::new();
    let (sender, connection) = client::Builder::new(Tracked { tasks, cut: cut.clone() })
        .timer(TokioTimer::new())
        .initial_stream_window_size(ANSWER_WINDOW)
        .initial_connection_window_size(ANSWERS_WINDOW)
        .initial_max_send_streams(STREAMS as usize)
        .max_frame_size(FRAME)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING_TIME)
        .keep_alive_while_idle(true)
        .handshake(TokioIo::new(io))
        .await
        .map_err(|error| lost(&error, false))?;
    let cut = cut.drop_guard();
    let ended = async move {
        let _cut = cut;
        connection.await.map_err(|error| lost(&error, true))
    };
    Ok((Connection { sender }, ended))
}

impl Connection {
    /// Whether the connection has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Sends a request and returns the head of the answer. Dropping the future or the answer's body cancels the
    /// request.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<AnswerBody>, Lost> {
        let mut sender = self.sender.clone();
        sender.ready().await.map_err(|error| lost(&error, false))?;
        match sender.try_send_request(request).await {
            Ok(response) => Ok(response.map(|body| body.map_err(|error| lost(&error, true)).boxed_unsync())),
            Err(mut error) => {
                // hyper returns a message only if it was never sent.
                let sent = error.take_message().is_none();
                Err(lost(error.error(), sent))
            }
        }
    }
}

fn lost(error: &hyper::Error, maybe_done: bool) -> Lost {
    Lost {
        why: format!("the connection to the workspace's agent broke: {}", portcullis_core::report::chain(error)),
        maybe_done,
    }
}

/// Serves the requests on `io` until it ends. Once `stop` is cancelled, only completes the requests in progress.
pub async fn serve<I>(io: I, router: Router, tasks: TaskTracker, stop: CancellationToken) -> Result<(), hyper::Error>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| router.clone().oneshot(request));
    let mut connection = pin!(
        server::Builder::new(Tracked { tasks, cut: CancellationToken::new() })
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(STREAMS)
            .max_frame_size(FRAME)
            .max_send_buf_size(SEND_BUFFER)
            .serve_connection(TokioIo::new(io), service)
    );
    tokio::select! {
        ended = connection.as_mut() => return ended,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        AgentError, Client, Repeat, Transport,
        protocol::{Command, ProcessOutputRequest},
        service::{Agent, Options},
    };
    use async_trait::async_trait;
    use portcullis_core::clock::SystemClock;
    use std::sync::Arc;
    use tokio::net::UnixStream;

    struct One {
        connection: Connection,
        tasks: TaskTracker,
    }

    #[async_trait]
    impl Transport for One {
        async fn send(&self, request: Request<Full<Bytes>>, _: Repeat) -> Result<Response<AnswerBody>, Lost> {
            self.connection.send(request).await
        }

        fn abandon(&self, command_id: &str) {
            let request = Request::delete(format!("http://agent/commands/{command_id}")).body(Full::default());
            let connection = self.connection.clone();
            self.tasks.spawn(async move { connection.send(request.unwrap()).await });
        }
    }

    struct Pair {
        client: Client,
        stop: CancellationToken,
        cut: CancellationToken,
        tasks: TaskTracker,
        folder: tempfile::TempDir,
    }

    async fn pair<A, B>(near: A, far: B) -> Pair
    where
        A: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        B: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let folder = tempfile::tempdir().unwrap();
        let env = vec![("PATH".into(), "/usr/bin:/bin".into())];
        let output = folder.path().join(".output");
        let agent = Agent::new(Options::new(folder.path().into(), output, env, Arc::new(SystemClock)));
        let (tasks, stop, cut) = (TaskTracker::new(), CancellationToken::new(), CancellationToken::new());
        tasks.spawn(serve(far, agent.router(), tasks.clone(), stop.clone()));
        let (connection, drive) = handshake(near, tasks.clone()).await.unwrap();
        let until = cut.clone();
        tasks.spawn(async move {
            tokio::select! {
                _ = drive => {}
                () = until.cancelled() => {}
            }
        });
        let client = Client::new(Arc::new(One { connection, tasks: tasks.clone() }));
        Pair { client, stop, cut, tasks, folder }
    }

    fn shell(line: &str) -> Command {
        Command { command: line.to_owned(), ..Command::default() }
    }

    #[tokio::test]
    async fn commands_run_over_a_socket_and_over_a_narrow_pipe() {
        let (near, far) = UnixStream::pair().unwrap();
        let over_socket = pair(near, far).await;
        let (near, far) = tokio::io::duplex(100);
        let over_pipe = pair(near, far).await;
        for pair in [over_socket, over_pipe] {
            let result = pair.client.run("a", &shell("head -c 20000 /dev/zero | tr '\\0' x"), None).await.unwrap();
            assert_eq!(result.stdout, "x".repeat(20_000));
            let many =
                (0..300).map(|number| {
                    let client = &pair.client;
                    async move {
                        client.run(&format!("b{number}"), &shell(&format!("sleep 0.1; echo {number}")), None).await
                    }
                });
            let results = futures::future::join_all(many).await;
            let done = results.iter().filter(|result| result.is_ok()).count();
            // The workspace agent runs 256 commands at once, and refuses the others.
            assert!((256..=300).contains(&done), "{done}");
            let refused = |result: &Result<_, AgentError>| result.as_ref().err().map(ToString::to_string);
            assert!(
                results.iter().filter_map(refused).all(|why| why.contains("256 concurrent commands")),
                "{results:?}"
            );
            // A graceful shutdown: the requests in progress are answered.
            let slow = shell("sleep 0.3; echo done");
            let (slow, ()) = tokio::join!(pair.client.run("c", &slow, None), async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                pair.stop.cancel();
            });
            assert_eq!(slow.unwrap().stdout, "done\n");
            pair.tasks.close();
            tokio::time::timeout(Duration::from_secs(5), pair.tasks.wait()).await.unwrap();
            let after = pair.client.hello().await;
            assert!(matches!(after, Err(AgentError::Lost(Lost { maybe_done: false, .. }))), "{after:?}");
            assert!(pair.folder.path().exists());
        }
    }

    #[tokio::test]
    async fn a_cut_connection_is_lost_and_says_so() {
        let (near, far) = UnixStream::pair().unwrap();
        let pair = pair(near, far).await;
        let waits = Command { background: true, ..shell("sleep 60") };
        let id = pair.client.run("a", &waits, None).await.unwrap().process_id.unwrap();
        let ask = ProcessOutputRequest { wait: Duration::from_secs(30), ..ProcessOutputRequest::default() };
        let (waiting, ()) = tokio::join!(pair.client.process_output(id, ask), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            pair.cut.cancel();
        });
        assert!(matches!(waiting, Err(AgentError::Lost(Lost { maybe_done: true, .. }))), "{waiting:?}");
    }
}
