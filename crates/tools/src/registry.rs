//! The tools of one endpoint, prepared once: their schemas, the rules for served names, and the required scopes.

use crate::{
    Call, Effect, Tool, ToolAnswer, ToolError, WaitBudget, arguments, audit::CallRecord, commands, files, identity,
    inspect, processes, research, schema, templates, to_json, workspaces,
};
use bytes::Bytes;
use futures::future::BoxFuture;
use portcullis_api::tools as tool_names;
use portcullis_config::{ServerConfig, ToolRules};
use portcullis_core::{Scope, report::chain};
use portcullis_oauth::Caller;
use portcullis_telemetry::metrics::ToolCalls;
use portcullis_workspaces::Workspaces;
use schemars::generate::SchemaSettings;
use serde::Deserialize as _;
use serde_json::{Map, Value};
use std::{collections::HashMap, error::Error as _, sync::Arc};

/// The tools that an endpoint serves.
pub struct Registry {
    /// In the order of `tools/list`.
    entries: Vec<ToolEntry>,
    by_name: HashMap<&'static str, usize>,
    has_workspaces: bool,
}

/// The result of a lookup by name.
pub enum ToolLookup<'a> {
    /// A tool that the caller may call.
    Found(&'a ToolEntry),
    /// A tool that needs this scope, which the token does not have.
    NeedsScope(Scope),
    /// A tool that is not served.
    Unknown,
}

/// One tool, ready to be listed and called.
pub struct ToolEntry {
    definition: Definition,
    call: Box<CallFn>,
    counts: ToolCalls,
}

type CallFn = dyn Fn(Map<String, Value>, Call) -> BoxFuture<'static, Result<ToolAnswer, ToolError>> + Send + Sync;

/// The description of a tool, for lists of tools.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// The name of the tool in calls.
    pub name: &'static str,
    /// The display name, for users.
    pub title: &'static str,
    /// What it does and when to use it.
    pub description: &'static str,
    /// The JSON Schema (2020-12) of its arguments.
    pub input_schema: Arc<Map<String, Value>>,
    /// The JSON Schema of its result.
    pub output_schema: Arc<Map<String, Value>>,
    /// The JSON Schema of its arguments in `tools/list`.
    pub published_input: Arc<Map<String, Value>>,
    /// The JSON Schema of its result in `tools/list`.
    pub published_output: Arc<Map<String, Value>>,
    /// The scope that a token needs; `None`: any token is accepted.
    pub scope: Option<Scope>,
    /// Its effects.
    pub effect: Effect,
}

impl Registry {
    /// All tools of the endpoint; without workspaces, only `whoami`.
    #[must_use]
    pub fn new(config: &ServerConfig, backend: Option<Arc<dyn Workspaces>>) -> Self {
        let mut entries = vec![ToolEntry::new(identity::WhoAmI::new(&config.url))];
        let has_workspaces = backend.is_some();
        if let Some(backend) = backend {
            let (wait_budget, backend) = (WaitBudget::of(&config.limits), || Arc::clone(&backend));
            entries.extend([
                ToolEntry::new(templates::ListTemplates(backend())),
                ToolEntry::new(templates::GetTemplate(backend())),
                ToolEntry::new(workspaces::ListWorkspaces(backend())),
                ToolEntry::new(workspaces::GetWorkspace(backend())),
                ToolEntry::new(workspaces::CreateWorkspace(backend(), wait_budget)),
                ToolEntry::new(workspaces::StartWorkspace(backend(), wait_budget)),
                ToolEntry::new(workspaces::StopWorkspace(backend())),
                ToolEntry::new(workspaces::RestartWorkspace(backend(), wait_budget)),
                ToolEntry::new(workspaces::DeleteWorkspace(backend())),
                ToolEntry::new(inspect::WorkspaceUsage(backend())),
                ToolEntry::new(inspect::WorkspaceLogs(backend())),
                ToolEntry::new(commands::RunCommand(backend(), wait_budget)),
                ToolEntry::new(processes::ListProcesses(backend())),
                ToolEntry::new(processes::ProcessOutput(backend(), wait_budget)),
                ToolEntry::new(processes::SendInput(backend(), wait_budget)),
                ToolEntry::new(processes::StopProcess(backend())),
                ToolEntry::new(files::ListFiles(backend())),
                ToolEntry::new(files::ReadFile(backend())),
                ToolEntry::new(files::SearchFiles(backend())),
                ToolEntry::new(files::WriteFile(backend())),
                ToolEntry::new(files::EditFile(backend())),
                ToolEntry::new(files::MovePath(backend())),
                ToolEntry::new(files::RemovePath(backend())),
            ]);
            let reach = research::Reach::new(config, &|name| is_served(&config.tools, name));
            entries.push(ToolEntry::new(research::Search::new(backend(), reach.clone(), wait_budget)));
            entries.push(ToolEntry::new(research::Fetch::new(backend(), reach)));
        }
        Self { has_workspaces, ..Self::of(entries, &config.tools) }
    }

    /// The tools in `entries` that the rules allow.
    #[must_use]
    pub fn of(mut entries: Vec<ToolEntry>, rules: &ToolRules) -> Self {
        entries.retain(|entry| is_served(rules, entry.definition.name));
        let by_name = entries.iter().enumerate().map(|(index, entry)| (entry.definition.name, index)).collect();
        Self { entries, by_name, has_workspaces: false }
    }

    /// Counts the calls of its tools in `counts`.
    #[must_use]
    pub fn counted_in(mut self, counts: &ToolCalls) -> Self {
        for entry in &mut self.entries {
            entry.counts = counts.clone();
        }
        self
    }

