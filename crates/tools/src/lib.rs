//! What agents can do: one trait, and a file for each group of tools.
//!
//! `mcp` serves them as MCP tools and `rest` as HTTP: names, arguments, scopes and results are the same.

mod arguments;
mod audit;
mod commands;
mod files;
pub mod heartbeat;
mod identity;
mod inspect;
mod plain;
mod processes;
mod registry;
mod research;
mod schema;
mod templates;
mod text;
mod workspaces;

pub use registry::{Definition, Registry, ToolEntry, ToolLookup};
pub use text::{Piece, Text};

use crate::heartbeat::Begun;
use async_trait::async_trait;
use bytes::Bytes;
use portcullis_budget::{Account, SMALL};
use portcullis_config::Limits;
use portcullis_core::Scope;
use portcullis_oauth::Caller;
use portcullis_telemetry::audit::RequestContext;
use portcullis_workspaces as backend;
use portcullis_workspaces::{Owner, Purpose, Workspaces};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use std::{io, sync::Arc, time::Duration};

/// One tool: what agents read about it, and what it does.
pub trait Tool: Send + Sync + 'static {
    /// Its arguments. The type must deny unknown fields.
    type Arguments: DeserializeOwned + JsonSchema + Send;
    /// Its result: an object.
    type Output: Serialize + JsonSchema;

    /// The name that agents call.
    const NAME: &'static str;
    /// The name that people read.
    const TITLE: &'static str;
    /// What it does and when to use it, for agents.
    const DESCRIPTION: &'static str;
    /// What a token must be good for; `None`: any token will do.
    const SCOPE: Option<Scope>;
    /// How it acts.
    const EFFECT: Effect;

    /// Adjusts the schema of the arguments to the endpoint, beyond what the type says.
    fn refine_input_schema(&self, _schema: &mut Map<String, Value>) {}

    /// The result as models read it, beside the JSON.
    fn text(output: &Self::Output) -> Text;

    /// Takes a picture out of the result, for those who can look at one. What is left of it in the result is empty.
    fn take_picture(_output: &mut Self::Output) -> Option<Image> {
        None
    }

    /// Does it. Dropping the future must end what it started.
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

/// A picture that was taken out of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// In base64 (RFC 4648 §4).
    pub data: Bytes,
    /// Its media type, such as `image/png`.
    pub mime_type: String,
}

/// The answer of a tool: one JSON object, which matches the output schema, and its text. It is in memory once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolAnswer {
    /// The object.
    pub json: Bytes,
    /// The text, in pieces of what a JSON string holds; `None`: the JSON is the text. Long pieces are parts of `json`.
    pub text: Option<Vec<Bytes>>,
    /// Its picture, where the caller shows pictures.
    pub picture: Option<Image>,
}

impl ToolAnswer {
    /// The object, taken apart.
    #[must_use]
    pub fn into_json(self) -> Value {
        // It was written by serde.
        serde_json::from_slice(&self.json).unwrap_or_default()
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> String {
        let Some(pieces) = &self.text else { return String::from_utf8_lossy(&self.json).into_owned() };
        let quoted = [b"\"", &*pieces.concat(), b"\""].concat();
        // It was written by serde.
        serde_json::from_slice(&quoted).unwrap_or_default()
    }
}

/// Writes an answer down without more memory than it takes.
fn to_json(output: &impl Serialize) -> serde_json::Result<Bytes> {
    let mut small = Bounded(Vec::with_capacity(512));
    match serde_json::to_writer(&mut small, output) {
        Ok(()) => Ok(small.0.into()),
        Err(error) if error.is_io() => {
            // A vector that grows is in memory twice. So its size is counted first.
            let mut size = Count(0);
            serde_json::to_writer(&mut size, output)?;
            let mut large = Vec::with_capacity(size.0);
            serde_json::to_writer(&mut large, output)?;
            Ok(large.into())
        }
        Err(error) => Err(error),
    }
}

/// Takes a few bytes, and fails for more.
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

/// Counts bytes.
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

/// The longest wait of a tool, so that its answer is ready within the time limit of a request.
#[derive(Clone, Copy, Debug)]
struct WaitBudget(Duration);

impl WaitBudget {
    /// The rest of a request's time: for ending what it began, and for sending the answer.
    const MARGIN: u64 = 5;

