//! The client of an agent: one method for each thing that it can do, over whatever [`Transport`] leads to it.

use crate::{
    protocol::{
        Command, CommandEvent, CommandResult, EditFile, Edited, Failure, FileContent, FileList, Hello, Input,
        ListFiles, MOST_ANSWER, MOST_SHORT_ANSWER, MovePath, Moved, Process, ProcessOutput, ProcessOutputRequest,
        Processes, ReadFile, RemovePath, Removed, SearchFiles, SearchResults, Usage, WriteFile, Written,
    },
    reading::{self, COPIES, LIST_COPIES, Lines},
};
use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, Response, header::CONTENT_TYPE};
use http_body_util::{Full, combinators::UnsyncBoxBody};
use portcullis_budget::{Account, NoMemory};
use serde::{Serialize, de::DeserializeOwned};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Where live output goes. Pieces that nobody takes in time are left out: a slow reader never slows the command.
pub type LiveOutput = mpsc::Sender<String>;
/// The body of an agent's answer.
pub type AnswerBody = UnsyncBoxBody<Bytes, Lost>;

/// Whether a request whose answer was lost may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// It changes nothing, or the agent knows it by its id: twice is as good as once.
    Safe,
    /// It may have been done.
    Unsafe,
}

/// Leads to an agent.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Sends a request and returns the head of the answer. A connection that breaks before the request has reached the
    /// agent is made anew, and one that breaks later too where `repeat` allows it.
    async fn send(&self, request: Request<Full<Bytes>>, repeat: Repeat) -> Result<Response<AnswerBody>, Lost>;

    /// Sees to it that a command which nobody waits for any more is ended, without waiting for it.
    fn abandon(&self, command_id: &str);
}

/// The connection to the agent broke, or could not be made.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{why}")]
pub struct Lost {
    /// Why, for people.
    pub why: String,
    /// Whether the request may have reached the agent.
    pub maybe_done: bool,
}

/// Why an agent did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// It says why.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// It could not be asked, or its answer was lost.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// It answered with something else than the protocol has: it is of another version.
    #[error("the workspace's agent answered with {0}; restart the workspace, so that it gets an agent of this version")]
    Unreadable(String),
    /// It answered with more than the protocol allows.
    #[error(
        "the workspace's agent answered with more than the {most} bytes that are allowed, and was cut off: ask for less \
         at a time; if that does not help, the agent is broken or was replaced: call restart_workspace"
    )]
    TooLong {
        /// How much is allowed.
        most: u64,
    },
    /// This server has no memory for the answer.
    #[error(transparent)]
    NoMemory(#[from] NoMemory),
}

/// An agent, wherever it is.
#[derive(Clone)]
pub struct Client {
    transport: Arc<dyn Transport>,
    /// Pays for the memory of its answers.
    account: Account,
}

impl Client {
    /// The agent that `transport` leads to.
    #[must_use]
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        Self { transport, account: Account::unlimited() }
    }

    /// The same agent, whose answers are charged to this account.
    #[must_use]
    pub fn charging(self, account: Account) -> Self {
        Self { account, ..self }
    }

    /// Who it is.
    pub async fn hello(&self) -> Result<Hello, AgentError> {
        self.get("/hello").await
    }

    /// Runs a command, whose `id` must be new, and returns when it has ended, or at once if it is for the background.
    /// Dropping the future ends the command, unless it is for the background.
    pub async fn run(
        &self,
        id: &str,
        command: &Command,
        live: Option<LiveOutput>,
    ) -> Result<CommandResult, AgentError> {
        let mut guard = Abandon { transport: &*self.transport, id: (!command.background).then_some(id) };
        let result = self.follow(id, command, live).await;
        // Only what the agent has answered has ended there.
        if !matches!(result, Err(AgentError::Lost(_))) {
            guard.id = None;
        }
        result
    }

    /// Follows a command to its end, and takes it up again where the connection breaks.
    async fn follow(&self, id: &str, command: &Command, live: Option<LiveOutput>) -> Result<CommandResult, AgentError> {
        let mut path = format!("/commands/{id}");
        // Two breaks in a row without a line in between are no accident any more.
        let (mut breaks, mut begun) = (0, false);
        loop {
            let answer = self.send(Method::PUT, &path, Some(command), Repeat::Safe).await;
            let body = answer.map_err(|error| match error {
                AgentError::Lost(lost) => Lost { maybe_done: lost.maybe_done || begun, ..lost }.into(),
                other => other,
            })?;
            begun = true;
            // It has begun: an agent that does not know it now is another one, which must not run it once more.
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
                    // The agent's heartbeat.
                    continue;
                }
                match parse(&json)? {
                    CommandEvent::Output(text) => {
                        if let Some(live) = &live {
                            // A slow reader misses pieces; one that has gone misses them all.
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

    /// What runs in the background, or did lately.
    pub async fn processes(&self) -> Result<Processes, AgentError> {
        self.get("/processes").await
    }

    /// What a background process has said.
    pub async fn process_output(&self, id: u32, request: ProcessOutputRequest) -> Result<ProcessOutput, AgentError> {
        self.post(&format!("/processes/{id}/output"), &request, Repeat::Safe).await
    }

    /// Types something in.
    pub async fn send_input(&self, id: u32, input: &Input) -> Result<Process, AgentError> {
        self.post(&format!("/processes/{id}/input"), input, Repeat::Unsafe).await
    }

    /// Ends a process and all that it started.
    pub async fn stop_process(&self, id: u32) -> Result<Process, AgentError> {
        self.post(&format!("/processes/{id}/stop"), &(), Repeat::Safe).await
    }

    /// What is in a folder.
    pub async fn list_files(&self, request: &ListFiles) -> Result<FileList, AgentError> {
        self.list("/files/list", request).await
    }

    /// A file, or a part of it.
    pub async fn read_file(&self, request: &ReadFile) -> Result<FileContent, AgentError> {
        self.ask("/files/read", request, Repeat::Safe, request.most_answer()).await
    }

    /// Writes a whole file.
    pub async fn write_file(&self, request: &WriteFile) -> Result<Written, AgentError> {
        self.ask("/files/write", request, Repeat::Safe, MOST_SHORT_ANSWER).await
    }

    /// Adds to the end of a file. An agent that cannot do that says so: it would replace the file.
    pub async fn append_file(&self, request: &WriteFile) -> Result<Written, AgentError> {
        self.ask("/files/append", request, Repeat::Unsafe, MOST_SHORT_ANSWER).await
    }

    /// Replaces text in a file.
    pub async fn edit_file(&self, request: &EditFile) -> Result<Edited, AgentError> {
        self.ask("/files/edit", request, Repeat::Unsafe, MOST_SHORT_ANSWER).await
    }

    /// Looks for lines in files.
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

    /// What the workspace uses.
    pub async fn usage(&self) -> Result<Usage, AgentError> {
        self.get("/usage").await
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

    /// The body of a good answer.
    async fn send<B: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
        repeat: Repeat,
    ) -> Result<AnswerBody, AgentError> {
        let body = body.map(serde_json::to_vec).transpose();
        let body = body.map_err(|error| AgentError::Unreadable(format!("nothing: {error}")))?;
        let request = Request::builder()
            .method(method)
            .uri(format!("http://agent{path}"))
            .header(CONTENT_TYPE, "application/json")
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

/// Ends a command unless its end was seen.
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
    serde_json::from_slice(json).map_err(|error| AgentError::Unreadable(format!("what cannot be read: {error}")))
}
