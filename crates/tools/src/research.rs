//! `search` and `fetch`, in the form that ChatGPT's research mode calls (<https://platform.openai.com/docs/mcp>): one
//! text in, and documents by their ids, over workspaces, templates and the files of running workspaces.
//!
//! An id is `workspace:NAME`, `template:NAME` or `file:WORKSPACE/PATH`, and leads back to what was found. What a
//! token's scopes do not reach, and what the endpoint's tools leave out, is neither found nor fetched.

use crate::{Call, Effect, Text, Tool, ToolError, WaitBudget, templates};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::{StreamExt as _, stream};
use portcullis_agent::protocol::{Encoding, ListFiles, ReadFile, SearchFiles};
use portcullis_budget::Account;
use portcullis_config::ServerConfig;
use portcullis_core::Scope;
use portcullis_oauth::Caller;
use portcullis_workspaces::{Error, Owner, Purpose, Status, Template, Workspace, WorkspaceFilter, Workspaces};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, sleep_until};

/// How many results there are at most.
const MAX_RESULTS: usize = 30;
/// How long a query may be, in bytes: no longer than the patterns that are made of it.
const LONGEST_QUERY: usize = 400;
/// How many words of a query count.
const MAX_WORDS: usize = 12;
/// In the files of how many running workspaces is looked.
const MAX_WORKSPACES: usize = 20;
/// Of how many at once.
const AT_ONCE: usize = 4;
/// How deep names of files are looked at.
const DEPTH: u32 = 6;
/// How many names of files are looked at.
const MAX_NAMES: u32 = 2000;
/// How many bytes of names, and of lines, about.
const MAX_PAGE: u64 = 1 << 20;
/// How many lines of a workspace's files count.
const MAX_LINES: u32 = 300;
/// How long the files are searched; what has not been found by then is left out.
const SEARCH_FOR: Duration = Duration::from_secs(10);
/// How much of a file is fetched.
const MAX_TEXT: u64 = 512 * 1024;

/// What can be found, as far as the endpoint's tools allow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Workspace,
    Template,
    File,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Workspace, Self::Template, Self::File];

    /// What is before the colon of an id.
    const fn prefix(self) -> &'static str {
        match self {
            Self::Workspace => "workspace",
            Self::Template => "template",
            Self::File => "file",
        }
    }

    const fn scope(self) -> Scope {
        match self {
            Self::Workspace => Scope::WorkspacesRead,
            Self::Template => Scope::TemplatesRead,
            Self::File => Scope::FilesRead,
        }
    }

    /// The tools that show the same: where one is left out, this is no way around.
    const fn tools(self) -> [&'static str; 2] {
        match self {
            Self::Workspace => ["list_workspaces", "get_workspace"],
            Self::Template => ["list_templates", "get_template"],
            Self::File => ["search_files", "read_file"],
        }
    }

    /// For errors.
    const fn named(self) -> &'static str {
        match self {
            Self::Workspace => "looking at workspaces",
            Self::Template => "looking at templates",
            Self::File => "reading files",
        }
    }
}

/// What may be found at this endpoint, and what its URLs begin with.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    served: Vec<Kind>,
    url: String,
}

impl Reach {
    pub(crate) fn new(config: &ServerConfig, is_served: &dyn Fn(&str) -> bool) -> Self {
        let served = Kind::ALL.into_iter().filter(|kind| kind.tools().into_iter().all(is_served)).collect();
        Self { served, url: config.url.resource() }
    }

    fn check(&self, kind: Kind, caller: &Caller) -> Result<(), ToolError> {
        if !self.served.contains(&kind) {
            return Err(ToolError::NotServed { what: kind.named() });
        }
        let scope = kind.scope();
        if caller.scopes.contains(&scope) { Ok(()) } else { Err(ToolError::NeedsScope { what: kind.named(), scope }) }
    }

    fn allows(&self, kind: Kind, caller: &Caller) -> bool {
        self.check(kind, caller).is_ok()
    }

    fn url_of(&self, kind: Kind, rest: &str) -> String {
        match kind {
            Kind::Workspace => format!("{}/workspaces/{rest}", self.url),
            Kind::Template => format!("{}/templates/{rest}", self.url),
            // The URI of the same resource in MCP.
            Kind::File => format!("workspace://{}", escaped(rest)),
        }
    }
}

/// A path as URIs have it (RFC 3986 §3.3).
fn escaped(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri
}

/// `search`.
pub(super) struct Search {
    backend: Arc<dyn Workspaces>,
    reach: Reach,
    time: Duration,
}

/// `fetch`.
pub(super) struct Fetch {
    backend: Arc<dyn Workspaces>,
    reach: Reach,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchArguments {
    /// A few words that must be there, not a question.
    query: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FetchArguments {
    /// workspace:NAME, template:NAME or file:WORKSPACE/PATH.
    id: String,
}

/// What was found.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SearchHits {
    /// The best first.
    results: Vec<Hit>,
}

/// One result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Hit {
    /// For fetch.
    id: String,
    /// What people call it.
    title: String,
    /// Where it is, for citing it.
    url: String,
}