    fn of(limits: &Limits) -> Self {
        let whole = limits.request_timeout.as_duration().as_secs();
        // A request of few seconds must leave some of them to the tool.
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

    /// Writes the most that can be waited into the schema of an argument.
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
    /// It only looks.
    Reads,
    /// It adds something, each time anew.
    Adds,
    /// It brings about a state, and loses nothing on the way.
    Ensures,
    /// It takes something away; once is as good as twice.
    Removes,
    /// It replaces something; twice is not as good as once.
    Changes,
    /// It can do anything, to the outside world too.
    Anything,
}

/// The four hints of MCP's tool annotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "MCP has these four")]
pub struct Hints {
    /// It changes nothing.
    pub read_only: bool,
    /// It may take something away.
    pub destructive: bool,
    /// Twice is as good as once.
    pub idempotent: bool,
    /// It may reach what is outside of the workspaces.
    pub open_world: bool,
}

impl Effect {
    /// What it means for who calls.
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

/// Where a tool reports how it goes.
pub type Progress = Box<dyn Report>;

/// Takes what a tool reports while it works.
#[async_trait]
pub trait Report: Send {
    /// Passes a message on.
    async fn report(&mut self, message: String);
}

/// One call of a tool.
pub struct Call {
    /// Who calls.
    pub caller: Arc<Caller>,
    /// The request that makes the call, for the audit.
    pub from: RequestContext,
    /// Where to report how it goes; `None` if the client did not ask for it.
    pub progress: Option<Progress>,
    /// Whether the client shows pictures beside the result.
    pub shows_pictures: bool,
    /// The request's memory.
    pub account: Account,
    /// Told when the workspace is reached and its work begins, where somebody waits for that.
    pub begun: Option<Begun>,
}

impl Call {
    /// A call whose memory is not counted, and which reports nothing.
    #[must_use]
    pub fn of(caller: Arc<Caller>, from: RequestContext) -> Self {
        Self { caller, from, progress: None, shows_pictures: false, account: Account::unlimited(), begun: None }
    }

    /// The agent of a workspace. Its answers are charged to the request.
    fn agent<'a>(
        &self,
        backend: &'a Arc<dyn Workspaces>,
        workspace: &'a str,
        purpose: Purpose,
    ) -> impl Future<Output = Result<portcullis_agent::Client, backend::Error>> + Send + use<'a> {
        let (owner, account, begun) = (self.owner(), self.account.clone(), self.begun.clone());
        async move {
            let agent = backend.agent(&owner, workspace, purpose).await?.charging(account);
            if let Some(begun) = begun {
                begun.tell();
            }
            Ok(agent)
        }
    }

    /// On whose behalf.
    #[must_use]
    pub fn owner(&self) -> Owner {
        let caller = &self.caller;
        let name = caller.user_name.clone().unwrap_or_else(|| caller.client_id.clone());
        Owner { id: caller.subject.clone(), name }
    }
}

/// Why a tool failed. Agents read these messages.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The arguments do not fit the schema.
    #[error("{tool}: {problem}. Expected arguments: {expected}")]
    Arguments {
        /// The tool's name.
        tool: &'static str,
        /// What is wrong with them.
        problem: String,
        /// What would be right.
        expected: Arc<str>,
    },
    /// The operation failed.
    #[error(transparent)]
    Workspaces(#[from] backend::Error),
    /// What is asked for is there for tokens of another scope only.
    #[error("{what} needs the scope {scope}, which this access token does not have")]
    NeedsScope {
        /// What was asked for.
        what: &'static str,
        /// What is missing.
        scope: Scope,
    },
    /// The endpoint leaves out the tools that would do it.
    #[error("{what} is not served by this endpoint: the tools for it are not enabled")]
    NotServed {
        /// What was asked for.
        what: &'static str,
    },
    /// The result could not be written down.
    #[error("the result cannot be shown")]
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
