//! The tool `search`.

use super::{
    reach::{Hit, Kind, Reach},
    words::Words,
};
use crate::{Call, Effect, Text, Tool, ToolError, WaitBudget};
use futures::{StreamExt as _, stream};
use portcullis_agent::protocol::{ListFiles, SearchFiles};
use portcullis_budget::Account;
use portcullis_core::Scope;
use portcullis_workspaces::{Error, Owner, Purpose, Status, Template, Workspace, WorkspaceFilter, Workspaces};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, sleep_until};

/// The maximum number of results.
const MAX_RESULTS: usize = 30;
/// The maximum number of running workspaces whose files are searched.
const MAX_WORKSPACES: usize = 20;
/// The maximum number of concurrent searches in workspaces.
const AT_ONCE: usize = 4;
/// The maximum depth of listed files.
const DEPTH: u32 = 6;
/// The maximum number of listed files in a workspace.
const MAX_NAMES: u32 = 2000;
/// The approximate maximum size of a workspace's names, and of its lines, in bytes.
const MAX_PAGE: u64 = 1 << 20;
/// The maximum number of matching lines in a workspace.
const MAX_LINES: u32 = 300;
/// The time limit for the search in files. Later results are omitted.
const SEARCH_FOR: Duration = Duration::from_secs(10);

/// `search`.
pub(crate) struct Search {
    backend: Arc<dyn Workspaces>,
    reach: Reach,
    time: Duration,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SearchArguments {
    /// A few keywords, not a question.
    query: String,
}

/// The results of a search.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Found {
    /// The results, best first.
    results: Vec<Hit>,
}

impl Search {
    pub(crate) fn new(backend: Arc<dyn Workspaces>, reach: Reach, wait_budget: WaitBudget) -> Self {
        Self { backend, reach, time: SEARCH_FOR.min(wait_budget.0) }
    }

    /// All templates, with their scores.
    async fn templates(&self, owner: &Owner, words: &Words) -> Result<Vec<(usize, Hit)>, Error> {
        let templates = self.backend.templates(owner).await?;
        let score = |template: &Template| {
            let parameters = template.parameters.iter().map(|parameter| parameter.name.as_str());
            let texts = [template.name.as_str(), &template.display_name, &template.description, "template"];
            words.score(texts.into_iter().chain(parameters))
        };
        Ok(templates.iter().map(|template| (score(template), self.template(template))).collect())
    }

    fn template(&self, template: &Template) -> Hit {
        let title = format!("Template {}", template.display_name);
        self.reach.hit(Kind::Template, &template.name, title)
    }

    fn workspace(&self, workspace: &Workspace, all: &[Workspace], words: &Words) -> (usize, Hit) {
        let texts = [workspace.name.as_str(), &workspace.template, &workspace.owner, "workspace"];
        let hit = self.reach.hit(Kind::Workspace, handle(workspace, all), format!("Workspace {}", workspace.name));
        (words.score(texts), hit)
    }

    /// The matching files of a running workspace, with their scores. None if the workspace agent does not respond.
    async fn files(
        &self,
        on: (&Owner, &Account),
        workspace: &Workspace,
        all: &[Workspace],
        words: &Words,
    ) -> Vec<(usize, Hit)> {
        let (owner, account) = on;
        let Ok(agent) = self.backend.agent(owner, &workspace.id, Purpose::Work).await else { return Vec::new() };
        // A separate account, so that the answers of a workspace are released before the next ones are requested.
        let agent = agent.charging(account.separate());
        let max_bytes = Some(MAX_PAGE);
        let list = ListFiles { depth: Some(DEPTH), limit: Some(MAX_NAMES), max_bytes, ..ListFiles::default() };
        let (pattern, limit) = (words.pattern(), Some(MAX_LINES));
        let search = SearchFiles { pattern, limit, max_bytes, ..SearchFiles::default() };
        let (listed, matched) = futures::future::join(agent.list_files(&list), agent.search_files(&search)).await;
        // A match in a name counts twice as much as one in a line.
        let mut found: BTreeMap<String, (usize, BTreeSet<usize>)> = BTreeMap::new();
        let files = listed.map(|listed| listed.entries).unwrap_or_default();
        for file in files.into_iter().filter(|entry| entry.size.is_some()) {
            let score = words.score([file.path.as_str()]);
            if score > 0 {
                found.entry(file.path).or_default().0 = 2 * score;
            }
        }
        for line in matched.map(|matched| matched.matches).unwrap_or_default() {
            found.entry(line.path).or_default().1.extend(words.positions(&line.text));
        }
        let hit = |path: String| {
            let title = format!("{path} in {}", workspace.name);
            self.reach.hit(Kind::File, &format!("{}/{path}", handle(workspace, all)), title)
        };
        found.into_iter().map(|(path, (name, lines))| (name + lines.len(), hit(path))).collect()
    }
}

/// The workspace in an id: its name, or its id if the caller sees another workspace of the same name.
fn handle<'a>(workspace: &'a Workspace, all: &[Workspace]) -> &'a str {
    let unique = all.iter().filter(|other| other.name == workspace.name).count() == 1;
    if unique { &workspace.name } else { &workspace.id }
}

impl Tool for Search {
    type Arguments = SearchArguments;
    type Output = Found;
    const NAME: &'static str = "search";
    const TITLE: &'static str = "Search everything";
    const DESCRIPTION: &'static str = "Searches workspaces, templates, and names and lines of files in running workspaces for \
        keywords, and returns ids for fetch. In one workspace, search_files finds more.";
    const SCOPE: Option<Scope> = None;
    const EFFECT: Effect = Effect::Reads;

    fn text(_output: &Found) -> Text {
        Text::Json
    }

    async fn call(&self, arguments: SearchArguments, call: Call) -> Result<Found, ToolError> {
        let (owner, caller) = (call.owner(), &call.caller);
        let until = Instant::now() + self.time;
        let words = Words::of(&arguments.query)?;
        let mut found = Vec::new();
        if self.reach.allows(Kind::Template, caller) {
            found.extend(self.templates(&owner, &words).await?);
        }
        let (workspaces, files) = (self.reach.allows(Kind::Workspace, caller), self.reach.allows(Kind::File, caller));
        if workspaces || files {
            let all = WorkspaceFilter { limit: Some(WorkspaceFilter::MAX_LIMIT), ..WorkspaceFilter::default() };
            let listed = self.backend.list(&owner, all).await?.workspaces;
            if workspaces {
                found.extend(listed.iter().map(|workspace| self.workspace(workspace, &listed, &words)));
            }
            if files {
                let mut running: Vec<&Workspace> =
                    listed.iter().filter(|workspace| workspace.status == Status::Running).collect();
                running.sort_by_key(|workspace| std::cmp::Reverse(workspace.last_activity));
                running.truncate(MAX_WORKSPACES);
                let searches: Vec<_> = running
                    .into_iter()
                    .map(|workspace| self.files((&owner, &call.account), workspace, &listed, &words))
                    .collect();
                let in_time = stream::iter(searches).buffer_unordered(AT_ONCE).take_until(sleep_until(until));
                found.extend(in_time.collect::<Vec<_>>().await.into_iter().flatten());
            }
        }
        found.retain(|(score, _)| *score > 0);
        found.sort_by(|(a, x), (b, y)| b.cmp(a).then_with(|| x.id.cmp(&y.id)));
        Ok(Found { results: found.into_iter().take(MAX_RESULTS).map(|(_, hit)| hit).collect() })
    }
}