/// What an id leads to.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Document {
    /// The id that was asked for.
    id: String,
    /// What people call it.
    title: String,
    /// All of it.
    text: String,
    /// Where it is, for citing it.
    url: String,
    /// What else is known of it.
    metadata: BTreeMap<String, String>,
}

impl Search {
    pub(crate) fn new(backend: Arc<dyn Workspaces>, reach: Reach, wait_budget: WaitBudget) -> Self {
        Self { backend, reach, time: SEARCH_FOR.min(wait_budget.0) }
    }

    /// What is found of this kind, with its score.
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

    /// What is found in one running workspace. One that does not answer has nothing.
    async fn files(
        &self,
        on: (&Owner, &Account),
        workspace: &Workspace,
        all: &[Workspace],
        words: &Words,
    ) -> Vec<(usize, Hit)> {
        let (owner, account) = on;
        let Ok(agent) = self.backend.agent(owner, &workspace.id, Purpose::Work).await else { return Vec::new() };
        // What one workspace has answered is gone before the next ones are asked.
        let agent = agent.charging(account.separate());
        let max_bytes = Some(MAX_PAGE);
        let list = ListFiles { depth: Some(DEPTH), limit: Some(MAX_NAMES), max_bytes, ..ListFiles::default() };
        let (pattern, limit) = (words.pattern(), Some(MAX_LINES));
        let search = SearchFiles { pattern, limit, max_bytes, ..SearchFiles::default() };
        let (listed, matched) = futures::future::join(agent.list_files(&list), agent.search_files(&search)).await;
        // A name counts twice as much as a line.
        let mut found: BTreeMap<String, (usize, BTreeSet<usize>)> = BTreeMap::new();
        let files = listed.map(|listed| listed.entries).unwrap_or_default();
        for file in files.into_iter().filter(|entry| entry.size.is_some()) {
            let score = words.score([file.path.as_str()]);
            if score > 0 {
                found.entry(file.path).or_default().0 = 2 * score;
            }
        }
        for line in matched.map(|matched| matched.matches).unwrap_or_default() {
            found.entry(line.path).or_default().1.extend(words.matches(&line.text));
        }
        let hit = |path: String| {
            let title = format!("{path} in {}", workspace.name);
            self.reach.hit(Kind::File, &format!("{}/{path}", handle(workspace, all)), title)
        };
        found.into_iter().map(|(path, (name, lines))| (name + lines.len(), hit(path))).collect()
    }
}

impl Reach {
    fn hit(&self, kind: Kind, rest: &str, title: String) -> Hit {
        Hit { id: format!("{}:{rest}", kind.prefix()), title, url: self.url_of(kind, rest) }
    }
}

/// How an id names a workspace: by its name, unless another one that the caller sees has the same.
fn handle<'a>(workspace: &'a Workspace, all: &[Workspace]) -> &'a str {
    let unique = all.iter().filter(|other| other.name == workspace.name).count() == 1;
    if unique { &workspace.name } else { &workspace.id }
}

impl Tool for Search {
    type Arguments = SearchArguments;
    type Output = SearchHits;
    const NAME: &'static str = "search";
    const TITLE: &'static str = "Search everything";
    const DESCRIPTION: &'static str = "Searches workspaces, templates, and names and lines of files in running workspaces for a \
        few words, and returns ids for fetch. In one workspace, search_files finds more.";
    const SCOPE: Option<Scope> = None;
    const EFFECT: Effect = Effect::Reads;

    fn text(_output: &SearchHits) -> Text {
        Text::Json
    }

    async fn call(&self, arguments: SearchArguments, call: Call) -> Result<SearchHits, ToolError> {
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
        Ok(SearchHits { results: found.into_iter().take(MAX_RESULTS).map(|(_, hit)| hit).collect() })
    }
}

impl Fetch {
    pub(crate) fn new(backend: Arc<dyn Workspaces>, reach: Reach) -> Self {
        Self { backend, reach }
    }

    async fn file(
        &self,
        on: (&Owner, &Account),
        rest: &str,
    ) -> Result<(String, String, BTreeMap<String, String>), Error> {
        let (workspace, path) = rest.split_once('/').ok_or_else(invalid_id)?;
        let (owner, account) = on;
        let agent = self.backend.agent(owner, workspace, Purpose::Work).await?.charging(account.clone());
        let request = ReadFile { path: path.to_owned(), max_bytes: Some(MAX_TEXT), ..ReadFile::default() };
        let file = agent.read_file(&request).await.map_err(Error::agent(workspace))?;
        let (text, charset) = match file.encoding {
            Encoding::Utf8 => (file.content, "utf-8"),
            Encoding::Base64 => {
                let Some(text) = latin_1(&file.mime_type, &file.content) else {
                    let problem = format!("{path} is not text but {}; read_file shows it", file.mime_type);
                    return Err(Error::InvalidArgument { argument: "id", problem });
                };
                (text, "iso-8859-1")
            }
        };
        let metadata = [
            ("mime_type", file.mime_type),
            ("charset", charset.to_owned()),
            ("size", file.size.to_string()),
            ("truncated", file.truncated.to_string()),
        ];
        let metadata = metadata.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Ok((format!("{path} in {workspace}"), text, metadata))
    }
}

