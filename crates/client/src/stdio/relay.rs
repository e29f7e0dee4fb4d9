//! The relay: reads messages of the agent, has each request answered beside the others, writes what comes back.
//!
//! Everything is bounded: the length of a line, the requests in progress, and the messages that wait in either
//! direction. A slow agent slows the relay down, and the relay slows the agent down.

use super::{
    exchange::Endpoint,
    framing::{self, InputLine, MAX_LINE},
    message::{self, Message, NotAMessage, Request},
    session::Conversation,
};
use crate::access::Access;
use bytes::Bytes;
use portcullis_outbound::HttpClient;
use serde_json::Value;
use std::{collections::HashMap, io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader},
    sync::mpsc,
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// The messages that wait in each direction.
const QUEUE: usize = 16;
/// The requests in progress.
const MAX_REQUESTS: usize = 64;
/// The time that requests in progress have after the end of the input.
const DRAIN: Duration = Duration::from_secs(30);
/// The method whose response comes at the end of a subscription.
const LISTEN: &str = "subscriptions/listen";

/// The relay between an agent and an endpoint.
pub struct Relay {
    endpoint: Arc<Endpoint>,
}

/// Why the relay ended before its input did.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The input cannot be read.
    #[error("standard input cannot be read")]
    Input(#[source] io::Error),
    /// The output cannot be written.
    #[error("standard output cannot be written; has the agent ended?")]
    Output(#[source] io::Error),
}

/// A request in progress.
struct InProgress {
    /// Distinguishes requests with the same id, of which the first was cancelled.
    serial: u64,
    cancel: CancellationToken,
    /// Whether the revision has no `initialize`: the end of the connection cancels a request (MCP 2026-07-28).
    stateless: bool,
    listens: bool,
}

impl Relay {
    /// A relay to the endpoint of `access`.
    #[must_use]
    pub fn new(access: Access, http: HttpClient) -> Self {
        Self { endpoint: Arc::new(Endpoint { access, http, conversation: Conversation::default() }) }
    }

    /// Relays until the input ends, or `stop` is cancelled.
    pub async fn run(
        &self,
        input: impl AsyncRead + Unpin,
        mut output: impl AsyncWrite + Unpin,
        stop: CancellationToken,
    ) -> Result<(), RelayError> {
        let (lines, received) = mpsc::channel(QUEUE);
        let (answers, mut ready) = mpsc::channel::<String>(QUEUE);
        let (unanswered, mut notifications) = mpsc::channel::<Bytes>(QUEUE);
        let reading = async {
            let mut input = BufReader::new(input);
            while let Some(line) = framing::next_line(&mut input, MAX_LINE).await.map_err(RelayError::Input)? {
                if lines.send(line).await.is_err() {
                    break;
                }
            }
            // The end of this channel is the end of the input.
            drop(lines);
            Ok(())
        };
        let writing = async {
            while let Some(mut answer) = ready.recv().await {
                answer.push('\n');
                output.write_all(answer.as_bytes()).await.map_err(RelayError::Output)?;
                output.flush().await.map_err(RelayError::Output)?;
            }
            Ok(())
        };
        let notifying = async {
            while let Some(line) = notifications.recv().await {
                if let Err(error) = self.endpoint.send_notification(line).await {
                    tracing::warn!(error, "a notification could not be sent");
                }
            }
            Ok(())
        };
        let dispatching = async {
            self.dispatch(received, answers, unanswered).await;
            Ok(())
        };
        let relayed = tokio::select! {
            ended = async { tokio::try_join!(reading, writing, notifying, dispatching) } => ended.map(|_| ()),
            () = stop.cancelled() => Ok(()),
        };
        self.endpoint.end_session().await;
        relayed
    }

    async fn dispatch(
        &self,
        mut lines: mpsc::Receiver<InputLine>,
        answers: mpsc::Sender<String>,
        unanswered: mpsc::Sender<Bytes>,
    ) {
        let mut tasks: JoinSet<(String, u64)> = JoinSet::new();
        let mut in_progress: HashMap<String, InProgress> = HashMap::new();
        let mut serial = 0_u64;
        loop {
            let line = tokio::select! {
                line = lines.recv() => line,
                Some(ended) = tasks.join_next() => {
                    if let Ok((key, ended)) = ended {
                        forget(&mut in_progress, &key, ended);
                    }
                    continue;
                }
            };
            let line = match line {
                Some(InputLine::Line(line)) => Bytes::from(line),
                Some(InputLine::TooLong) => {
                    let text = format!("a message is longer than {MAX_LINE} bytes, the limit; it was ignored");
                    let _ = answers.send(message::error(&Value::Null, &text)).await;
                    continue;
                }
                None => break,
            };
            match message::read(&line) {
                Err(NotAMessage(answer)) => {
                    let _ = answers.send(answer).await;
                }
                Ok(Message::Unanswered) => {
                    let _ = unanswered.send(line).await;
                }
                Ok(Message::Cancel(id)) => {
                    let found = in_progress.remove(&id.to_string());
                    if let Some(request) = &found {
                        request.cancel.cancel();
                    }
                    if found.is_none_or(|request| !request.stateless) {
                        let _ = unanswered.send(line).await;
                    }
                }
                Ok(Message::Request(request)) => {
                    let key = request.id.to_string();
                    if let Some(refusal) = refusal(&request, &key, &in_progress) {
                        let _ = answers.send(refusal).await;
                        continue;
                    }
                    serial += 1;
                    let cancel = CancellationToken::new();
                    let entry = InProgress {
                        serial,
                        cancel: cancel.clone(),
                        stateless: request.version.is_some(),
                        listens: request.method == LISTEN,
                    };
                    in_progress.insert(key.clone(), entry);
                    let (endpoint, answers) = (Arc::clone(&self.endpoint), answers.clone());
                    tasks.spawn(async move {
                        let answered = endpoint.request(&request, &line, &answers);
                        // A cancelled request gets no response (MCP, Cancellation).
                        if let Some(answer) = cancel.run_until_cancelled(answered).await {
                            let _ = answers.send(answer).await;
                        }
                        (key, serial)
                    });
                }
            }
        }
        for request in in_progress.values().filter(|request| request.listens) {
            request.cancel.cancel();
        }
        let drained = timeout(DRAIN, async { while tasks.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            tracing::warn!("requests were still in progress {} seconds after the end of the input", DRAIN.as_secs());
        }
    }
}

/// The response to a request that is not sent.
fn refusal(request: &Request, key: &str, in_progress: &HashMap<String, InProgress>) -> Option<String> {
    if in_progress.contains_key(key) {
        return Some(message::error(&request.id, "another request with this id is in progress"));
    }
    let text = format!("{MAX_REQUESTS} requests are in progress, the maximum; send this one again after one of them");
    (in_progress.len() >= MAX_REQUESTS).then(|| message::error(&request.id, &text))
}

fn forget(in_progress: &mut HashMap<String, InProgress>, key: &str, ended: u64) {
    if in_progress.get(key).is_some_and(|request| request.serial == ended) {
        in_progress.remove(key);
    }
}
