//! Emits one audit event and counts one call for each call of a tool, in all protocols. Neither contains arguments or
//! results.

use crate::{Call, ToolAnswer, ToolError};
use portcullis_oauth::Caller;
use portcullis_telemetry::{
    audit::{Event, RequestContext},
    metrics::ToolCalls,
};
use portcullis_workspaces::check_name;
use serde_json::{Map, Value};
use std::sync::Arc;
use tokio::time::Instant;

/// A running call. If it is dropped before its end, it was cancelled.
pub(super) struct CallRecord {
    tool: &'static str,
    caller: Arc<Caller>,
    from: RequestContext,
    workspace: Option<String>,
    begun: Instant,
    counts: ToolCalls,
    outcome: &'static str,
}

impl CallRecord {
    pub(crate) fn begin(tool: &'static str, call: &Call, arguments: &Map<String, Value>, counts: ToolCalls) -> Self {
        let workspace = workspace(arguments).map(str::to_owned);
        let (caller, from) = (Arc::clone(&call.caller), call.from);
        Self { tool, caller, from, workspace, begun: Instant::now(), counts, outcome: "cancelled" }
    }

    pub(crate) fn end(mut self, answer: &Result<ToolAnswer, ToolError>) {
        self.outcome = match answer {
            Ok(_) => "ok",
            Err(error) => outcome(error),
        };
    }
}

impl Drop for CallRecord {
    fn drop(&mut self) {
        let duration = self.begun.elapsed();
        self.counts.called(self.tool, self.outcome, duration);
        Event::ToolCalled {
            from: &self.from,
            tool: self.tool,
            workspace: self.workspace.as_deref(),
            outcome: self.outcome,
            user: &self.caller.subject,
            client_id: &self.caller.client_id,
            grant: self.caller.grant.as_deref(),
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        }
        .emit();
    }
}

/// The workspace of a call. A value that is not a valid name may be a secret, and is not recorded.
fn workspace(arguments: &Map<String, Value>) -> Option<&str> {
    let text = |name: &str| arguments.get(name).and_then(Value::as_str);
    let named = text("workspace").or_else(|| text("name")).or_else(|| {
        let id = text("id")?;
        let rest = id.strip_prefix("workspace:").or_else(|| id.strip_prefix("file:"))?;
        rest.split('/').next()
    })?;
    check_name(named).is_ok().then_some(named)
}

/// The outcome in one word, for logs and metrics.
fn outcome(error: &ToolError) -> &'static str {
    match error {
        ToolError::Arguments { .. } => "invalid_arguments",
        ToolError::NeedsScope { .. } | ToolError::NotServed { .. } => "not_permitted",
        ToolError::Output(_) => "failed",
        ToolError::Workspaces(error) => error.outcome(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Effect, Registry, Text, Tool, ToolEntry, ToolLookup};
    use futures::FutureExt as _;
    use portcullis_config::ToolRules;
    use portcullis_telemetry::metrics::Metrics;
    use portcullis_testing::log::Log;
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    /// Returns its argument, or waits forever.
    struct TestTool;

    #[derive(Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct TellArguments {
        workspace: String,
        secret: String,
        wait: bool,
    }

    #[derive(Serialize, JsonSchema)]
    struct Said {
        said: String,
    }

    impl Tool for TestTool {
        type Arguments = TellArguments;
        type Output = Said;
        const NAME: &'static str = "tell";
        const TITLE: &'static str = "Tell";
        const DESCRIPTION: &'static str = "Tells.";
        const SCOPE: Option<portcullis_core::Scope> = None;
        const EFFECT: Effect = Effect::Reads;

        fn text(output: &Said) -> Text {
            output.said.clone().into()
        }

        async fn call(&self, arguments: TellArguments, _call: Call) -> Result<Said, ToolError> {
            if arguments.wait {
                std::future::pending::<()>().await;
            }
            if arguments.workspace == "nope" {
                let (wanted, existing) = (arguments.secret, Vec::new());
                return Err(portcullis_workspaces::Error::UnknownWorkspace { wanted, existing }.into());
            }
            Ok(Said { said: arguments.secret })
        }
    }

    /// Four calls: a success, an unknown workspace, invalid arguments, and a dropped call.
    fn four_calls(registry: &Registry) {
        let caller = Arc::new(Caller {
            client_id: "claude".to_owned(),
            subject: "local:ann".to_owned(),
            user_name: Some("Ann".to_owned()),
            grant: Some("g-1".to_owned()),
            scopes: [].into(),
            issued_at: jiff::Timestamp::UNIX_EPOCH,
            expires_at: jiff::Timestamp::MAX,
        });
        for arguments in [
            json!({"workspace": "web", "secret": "hunter2", "wait": false}),
            json!({"workspace": "nope", "secret": "hunter2", "wait": false}),
            json!({"workspace": "web", "secret": 7, "hunter2": "hunter2"}),
            json!({"workspace": "web", "secret": "hunter2", "wait": true}),
        ] {
            let ToolLookup::Found(entry) = registry.lookup("tell", &caller) else { panic!("it is served") };
            let Value::Object(arguments) = arguments else { panic!("it is an object") };
            let call = Call::of(Arc::clone(&caller), RequestContext::UNKNOWN);
            // A waiting call is dropped.
            drop(entry.call(arguments, call).now_or_never());
        }
    }

    #[tokio::test]
    async fn each_call_is_noted_once_with_who_where_and_how_but_not_what() {
        let metrics = Metrics::default();
        let rules = ToolRules { allow: vec!["*".to_owned()], deny: Vec::new() };
        let registry = Registry::of(vec![ToolEntry::new(TestTool)], &rules).counted_in(&metrics.tool_calls());
        let log = Log::default();
        let guard = tracing::subscriber::set_default(log.subscriber());
        // Twice: the first use of a log callsite decides whether it is enabled, and another test may have been the
        // first.
        four_calls(&registry);
        tracing::callsite::rebuild_interest_cache();
        log.clear();
        four_calls(&registry);
        drop(guard);

        let text = log.text();
        assert!(!text.contains("hunter2"), "{text}");
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let events: Vec<&Value> = lines.iter().filter(|line| line["target"] == "audit").collect();
        let outcomes: Vec<&str> = events.iter().map(|event| event["outcome"].as_str().unwrap()).collect();
        assert_eq!(outcomes, ["ok", "not_found", "invalid_arguments", "cancelled"]);
        for (event, workspace) in events.iter().zip(["web", "nope", "web", "web"]) {
            assert_eq!(
                [
                    &event["event"],
                    &event["tool"],
                    &event["workspace"],
                    &event["user"],
                    &event["client_id"],
                    &event["grant"]
                ],
                ["tool.called", "tell", workspace, "local:ann", "claude", "g-1"]
            );
            assert!(event["duration_ms"].is_u64());
        }

        let counted = metrics.encode().unwrap();
        for outcome in outcomes {
            let line = format!("portcullis_tool_calls_total{{tool=\"tell\",outcome=\"{outcome}\"}} 2");
            assert!(counted.contains(&line), "{line}\n{counted}");
        }
        assert!(counted.contains("portcullis_tool_call_duration_seconds_count{tool=\"tell\"} 8"), "{counted}");
    }

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