impl Tool for Fetch {
    type Arguments = FetchArguments;
    type Output = Document;
    const NAME: &'static str = "fetch";
    const TITLE: &'static str = "Fetch a document";
    const DESCRIPTION: &'static str =
        "Returns what an id of search leads to: a workspace, a template, or the text of a file.";
    const SCOPE: Option<Scope> = None;
    const EFFECT: Effect = Effect::Reads;

    fn text(_output: &Document) -> Text {
        Text::Json
    }

    async fn call(&self, arguments: FetchArguments, call: Call) -> Result<Document, ToolError> {
        let owner = call.owner();
        let id = arguments.id;
        let (prefix, rest) = id.split_once(':').ok_or_else(invalid_id)?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.prefix() == prefix).ok_or_else(invalid_id)?;
        self.reach.check(kind, &call.caller)?;
        let (title, text, metadata) = match kind {
            Kind::Workspace => {
                let workspace = self.backend.get(&owner, rest).await?;
                (format!("Workspace {}", workspace.name), pretty(&workspace)?, BTreeMap::new())
            }
            Kind::Template => {
                let template = templates::find(self.backend.templates(&owner).await?, rest.to_owned())?;
                (format!("Template {}", template.display_name), pretty(&template)?, BTreeMap::new())
            }
            Kind::File => self.file((&owner, &call.account), rest).await?,
        };
        let url = self.reach.url_of(kind, rest);
        Ok(Document { id, title, text, url, metadata })
    }
}

fn pretty(value: &impl Serialize) -> Result<String, ToolError> {
    serde_json::to_string_pretty(value).map_err(ToolError::Output)
}

/// Text that is not in UTF-8, read as Latin-1 (ISO/IEC 8859-1): each byte is a character.
fn latin_1(mime_type: &str, base64: &str) -> Option<String> {
    let bytes = STANDARD.decode(base64).ok().filter(|bytes| !bytes.contains(&0))?;
    mime_type.starts_with("text/").then(|| bytes.into_iter().map(char::from).collect())
}

fn invalid_id() -> Error {
    let problem = "pass an id that search returned, such as workspace:NAME, template:NAME or file:WORKSPACE/PATH";
    Error::InvalidArgument { argument: "id", problem: problem.to_owned() }
}

/// The words of a query, in small letters.
#[derive(Debug, PartialEq, Eq)]
struct Words(Vec<String>);

impl Words {
    fn of(query: &str) -> Result<Self, Error> {
        if query.len() > LONGEST_QUERY {
            let problem = format!("it has {} bytes; it may have at most {LONGEST_QUERY}", query.len());
            return Err(Error::InvalidArgument { argument: "query", problem });
        }
        let mut words: Vec<String> = Vec::new();
        for word in query.split(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | '-' | '.')) {
            let word = word.trim_matches(['-', '.']).to_lowercase();
            if !word.is_empty() && !words.contains(&word) && words.len() < MAX_WORDS {
                words.push(word);
            }
        }
        if words.is_empty() {
            let problem = "it has no word to look for; write a few words, such as the name of a file".to_owned();
            return Err(Error::InvalidArgument { argument: "query", problem });
        }
        Ok(Self(words))
    }

    /// The indices of the words that a text contains.
    fn matches(&self, text: &str) -> impl Iterator<Item = usize> {
        let text = text.to_lowercase();
        self.0.iter().enumerate().filter(move |(_, word)| text.contains(word.as_str())).map(|(index, _)| index)
    }

    /// The number of words that any of the texts contains.
    fn score<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> usize {
        texts.into_iter().flat_map(|text| self.matches(text)).collect::<BTreeSet<_>>().len()
    }

    /// A regular expression for lines with any of them.
    fn pattern(&self) -> String {
        let words: Vec<String> = self.0.iter().map(|word| regex::escape(word)).collect();
        format!("(?i){}", words.join("|"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_taken_as_words() {
        for (query, words) in [
            ("Retry policy", &["retry", "policy"][..]),
            ("  where is src/main.rs?", &["where", "is", "src", "main.rs"]),
            ("a a A", &["a"]),
            ("Größe: --flag", &["größe", "flag"]),
        ] {
            assert_eq!(Words::of(query).unwrap().0, words, "{query}");
        }
        for empty in ["", " ?!", "-"] {
            assert!(Words::of(empty).unwrap_err().to_string().contains("no word"), "{empty:?}");
        }
        let words = Words::of("retry main.rs").unwrap();
        assert_eq!(words.score(["src/Main.rs", "mainXrs"]), 1);
        assert_eq!(words.score(["src/main.rs", "Retry, retry"]), 2);
        assert_eq!(words.pattern(), r"(?i)retry|main\.rs");
    }

    #[test]
    fn paths_become_uris() {
        for (path, uri) in [("web/src/main.rs", "web/src/main.rs"), ("web/a b#?%.ü", "web/a%20b%23%3F%25.%C3%BC")] {
            assert_eq!(escaped(path), uri);
        }
    }
}
