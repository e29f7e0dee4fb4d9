//! Who called which tool, how it went and how long it took: one event of the log target `audit` and one count for each
//! call, whatever protocol it came by. What a tool was told and what it answered are in neither.

use super::{Answer, ToolError};
use crate::{
    agent::protocol::FailureKind,
    oauth::Caller,
    observe::metrics::ToolCalls,
    workspaces::{self as backend, check_name},
};
use serde_json::{Map, Value};
use std::sync::Arc;
use tokio::time::Instant;

/// A call that has begun. One that is dropped before it has ended was cancelled.
pub(super) struct Trail {
    tool: &'static str,
    caller: Arc<Caller>,
    workspace: Option<String>,
    begun: Instant,
    counts: ToolCalls,
    outcome: &'static str,
}

impl Trail {
    pub fn begin(tool: &'static str, caller: &Arc<Caller>, arguments: &Map<String, Value>, counts: ToolCalls) -> Self {
        let workspace = workspace(arguments).map(str::to_owned);
        Self { tool, caller: Arc::clone(caller), workspace, begun: Instant::now(), counts, outcome: "cancelled" }
    }

    pub fn end(mut self, answer: &Result<Answer, ToolError>) {
        self.outcome = match answer {
            Ok(_) => "ok",
            Err(error) => outcome(error),
        };
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        let duration = self.begun.elapsed();
        self.counts.called(self.tool, self.outcome, duration);
        tracing::info!(
            target: "audit",
            event = "tool.called",
            tool = self.tool,
            workspace = self.workspace,
            outcome = self.outcome,
            user = self.caller.subject,
            client_id = self.caller.client_id,
            grant = self.caller.grant,
            duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            "a tool was called"
        );
    }
}

/// The workspace that a call is about. Something else in its place may be a secret, and is not noted.
fn workspace(arguments: &Map<String, Value>) -> Option<&str> {
    let text = |name: &str| arguments.get(name).and_then(Value::as_str);
    let named = text("workspace").or_else(|| text("name")).or_else(|| {
        let id = text("id")?;
        let rest = id.strip_prefix("workspace:").or_else(|| id.strip_prefix("file:"))?;
        rest.split('/').next()
    })?;
    check_name(named).is_ok().then_some(named)
}

/// One word, for logs and metrics.
fn outcome(error: &ToolError) -> &'static str {
    use backend::Error;
    match error {
        ToolError::Arguments { .. } => "invalid_arguments",
        ToolError::NeedsScope { .. } | ToolError::NotServed { .. } => "not_permitted",
        ToolError::Output(_) => "failed",
        ToolError::Workspaces(error) => match error {
            Error::UnknownParameter { .. }
            | Error::InvalidName { .. }
            | Error::InvalidParameter { .. }
            | Error::InvalidArgument { .. } => "invalid_arguments",
            Error::UnknownWorkspace { .. } | Error::UnknownTemplate { .. } => "not_found",
            Error::NotPermitted { .. } => "not_permitted",
            Error::NameTaken { .. }
            | Error::BeingDeleted { .. }
            | Error::Refused { .. }
            | Error::QuotaExceeded { .. }
            | Error::NotRunning { .. }
            | Error::Stopped { .. }
            | Error::Interrupted { .. } => "refused",
            Error::Unreachable { .. } | Error::Cluster { .. } | Error::Io { .. } => "failed",
            Error::Agent(failure) => match failure.kind {
                FailureKind::Invalid => "invalid_arguments",
                FailureKind::NotFound => "not_found",
                FailureKind::Denied => "not_permitted",
                FailureKind::Conflict | FailureKind::TooLarge | FailureKind::Exhausted | FailureKind::Interrupted => {
                    "refused"
                }
                FailureKind::Internal => "failed",
            },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_can_be_a_workspace_is_noted() {
        for (arguments, noted) in [
            (json!({"workspace": "web"}), Some("web")),
            (json!({"workspace": "ws-0123456789abcdef0123"}), Some("ws-0123456789abcdef0123")),
            (json!({"template": "node", "name": "api"}), Some("api")),
            (json!({"id": "workspace:web"}), Some("web")),
            (json!({"id": "file:web/src/main.rs"}), Some("web")),
            (json!({"id": "template:web"}), None),
            (json!({"workspace": "hunter2 is my password"}), None),
            (json!({"workspace": 7}), None),
            (json!({"command": "web"}), None),
        ] {
            assert_eq!(workspace(arguments.as_object().unwrap()), noted, "{arguments}");
        }
    }
}
