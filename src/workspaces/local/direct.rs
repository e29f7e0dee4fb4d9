//! The way to the commands of a workspace on this machine: the agent's protocol, without a connection in between.

use super::{Entry, runtime::Place};
use crate::{
    agent::{
        AnswerBody, Lost, Repeat, Transport,
        protocol::{Command, CommandEvent, Failure, FailureKind},
    },
    workspaces::{Error, Status},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{future::BoxFuture, stream};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Leads to the commands of one workspace.
pub(super) struct Direct {
    pub entry: Arc<Entry>,
    pub place: Place,
}

#[async_trait]
impl Transport for Direct {
    async fn send(&self, request: Request<Full<Bytes>>, _repeat: Repeat) -> Result<Response<AnswerBody>, Lost> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.map_or_else(|never| match never {}, http_body_util::Collected::to_bytes);
        let answer = match (parts.method, parts.uri.path().strip_prefix("/commands/")) {
            (Method::PUT, Some(id)) => self.run(id, &body).await,
            (method, _) => Err(failure(FailureKind::NotFound, format!("there is no {method} {}", parts.uri.path()))),
        };
        let (status, body) = match answer {
            Ok(body) => (StatusCode::OK, body),
            Err(failure) => {
                (StatusCode::BAD_REQUEST, Full::from(line(&failure)).map_err(|never| match never {}).boxed_unsync())
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        Ok(response)
    }

    /// The command went with the body of its answer.
    fn abandon(&self, _command_id: &str) {}
}

impl Direct {
    async fn run(&self, id: &str, body: &[u8]) -> Result<AnswerBody, Failure> {
        let command: Command =
            serde_json::from_slice(body).map_err(|error| failure(FailureKind::Invalid, error.to_string()))?;
        let (live, output) = if command.live { Some(mpsc::channel(64)) } else { None }.unzip();
        let started = {
            let mut runtime = self.entry.runtime.lock().await;
            if self.entry.record().status == Status::Stopped {
                return Err(failure(FailureKind::Interrupted, "the workspace has stopped".to_owned()));
            }
            runtime.start(&self.place, id, command, live).await.map_err(|error| said(&error))?
        };
        let events = Events {
            output,
            result: Some(Box::pin(async move {
                started.result().await.map_or_else(|error| CommandEvent::Failure(said(&error)), CommandEvent::Result)
            })),
        };
        let frames = stream::unfold(events, |mut events| async move {
            let event = events.next().await?;
            Some((Ok(Frame::data(line(&event))), events))
        });
        Ok(StreamBody::new(frames).boxed_unsync())
    }
}

/// The output as it comes, then the result.
struct Events {
    output: Option<mpsc::Receiver<Vec<u8>>>,
    result: Option<BoxFuture<'static, CommandEvent>>,
}

impl Events {
    async fn next(&mut self) -> Option<CommandEvent> {
        let result = self.result.as_mut()?;
        if let Some(output) = &mut self.output {
            tokio::select! {
                biased;
                piece = output.recv() => match piece {
                    Some(piece) => return Some(CommandEvent::Output(String::from_utf8_lossy(&piece).into_owned())),
                    None => self.output = None,
                },
                event = &mut *result => {
                    self.result = None;
                    return Some(event);
                }
            }
        }
        let event = result.await;
        self.result = None;
        Some(event)
    }
}

fn failure(kind: FailureKind, message: String) -> Failure {
    Failure { kind, message }
}

fn said(error: &Error) -> Failure {
    let kind = match error {
        Error::InvalidArgument { .. } => FailureKind::Invalid,
        Error::NoSuchFolder { .. } => FailureKind::NotFound,
        Error::Interrupted { .. } => FailureKind::Interrupted,
        _ => FailureKind::Internal,
    };
    failure(kind, crate::chain::chain(error))
}

fn line(value: &impl serde::Serialize) -> Bytes {
    // Neither has anything that JSON has not.
    let mut json = serde_json::to_vec(value).unwrap_or_default();
    json.push(b'\n');
    json.into()
}
