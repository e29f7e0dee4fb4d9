//! The tools for AI agents: one trait, and one file for each group of tools.
//!
//! `mcp` serves them as MCP tools and `rest` as an HTTP interface. Names, arguments, scopes and results are the same.

mod arguments;
mod audit;
mod commands;
mod files;
pub mod heartbeat;
mod identity;
mod inspect;
mod processes;
mod registry;
mod research;
mod schema;
mod templates;
mod text;
mod workspaces;

pub use registry::{Definition, Registry, ToolEntry, ToolLookup};
pub use text::{Piece, Text};

use crate::heartbeat::WorkStarted;
use async_trait::async_trait;
use bytes::Bytes;
use portcullis_agent::protocol::Actor;
use portcullis_budget::{Account, SMALL};
use portcullis_config::ServerLimits;
use portcullis_core::Scope;
use portcullis_oauth::Caller;
use portcullis_telemetry::audit::RequestContext;
use portcullis_workspaces as backend;
use portcullis_workspaces::{Owner, Purpose, Workspaces};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use std::{io, sync::Arc, time::Duration};

/// One tool: its description for agents, and its implementation.
pub trait Tool: Send + Sync + 'static {
    /// Its arguments. The type must deny unknown fields.
    type Arguments: DeserializeOwned + JsonSchema + Send;
    /// Its result, which serializes to a JSON object.
    type Output: Serialize + JsonSchema;

    /// The name of the tool in calls.
    const NAME: &'static str;
    /// The display name, for users.
    const TITLE: &'static str;
    /// What it does and when to use it, for agents.
    const DESCRIPTION: &'static str;
    /// The scope that a token needs; `None`: any token is accepted.
    const SCOPE: Option<Scope>;
    /// Its effects.
    const EFFECT: Effect;

    /// Adapts the schema of the arguments to the configuration of the endpoint.
    fn refine_input_schema(&self, _schema: &mut Map<String, Value>) {}

    /// The text form of the result for models, in addition to the JSON.
    fn text(output: &Self::Output) -> Text;

    /// Moves an image out of the result, for clients that display images. The field of the result is left empty.
    fn take_picture(_output: &mut Self::Output) -> Option<Image> {
        None
    }

    /// Executes the call. Dropping the future must end everything that the call started.
    fn call(
        &self,
        arguments: Self::Arguments,
        call: Call,
    ) -> impl Future<Output = Result<Self::Output, ToolError>> + Send;
}

/// A tool without arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoArguments {}

/// An image that was moved out of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The image in base64 (RFC 4648 §4).
    pub data: Bytes,
    /// Its media type, such as `image/png`.
    pub mime_type: String,
}

/// The answer of a tool: one JSON object, which matches the output schema, and its text. The data is in memory only
/// once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolAnswer {
    /// The JSON object.
    pub json: Bytes,
    /// The text, in pieces of JSON string content; `None`: the JSON is the text. Long pieces are slices of `json`.
    pub text: Option<Vec<Bytes>>,
    /// The image, if the client displays images.
    pub picture: Option<Image>,
}

impl ToolAnswer {
    /// The parsed object.
    #[must_use]
    pub fn into_json(self) -> Value {
        // The JSON was written by serde, so it is valid.
        serde_json::from_slice(&self.json).unwrap_or_default()
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> String {
        let Some(pieces) = &self.text else { return String::from_utf8_lossy(&self.json).into_owned() };
        let quoted = [b"\"", &*pieces.concat(), b"\""].concat();
        // The string was written by serde, so it is valid.
        serde_json::from_slice(&quoted).unwrap_or_default()
    }
}

/// Serializes a result without allocating more memory than it needs.
fn to_json(output: &impl Serialize) -> serde_json::Result<Bytes> {
    let mut small = Bounded(Vec::with_capacity(512));
    match serde_json::to_writer(&mut small, output) {
        Ok(()) => Ok(small.0.into()),
        Err(error) if error.is_io() => {
            // A growing vector is in memory twice while it is copied, so the size is counted first.
            let mut size = Count(0);
            serde_json::to_writer(&mut size, output)?;
            let mut large = Vec::with_capacity(size.0);
            serde_json::to_writer(&mut large, output)?;
            Ok(large.into())
        }
        Err(error) => Err(error),
    }
}

/// A writer that fails after `SMALL` bytes.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if (self.0.len() + bytes.len()) as u64 > SMALL {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A writer that only counts bytes.
struct Count(usize);

impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The maximum wait of a tool, so that its answer is ready before the timeout of the request.
#[derive(Clone, Copy, Debug)]
struct WaitBudget(Duration);

impl WaitBudget {
    /// The rest of the request's time, in seconds: for cleanup, and for sending the answer.
    const MARGIN: u64 = 5;

    fn of(limits: &ServerLimits) -> Self {
        let whole = limits.request_timeout.as_duration().as_secs();
        // A short request leaves at least half of its time to the tool.
        Self(Duration::from_secs(whole.saturating_sub(Self::MARGIN).max(whole / 2).max(1)))
    }

    fn seconds(self) -> u64 {
        self.0.as_secs()
    }

    /// The requested seconds, if they do not exceed the maximum.
    fn wait(self, seconds: u64) -> Result<Duration, backend::Error> {
        let max = self.seconds();
        if seconds <= max {
            return Ok(Duration::from_secs(seconds));
        }
        let problem = format!("{seconds} is out of range; give 0 to {max}, and call again to continue waiting");
        Err(backend::Error::InvalidArgument { argument: "wait_seconds", problem })
    }