    /// The definitions of all served tools, in the order of `tools/list`.
    pub fn definitions(&self) -> impl Iterator<Item = &Definition> {
        self.entries.iter().map(|entry| &entry.definition)
    }

    /// Looks up a tool for this caller.
    #[must_use]
    pub fn lookup(&self, name: &str, caller: &Caller) -> ToolLookup<'_> {
        match self.by_name.get(name).and_then(|index| self.entries.get(*index)) {
            None => ToolLookup::Unknown,
            Some(entry) => match entry.definition.scope {
                Some(scope) if !caller.scopes.contains(&scope) => ToolLookup::NeedsScope(scope),
                _ => ToolLookup::Found(entry),
            },
        }
    }

    /// The tools that this caller may call.
    pub fn visible_to(&self, caller: &Caller) -> impl Iterator<Item = &Definition> {
        self.definitions().filter(|definition| definition.scope.is_none_or(|scope| caller.scopes.contains(&scope)))
    }

    /// The message for a name that this caller cannot call.
    #[must_use]
    pub fn unknown(&self, name: &str, caller: &Caller) -> String {
        arguments::unknown("tool", name, self.visible_to(caller).map(|tool| tool.name))
    }

    /// Whether the endpoint has a backend for workspaces.
    #[must_use]
    pub fn has_workspaces(&self) -> bool {
        self.has_workspaces
    }
}

impl ToolEntry {
    /// Prepares a tool.
    #[must_use]
    pub fn new<T: Tool>(tool: T) -> Self {
        let mut input = schema::of::<T::Arguments>(SchemaSettings::draft2020_12());
        tool.refine_input_schema(&mut input);
        let input = Arc::new(input);
        let expected: Arc<str> = schema::expected(&input).into();
        let output = schema::of::<T::Output>(SchemaSettings::draft2020_12().for_serialize());
        let definition = Definition {
            name: T::NAME,
            title: T::TITLE,
            description: T::DESCRIPTION,
            input_schema: Arc::clone(&input),
            published_input: Arc::new(schema::published_input(&input)),
            published_output: Arc::new(schema::published_output(&output)),
            output_schema: Arc::new(output),
            scope: T::SCOPE,
            effect: T::EFFECT,
        };
        let tool = Arc::new(tool);
        let call =
            move |arguments: Map<String, Value>, call: Call| -> BoxFuture<'static, Result<ToolAnswer, ToolError>> {
                let (tool, schema, expected) = (Arc::clone(&tool), Arc::clone(&input), Arc::clone(&expected));
                Box::pin(async move {
                    run(&*tool, arguments, call, (&schema, expected)).await.inspect_err(|error| {
                        if error.source().is_some() {
                            tracing::warn!(tool = T::NAME, error = chain(error), "a tool failed");
                        }
                    })
                })
            };
        Self { definition, call: Box::new(call), counts: ToolCalls::default() }
    }

    /// The definition of the tool.
    #[must_use]
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// Calls the tool, and emits an audit event. Dropping the future ends everything that the call started.
    pub fn call(
        &self,
        arguments: Map<String, Value>,
        call: Call,
    ) -> impl Future<Output = Result<ToolAnswer, ToolError>> + Send + use<> {
        let trail = CallRecord::begin(self.definition.name, &call, &arguments, self.counts.clone());
        let answer = (self.call)(arguments, call);
        async move {
            let answer = answer.await;
            trail.end(&answer);
            answer
        }
    }
}

async fn run<T: Tool>(
    tool: &T,
    given: Map<String, Value>,
    call: Call,
    (schema, expected): (&Map<String, Value>, Arc<str>),
) -> Result<ToolAnswer, ToolError> {
    let arguments = arguments::fit(schema, given).and_then(|arguments| {
        // Arguments that match the schema can be deserialized, unless a value is out of range.
        let read = T::Arguments::deserialize(Value::Object(arguments));
        read.map_err(|_| "a value is out of range".to_owned())
    });
    let arguments = arguments.map_err(|problem| ToolError::Arguments { tool: T::NAME, problem, expected })?;
    let (account, shows_pictures) = (call.account.clone(), call.shows_pictures);
    let mut output = tool.call(arguments, call).await?;
    let picture = if shows_pictures { T::take_picture(&mut output) } else { None };
    let text = T::text(&output);
    let json = to_json(&output).map_err(ToolError::Output)?;
    drop(output);
    let text = text.written(&json);
    let beside = text.iter().flatten().filter(|piece| !lies_in(piece, &json)).map(Bytes::len).sum::<usize>()
        + picture.as_ref().map_or(0, |picture| picture.data.len());
    account.settle((json.len() + beside) as u64);
    Ok(ToolAnswer { json, text, picture })
}

/// Whether `part` is a slice of `whole`.
fn lies_in(part: &Bytes, whole: &Bytes) -> bool {
    whole.as_ptr_range().contains(&part.as_ptr())
}

fn is_served(rules: &ToolRules, name: &str) -> bool {
    let any = |patterns: &[String]| patterns.iter().any(|pattern| tool_names::matches(pattern, name));
    any(&rules.allow) && !any(&rules.deny)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deny_wins() {
        let rules = |allow: &[&str], deny: &[&str]| ToolRules {
            allow: allow.iter().map(ToString::to_string).collect(),
            deny: deny.iter().map(ToString::to_string).collect(),
        };
        assert!(is_served(&rules(&["*"], &[]), "delete_workspace"));
        assert!(!is_served(&rules(&["*"], &["delete_*"]), "delete_workspace"));
        assert!(!is_served(&rules(&["delete_workspace"], &["*"]), "delete_workspace"));
        assert!(!is_served(&rules(&["list_*"], &[]), "delete_workspace"));
        assert!(!is_served(&rules(&[], &[]), "whoami"));
    }
}
