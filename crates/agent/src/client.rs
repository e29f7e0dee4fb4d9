//! The client of a workspace agent: one method for each operation, over any [`Transport`].

use crate::{
    protocol::{
        ACTOR_HEADER, Actor, Command, CommandEvent, CommandResult, EditFile, Edited, Failure, FileContent, FileList,
        Hello, Input, JournalPage, JournalRequest, ListFiles, MOST_ANSWER, MOST_SHORT_ANSWER, MOST_USAGE, MovePath,
        Moved, Process, ProcessOutput, ProcessOutputRequest, Processes, ReadFile, RemovePath, Removed, SearchFiles,
        SearchResults, Usage, WriteFile, Written,
    },
    reading::{self, COPIES, LIST_COPIES, Lines},
};
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header::CONTENT_TYPE};
use http_body_util::{Full, combinators::UnsyncBoxBody};
use portcullis_budget::{Account, NoMemory};
use serde::{Serialize, de::DeserializeOwned};
use std::sync::Arc;
use tokio::sync::mpsc;

/// The receiver of live output. Pieces that are not received in time are dropped: a slow reader never slows the
/// command.
pub type LiveOutput = mpsc::Sender<String>;
/// The body of an answer from a workspace agent.
pub type AnswerBody = UnsyncBoxBody<Bytes, Lost>;

/// Whether a request may be sent again if its answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// The request is idempotent: it changes nothing, or the workspace agent recognizes it by its id.
    Safe,
    /// The request may have had an effect, which must not happen twice.
    Unsafe,
}

/// A connection to a workspace agent.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Sends a request and returns the head of the answer. If the connection breaks before the request has reached the
    /// workspace agent, connects and sends again; also afterwards, if `repeat` allows it.
    async fn send(&self, request: Request<Full<Bytes>>, repeat: Repeat) -> Result<Response<AnswerBody>, Lost>;

    /// Ends a command that no caller waits for any more. Returns at once, without waiting for its end.
    fn abandon(&self, command_id: &str);
}

/// The connection to the workspace agent broke or could not be opened.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{why}")]
pub struct Lost {
    /// The cause, for people.
    pub why: String,
    /// Whether the request may have reached the workspace agent.
    pub maybe_done: bool,
}

/// Why an operation of the workspace agent failed.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The workspace agent reported a failure.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The workspace agent could not be reached, or its answer was lost.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The answer does not follow the protocol: the workspace agent has another version.
    #[error("the workspace's agent answered with {0}; restart the workspace, so that it gets an agent of this version")]
    Unreadable(String),
    /// The answer is larger than the protocol allows.
    #[error(
        "the workspace's agent sent more than the {most} allowed bytes, so the connection was closed: request less at a \
         time; if that does not help, the agent is damaged or was replaced: call restart_workspace"
    )]
    TooLong {
        /// The limit, in bytes.
        most: u64,
    },
    /// This server does not have enough memory for the answer.
    #[error(transparent)]
    NoMemory(#[from] NoMemory),
}

/// A client of a workspace agent. Clones share its transport.
#[derive(Clone)]
pub struct Client {
    transport: Arc<dyn Transport>,
    /// The account that is charged for the memory of answers.
    account: Account,
    /// The header that names the actor of the requests.
    actor: Option<HeaderValue>,
}