    /// Writes the maximum wait into the schema of an argument.
    fn refine(self, schema: &mut Map<String, Value>, argument: &str) {
        let argument = schema.get_mut("properties").and_then(|properties| properties.get_mut(argument));
        if let Some(argument) = argument.and_then(Value::as_object_mut) {
            argument.insert("maximum".to_owned(), self.seconds().into());
        }
    }
}

/// The effects of a tool, for the four hints of MCP's tool annotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It only reads.
    Reads,
    /// It adds something with every call.
    Adds,
    /// It establishes a state and loses no data.
    Ensures,
    /// It removes something; a repetition has no further effect.
    Removes,
    /// It replaces something; a repetition may have a further effect.
    Changes,
    /// It can have any effect, also outside the workspaces.
    Anything,
}

/// The four hints of MCP's tool annotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "MCP has these four")]
pub struct Hints {
    /// It changes nothing.
    pub read_only: bool,
    /// It may remove or replace something.
    pub destructive: bool,
    /// A repetition has no further effect.
    pub idempotent: bool,
    /// It may reach systems outside the workspaces.
    pub open_world: bool,
}

impl Effect {
    /// The hints for clients.
    #[must_use]
    pub const fn hints(self) -> Hints {
        let (read_only, destructive, idempotent, open_world) = match self {
            Self::Reads => (true, false, true, false),
            Self::Adds => (false, false, false, false),
            Self::Ensures => (false, false, true, false),
            Self::Removes => (false, true, true, false),
            Self::Changes => (false, true, false, false),
            Self::Anything => (false, true, false, true),
        };
        Hints { read_only, destructive, idempotent, open_world }
    }
}

/// A receiver of progress messages.
pub type Progress = Box<dyn Report>;

/// Receives the messages that a tool reports while it works.
#[async_trait]
pub trait Report: Send {
    /// Forwards a progress message.
    async fn report(&mut self, message: String);
}

/// One call of a tool.
pub struct Call {
    /// The caller.
    pub caller: Arc<Caller>,
    /// The context of the request, for audit events.
    pub from: RequestContext,
    /// The receiver of progress messages; `None` if the client did not request progress.
    pub progress: Option<Progress>,
    /// Whether the client displays images in addition to the result.
    pub shows_pictures: bool,
    /// The memory account of the request.
    pub account: Account,
    /// Notified when the workspace agent is reached and the work begins; `None` if the notification is not needed.
    pub started: Option<WorkStarted>,
}

impl Call {
    /// A call without progress messages and without a memory limit.
    #[must_use]
    pub fn of(caller: Arc<Caller>, from: RequestContext) -> Self {
        Self { caller, from, progress: None, shows_pictures: false, account: Account::unlimited(), started: None }
    }

    /// The client of a workspace agent. Its responses are charged to the request, and its requests name the caller for
    /// the workspace's journal.
    fn agent<'a>(
        &self,
        backend: &'a Arc<dyn Workspaces>,
        workspace: &'a str,
        purpose: Purpose,
    ) -> impl Future<Output = Result<portcullis_agent::Client, backend::Error>> + Send + use<'a> {
        let (owner, account, started) = (self.owner(), self.account.clone(), self.started.clone());
        let Caller { client_id, subject, grant, .. } = &*self.caller;
        let actor = Actor { client_id: client_id.clone(), user: subject.clone(), grant: grant.clone() };
        async move {
            let agent = backend.agent(&owner, workspace, purpose).await?.charging(account).acting_as(&actor);
            if let Some(started) = started {
                started.notify();
            }
            Ok(agent)
        }
    }

    /// The owner on whose behalf the call acts.
    #[must_use]
    pub fn owner(&self) -> Owner {
        let caller = &self.caller;
        let name = caller.user_name.clone().unwrap_or_else(|| caller.client_id.clone());
        Owner { id: caller.subject.clone(), name }
    }
}

/// The error of a call. AI agents read the messages.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The arguments do not match the schema.
    #[error("{tool}: {problem}. Expected arguments: {expected}")]
    Arguments {
        /// The tool's name.
        tool: &'static str,
        /// The problems with the arguments.
        problem: String,
        /// The expected arguments.
        expected: Arc<str>,
    },
    /// The operation failed.
    #[error(transparent)]
    Workspaces(#[from] backend::Error),
    /// The operation needs a scope that the token does not have.
    #[error("{what} needs the scope {scope}, which this access token does not have")]
    NeedsScope {
        /// The requested operation.
        what: &'static str,
        /// The missing scope.
        scope: Scope,
    },
    /// The endpoint does not serve the tools for the operation.
    #[error("{what} is not served by this endpoint: the tools for it are not enabled")]
    NotServed {
        /// The requested operation.
        what: &'static str,
    },
    /// The result could not be serialized.
    #[error("the result could not be serialized")]
    Output(#[source] serde_json::Error),
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_core::report;

    #[test]
    fn large_answers_are_written_into_what_they_need() {
        for size in [10, 40 << 10] {
            let text = "\u{1}\"x".repeat(size);
            let written = to_json(&text).unwrap();
            assert_eq!(written, serde_json::to_vec(&text).unwrap());
        }
    }

    #[test]
    fn a_failure_is_explained_to_its_root() {
        let source = std::io::Error::other("disk full");
        let error = ToolError::from(backend::Error::Io { doing: "save the workspace's state".to_owned(), source });
        assert_eq!(report::chain(&error), "could not save the workspace's state: disk full");
    }
}
