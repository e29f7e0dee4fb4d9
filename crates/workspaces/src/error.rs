//! Errors of operations on workspaces. AI agents read the messages, so each one says what exists and what to do next.

use portcullis_agent::{
    AgentError,
    protocol::{Failure, FailureKind, UNKNOWN_ROUTE},
};
use portcullis_api::parameters::{Listed, ParameterProblem};
use portcullis_budget::NoMemory;
use std::{fmt, io};

/// The error of an operation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The workspace does not exist, or the owner has no access to it.
    #[error(
        "there is no workspace {wanted:?}; {}",
        Existing(existing, "your workspaces", "you have none yet: call create_workspace")
    )]
    UnknownWorkspace {
        /// The requested id or name.
        wanted: String,
        /// The names of the owner's workspaces.
        existing: Vec<String>,
    },
    /// The template does not exist.
    #[error("there is no template {wanted:?}; {}", Existing(existing, "the templates", "there are none"))]
    UnknownTemplate {
        /// The requested name.
        wanted: String,
        /// The names of all templates.
        existing: Vec<String>,
    },
    /// The template does not have this parameter.
    #[error(
        "template {template:?} has no parameter {parameter:?}; {}",
        Existing(existing, "its parameters", "it has none, so omit parameters")
    )]
    UnknownParameter {
        /// The template's name.
        template: String,
        /// The name of the given parameter.
        parameter: String,
        /// The names of the template's parameters.
        existing: Vec<String>,
    },
    /// The owner already has a workspace of this name.
    #[error("you already have a workspace {name:?}; use it, or choose another name")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The workspace is being deleted.
    #[error("workspace {workspace:?} is being deleted; try again in a few seconds")]
    BeingDeleted {
        /// The workspace's name.
        workspace: String,
    },
    /// The name is not valid.
    #[error(
        "{name:?} is not a valid workspace name: use 1 to 40 of a-z, 0-9 and -, beginning with a letter and not ending with -{}",
        suggestion.as_ref().map(|better| format!(", such as {better:?}")).unwrap_or_default()
    )]
    InvalidName {
        /// The requested name.
        name: String,
        /// A similar valid name.
        suggestion: Option<String>,
    },
    /// A value is not valid for its parameter.
    #[error("{problem}")]
    InvalidParameter {
        /// The template and its parameter, the problem, and the valid values.
        problem: String,
    },
    /// The owner has reached the limit of workspaces.
    #[error(
        "you have {count} workspaces, and the limit is {limit}; delete one that is no longer needed, or ask the platform's engineers for more"
    )]
    QuotaExceeded {
        /// The number of the owner's workspaces.
        count: u32,
        /// The maximum number.
        limit: u32,
    },
    /// The user can see the workspace, but is not permitted to perform this action.
    #[error("workspace {workspace:?} belongs to {owner}; you are not permitted to {verb} it; ask the owner")]
    NotPermitted {
        /// The workspace's name.
        workspace: String,
        /// The name of the workspace's owner.
        owner: String,
        /// The refused action, such as `stop`.
        verb: &'static str,
    },
    /// The workspace is starting, stopping or failed.
    #[error("workspace {workspace:?} is {status}: {problem}")]
    NotRunning {
        /// The workspace's name.
        workspace: String,
        /// `starting`, `stopping` or `failed`.
        status: String,
        /// The reason, and what to do.
        problem: String,
    },
    /// The workspace agent refused the request or failed.
    #[error(transparent)]
    Agent(#[from] Failure),
    /// The workspace could not be reached.
    #[error("workspace {workspace:?} could not be reached: {why}")]
    Unreachable {
        /// The workspace's name.
        workspace: String,
        /// The reason, whether the request may have been executed, and what to do.
        why: String,
    },
    /// The response of the workspace agent is too long.
    #[error("workspace {workspace:?}: {why}")]
    AnswerTooLong {
        /// The workspace's name.
        workspace: String,
        /// The limit, and what to do.
        why: String,
    },
    /// This server does not have enough memory for the response.
    #[error(transparent)]
    NoMemory(#[from] NoMemory),
    /// The cluster refused the request.
    #[error("could not {doing}: the cluster reports: {why}")]
    Refused {
        /// The failed operation; completes "could not …".
        doing: String,
        /// The cluster's message.
        why: String,
    },
    /// A request to the cluster failed.
    #[error("could not {doing}")]
    Cluster {
        /// The failed operation; completes "could not …".
        doing: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The workspace is stopped.
    #[error("workspace {workspace:?} is stopped; call start_workspace, then try again")]
    Stopped {
        /// The workspace's name.
        workspace: String,
    },
    /// The workspace was stopped, restarted or deleted, or the server is shutting down.
    #[error("workspace {workspace:?}: {why}")]
    Interrupted {
        /// The workspace's name.
        workspace: String,
        /// The cause of the interruption, and what to do.
        why: String,
    },
    /// An argument is not valid.
    #[error("{argument}: {problem}")]
    InvalidArgument {
        /// The argument's name.
        argument: &'static str,
        /// The problem, and what to do.
        problem: String,
    },
    /// An I/O error of the backend, not caused by the request.
    #[error("could not {doing}")]
    Io {
        /// The failed operation; completes "could not …".
        doing: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// Converts an I/O error, for `map_err`. `doing` completes "could not …".
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    /// The error for invalid parameters, with all problems.
    pub(crate) fn unfit(template: &str, mut problems: Vec<ParameterProblem>) -> Self {
        let template = template.to_owned();
        if let [ParameterProblem::Unknown { name, existing }] = problems.as_mut_slice() {
            let (parameter, existing) = (std::mem::take(name), std::mem::take(existing));
            return Self::UnknownParameter { template, parameter, existing };
        }
        Self::InvalidParameter { problem: format!("template {template:?}: {}", Listed(&problems)) }
    }

    /// The kind of error in one word, for audit events and metrics.
    #[must_use]
    pub const fn outcome(&self) -> &'static str {
        match self {
            Self::UnknownParameter { .. }
            | Self::InvalidName { .. }
            | Self::InvalidParameter { .. }
            | Self::InvalidArgument { .. } => "invalid_arguments",
            Self::UnknownWorkspace { .. } | Self::UnknownTemplate { .. } => "not_found",
            Self::NotPermitted { .. } => "not_permitted",
            Self::NameTaken { .. }
            | Self::BeingDeleted { .. }
            | Self::Refused { .. }
            | Self::QuotaExceeded { .. }
            | Self::NotRunning { .. }
            | Self::Stopped { .. }
            | Self::NoMemory(_)
            | Self::Interrupted { .. } => "refused",
            Self::Unreachable { .. } | Self::AnswerTooLong { .. } | Self::Cluster { .. } | Self::Io { .. } => "failed",
            Self::Agent(failure) => match failure.kind {
                FailureKind::Invalid => "invalid_arguments",
                FailureKind::NotFound => "not_found",
                FailureKind::Denied => "not_permitted",
                FailureKind::Conflict | FailureKind::TooLarge | FailureKind::Exhausted | FailureKind::Interrupted => {
                    "refused"
                }
                FailureKind::Internal => "failed",
            },
        }
    }

    /// Converts an error of the workspace agent, for `map_err`. The message says what to do.
    pub fn agent(workspace: &str) -> impl FnOnce(AgentError) -> Self {
        let workspace = workspace.to_owned();
        move |error| match error {
            AgentError::Failed(failure) if failure.kind == FailureKind::Interrupted => {
                Self::Interrupted { workspace, why: failure.message }
            }
            AgentError::Failed(failure) if failure.message == UNKNOWN_ROUTE => {
                let message = "the workspace's agent is of an older version, which cannot do that; call \
                               restart_workspace for one of this version: it ends its processes, and keeps the files";
                Self::Agent(Failure { kind: FailureKind::Conflict, message: message.to_owned() })
            }
            AgentError::Failed(failure) => Self::Agent(failure),
            AgentError::Lost(lost) if lost.maybe_done => {
                let why = format!("{lost}; the operation may have been completed: check before you repeat it");
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

/// Lists the existing names, such as `your workspaces are: "a", "b" and 7 more`. If there are none, shows the last
/// field.
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
            (lost(true), "the connection broke; the operation may have been completed: check before you repeat it"),
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