impl Client {
    /// A client that uses `transport`, without a limit on memory.
    #[must_use]
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        Self { transport, account: Account::unlimited(), actor: None }
    }

    /// The same client, with the memory of answers charged to `account`.
    #[must_use]
    pub fn charging(self, account: Account) -> Self {
        Self { account, ..self }
    }

    /// The same client, whose requests name `actor` for the journal.
    #[must_use]
    pub fn acting_as(self, actor: &Actor) -> Self {
        Self { actor: actor.to_header(), ..self }
    }

    /// The version and home folder of the workspace agent.
    pub async fn hello(&self) -> Result<Hello, AgentError> {
        self.get("/hello").await
    }

    /// Runs a command, whose `id` must be new. Returns when the command has ended, or at once if it is for the
    /// background. Dropping the future ends the command, unless it is for the background.
    pub async fn run(
        &self,
        id: &str,
        command: &Command,
        live: Option<LiveOutput>,
    ) -> Result<CommandResult, AgentError> {
        let mut guard = Abandon { transport: &*self.transport, id: (!command.background).then_some(id) };
        let result = self.follow(id, command, live).await;
        // Unless the answer was lost, the workspace agent has reported the end of the command.
        if !matches!(result, Err(AgentError::Lost(_))) {
            guard.id = None;
        }
        result
    }

    /// Follows a command to its end. If the connection breaks, attaches to the command again.
    async fn follow(&self, id: &str, command: &Command, live: Option<LiveOutput>) -> Result<CommandResult, AgentError> {
        let mut path = format!("/commands/{id}");
        // Three breaks without a line in between are not a coincidence: give up.
        let (mut breaks, mut begun) = (0, false);
        loop {
            let answer = self.send(Method::PUT, &path, Some(command), Repeat::Safe).await;
            let body = answer.map_err(|error| match error {
                AgentError::Lost(lost) => Lost { maybe_done: lost.maybe_done || begun, ..lost }.into(),
                other => other,
            })?;
            begun = true;
            // The command has begun: a workspace agent that does not know it is a new one, which must not run it again.
            path = format!("/commands/{id}?begun=true");
            let mut lines = Lines::of(body);
            let lost = loop {
                let json = match lines.next(&self.account).await {
                    Ok(json) => json,
                    Err(AgentError::Lost(lost)) => break lost,
                    Err(error) => return Err(error),
                };
                breaks = 0;
                if json.is_empty() {
                    // A heartbeat.
                    continue;
                }
                match parse(&json)? {
                    CommandEvent::Output(text) => {
                        if let Some(live) = &live {
                            // A slow reader misses pieces; a reader that has stopped misses them all.
                            let _ = live.try_send(text);
                        }
                    }
                    CommandEvent::Result(result) => return Ok(result),
                    CommandEvent::Failure(failure) => return Err(failure.into()),
                }
            };
            breaks += 1;
            if breaks > 2 {
                return Err(lost.into());
            }
        }
    }

    /// Lists the background processes: running ones, and recently ended ones.
    pub async fn processes(&self) -> Result<Processes, AgentError> {
        self.get("/processes").await
    }

    /// Reads the output of a background process.
    pub async fn process_output(&self, id: u32, request: ProcessOutputRequest) -> Result<ProcessOutput, AgentError> {
        self.post(&format!("/processes/{id}/output"), &request, Repeat::Safe).await
    }

    /// Writes to the standard input of a background process.
    pub async fn send_input(&self, id: u32, input: &Input) -> Result<Process, AgentError> {
        self.post(&format!("/processes/{id}/input"), input, Repeat::Unsafe).await
    }

    /// Ends a background process and all processes that it started.
    pub async fn stop_process(&self, id: u32) -> Result<Process, AgentError> {
        self.post(&format!("/processes/{id}/stop"), &(), Repeat::Safe).await
    }

    /// Lists a folder.
    pub async fn list_files(&self, request: &ListFiles) -> Result<FileList, AgentError> {
        self.list("/files/list", request).await
    }

    /// Reads a file, or a part of it.
    pub async fn read_file(&self, request: &ReadFile) -> Result<FileContent, AgentError> {
        self.ask("/files/read", request, Repeat::Safe, request.most_answer()).await
    }

    /// Writes a whole file.
    pub async fn write_file(&self, request: &WriteFile) -> Result<Written, AgentError> {
        self.ask("/files/write", request, Repeat::Safe, MOST_SHORT_ANSWER).await
    }

    /// Appends to a file. The route is separate, so that an older workspace agent fails instead of replacing the file.
    pub async fn append_file(&self, request: &WriteFile) -> Result<Written, AgentError> {
        self.ask("/files/append", request, Repeat::Unsafe, MOST_SHORT_ANSWER).await
    }

    /// Replaces text in a file.
    pub async fn edit_file(&self, request: &EditFile) -> Result<Edited, AgentError> {
        self.ask("/files/edit", request, Repeat::Unsafe, MOST_SHORT_ANSWER).await
    }

    /// Searches files for lines that match.
    pub async fn search_files(&self, request: &SearchFiles) -> Result<SearchResults, AgentError> {
        self.list("/files/search", request).await
    }

    /// Moves a file or folder.
    pub async fn move_path(&self, request: &MovePath) -> Result<Moved, AgentError> {
        self.ask("/files/move", request, Repeat::Unsafe, MOST_SHORT_ANSWER).await
    }

    /// Removes a file or folder.
    pub async fn remove_path(&self, request: &RemovePath) -> Result<Removed, AgentError> {
        self.ask("/files/remove", request, Repeat::Unsafe, MOST_SHORT_ANSWER).await
    }

    /// Measures the resource usage of the workspace.
    pub async fn usage(&self) -> Result<Usage, AgentError> {
        let body = self.send::<()>(Method::GET, "/usage", None, Repeat::Safe).await?;
        parse(&reading::whole(body, (MOST_USAGE, COPIES), &self.account).await?)
    }

    /// A page of the journal: what clients ran and changed lately.
    pub async fn journal(&self, request: &JournalRequest) -> Result<JournalPage, AgentError> {
        let body = self.send(Method::POST, "/journal", Some(request), Repeat::Safe).await?;
        parse(&reading::whole(body, (MOST_SHORT_ANSWER, LIST_COPIES), &self.account).await?)
    }

    async fn get<A: DeserializeOwned>(&self, path: &str) -> Result<A, AgentError> {
        let body = self.send::<()>(Method::GET, path, None, Repeat::Safe).await?;
        parse(&reading::whole(body, (MOST_ANSWER, LIST_COPIES), &self.account).await?)
    }

    async fn post<A: DeserializeOwned>(
        &self,
        path: &str,
        request: &impl Serialize,
        repeat: Repeat,
    ) -> Result<A, AgentError> {
        self.ask(path, request, repeat, MOST_ANSWER).await
    }

    async fn list<A: DeserializeOwned>(&self, path: &str, request: &impl Serialize) -> Result<A, AgentError> {
        let body = self.send(Method::POST, path, Some(request), Repeat::Safe).await?;
        parse(&reading::whole(body, (MOST_ANSWER, LIST_COPIES), &self.account).await?)
    }

    async fn ask<A: DeserializeOwned>(
        &self,
        path: &str,
        request: &impl Serialize,
        repeat: Repeat,
        most: u64,
    ) -> Result<A, AgentError> {
        let body = self.send(Method::POST, path, Some(request), repeat).await?;
        parse(&reading::whole(body, (most, COPIES), &self.account).await?)
    }

    /// Sends a request and returns the body of a successful answer.
    async fn send<B: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
        repeat: Repeat,
    ) -> Result<AnswerBody, AgentError> {
        let body = body.map(serde_json::to_vec).transpose();
        let body = body.map_err(|error| AgentError::Unreadable(format!("nothing: {error}")))?;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://agent{path}"))
            .header(CONTENT_TYPE, "application/json");
        if let Some(actor) = &self.actor {
            request = request.header(ACTOR_HEADER, actor);
        }
        let request = request
            .body(Full::from(body.unwrap_or_default()))
            .map_err(|error| AgentError::Unreadable(format!("nothing: {error}")))?;
        let response = self.transport.send(request, repeat).await?;
        if response.status().is_success() {
            return Ok(response.into_body());
        }
        let status = response.status();
        let text = reading::whole(response.into_body(), (MOST_SHORT_ANSWER, COPIES), &self.account).await?;
        Err(serde_json::from_slice::<Failure>(&text)
            .map_or_else(|_| AgentError::Unreadable(format!("status {status}")), AgentError::Failed))
    }
}

/// Ends a command when it is dropped, unless `id` is `None`.
struct Abandon<'a> {
    transport: &'a dyn Transport,
    id: Option<&'a str>,
}

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.transport.abandon(id);
        }
    }
}

fn parse<A: DeserializeOwned>(json: &[u8]) -> Result<A, AgentError> {
    serde_json::from_slice(json).map_err(|error| AgentError::Unreadable(format!("an invalid response: {error}")))
}
