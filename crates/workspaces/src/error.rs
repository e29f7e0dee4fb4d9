//! Why an operation on a workspace failed. Agents read these messages: each says what exists and what to do next.

use portcullis_agent::{
    AgentError,
    protocol::{Failure, FailureKind, UNKNOWN_ROUTE},
};
use portcullis_api::parameters::{Listed, ParameterProblem};
use portcullis_budget::NoMemory;
use std::{fmt, io};

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such workspace, or it is somebody else's.
    #[error(
        "there is no workspace {wanted:?}; {}",
        Existing(existing, "your workspaces", "you have none yet: call create_workspace")
    )]
    UnknownWorkspace {
        /// What was asked for.
        wanted: String,
        /// The names of the owner's workspaces.
        existing: Vec<String>,
    },
    /// There is no such template.
    #[error("there is no template {wanted:?}; {}", Existing(existing, "the templates", "there are none"))]
    UnknownTemplate {
        /// What was asked for.
        wanted: String,
        /// The names of all templates.
        existing: Vec<String>,
    },
    /// The template has no such parameter.
    #[error(
        "template {template:?} has no parameter {parameter:?}; {}",
        Existing(existing, "its parameters", "it has none, so leave parameters out")
    )]
    UnknownParameter {
        /// The template's name.
        template: String,
        /// What was given.
        parameter: String,
        /// What the template has.
        existing: Vec<String>,
    },
    /// The owner has a workspace of this name.
    #[error("you already have a workspace {name:?}; use it, or choose another name")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The owner's workspace of this name is on its way out.
    #[error("workspace {workspace:?} is being deleted; try again in a few seconds")]
    BeingDeleted {
        /// Its name.
        workspace: String,
    },
    /// A name that cannot be.
    #[error(
        "{name:?} is not a valid workspace name: use 1 to 40 of a-z, 0-9 and -, beginning with a letter and not ending with -{}",
        suggestion.as_ref().map(|better| format!(", such as {better:?}")).unwrap_or_default()
    )]
    InvalidName {
        /// What was asked for.
        name: String,
        /// A valid name that is close to it.
        suggestion: Option<String>,
    },
    /// A value that the parameter cannot have.
    #[error("{problem}")]
    InvalidParameter {
        /// Which one of which template, what is wrong, and what is possible.
        problem: String,
    },
    /// The owner has as many as they may have.
    #[error(
        "you have {count} workspaces, and the limit is {limit}; delete one that is done, or ask the platform's engineers for more"
    )]
    QuotaExceeded {
        /// How many there are.
        count: u32,
        /// How many there may be.
        limit: u32,
    },
    /// The workspace is there, but not for this.
    #[error("workspace {workspace:?} belongs to {owner}; you may not {verb} it: ask the owner")]
    NotPermitted {
        /// Its name.
        workspace: String,
        /// Whose it is.
        owner: String,
        /// What was asked for, such as `stop`.
        verb: &'static str,
    },
    /// The workspace does not run yet, any more, or at all.
    #[error("workspace {workspace:?} is {status}: {problem}")]
    NotRunning {
        /// Its name.
        workspace: String,
        /// `starting`, `stopping` or `failed`.
        status: String,
        /// Why, and what to do.
        problem: String,
    },
    /// The agent in the workspace refused or failed.
    #[error(transparent)]
    Agent(#[from] Failure),
    /// The workspace could not be reached.
    #[error("workspace {workspace:?} could not be reached: {why}")]
    Unreachable {
        /// Its name.
        workspace: String,
        /// Why, whether what was asked for may have been done, and what to do.
        why: String,
    },
    /// The agent in the workspace answered with too much.
    #[error("workspace {workspace:?}: {why}")]
    AnswerTooLong {
        /// Its name.
        workspace: String,
        /// How much is too much, and what to do.
        why: String,
    },
    /// This server has no memory for the answer.
    #[error(transparent)]
    NoMemory(#[from] NoMemory),
    /// The cluster refused it.
    #[error("could not {doing}: the cluster says: {why}")]
    Refused {
        /// What it was doing.
        doing: String,
        /// Why not, in the cluster's words.
        why: String,
    },
    /// The cluster could not be asked.
    #[error("could not {doing}")]
    Cluster {
        /// What it was doing.
        doing: String,
        /// Why it could not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The workspace is stopped.
    #[error("workspace {workspace:?} is stopped; call start_workspace, then try again")]
    Stopped {
        /// Its name.
        workspace: String,
    },
    /// The workspace was stopped, restarted or deleted, or the server is shutting down.
    #[error("workspace {workspace:?}: {why}")]
    Interrupted {
        /// Its name.
        workspace: String,
        /// What ended the command, and what to do.
        why: String,
    },
    /// An argument that cannot be.
    #[error("{argument}: {problem}")]
    InvalidArgument {
        /// The argument's name.
        argument: &'static str,
        /// What is wrong with it and what to do.
        problem: String,
    },
    /// The backend failed; not the caller's fault.
    #[error("could not {doing}")]
    Io {
        /// What it was doing.
        doing: String,
        /// Why it could not.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// For `map_err`: `doing` completes "could not …".
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    /// Parameters that do not fit: all that is wrong with them.
    pub(crate) fn unfit(template: &str, mut problems: Vec<ParameterProblem>) -> Self {
        let template = template.to_owned();
        if let [ParameterProblem::Unknown { name, existing }] = problems.as_mut_slice() {
            let (parameter, existing) = (std::mem::take(name), std::mem::take(existing));
            return Self::UnknownParameter { template, parameter, existing };
        }
        Self::InvalidParameter { problem: format!("template {template:?}: {}", Listed(&problems)) }
    }

    /// For `map_err`: what the agent of this workspace did not do, and what to do now.
    pub fn agent(workspace: &str) -> impl FnOnce(AgentError) -> Self {
        let workspace = workspace.to_owned();
        move |error| match error {
            AgentError::Failed(failure) if failure.kind == FailureKind::Interrupted => {
                Self::Interrupted { workspace, why: failure.message }
            }
            AgentError::Failed(failure) if failure.message == UNKNOWN_ROUTE => {
                let message = "the workspace's agent is of an older version, which cannot do that; call \
                               restart_workspace for one of this version: it ends what runs there, and keeps the files";
                Self::Agent(Failure { kind: FailureKind::Conflict, message: message.to_owned() })
            }
            AgentError::Failed(failure) => Self::Agent(failure),
            AgentError::Lost(lost) if lost.maybe_done => {
                let why = format!("{lost}; it may have been done nevertheless: check before you repeat it");
                Self::Unreachable { workspace, why }
            }
            AgentError::Lost(lost) => {
                Self::Unreachable { workspace, why: format!("{lost}; nothing was done: try again") }
            }
            error @ AgentError::Unreadable(_) => Self::Unreachable { workspace, why: error.to_string() },
            error @ AgentError::TooLong { .. } => Self::AnswerTooLong { workspace, why: error.to_string() },
            AgentError::NoMemory(why) => Self::NoMemory(why),
        }
    }
}

/// What there is, and what it is called: `your workspaces are: "a", "b" and 7 more`. Or what to say where there is
/// nothing.
struct Existing<'a>(&'a [String], &'a str, &'a str);

impl fmt::Display for Existing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 20;
        let Self(names, kind, nothing) = self;
        if names.is_empty() {
            return f.write_str(nothing);
        }
        let shown: Vec<String> = names.iter().take(SHOWN).map(|name| format!("{name:?}")).collect();
        write!(f, "{kind} are: {}", shown.join(", "))?;
        match names.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_agent::Lost;

    #[test]
    fn what_an_agent_did_not_do_says_what_to_do() {
        let failure = |kind| AgentError::Failed(Failure { kind, message: "there is no a.txt".to_owned() });
        let unknown = Failure { kind: FailureKind::NotFound, message: UNKNOWN_ROUTE.to_owned() };
        let lost = |maybe_done| AgentError::Lost(Lost { why: "the connection broke".to_owned(), maybe_done });
        for (error, said) in [
            (failure(FailureKind::NotFound), "there is no a.txt"),
            (failure(FailureKind::Interrupted), "workspace \"web\": there is no a.txt"),
            (AgentError::Failed(unknown), "is of an older version, which cannot do that; call restart_workspace"),
            (lost(false), "workspace \"web\" could not be reached: the connection broke; nothing was done: try again"),
            (lost(true), "the connection broke; it may have been done nevertheless: check before you repeat it"),
            (AgentError::Unreadable("status 418".to_owned()), "answered with status 418; restart the workspace"),
        ] {
            let error = Error::agent("web")(error).to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn messages_say_what_exists() {
        let unknown = |existing: &[&str]| {
            let existing = existing.iter().map(ToString::to_string).collect();
            Error::UnknownWorkspace { wanted: "x".to_owned(), existing }.to_string()
        };
        assert_eq!(unknown(&[]), "there is no workspace \"x\"; you have none yet: call create_workspace");
        assert_eq!(unknown(&["a"]), "there is no workspace \"x\"; your workspaces are: \"a\"");
        assert_eq!(unknown(&["a", "b"]), "there is no workspace \"x\"; your workspaces are: \"a\", \"b\"");
        assert!(unknown(&["n"; 25]).ends_with("and 5 more"));
    }
}
